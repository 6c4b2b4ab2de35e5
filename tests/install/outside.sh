# shellcheck shell=bash
# Sourced by the scripts beside it: a folder of their own, with the smallest programs that publish and read an event.
build=$PENSTOCK_BIN/..
. tests/main_job/common.sh
if grep -qE '^PENSTOCK_(SANITIZE:[A-Z]*=.|FUZZ:BOOL=ON)' "$build/CMakeCache.txt"; then
  echo "skipped: a sanitized library is nothing to install"
  exit 77
fi

mkdir "$work/programs"
cat >"$work/programs/plain.cpp" <<'CPP'
#include <penstock/penstock.hpp>
int main(int, char** arguments) {
  auto bus = penstock::Bus::open(arguments[1]).value();
  if (!bus.create_topic("ticks", {.durability = penstock::Durability::memory})) return 1;
  auto ticks = bus.producer("ticks").value();
  ticks.publish(std::as_bytes(std::span("tick", 4))).value();
  auto reader = bus.reader("ticks", penstock::StartAt::beginning()).value();
  return reader.next(std::chrono::seconds(10)).value()->payload().size() == 4 ? 0 : 1;
}
CPP
cat >"$work/programs/daemon.cpp" <<'CPP'
#include <penstock/daemon.hpp>
int main(int, char** arguments) {
  auto bus = penstock::Bus::open(arguments[1]).value();
  auto daemon = penstock::Daemon::start(bus).value();
  auto orders = bus.producer("orders").value();
  const auto offset = orders.publish(std::as_bytes(std::span("order", 5))).value();
  return orders.await_durable(offset, std::chrono::seconds(30)) ? 0 : 1;
}
CPP
cat >"$work/programs/c.c" <<'C'
#include <penstock/penstock.h>
int main(int count, char** arguments) {
  penstock_bus* bus;
  penstock_producer* orders;
  if (count < 2 || penstock_bus_open(arguments[1], NULL, &bus) != 0) return 1;
  if (penstock_producer_open(bus, "orders", NULL, &orders) != 0) return 1;
  if (penstock_publish(orders, "order", 5, NULL, NULL) != 0) return 1;
  penstock_producer_close(orders);
  penstock_bus_close(bus);
  return 0;
}
C
# The programs that the documentation shows, on a bus of their own: example FILE KIND, the first that is whole.
example() {
  awk -v fence="\`\`\`$2" '$0 == fence { inside = 1; text = ""; next }
    /^```$/ { if (inside && text ~ /\nint main/) { printf "%s", text; exit } inside = 0 } inside { text = text $0 "\n" }' "$1" |
    sed "s:/var/lib/shop:$PENSTOCK_BUS:"
}
count=0
# runs NAME PROGRAM: the program works, on a bus of its own.
runs() {
  "$2" "$work/bus-$1" >>"$work/log" 2>&1 || fail "$1 ended with $?"
  count=$((count + 1))
}
# project NAME LANGUAGES SOURCE LIBRARIES LINE...: the folder of a CMake project with these lines before its program.
project() {
  mkdir -p "$work/$1"
  {
    printf 'cmake_minimum_required(VERSION 3.25)\nproject(outside LANGUAGES %s)\n' "$2"
    printf '%s\n' "${@:5}"
    printf 'add_executable(outside %s)\ntarget_link_libraries(outside PRIVATE %s)\n' "$work/programs/$3" "$4"
  } >"$work/$1/CMakeLists.txt"
}
# builds NAME ARGUMENT...: configures and builds the project, and its program works.
builds() {
  cmake -S "$work/$1" -B "$work/$1/build" -G Ninja "${@:2}" >>"$work/log" 2>&1 || fail "$1 is not configured"
  cmake --build "$work/$1/build" --target outside >>"$work/log" 2>&1 || fail "$1 is not built"
  runs "$1" "$work/$1/build/outside"
}
