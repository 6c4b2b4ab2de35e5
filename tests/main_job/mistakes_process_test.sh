#!/usr/bin/env bash
# Hosts and users that are not as they should be: another user, a small /dev/shm, a full disk, a file system without
# O_DIRECT or on the network, an older program. Each message names the cause and the remedy, nothing is lost, and it
# goes on once the remedy was applied.
set -euo pipefail
. "$(dirname "$0")/faults.sh"
in_own_mounts "$0" "$@"
. "$(dirname "$0")/common.sh"
: >"$work/log"
chmod 755 "$work"

# told CODE TEXT COMMAND...: it ends so and says that on stderr.
told() {
  local want=$1 text=$2 code=0
  shift 2
  timeout 60 "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
  [ "$code" = "$want" ] || fail "exit $code, not $want: $* -- $(cat "$work/err")"
  grep -qF -- "$text" "$work/err" || fail "$*: $(cat "$work/err"), and not: $text"
}
stop_daemon() {
  kill "$daemon"
  wait "$daemon" || fail "penstockd ended with $?"
  daemon=
}
# doctor CHECK TEXT: that finding has it, as value or advice.
doctor() {
  penstock doctor --json >"$work/doctor" || true
  jq -se --arg check "$1" --arg text "$2" \
    'any(.[]; .check == $check and (.ok | not) and (.value + " " + .advice | contains($text)))' \
    "$work/doctor" >/dev/null ||
    fail "doctor: $(cat "$work/doctor"), and not: $1: $2"
}
begin() { export PENSTOCK_BUS=$work/$1; }

another_user() {
  if ! setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
    echo "not tried: another user, which takes root"
    return
  fi
  begin user
  penstock pub t x
  penstock sub t --group g --exit-at-end >/dev/null
  local me command
  me=$(id -un)
  as_other() { told "$1" "$2" setpriv --reuid=65534 --regid=65534 --clear-groups "${@:3}"; }
  for command in "pub t x" "sub t" "sub t --group g" "dump t" verify "topic list" "topic create u" "group list" \
    "dlq list" "bus describe" "bus unload" "bus delete --yes" stats doctor; do
    # shellcheck disable=SC2086
    as_other 1 "(65534): it belongs to user $me ($(id -u)); run as that user, or name another directory; users share" \
      penstock $command
  done
  as_other 1 "it belongs to user $me" penstockd
  # Open to all, the files in it are not.
  chmod 755 "$PENSTOCK_BUS"
  as_other 1 "bus.id: permission denied to user" penstock pub t x
  # What cannot be made is told as that.
  PENSTOCK_BUS=$work/deeper/bus as_other 1 "$work/deeper: permission denied to user" penstock pub t x
  [ "$(penstock dump t --format '%v')" = x ] || fail "the event is gone"
}

# In a bus that users share, a group is one user's: others are told whose, before and after a reboot.
anothers_group() {
  if ! setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
    echo "not tried: another user's group, which takes root"
    return
  fi
  begin shared
  local owner=(setpriv --reuid=6001 --regid=6001 --groups=7001,7002) command
  local his=(setpriv --reuid=6003 --regid=7002 --clear-groups) other=(setpriv --reuid=6004 --regid=7002 --clear-groups)
  mkdir "$PENSTOCK_BUS"
  printf '[access]\nproducers = "7001"\nconsumers = "7002"\n' >"$PENSTOCK_BUS/bus.toml"
  chown -R 6001:6001 "$PENSTOCK_BUS"
  owners_daemon() {
    "${owner[@]}" penstockd 2>>"$work/log" &
    daemon=$!
    up() { [ -n "$("${owner[@]}" penstock bus describe --json 2>/dev/null | jq -r '.daemon_pid // empty')" ]; }
    wait_for up
  }
  owners_daemon
  echo x | "${owner[@]}" penstock pub t --quiet
  "${his[@]}" penstock sub t --group g --max-attempts 1 --exit-at-end --exec 'exit 3' 2>/dev/null
  for command in "group pause g" "group seek g --to end" "group set g --lease 1m" "group delete g --yes" "dlq redrive g" \
    "dlq purge g --yes"; do
    # shellcheck disable=SC2086
    told 1 'group g belongs to user 6003; its members and who changes it run as that user' "${other[@]}" penstock $command
  done
  stop_daemon
  wipe_live_side
  owners_daemon
  for command in "group describe g" "group pause g" "group seek g --to end" "group set g --lease 1m" "group delete g --yes" \
    "dlq list" "dlq show g" "dlq redrive g" "dlq purge g --yes"; do
    # shellcheck disable=SC2086
    told 1 'group g belongs to user 6003, who has not opened it since the bus came into shared memory' \
      "${other[@]}" penstock $command
  done
  "${his[@]}" penstock group describe g >/dev/null
  "${other[@]}" penstock dlq show g >/dev/null || fail "letters that anybody may read: dlq show ended with $?"
  # A folder that is closed is not an empty one.
  chmod 700 "$PENSTOCK_BUS/topics"
  told 1 "$PENSTOCK_BUS/topics: permission denied to user 6004: it belongs to user 6001" "${other[@]}" penstock topic list
  chmod 2775 "$PENSTOCK_BUS/topics"
  stop_daemon
  rm -rf "$(readlink "$PENSTOCK_BUS/live")"
}

