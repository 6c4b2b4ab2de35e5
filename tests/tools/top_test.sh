#!/usr/bin/env bash
# penstock top and stats --watch on a terminal, on one that can do nothing, and redirected.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
: >"$work/log"

penstock topic create payment.confirmed --durability memory
penstock pub payment.confirmed one
cat >"$work/terminal.py" <<'PYTHON'
import fcntl, os, pty, re, select, struct, subprocess, sys, termios, time

def run(arguments, end, columns=100, rows=20, term="xterm", resize=False):
    """On a terminal of its own until some pictures were drawn, then `end` is typed. What it wrote, and how it ended."""
    ours, theirs = pty.openpty()
    size = lambda c, r: fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", r, c, 0, 0))
    size(columns, rows)
    before = termios.tcgetattr(theirs)
    child = subprocess.Popen(["penstock", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                             preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env={**os.environ, "TERM": term})
    wrote, typed, last, deadline = b"", False, 2, time.monotonic() + 120
    try:
        while child.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.05)[0]:
                wrote += os.read(ours, 65536)
            elif time.monotonic() > deadline:
                sys.exit(f"{arguments}: no end: {wrote!r}")
            pictures = wrote.count(b"TOPIC ")
            if pictures >= 2 and resize:
                size(30, 5)
                resize, last = False, pictures + 2
            if pictures >= last and not resize and not typed:
                os.write(ours, end)
                typed = True
    finally:
        child.kill()
    if termios.tcgetattr(theirs) != before:
        sys.exit(f"{arguments}: the terminal is left otherwise")
    return wrote.decode(), child.returncode

def check(what, truth, shown=""):
    if not truth:
        sys.exit(f"{what}: {shown!r}")

TAKE, GIVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
for arguments in (["top"], ["stats", "--watch", "50ms"]):
    for end, code in ((b"q", 0), (b"\x03", 130)):
        wrote, ended = run(arguments, end)
        check("how it ended", ended == code, ended)
        check("takes the other screen and gives it back", wrote.startswith(TAKE) and wrote.rstrip("\r\n").endswith(GIVE), wrote)
        check("never clears all, which flickers", "\x1b[2J" not in wrote, wrote)
        check("shows the topic", re.search(r"payment\.confirmed +memory +1 ", wrote), wrote)
        check("shows the bus", os.environ["PENSTOCK_BUS"] + ": no daemon runs" in wrote, wrote)

wrote, _ = run(["stats", "--watch", "50ms"], b"q", resize=True)
last = wrote.removesuffix(GIVE).rsplit("\x1b[H", 1)[1]
lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", last.split(GIVE)[0]).split("\r\n")
check("a smaller terminal has a smaller picture", len(lines) <= 5 and max(map(len, lines)) <= 30, lines)

wrote, ended = run(["stats", "--watch", "50ms"], b"\x03", term="dumb")
check("how it ended", ended == 130, ended)
check("no sequences for a terminal that has none", "\x1b[?" not in wrote and "\x1b[H" not in wrote, wrote)
PYTHON
NO_COLOR=1 python3 "$work/terminal.py" >&2 || fail "on a terminal"

# Redirected: one table below the other, and a reader that goes ends it.
penstock stats --watch 10ms | head -6 >"$work/frames"
[ "$(grep -c '^TOPIC ' "$work/frames")" = 2 ] || fail "frames: $(cat "$work/frames")"
penstock stats --watch 10ms --json | head -3 | jq -se 'length == 3 and all(.name == "payment.confirmed")' >/dev/null || fail "JSON"
! grep -q $'\x1b' "$work/frames" || fail "sequences in a file"
