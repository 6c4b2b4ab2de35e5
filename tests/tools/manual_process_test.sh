#!/usr/bin/env bash
# The manual pages and the completion against the programs: the same commands, options and fields of JSON in all, the
# settings and their defaults as penstockd prints them, pages without warnings, and every example of a page runs.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
. tools/completion/penstock.bash
pages=$PWD/tools/man

# The options that a page, in the part with this heading, defines.
page_options() {
  awk -v heading="$2" '/^#/ { part = $0 } part == heading && /^\*-/' "$1" |
    tr ',' '\n' | sed -n 's/^ *\*\(-[^*]*\)\*.*/\1/p' | sort
}
program_options() { _penstock_help "$@" | sed -n '/^-h$/d; /^--help$/d; /^-/p' | sort; }
# same PAGE HEADING COMMAND...: fails unless the part of the page names the options of the command.
same() {
  local page=$1 heading=$2
  shift 2
  diff <(program_options "$@") <(page_options "$page" "$heading") >"$work/diff"
}
complete_line() {  # COMMAND_WORD... CURRENT_WORD: one completion a line
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  _penstock
  printf '%s\n' "${COMPREPLY[@]}"
}
compopt() { :; }  # which only bash's own completion may call
count=0
compare() {
  local page=$1 heading=$2
  shift 2
  same "$page" "$heading" "$@" || fail "$(basename "$page") and '$* --help' (left) differ: $(cat "$work/diff")"
  comm -23 <(program_options "$@") <(complete_line "$@" - | sort) >"$work/diff"
  [ ! -s "$work/diff" ] || fail "after '$*' completion does not offer $(cat "$work/diff")"
  grep -q '^Example' <<<"$("$@" --help)" || fail "'$* --help' shows no example"
  count=$((count + $(program_options "$@" | wc -l)))
}

compare "$pages/penstock.1.scd" '# OPTIONS' penstock
compare "$pages/penstockd.8.scd" '# OPTIONS' penstockd
commands=$(_penstock_help penstock | sed '/^-/d')
for command in $commands; do
  page=$pages/penstock-$command.1.scd
  [ -e "$page" ] || fail "penstock $command has no page"
  grep -q "^\*penstock-$command\*(1)\|, \*penstock-$command\*(1)" "$pages/penstock.1.scd" || fail "penstock(1) lacks $command"
  parts=$(_penstock_help penstock "$command" | sed '/^-/d')
  [ -n "$parts" ] || compare "$page" '# OPTIONS' penstock "$command"
  for part in $parts; do
    grep -qx "## $command $part" "$page" || fail "penstock-$command(1) lacks $part"
    compare "$page" "## $command $part" penstock "$command" "$part"
  done
done
[ "$count" -gt 80 ] || fail "only $count options were compared"
# What an option too few in a page would look like.
grep -v '^\*--ttl' "$pages/penstock-pub.1.scd" >"$work/page"
if same "$work/page" '# OPTIONS' penstock pub; then fail "a missing option is not noticed"; fi

# The pages themselves, and what they refer to.
for page in "$pages"/*.scd; do
  scdoc <"$page" >"$work/page" || fail "$page"
  LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$work/page" 2>&1 >/dev/null |
    tee "$work/log" | (! grep .) || fail "$page"
  for other in $(grep -o '\*penstock[a-z.-]*\*([158])' "$page" | tr -d '*' | tr '()' '. '); do
    [ -e "$pages/$other.scd" ] || fail "$page refers to $other"
  done
done

# The settings: the defaults told are the program's, and every key is told.
settings=$pages/penstock.toml.5.scd
mkdir "$PENSTOCK_BUS"
penstockd --print-config >"$work/defaults"
awk '/^```/ { inside = !inside; next } inside && /^\$/ { exit } inside' "$settings" >"$PENSTOCK_BUS/bus.toml"
penstockd --print-config | diff "$work/defaults" - >&2 || fail "penstock.toml(5) tells other defaults"
# A key left out would be its default all the same.
diff <(sed 's/ =.*//' "$work/defaults" | sort) <(sed 's/ =.*//' "$PENSTOCK_BUS/bus.toml" | sort) >&2 || fail "the defaults lack a key"
printf '[access]\nproducers = "users"\nconsumers = "users"\n' >"$PENSTOCK_BUS/bus.toml"
diff <(penstockd --print-config | sed -n 's/^\(\[.*\]\)$/\1/p; s/ =.*//p' | sort) \
  <(sed -n 's/^## \(\[.*\]\)$/\1/p; s/^\*\([a-z_]*\)\* =.*/\1/p' "$settings" | sort) >&2 || fail "keys of bus.toml (left)"
rm -r "$PENSTOCK_BUS"

. tests/tools/manual_fields.sh

# The examples, each page's on a bus of its own: payments, five of which its group could not ship.
cd "$work"
printf '#!/bin/sh\ncat >/dev/null\n' >ship
chmod +x ship
echo 'Dear all' >letter
run=0
for page in "$pages"/*.scd; do
  examples=$(awk '/^#/ { part = $0 } part == "# EXAMPLES" && /^\$ / { print substr($0, 3) }' "$page")
  [ -n "$examples" ] || continue
  start_daemon
  for i in {1..20}; do printf 'order-%s\t{"order":%s}\n' "$i" "$i"; done |
    penstock pub payment.confirmed --key-delim '\t' --await disk --quiet
  # shellcheck disable=SC2016  # the handler's variable
  penstock sub payment.confirmed --group fulfillment --max-attempts 1 --exit-at-end \
    --exec '[ "$PENSTOCK_OFFSET" -gt 4 ] || { echo no carrier >&2; exit 3; }' 2>/dev/null
  while read -r example; do
    timeout 120 bash -c "$example" >out 2>log </dev/null || fail "$(basename "$page"): '$example' does not end with 0"
    run=$((run + 1))
  done <<<"$examples"
  kill "$daemon"
  wait "$daemon"
  penstock bus delete --yes --quiet >/dev/null
done
start_daemon

# What completion offers beyond options.
printf 'x\n' | penstock pub payment.confirmed
offers() {
  local wanted=$1
  shift
  grep -qx -e "$wanted" <<<"$(complete_line "$@")" || fail "after '$*' completion does not offer $wanted"
}
offers topic penstock t
offers create penstock topic c
offers payment.confirmed penstock pub pay
offers payment.confirmed penstock --json topic describe ''
offers payment.confirmed penstock --bus "$PENSTOCK_BUS" sub pay
offers letter penstock verify let
offers drop_oldest penstock topic create x --full ''
penstock sub payment.confirmed --group fulfillment --exit-at-end >/dev/null
offers fulfillment penstock group seek ful
offers fulfillment penstock sub --group ''
echo "$count options, $told fields, $run examples"
