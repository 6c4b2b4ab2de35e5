#!/usr/bin/env bash
# The Debian packages: lintian has nothing against them; in a clean Debian 12 they install with what they depend on and
# nothing else, work, let programs of others be built and run, serve a bus that users share under systemd, also after a
# reboot, and leave nothing behind but data. PENSTOCK_DEBS names a folder of packages to be tested instead of new ones, FRONT_DOORS that of
# the front doors.
set -euo pipefail
. "$(dirname "$0")/outside.sh"
. tests/install/boot.sh
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | head -n 1)
skip() {
  echo "skipped: $1"
  exit 77
}
[ "$(id -u)" = 0 ] || skip "only root can make a Debian of its own"
command -v mmdebstrap >/dev/null || skip "mmdebstrap is missing"
command -v lintian >/dev/null || skip "lintian is missing"
[ -n "$mirror" ] || skip "apt knows no mirror"
unshare --mount true 2>/dev/null || skip "no mounts are allowed here"

debs=${PENSTOCK_DEBS:-$build/deb}
if [ -z "${PENSTOCK_DEBS:-}" ]; then
  PENSTOCK_BUILD_DIR=$debs tools/package >"$work/log" 2>&1 || fail "the packages are not built"
fi
set -- "$debs"/*.deb
own=$(for deb; do dpkg-deb -f "$deb" Package; done | tr '\n' ' ')
# That for Node.js is left out where its headers are missing.
case $own in
  'libpenstock-dev libpenstock1 node-penstock penstock-tools penstockd python3-penstock ') node=nodejs ;;
  'libpenstock-dev libpenstock1 penstock-tools penstockd python3-penstock ') node= ;;
  *) fail "the packages are $own" ;;
esac
lintian --fail-on error,warning "$@" >"$work/log" 2>&1 || fail "lintian"
# The library's control files name what the library has.
dpkg-deb -e "$debs"/libpenstock1_*.deb "$work/control"
diff <(sed -nE 's/^ (penstock_[a-z_]+)@.*/\1/p' "$work/control/symbols" | sort) \
  <(nm -D --defined-only "$build/bindings/c/libpenstock.so.1" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort) >"$work/log" ||
  fail "the symbols file (left) and the library differ"
grep -qx 'activate-noawait ldconfig' "$work/control/triggers" || fail "no trigger for ldconfig"

root=$work/root
if ! mmdebstrap --quiet --variant=minbase bookworm "$root" "deb $mirror bookworm main" >"$work/log" 2>&1; then
  ! apt-get -qq update 2>/dev/null || fail "no Debian could be made"
  skip "apt's mirror is not reachable"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/trial/debs"
cp "$@" "$root/trial/debs/"
cp tests/install/service_trial.py "$root/trial/"
cp -r "$work/programs" "$root/trial/"
doors=${FRONT_DOORS:-$PWD/../shared/front_door}
if [ -d "$doors" ]; then cp -r "$doors" "$root/trial/front_door"; fi
project project 'C CXX' daemon.cpp 'penstock::daemon penstock::c' 'find_package(penstock REQUIRED COMPONENTS c daemon)'
sed "s|$work|/trial|g" "$work/project/CMakeLists.txt" >"$root/trial/programs/CMakeLists.txt"

# inside COMMANDS: runs them in the new Debian, with /proc and shared memory of its own.
inside() {
  unshare --mount --pid --fork bash -euc '
    mount -t proc proc "$1/proc"
    mkdir -p "$1/dev/shm" && mount -t tmpfs tmpfs "$1/dev/shm"
    exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive bash -euc "$2"
  ' - "$root" "$1" >>"$work/log" 2>&1
}
# What there is, but for the package manager's own notes, and what is gone at the next boot.
files() {
  (cd "$root" && find . -xdev \( -path ./trial -o -path ./proc -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./var/cache \
    -o -path ./var/lib/apt -o -path ./var/lib/dpkg -o -path ./var/log -o -name __pycache__ \) -prune -o -print | sort)
}

