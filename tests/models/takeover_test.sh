#!/usr/bin/env bash
# A topic of one producer gets another: see takeover.pml.
. "$(dirname "$0")/search.sh"

holds takeover "-DOWNERS=2 -DCLAIMS=3"
holds takeover "-DOWNERS=2 -DCLAIMS=3 -DLAP=0"
for precaution in WHOLE PASS WALK TAG HEADER; do
  fails takeover "-DOWNERS=2 -DCLAIMS=3 -D$precaution=0"
done
exit "$failed"
