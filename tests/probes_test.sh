#!/usr/bin/env bash
# The probes for tracers: the library has those that penstock-probes(7) tells of, with as many arguments, and no others;
# so has the daemon, which does not publish. Each is one nop.
set -euo pipefail
build=$PENSTOCK_BIN/..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*" >&2
  exit 1
}
if ! grep -q '^PENSTOCK_PROBES:BOOL=ON' "$build/CMakeCache.txt" ||
  grep -q '^PENSTOCK_SDT_INCLUDE_DIR:.*-NOTFOUND$' "$build/CMakeCache.txt"; then
  echo "skipped: built without probes; systemtap-sdt-dev has what they need"
  exit 77
fi

# name and number of arguments, one a line
sed -nE 's/^\*([a-z_]+)\*\(([a-z, ]+)\)$/\1 \2/p' tools/man/penstock-probes.7.scd |
  awk '{ name = $1; $1 = ""; print name, split($0, arguments, ",") }' | sort >"$work/told"
[ "$(wc -l <"$work/told")" = 5 ] || fail "the page tells of $(wc -l <"$work/told") probes"
count=0
for file in "$build/bindings/c/libpenstock.so.1" "$PENSTOCK_BIN/penstockd"; do
  [ "$file" != "$PENSTOCK_BIN/penstockd" ] || sed -i /^publish/d "$work/told"
  readelf -n "$file" | awk '
    /Provider:/ { provider = $2 }
    /Name:/ { name = $2 }
    /Location:/ { at = $2; sub(/,/, "", at) }
    /Arguments:/ && provider == "penstock" { print name, NF - 1, at }' >"$work/there"
  cut -d ' ' -f 1,2 "$work/there" | sort -u | diff "$work/told" - >&2 || fail "$file: the page (left) and the notes differ"
  while read -r name _ at; do
    [ "$(objdump -d --start-address="$at" --stop-address=$((at + 1)) "$file" | awk '/^ +[0-9a-f]+:/ { print $2, $3 }')" = '90 nop' ] ||
      fail "$file: $name at $at is no nop"
    count=$((count + 1))
  done <"$work/there"
done
echo "$count places"