# Each package by what it depends on, and first without the others. Recommended ones would hide what is missing.
inside 'apt-get update
  apt-get install -y --no-install-recommends /trial/debs/penstock-tools_*.deb
  export PENSTOCK_BUS=/var/lib/alone
  penstock pub greetings hello
  [ "$(penstock sub greetings --from beginning -n 1)" = hello ]
  penstock --version
  penstock bus delete --yes
  apt-get purge -y penstock-tools
  apt-get install -y --no-install-recommends /trial/debs/python3-penstock_*.deb
  python3 -c "import penstock, tempfile; bus = penstock.Bus(tempfile.mkdtemp()); assert bus.producer(\"t\").publish(b\"x\") == 0"
  apt-get purge -y python3-penstock
  apt-get install -y --no-install-recommends cmake g++ make python3 systemd '$node || fail "a package alone"
dependencies=$(dpkg-deb -f "$debs"/libpenstock-dev_*.deb Depends | tr ',' '\n' | sed 's/(.*//; s/|.*//; /penstock/d')
inside "apt-get install -y --no-install-recommends $(tr '\n' ' ' <<<"$dependencies") libfmt9 libspdlog1.10-fmt9" ||
  fail "what libpenstock-dev depends on"
# With none of ours in it yet: that it cannot be started tells of this machine.
no_systemd=
booted "$root" true >"$work/boot" 2>&1 || no_systemd="it ended with $?, $(tail -n 1 "$work/boot")"
files >"$work/before"

inside 'apt-get install -y --no-install-recommends /trial/debs/*.deb
  ldconfig -p | grep -q libpenstock.so.1
  export PENSTOCK_BUS=/var/lib/shop
  penstockd & daemon=$!
  penstock pub orders one --await disk
  [ "$(penstock sub orders --group desk --from beginning -n 1)" = one ]
  kill $daemon
  wait $daemon
  penstock verify
  cmake -S /trial/programs -B /trial/build
  cmake --build /trial/build
  /trial/build/outside /var/lib/built
  cd /trial/programs
  cc c.c -o /trial/c $(pkg-config --cflags --libs penstock-c)
  /trial/c /var/lib/built
  c++ -std=c++20 plain.cpp -o /trial/plain $(pkg-config --cflags --libs penstock)
  /trial/plain /var/lib/plain
  if [ -d /trial/front_door ]; then
    cmake -S /trial/front_door -B /trial/doors
    cmake --build /trial/doors
    /trial/doors/front_door /trial/bus-cpp
    /trial/doors/front_door_c /trial/bus-c
    python3 /trial/front_door/front_door.py /trial/bus-python
  fi
  if [ -n "'$node'" ]; then
    node -e "const { Bus, version } = require(\"penstock\"); const bus = Bus.open(\"/var/lib/noded\");
      bus.producer(\"t\").publish(version);
      bus.consumer(\"g\", \"t\").next().then((event) => { console.log(\"node\", process.version, event.payload.toString()); bus.close(); })"
  fi
  [ -z "$(dpkg --audit)" ]
  dpkg --verify '"$own" || fail "installed together"
noded=$(grep -o '^node v[0-9.]*' "$work/log" || true)
[ -z "$node" ] || [ -n "$noded" ] || fail "Node's module"
[ ! -d "$root/trial/front_door" ] || grep -q 'python front door: ok' "$work/log" || fail "the front doors"

if [ -z "$no_systemd" ]; then
  booted "$root" 'python3 /trial/service_trial.py before' >>"$work/log" 2>&1 || fail "the service"
  booted "$root" "python3 /trial/service_trial.py after $own" >>"$work/log" 2>&1 || fail "the service after a reboot"
  exposure=$(grep -oE 'exposure level .*: [0-9.]+' "$work/log")
else
  inside "apt-get purge -y $own" || fail "they cannot be removed"
fi
files >"$work/after"
# The buses, and old copies that the trial's users made of the lists of users.
data='^\./var/lib/(shop|built|plain|noded|penstock)(/|$)|^\./etc/(passwd|shadow|group|gshadow|subuid|subgid)-$'
if comm -13 "$work/before" "$work/after" | grep -vE "$data" >"$work/log"; then
  fail "they leave this behind"
fi
[ -d "$root/var/lib/shop/topics/orders" ] || fail "they took the data along"
[ -z "$no_systemd" ] || skip "the service alone, all else is as it should be: systemd cannot be started here, $no_systemd"
echo "$# packages; $noded; $exposure"
