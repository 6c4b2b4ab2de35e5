# Sourced by the scripts that take the disk away: mounts of their own, a small disk, and what was called durable.

# in_own_mounts SCRIPT [ARGUMENT...]: runs the calling script anew where its mounts are nobody else's and go with it.
in_own_mounts() {
  [ -z "${PENSTOCK_OWN_MOUNTS:-}" ] || return 0
  local as
  for as in -m -rm; do
    unshare "$as" mount -t tmpfs none /mnt 2>/dev/null || continue
    PENSTOCK_OWN_MOUNTS=1 exec unshare "$as" "$@"
  done
  echo "skipped: nothing can be mounted here, which takes root or user namespaces"
  exit 77
}
# small_disk SIZE SEGMENT: the bus lies on a disk of that size, with segments of that size. Chance goes by SEED, which is
# told.
small_disk() {
  local seed=${SEED:-$RANDOM}
  RANDOM=$seed
  echo "SEED=$seed"
  mkdir "$PENSTOCK_BUS"
  mount -t tmpfs -o "size=$1" none "$PENSTOCK_BUS"
  trap 'finish 2>/dev/null || true; umount -l "$PENSTOCK_BUS"; rm -rf "$work"' EXIT
  printf '[daemon]\nsegment_bytes = "%s"\n' "$2" >"$PENSTOCK_BUS/bus.toml"
}
kill_daemon() {
  kill -KILL "$daemon"
  wait "$daemon" 2>/dev/null || true
  daemon=
}
durable_error() { penstock topic describe "$1" --json | jq .durable_error; }
errs_with() { [ "$(durable_error "$1")" = "$2" ]; }

# payloads COUNT BYTES: lines of nearly so many bytes, each another, that go on where the last call ended.
line=0
payloads() {
  awk -v from="$line" -v n="$1" -v bytes="$2" 'BEGIN {
    for (i = from; i < from + n; ++i) {
      text = "event " i " "
      while (length(text) < bytes) text = text text
      print substr(text, 1, bytes - i % 100)
    }
  }'
}
# publish_durably TOPIC COUNT BYTES: adds those that were acknowledged as durable, with their offsets, to $work/durable,
# and what pub said to $work/pub. Ends as pub does.
publish_durably() {
  local code=0
  payloads "$2" "$3" >"$work/payloads"
  line=$((line + $2))
  penstock pub "$1" --await disk --json <"$work/payloads" >"$work/acks" 2>"$work/pub" || code=$?
  jq -r .offset "$work/acks" | paste - <(head -n "$(wc -l <"$work/acks")" "$work/payloads") >>"$work/durable"
  return $code
}
# Everything in $work/durable is in the topic, at its offset and whole; and nothing on disk is broken.
durable_is_there() {
  penstock dump "$1" --format '%o\t%v\n' >"$work/dumped" || fail "$2: dump ended with $?"
  sort "$work/dumped" | comm -23 <(sort "$work/durable") - >"$work/lost"
  [ ! -s "$work/lost" ] || fail "$2: $(wc -l <"$work/lost") of $(wc -l <"$work/durable") durable events are not there: $(cut -c1-40 "$work/lost" | head -5)"
  penstock verify >"$work/verified" || fail "$2: verify: $(cat "$work/verified")"
}