# As a container has it unless told otherwise.
small_shared_memory() {
  begin small
  mount -t tmpfs -o size=64m,mode=1777 none /dev/shm
  for i in 1 2 3; do penstock topic create "t$i"; done
  local remedy="--shm-size=128m), make topics with a smaller --ring"
  told 1 "the ring of topic t4, 16 MiB: no space left: 15 MiB of 64 MiB are free in /dev/shm" penstock topic create t4
  grep -qF -- "$remedy" "$work/err" || fail "the remedy: $(cat "$work/err")"
  told 1 "$remedy" penstock pub t4 x
  [ "$(penstock topic list --json | jq -r .name | tr '\n' ' ')" = "t1 t2 t3 " ] || fail "half a topic is left"
  doctor shm 'make /dev/shm larger'
  penstock topic create t4 --ring 64KiB # a smaller one finds room

  # Full to the last page, by others. Who has its ring goes on; nobody is killed by what he cannot touch (SIGBUS).
  start_daemon
  penstock pub t1 before --await disk
  head -c 64M /dev/zero >/dev/shm/others 2>/dev/null || true
  cat /dev/zero >/dev/shm/rest 2>/dev/null || true
  [ "$(stat -f -c %a /dev/shm)" = 0 ] || fail "/dev/shm has room: $(df /dev/shm)"
  told 1 "no space left: 0 bytes of 64 MiB are free in /dev/shm" penstock topic create t5 --ring 64KiB
  told 1 "in a container --shm-size=128m" penstock sub t1 --group g --exit-at-end
  PENSTOCK_BUS=$work/small2 told 1 "no space left: 0 bytes of 64 MiB are free in /dev/shm" penstock pub t x
  PENSTOCK_BUS=$work/small2 told 1 "no space left: 0 bytes of 64 MiB are free in /dev/shm" penstockd
  [ "$(penstock dump t1 --format '%v')" = before ] || fail "what was there cannot be read"
  seq 5000 | penstock pub t1 --await disk 2>"$work/err" || told 1 "are free in /dev/shm" penstock pub t1 x
  kill -0 "$daemon" || fail "the daemon is gone: $(tail -1 "$work/log")"
  rm /dev/shm/others /dev/shm/rest
  penstock topic create t5 --ring 64KiB
  penstock sub t1 --group g --exit-at-end >/dev/null
  PENSTOCK_BUS=$work/small2 penstock topic create t --ring 64KiB
  stop_daemon
  penstock verify >/dev/null || fail "verify: $(penstock verify)"
  rm -rf /dev/shm/penstock-*
  umount /dev/shm
}

full_disk() {
  begin full
  mkdir "$PENSTOCK_BUS"
  mount -t tmpfs -o size=4m none "$PENSTOCK_BUS"
  printf '[daemon]\nsegment_bytes = "1MiB"\n' >"$PENSTOCK_BUS/bus.toml"
  start_daemon
  penstock topic create t --ring 16MiB
  penstock pub t kept --await disk
  cat /dev/zero >"$PENSTOCK_BUS/topics/others" 2>/dev/null || true
  head -c 3000000 /dev/zero >"$work/payload"
  code=0
  penstock pub t --whole --await disk <"$work/payload" 2>"$work/err" || code=$?
  [ "$code" = 1 ] || fail "publishing to a full disk ended with $code"
  grep -qF "of 4.0 MiB are free in $PENSTOCK_BUS; free some there, set retentions, or use a larger disk" "$work/err" ||
    fail "a full disk: $(cat "$work/err")"
  doctor 'topic t' 'make space or replace the disk; nothing is lost in memory'
  rm "$PENSTOCK_BUS/topics/others"
  on_disk() { [ "$(penstock topic describe t --json | jq .durable_offset)" = 2 ]; }
  wait_for on_disk
  stop_daemon
  rm -rf "$(readlink "$PENSTOCK_BUS/live")"
  umount "$PENSTOCK_BUS"
}

