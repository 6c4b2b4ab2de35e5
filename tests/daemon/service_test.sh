#!/usr/bin/env bash
# penstockd under a service manager: readiness, reload and stop by NOTIFY_SOCKET; what a journal is given; the settings
# checked before they are used.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
: >"$work/log"

cat >"$work/manager.py" <<'PYTHON'
import os, re, signal, socket, subprocess, sys

name = sys.argv[1]
inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
inbox.settimeout(60)
inbox.bind("\0" + name[1:] if name[0] == "@" else name)
daemon = subprocess.Popen(["penstockd"], env={**os.environ, "NOTIFY_SOCKET": name}, stderr=open(sys.argv[2], "a"))
try:
    def told(pattern):
        state = inbox.recv(4096).decode()
        if not re.fullmatch(pattern, state):
            sys.exit(f"{name}: told {state!r}, not {pattern!r}")
    told("READY=1")
    if len(sys.argv) > 3:
        with open(os.environ["PENSTOCK_BUS"] + "/bus.toml", "w") as settings:
            settings.write(sys.argv[3])
    daemon.send_signal(signal.SIGHUP)
    told(r"RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*")
    told("READY=1")
    daemon.send_signal(signal.SIGTERM)
    told("STOPPING=1")
    if daemon.wait(60) != 0:
        sys.exit(f"ended with {daemon.returncode}")
finally:
    daemon.kill()
PYTHON
python3 "$work/manager.py" "$work/notify" "$work/log" || fail "a path"
python3 "$work/manager.py" "@penstock-test-$$" "$work/log" $'[topics]\nring = "1MiB"\n' || fail "an abstract name, new settings"
grep -q 'read again and is in effect' "$work/log" || fail "the settings were not taken up"
python3 "$work/manager.py" "$work/notify2" "$work/log" $'[topics]\nrings = 1\n' || fail "wrong settings are told, and all goes on"
grep -q 'bus.toml:2: unknown key rings in \[topics\]; did you mean ring?' "$work/log" || fail "what is wrong was not told"
rm "$PENSTOCK_BUS/bus.toml"

# The watchdog hears twice in its interval that the daemon's thread gets on, though it has nothing to do; and not while
# that thread is stopped, which is logged, until it goes on.
cat >"$work/watchdog.py" <<'PYTHON'
import ctypes, os, re, signal, socket, subprocess, sys, time

libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
name, log = sys.argv[1:3]
inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
inbox.settimeout(60)
inbox.bind(name)

def daemon(pid, body):
    # The shell becomes the daemon, which so has the number that $$ is.
    command = ["sh", "-c", f"WATCHDOG_PID={pid} exec penstockd"]
    child = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2600000"}, stderr=open(log, "a"))
    try:
        return body(child)
    finally:
        child.kill()
        child.wait()

def hear(wanted):
    while (state := inbox.recv(4096).decode()) != wanted:
        assert state in ("READY=1", "WATCHDOG=1", "STOPPING=1"), state

def trace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit(f"ptrace {request}: {os.strerror(ctypes.get_errno())}")

def stuck(child):
    hear("READY=1")
    for _ in range(3):
        hear("WATCHDOG=1")
    thread = next(int(t) for t in os.listdir(f"/proc/{child.pid}/task")
                  if open(f"/proc/{child.pid}/task/{t}/comm").read() == "penstock-rounds\n")
    trace(SEIZE, thread)
    trace(INTERRUPT, thread)
    os.waitpid(thread, 0x40000000)  # __WALL
    deadline = time.monotonic() + 60
    while "thread is stuck" not in open(log).read():
        assert time.monotonic() < deadline, "a thread that is stuck is not told of"
        time.sleep(0.02)
    inbox.setblocking(False)
    try:
        while inbox.recv(4096): pass
    except BlockingIOError:
        pass
    inbox.settimeout(60)
    trace(DETACH, thread)
    hear("WATCHDOG=1")
    child.terminate()
    hear("STOPPING=1")
    assert child.wait(60) == 0

