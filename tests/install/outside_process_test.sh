#!/usr/bin/env bash
# An installed Penstock, moved to another place: its own programs and modules from there, and projects of others against
# it, in the ways that find_package and pkg-config offer.
set -euo pipefail
. "$(dirname "$0")/outside.sh"
prefix=$work/prefix
cmake --install "$build" --prefix "$work/installed" >"$work/log" 2>&1 || fail "it is not installed"
mv "$work/installed" "$prefix"

# from_there COMMAND...: with nothing in the environment that leads to another Penstock.
from_there() {
  env -i PATH=/usr/bin:/bin "$@" >>"$work/log" 2>&1 || fail "from where it was moved: $*"
  count=$((count + 1))
}
from_there "$prefix/bin/penstockd" --version
from_there "$prefix/bin/penstock" --bus "$work/bus-moved" pub orders one
if [ -d "$prefix/lib/python3" ]; then
  from_there PYTHONPATH="$prefix/lib/python3/dist-packages" /usr/bin/python3 -c "if True:
    import penstock
    with penstock.Bus('$work/bus-python') as bus: assert bus.producer('orders').publish(b'one') == 0"
fi
node=$(find "$prefix" -path '*/nodejs/penstock')
if [ -n "$node" ] && command -v node >/dev/null; then
  from_there "$(command -v node)" -e "
    const bus = require('$node').Bus.open('$work/bus-node');
    if (bus.producer('orders').publish('one') !== 0n) process.exit(1);
    bus.close();"
fi

find_it=(-DCMAKE_PREFIX_PATH="$prefix")
project plain CXX plain.cpp penstock::penstock 'find_package(penstock 0.1 REQUIRED)'
builds plain "${find_it[@]}"
project daemon CXX daemon.cpp penstock::daemon 'find_package(penstock REQUIRED COMPONENTS daemon)'
builds daemon "${find_it[@]}"
# A C project: nothing of C++ is asked of it.
project c C c.c penstock::c 'find_package(penstock REQUIRED COMPONENTS c)'
builds c "${find_it[@]}" -DCMAKE_DISABLE_FIND_PACKAGE_tl-expected=ON
project both 'C CXX' c.c 'penstock::c penstock::daemon' 'find_package(penstock REQUIRED COMPONENTS c daemon)'
builds both "${find_it[@]}"
project unknown CXX plain.cpp penstock::penstock 'find_package(penstock REQUIRED COMPONENTS fortran)'
if cmake -S "$work/unknown" -B "$work/unknown/build" "${find_it[@]}" >"$work/log" 2>&1; then
  fail "a component that does not exist is found"
fi
grep -q "no component 'fortran'" "$work/log" || fail "the missing component is not named"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name penstock.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046  # words to the compiler
c++ -std=c++20 "$work/programs/plain.cpp" -o "$work/plain_pc" $(pkg-config --cflags --libs penstock) >"$work/log" 2>&1 ||
  fail "pkg-config penstock"
LD_LIBRARY_PATH=$prefix/lib runs plain_pc "$work/plain_pc"
# shellcheck disable=SC2046
cc -std=c11 "$work/programs/c.c" -o "$work/c_pc" $(pkg-config --cflags --libs penstock-c) >"$work/log" 2>&1 ||
  fail "pkg-config penstock-c"
LD_LIBRARY_PATH=$PKG_CONFIG_PATH/.. runs c_pc "$work/c_pc"
readelf -d "$work/c_pc" | grep -q 'NEEDED.*libpenstock.so.1' || fail "the C program does not ask for libpenstock.so.1"
# What the README and the guide show first, built as they say, with a daemon beside it: the event is published and acked.
start_daemon
example README.md cpp >"$work/programs/shop.cpp"
example tools/guide/languages.md c >"$work/programs/shop.c"
for program in shop.cpp shop.c; do
  # shellcheck disable=SC2046
  case $program in
    *.cpp) c++ -std=c++20 -Wall -Wextra -Werror "$work/programs/$program" -o "$work/shop" $(pkg-config --cflags --libs penstock) ;;
    *.c) cc -std=c11 -Wall -Wextra -Werror "$work/programs/$program" -o "$work/shop" $(pkg-config --cflags --libs penstock-c) ;;
  esac >"$work/log" 2>&1 || fail "$program of the documentation is not built"
  before=$(penstock group describe fulfillment --json 2>/dev/null | jq .acked) || true
  LD_LIBRARY_PATH=$PKG_CONFIG_PATH/.. "$work/shop" >>"$work/log" 2>&1 || fail "$program of the documentation ended with $?"
  acked=$(penstock group describe fulfillment --json | jq .acked)
  [ "$acked" = $((${before:-0} + 1)) ] || fail "$program of the documentation: $acked events are acked"
  count=$((count + 1))
done

[ "$(pkg-config --modversion penstock)" = "$("$PENSTOCK_BIN/penstock" --version | grep -oE '[0-9.]+$')" ] || fail "versions differ"
echo "$count programs of others"
