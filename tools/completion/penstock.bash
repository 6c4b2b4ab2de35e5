# Completion of penstock and penstockd in bash. Options and commands are taken from --help, so they are those of the
# program that would run; topics and groups from the bus that the line names.

# _penstock_help COMMAND...: what --help of this command offers: commands a line, then options a line.
_penstock_help() {
  "$@" --help 2>/dev/null | awk '
    /^[A-Z][a-z]*:$/ { part = $1 }
    part == "Subcommands:" && /^  [a-z]/ { print $1 }
    part == "Options:" && /^  -/ { gsub(",", "\n", $1); print $1 }'
}

# _penstock_names topic|group: the names there are, on a bus that is there.
_penstock_names() {
  "${program[@]}" "$1" list --json 2>/dev/null | sed -n "s/^{\"\(name\|group\)\":\"\([^\"]*\)\".*/\2/p"
}

_penstock() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word skip=
  local program=("${COMP_WORDS[0]}") command=() wanted=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    if [ -n "$skip" ]; then
      [ "$skip" = --bus ] && program+=(--bus "${word/#\~\//$HOME/}")
      skip=
    elif [[ $word == --bus || $word == --color ]]; then
      skip=$word
    elif [[ $word != -* && ${#command[@]} -lt 2 ]]; then
      # A second word is a command's only where there are such.
      [[ ${#command[@]} -eq 0 || ${command[0]} =~ ^(topic|group|dlq|bus)$ ]] && command+=("$word")
    fi
  done

  case $prev in
    --bus) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    --color) wanted="auto always never" ;;
    --durability) wanted="memory disk" ;;
    --full) wanted="block fail drop_oldest" ;;
    --ordering) wanted="parallel key strict" ;;
    --expired) wanted="dlq skip" ;;
    --await) wanted="disk" ;;
    --id-from) wanted="payload key" ;;
    --from | --to) wanted="beginning end now" ;;
    --group) wanted=$(_penstock_names group) ;;
    --exec) mapfile -t COMPREPLY < <(compgen -c -- "$cur"); return ;;
    *)
      if [[ $cur == -* ]]; then
        wanted=$(_penstock_help "${COMP_WORDS[0]}" "${command[@]}")
        [ "${COMP_WORDS[0]##*/}" = penstock ] && wanted+=" --bus --json --quiet --color"
      else
        case ${command[*]} in
          "" | topic | group | dlq | bus) wanted=$(_penstock_help "${COMP_WORDS[0]}" "${command[@]}" | grep -v '^-') ;;
          pub | sub | topic\ * | group\ set) wanted=$(_penstock_names topic) ;;
          dump | verify)
            compopt -o filenames 2>/dev/null
            wanted="$(_penstock_names topic) $(compgen -f -- "$cur")"
            ;;
        esac
        case ${command[*]} in group\ * | dlq\ *) wanted+=" $(_penstock_names group)" ;; esac
      fi
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$wanted" -- "$cur" | sort -u)
}

complete -F _penstock penstock penstockd
