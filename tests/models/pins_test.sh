#!/usr/bin/env bash
# What a reader reads in place is not overwritten: see pins.pml.
. "$(dirname "$0")/search.sh"

holds pins "-DREADERS=1 -DEVENTS=6"
for precaution in SECOND ANNOUNCE LOOK LAST; do
  fails pins "-DREADERS=1 -DEVENTS=4 -D$precaution=0"
done
exit "$failed"
