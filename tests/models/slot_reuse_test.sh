#!/usr/bin/env bash
# A slot begins another life: see slot_reuse.pml.
. "$(dirname "$0")/search.sh"

holds slot_reuse "-DLIVES=2 -DKILLS=1"
fails slot_reuse "-DLIVES=2 -DL=1 -DRAISE=0"
for precaution in FIRST LOCKED NEEDED INRING CACHE; do
  fails slot_reuse "-DLIVES=2 -DKILLS=2 -D$precaution=0"
done
exit "$failed"
