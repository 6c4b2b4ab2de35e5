#!/usr/bin/env bash
# The spin models, bounded: each holds, and each of its switches, which takes one precaution of the protocol away, makes
# it fail. PENSTOCK_MODEL_BITS (default 26) sizes the table of states: a larger one searches further and longer.
set -euo pipefail
models=$(cd "$(dirname "$0")" && pwd)
bits=${PENSTOCK_MODEL_BITS:-26}
work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-models.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# search MODEL SWITCHES: prints how many errors the bounded search found.
search() {
  spin -a $2 "$models/$1.pml" >spin.log || { cat spin.log >&2; exit 1; }
  gcc -O2 -DSAFETY -DBITSTATE -DVECTORSZ=2048 -w -o pan pan.c
  ./pan -m50000 -w"$bits" >pan.log
  sed -n 's/.*errors: \([0-9]*\).*/\1/p; s/^ *\([0-9.e+]*\) states, stored.*/\1 states/p' pan.log | tr '\n' ' '
}
failed=0
holds() {
  local found
  found=$(search "$1" "$2")
  echo "$1 $2: $found"
  case $found in 0\ *) ;; *) echo "FAILED: $1 $2 does not hold" >&2; failed=1 ;; esac
}
fails() {
  local found
  found=$(search "$1" "$2")
  echo "$1 $2: $found"
  case $found in 0\ * | "") echo "FAILED: $1 $2 finds nothing to object to" >&2; failed=1 ;; esac
}

holds claim_and_death "-DCLAIMS=2"
fails claim_and_death "-DCLAIMS=2 -DRECHECK=0"
fails claim_and_death "-DCLAIMS=2 -DTAGFIRST=0"
fails claim_and_death "-DCLAIMS=2 -DALTERNATE=0"
fails claim_and_death "-DCLAIMS=2 -DPROOF=0"
exit "$failed"