def not_ours(child):
    assert inbox.recv(4096) == b"READY=1"
    child.terminate()
    assert inbox.recv(4096) == b"STOPPING=1"
    assert child.wait(60) == 0

daemon("$$", stuck)
daemon("1", not_ours)
PYTHON
python3 "$work/watchdog.py" "$work/watched" "$work/log" || fail "the watchdog"

# run FILE [VARIABLE=VALUE...]: a daemon with its stderr in the file, until it is ready and stopped again.
run() {
  local log=$1
  shift
  : >"$log"
  env "$@" penstockd 2>>"$log" &
  daemon=$!
  for ((i = 0; i < 3000; ++i)); do
    ! grep -q 'ready, bus' "$log" || break
    sleep 0.02
  done
  kill "$daemon"
  wait "$daemon" || fail "it ended with $?"
}
: >"$work/journal"
stream=$(stat -c '%d:%i' "$work/journal")
run "$work/journal" "JOURNAL_STREAM=$stream" NOTIFY_SOCKET=/nowhere
grep -qx '<6>ready, bus .*' "$work/journal" || fail "for the journal: $(cat "$work/journal")"
grep -qx '<4>the service manager was not told: /nowhere: No such file or directory' "$work/journal" ||
  fail "a socket that is not there: $(cat "$work/journal")"
run "$work/plain" "JOURNAL_STREAM=$stream"
grep -qEx '[0-9-]+T[0-9:.]+Z penstockd info: ready, bus .*' "$work/plain" || fail "not the journal: $(cat "$work/plain")"
printf '[topics]\nring = -1\n' >"$PENSTOCK_BUS/bus.toml"
: >"$work/journal"
stream=$(stat -c '%d:%i' "$work/journal")
JOURNAL_STREAM=$stream penstockd 2>>"$work/journal" && fail "wrong settings"
grep -q '^<3>.*bus.toml:2: ' "$work/journal" || fail "an error for the journal: $(cat "$work/journal")"

# wrong SETTINGS TEXT: --check-config ends with 2 and says this, in one line.
wrong() {
  local code=0
  printf '%b' "$1" >"$PENSTOCK_BUS/bus.toml"
  penstockd --check-config 2>"$work/error" || code=$?
  [ "$code" = 2 ] && [ "$(wc -l <"$work/error")" = 1 ] || fail "'$1' ended with $code: $(cat "$work/error")"
  grep -qF "$PENSTOCK_BUS/bus.toml:$2" "$work/error" || fail "'$1' is told as $(cat "$work/error")"
}
wrong '[topics]\n\nretention_byte = 1\n' '3: unknown key retention_byte in [topics]; did you mean retention_bytes?'
wrong '[daemon]\nchekpoint = "1s"\n' '2: unknown key chekpoint in [daemon]; did you mean checkpoint?'
wrong '[bus]\nwhatever = 1\n' '2: unknown key whatever in [bus]; there are shared_memory'
wrong '[topic]\nring = 1\n' '1: unknown table topic; did you mean topics?'
wrong '[metrics]\n' '1: unknown table metrics; there are bus, access, topics, daemon'
wrong 'ring = 1\n' '1: unknown key ring; there are bus, access, topics, daemon'
wrong '\ndaemon = 1\n' '2: daemon is a table; write [daemon] and its keys below'
wrong '[topics]\nring = "16MB or so"\n' '2: [topics] ring is not a size, such as 65536'
wrong '[topics]\nretain_unacked = "yes"\n' '2: [topics] retain_unacked is not true or false'
wrong '[topics\n' '1: '
printf '[topics]\nretention_time = "7d"\nretain_unacked = true\n' >"$PENSTOCK_BUS/bus.toml"
penstockd --check-config || fail "settings that are right"
# What is printed is settings that print the same.
penstockd --print-config >"$work/printed"
grep -q '^retain_unacked = true$' "$work/printed" || fail "a setting is not printed"
cp "$work/printed" "$PENSTOCK_BUS/bus.toml"
penstockd --print-config | diff "$work/printed" - >&2 || fail "printed settings are others"
