#!/usr/bin/env bash
# Long commands, interrupted in the middle: they end with 130, say where they stopped, and going on from there gives
# exactly the rest.
set -euo pipefail
. tests/main_job/common.sh
: >"$work/log"
readonly events=200000

start_daemon
seq $events >"$work/all"
penstock pub numbers --await disk --quiet <"$work/all"
mkfifo "$work/pipe"

# asks PID: the command runs, and has a handler for SIGINT, which the shell had it ignore.
asks() {
  [[ $(readlink "/proc/$1/exe") == */penstock ]] &&
    [ $((0x$(sed -n 's/^SigCgt:\t//p' "/proc/$1/status" 2>/dev/null || true) & 2)) = 2 ]
}
# interrupt COMMAND...: a part of its output is read, then it is interrupted, then the rest is read; what came is in
# $work/got, what it said in $work/err.
interrupt() {
  local code=0
  "$@" >"$work/pipe" 2>"$work/err" &
  exec 4<"$work/pipe"
  head -c 100000 <&4 >"$work/got"
  kill -INT $!
  cat <&4 >>"$work/got"
  wait $! || code=$?
  exec 4<&-
  [ "$code" = 130 ] || fail "$*: ended with $code: $(cat "$work/err")"
  [ "$(wc -l <"$work/got")" -lt $events ] || fail "$*: was not interrupted"
}
# said PATTERN: what stands in its parentheses.
said() { sed -n "s/^penstock: .*$1.*/\1/p" "$work/err"; }

interrupt penstock dump numbers --format '%v\n'
at=$(said 'interrupted in numbers; go on with --from \([0-9]*\)')
penstock dump numbers --format '%v\n' --from "$at" | cat "$work/got" - | cmp - "$work/all" ||
  fail "dump: $(cat "$work/err")"

interrupt penstock dump numbers --format '%v\n' --reverse
at=$(said 'interrupted in numbers; go on with --reverse --to \([0-9]*\)')
penstock dump numbers --format '%v\n' --reverse --to "$at" | cat "$work/got" - | cmp - <(tac "$work/all") ||
  fail "dump --reverse: $(cat "$work/err")"

interrupt penstock sub numbers --from beginning
at=$(said 'interrupted; go on with --from \([0-9]*\)')
penstock sub numbers --from "$at" --exit-at-end | cat "$work/got" - | cmp - "$work/all" ||
  fail "sub: $(cat "$work/err")"

interrupt penstock sub numbers --group readers
[ "$(said 'interrupted after \([0-9]*\) events, which are acked; group readers goes on')" = "$(wc -l <"$work/got")" ] ||
  fail "sub --group, of $(wc -l <"$work/got"): $(cat "$work/err")"
penstock sub --group readers --exit-at-end | cat "$work/got" - | cmp - "$work/all" || fail "the group's rest"

# --- Nobody reads: it ends all the same, and says that its output is cut.
case $(uname -m) in x86_64) write=1 ;; aarch64) write=64 ;; *) write= ;; esac
penstock dump numbers >"$work/pipe" 2>"$work/err" &
exec 4<"$work/pipe"
head -c 1 <&4 >/dev/null
stuck() { [ "$(awk '{print $1}' "/proc/$!/syscall")" = "$write" ]; }
if [ -n "$write" ] && [ -n "$(cat "/proc/$!/syscall" 2>/dev/null)" ]; then
  wait_for stuck
  kill -INT $!
  code=0
  wait $! || code=$?
  [ "$code" = 130 ] && grep -q 'interrupted in numbers while nobody read its output' "$work/err" ||
    fail "dump to nobody: $code, $(cat "$work/err")"
else
  echo "not tried: output that nobody reads, since a system call cannot be seen here"
fi
exec 4<&-

# --- pub says how many events are in.
mkfifo "$work/input"
penstock pub few <"$work/input" 2>"$work/err" &
exec 5>"$work/input"
printf 'one\ntwo\nthree\n' >&5
in_it() { [ "$(penstock topic describe few --json 2>/dev/null | jq .next_offset)" = 3 ]; }
wait_for in_it
kill -INT $!
code=0
wait $! || code=$?
exec 5>&-
[ "$code" = 130 ] && grep -q 'interrupted; 3 events were published' "$work/err" || fail "pub: $code, $(cat "$work/err")"

# --- verify ends after the file at hand, and has told of those before it.
mapfile -t often < <(yes numbers | head -10000)
penstock verify "${often[@]}" >"$work/got" 2>"$work/err" &
wait_for asks $!
kill -INT $!
code=0
wait $! || code=$?
[ "$code" = 130 ] || fail "verify: $code, $(cat "$work/err")"
[ "$(said 'verify: interrupted.* after \([0-9]*\) files, which are told above')" = "$(wc -l <"$work/got")" ] ||
  fail "verify: $(cat "$work/got" "$work/err")"

# --- Redriving: the same command goes on with the others.
seq 5 | penstock pub jobs --quiet
penstock sub jobs --group desk --exec 'exit 100' --exit-at-end 2>/dev/null
: >"$work/got"
penstock dlq redrive desk --rate 0.01 --json >"$work/got" 2>"$work/err" &
some() { [ -s "$work/got" ]; }
wait_for some
kill -INT $!
code=0
wait $! || code=$?
[ "$code" = 130 ] && [ "$(said 'redrive: interrupted after \([0-9]*\) of 5 letters')" = 1 ] ||
  fail "redrive: $code, $(cat "$work/err")"
[ "$(penstock dlq redrive desk --json | tail -1 | jq .redriven)" = 4 ] || fail "not the other four"
# shellcheck disable=SC2016  # the handler's variable
penstock sub --group desk --exec 'read -r n; echo "$n"' --exit-at-end 2>/dev/null | sort | cmp - <(seq 5) ||
  fail "what was redriven: $(penstock group describe desk)"

# --- A benchmark leaves nothing behind.
mkdir "$work/scratch"
TMPDIR=$work/scratch penstock bench --duration 1h >"$work/got" 2>"$work/err" &
began() { [ -n "$(ls "$work/scratch")" ] && asks $!; }
wait_for began
kill -INT $!
code=0
wait $! || code=$?
[ "$code" = 130 ] && grep -q 'bench: interrupted' "$work/err" || fail "bench: $code, $(cat "$work/err")"
[ -z "$(ls "$work/scratch")" ] || fail "bench left $(ls "$work/scratch")"
