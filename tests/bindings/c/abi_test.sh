#!/usr/bin/env bash
# The C header, compiled by itself as C11 and C++ with every warning an error; and what libpenstock.so promises: it
# exports the header's calls, each in a version, and nothing else; no call or type of the committed baseline is gone or
# another. tests/bindings/c/abi_test.sh --update writes the baseline anew: after calls were added, never to let a change
# of what was there pass.
set -euo pipefail
library=$PENSTOCK_BIN/../bindings/c/libpenstock.so.1
headers=$PWD/bindings/c/include
baseline=$PWD/bindings/c/libpenstock.abi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

for compiler in "${CC:-cc} -std=c11" "clang-14 -std=c11 -Weverything -Wno-padded" "${CXX:-c++} -std=c++11 -x c++"; do
  command -v "${compiler%% *}" >/dev/null || continue
  # shellcheck disable=SC2086  # a compiler and its arguments
  printf '#include <penstock/penstock.h>\n' |
    $compiler -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$headers" -x "$([[ $compiler == *++* ]] && echo c++ || echo c)" - ||
    fail "the header by $compiler"
done

cc -E -P -I "$headers" -include penstock/penstock.h -x c /dev/null | tr '\n' ' ' |
  grep -oE 'penstock_[a-z_]+\(' | tr -d '(' | sort -u >"$work/declared"
nm -D --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $3 }' | sort >"$work/exported"
diff "$work/declared" <(sed 's/@@PENSTOCK_[0-9.]*$//' "$work/exported") >&2 ||
  fail "the calls of the header (left) and the library's versioned symbols (right) differ"
[ "$(wc -l <"$work/declared")" -gt 60 ] || fail "only $(wc -l <"$work/declared") calls were found"

if ! command -v abidiff >/dev/null; then
  echo "skipped: abigail-tools is missing, so types are not compared"
  exit 77
fi
# The header's calls and types as the C compiler lays them out: a library that defines each call and does nothing. The
# real one cannot differ from it, being compiled against the same header and exporting the same names; but its debug
# information is mostly of what is inside.
cc -E -P -I "$headers" -include penstock/penstock.h -x c /dev/null | tr '\n' ' ' |
  sed -E 's/__attribute__\(\(visibility\("default"\)\)\)([^;]*);/\1 { __builtin_trap(); }/g' >"$work/surface.c"
(cd "$work" && cc -std=c11 -g -shared -fPIC -o surface.so surface.c)  # so named in the baseline
if [ "${1:-}" = --update ]; then
  abidw --no-show-locs --no-corpus-path --no-comp-dir-path "$work/surface.so" --out-file "$baseline"
  exit 0
fi
# compare BASELINE same|other: fails unless the library is the baseline's, or is not; what came anew may come.
compare() {
  local status=0
  abidiff --no-added-syms "$1" "$work/surface.so" >"$work/report" || status=$?
  if ((status & 3)); then fail "abidiff cannot read $1: $(cat "$work/report")"; fi
  [ "$2" = "$( ((status == 0)) && echo same || echo other)" ]
}
compare "$baseline" same || fail "the ABI is not what it was: $(cat "$work/report")"

# The comparison bites: a call that is gone, and a field that was of another type.
sed 's/penstock_redrive/penstock_redrive_all/g' "$baseline" >"$work/gone.abi"
compare "$work/gone.abi" other || fail "a call that is gone is not noticed"
wide=$(sed -n "s/.*<typedef-decl name='int64_t'.* id='\([^']*\)'.*/\1/p" "$baseline")
narrow=$(sed -n "s/.*<typedef-decl name='uint8_t'.* id='\([^']*\)'.*/\1/p" "$baseline")
sed "/name='block_ms'/s/type-id='$wide'/type-id='$narrow'/" "$baseline" >"$work/field.abi"
compare "$work/field.abi" other || fail "a field of another type is not noticed"
echo "$(wc -l <"$work/declared") calls, as promised"