no_o_direct() {
  begin ram
  mkdir "$PENSTOCK_BUS"
  mount -t ramfs none "$PENSTOCK_BUS"
  start_daemon
  seq 50000 | penstock pub t --await disk --quiet || fail "without O_DIRECT pub ended with $?"
  doctor direct 'the daemon writes through the page cache, which costs more; put the bus on ext4 or xfs'
  doctor disk 'what is called durable there is gone with the power; put the bus on a disk'
  stop_daemon
  wipe_live_side
  [ "$(penstock dump t --format '%v\n' | md5sum)" = "$(seq 50000 | md5sum)" ] || fail "without O_DIRECT events differ"
  penstock verify >/dev/null || fail "verify without O_DIRECT: $(penstock verify)"
  rm -rf "$(readlink "$PENSTOCK_BUS/live")"
  umount "$PENSTOCK_BUS"
}

# A real one takes a client in the kernel and a server; what is tried is that it is known by its type.
network() {
  local pretend=$PENSTOCK_BIN/../tests/libpenstock_pretend_nfs.so
  if [ "$(LD_PRELOAD=$pretend penstock --version 2>&1)" != "$(penstock --version)" ]; then
    echo "not tried: a bus on NFS, since nothing can be preloaded here"
    return
  fi
  begin nfs/bus
  mkdir "$work/nfs"
  export PRETEND_NFS=$work/nfs
  local remedy="write network_disk = true under [bus] in $PENSTOCK_BUS/bus.toml"
  LD_PRELOAD=$pretend told 1 "$PENSTOCK_BUS is on a network file system (NFS)" penstock pub t x
  [ ! -e "$PENSTOCK_BUS" ] || fail "a bus was made on NFS"
  LD_PRELOAD=$pretend told 1 "$remedy" penstockd
  mkdir "$PENSTOCK_BUS"
  printf '[bus]\nnetwork_disk = true\n' >"$PENSTOCK_BUS/bus.toml"
  LD_PRELOAD=$pretend penstock pub t x || fail "with network_disk pub ended with $?"
  LD_PRELOAD=$pretend doctor disk 'put the bus on a local disk: a second host that opened it would destroy it'
}

# --- A bus that a newer program made, met by this one.
newer() { printf '\002' | dd of="$1" bs=1 seek=8 conv=notrunc status=none; } # the version in a preamble
older_program() {
  begin old
  start_daemon
  penstock pub t x --await disk
  penstock sub t --group g --exit-at-end >/dev/null
  stop_daemon
  local live command text='layout version 2, this program reads 1: a newer program wrote it; upgrade this one'
  live=$(readlink "$PENSTOCK_BUS/live")
  cp -r "$live" "$work/live.kept"
  newer "$live/bus"
  # What is on disk can be read; that more may be in shared memory is told.
  told 0 "t: only what is on disk is shown, and not what may be in shared memory alone: $live: $text" penstock dump t
  for command in "pub t x" "sub t --exit-at-end" "sub t --group g" "topic list" "group list" "bus describe" stats \
    "bus unload" "bus delete --yes" doctor; do
    # shellcheck disable=SC2086
    told 4 "$live: $text" penstock $command
  done
  told 4 "$live: $text" penstockd
  [ -e "$live/topics/t" ] || fail "the live side is gone"
  cp "$work/live.kept/bus" "$live/bus"
  newer "$live/topics/t"
  for command in "pub t x" "dump t" "topic describe t" "bus unload"; do
    # shellcheck disable=SC2086
    told 4 "$live/topics/t: $text" penstock $command
  done
  doctor 'topic t' "$text"
  cp "$work/live.kept/topics/t" "$live/topics/t"
  sed -i 's/^penstock bus 1 /penstock bus 2 /' "$PENSTOCK_BUS/bus.id"
  told 4 "$PENSTOCK_BUS/bus.id: $text" penstock dump t
  told 4 "$PENSTOCK_BUS/bus.id: $text" penstockd
  sed -i 's/^penstock bus 2 /penstock bus 1 /' "$PENSTOCK_BUS/bus.id"
  [ "$(penstock dump t --format '%v')" = x ] || fail "the event is gone"
}

another_user
small_shared_memory
full_disk
no_o_direct
network
anothers_group
older_program
