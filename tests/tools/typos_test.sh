#!/usr/bin/env bash
# What people mistype: each is refused with one line that says which word is wrong and what is right, and leaves nothing
# behind.
set -euo pipefail
. tests/main_job/common.sh
: >"$work/log"
export NO_COLOR=1

# wrong CODE TEXT COMMAND...: it ends so and says that, in one line and nothing else.
wrong() {
  local want=$1 text=$2 code=0
  shift 2
  "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
  [ "$code" = "$want" ] || fail "exit $code, not $want: $* -- $(cat "$work/err")"
  [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" = 1 ] || fail "not one line: $* -- $(cat "$work/out" "$work/err")"
  grep -qF -- "$text" "$work/err" || fail "$*: $(cat "$work/err"), and not: $text"
}

# --- Before there is a bus.
wrong 3 "there is no bus in $PENSTOCK_BUS; name another directory (--bus, PENSTOCK_BUS), or make one" \
  penstock topic list
wrong 2 'the directory is empty; name one, or leave the option out' penstock --bus '' topic list
wrong 3 '/etc is no bus and holds other files' penstock --bus /etc topic list
wrong 2 '/etc/passwd is not a directory' penstock --bus /etc/passwd topic list
[ ! -e "$PENSTOCK_BUS" ] || fail "a mistake made the bus"

# --- Commands and options.
wrong 2 "there is no command 'topc'; did you mean topic? See 'penstock --help'" penstock topc list
wrong 2 "there is no command 'lst'; did you mean list? See 'penstock topic --help'" penstock topic lst
wrong 2 "there is no command 'frobnicate'; see 'penstock --help'" penstock frobnicate
wrong 2 "there is no command 'help'; did you mean --help?" penstock help
wrong 2 'a command is missing: create, set, list, describe or delete' penstock topic
wrong 2 'there is no option --rnig; did you mean --ring?' penstock topic create t --rnig 1MiB
wrong 2 'there is no option --jsno; did you mean --json?' penstock topic list --jsno
wrong 2 'there is no option --bsu; did you mean --bus?' penstock --bsu=/x topic list
wrong 2 'there is no option --frobnicate; see' penstock pub t x --frobnicate
wrong 2 "there is no option --follow here; it belongs to: dump; see 'penstock sub --help'" penstock sub t --follow
wrong 2 'there is no option --folow; did you mean --follow, which belongs to: dump?' penstock sub t --folow
wrong 2 'there is no option --folow; did you mean --follow? See' penstock dump t --folow
wrong 2 'there is no option --lease here; it belongs to: sub, group set; see' penstock dump t --lease=1m
wrong 2 'there is no option -n here; it belongs to: ' penstock pub t x -n 3
wrong 2 "'two' is one word too many; put what has blanks in quotes" penstock pub t one two
[ ! -e "$PENSTOCK_BUS" ] || fail "a mistake made the bus"

# --- Values.
penstock topic create orders --ring 64KiB
penstock sub orders --group billing --exit-at-end
wrong 2 "'1K' is not a size; give bytes or a unit, such as 64KiB" penstock topic create t --ring 1K
wrong 2 'a ring has 64KiB to 16GiB' penstock topic create t --ring 1KiB
wrong 2 "'dsk' is not one of memory, disk" penstock topic create t --durability dsk
wrong 2 "'dsk' cannot be awaited; give disk" penstock pub orders x --await dsk
wrong 2 "'30' is not a duration; give a number and a unit, such as 250ms" penstock pub orders x --ttl 30
wrong 2 "'' is not a duration" penstock sub orders --group g --backoff 1s,,2s
wrong 2 "'keys' is not one of parallel, key, strict" penstock sub orders --group g --ordering keys
wrong 2 "'yesterday' is no place in a topic; give beginning, end, an offset, -N for the last N, or a time such as" \
  penstock sub orders --from yesterday
wrong 2 "'tomorrow' is not a time; give RFC 3339 such as" penstock pub orders x --deliver-at tomorrow
wrong 2 "'trace' is no header; give name=value" penstock pub orders x -H trace
wrong 2 "'%z' is no field; there are %t %o" penstock sub orders --format %z
wrong 2 'the options of a group need --group' penstock sub orders --max-attempts 3

# --- Names of topics, groups and files, and patterns.
wrong 2 "'orders..x' is no topic's name; names are words of [A-Za-z0-9_-] joined by dots" \
  penstock topic create orders..x
wrong 2 "'orders x' is no topic's name" penstock pub 'orders x' y
for command in "topic describe" "topic delete --yes" dump verify; do
  # shellcheck disable=SC2086  # its words
  wrong 3 'topic order: does not exist; did you mean orders?' penstock $command order
done
wrong 3 'topic Orders: does not exist; did you mean orders?' penstock dump Orders
wrong 3 'topic shipments: does not exist; check the name, or create it' penstock dump shipments
wrong 3 'there is no topic oders (did you mean orders?); look at' penstock sub oders --exit-at-end
for command in "group describe" "group seek --to end" "group delete --yes" "dlq show" "dlq redrive" "group pause"; do
  # shellcheck disable=SC2086
  wrong 3 'group biling: does not exist; did you mean billing?' penstock $command biling
done
wrong 2 'patterns: * for one whole word, ** at the end for the rest' penstock sub 'or*'
wrong 2 'patterns: * for one whole word, ** at the end for the rest' penstock sub '**.created' --group g
wrong 3 'orders/00.seg: there is no such file; a topic is named without a slash' penstock dump orders/00.seg
wrong 3 'there is no such file; a topic is named without a slash' penstock verify orders/00.seg
wrong 2 'look into it with' penstock sub ./orders
wrong 1 'it has max-attempts 5, not 9' penstock sub orders --group billing --max-attempts 9
[ "$(penstock topic list --json | jq -r .name)" = orders ] || fail "a mistake made a topic"
[ "$(penstock group list --json | jq -r .group)" = billing ] || fail "a mistake made a group"

# Without --exit-at-end a topic may come later: it is said which one is waited for, and which may have been meant.
penstock sub oders --from beginning -n 1 >"$work/out" 2>"$work/err" &
told() { grep -qF 'there is no topic oders (did you mean orders?) yet; waiting for it' "$work/err"; }
wait_for told
penstock pub oders now
wait $!
[ "$(cat "$work/out")" = now ] || fail "what came later: $(cat "$work/out")"

# --- bus.toml, by every program that reads it.
# settings TEXT LINE...: the file with these lines is refused so.
settings() {
  local text=$1
  shift
  printf '%s\n' "$@" >"$PENSTOCK_BUS/bus.toml"
  wrong 2 "$text" penstock topic list
  wrong 2 "$text" penstockd --check-config
  wrong 2 "$text" penstockd
}
settings 'bus.toml:2: unknown key rng in [topics]; did you mean ring?' '[topics]' 'rng = "1MiB"'
settings 'bus.toml:1: unknown table topcs; did you mean topics?' '[topcs]'
settings 'bus.toml:2: [daemon] io is not "auto" or "pwrite"' '[daemon]' 'io = "uring"'
settings 'bus.toml:2: [topics] ring is not a size, such as' '[topics]' 'ring = "large"'
settings 'bus.toml:2: [topics] retention_time is not a duration, such as' '[topics]' 'retention_time = 30'
settings 'texts, durations and sizes with a unit stand in quotes' '[topics]' 'ring = 1MiB'
rm "$PENSTOCK_BUS/bus.toml"

# --- The daemon's own.
wrong 2 "there is no option --bsu, did you mean --bus?" penstockd --bsu x
wrong 2 "'x' is one word too many" penstockd x
wrong 2 "'9100' is not an IP address and a port; give one such as" penstockd --metrics 9100
