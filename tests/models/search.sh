# Sourced by the tests beside it: runs spin over a model with its switches set. Each model holds, and each of its
# switches, which takes one precaution of the protocol away, makes it fail.
#
#   holds MODEL SWITCHES [-DBITSTATE]   every state is visited (with -DBITSTATE: as many as fit), and none is wrong
#   fails MODEL SWITCHES [-DBITSTATE]   a wrong state is found
# shellcheck shell=bash
set -euo pipefail
models=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-models.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0

# search MODEL SWITCHES PAN: prints what the search found: errors, states, and whether it was cut short.
search() {
  # shellcheck disable=SC2086
  spin -a $2 "$models/$1.pml" >spin.log || { cat spin.log >&2; return 1; }
  # shellcheck disable=SC2086
  gcc -O2 -DSAFETY -DVECTORSZ=2048 -w $3 -o pan pan.c
  # shellcheck disable=SC2086
  ./pan -m50000 $pan_options >pan.log || true
  sed -n 's/.*errors: \([0-9]*\).*/errors: \1/p; s/^ *\([0-9.e+]*\) states, stored.*/states: \1/p' pan.log | tr '\n' ' '
  # A table of bits (-DBITSTATE) is a bounded search by its nature; every other is to come to its end.
  if grep -q 'errors: 0' pan.log && [ "$3" != -DBITSTATE ] &&
    grep -qi 'search not completed\|max search depth too small\|out of memory' pan.log; then
    echo "cut short"
  fi
}
pan_options=

holds() {
  local found
  found=$(search "$1" "$2" "${3:-}")
  echo "$1 $2: holds? $found"
  case $found in *"cut short"*) echo "FAILED: $1 $2 was not searched to the end" >&2; failed=1 ;; esac
  case $found in "errors: 0"* | *" errors: 0"*) ;; *) echo "FAILED: $1 $2 does not hold" >&2; failed=1 ;; esac
}
fails() {
  local found
  found=$(search "$1" "$2" "${3:-}")
  echo "$1 $2: fails? $found"
  case $found in *"errors: 1"*) ;; *) echo "FAILED: $1 $2 finds nothing to object to" >&2; failed=1 ;; esac
}
