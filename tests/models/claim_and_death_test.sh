#!/usr/bin/env bash
# Two readers give every offset the same, right verdict: see claim_and_death.pml. As far as a small table of states goes;
# models_long_test.sh goes further.
. "$(dirname "$0")/search.sh"

pan_options=-w24
holds claim_and_death "-DCLAIMS=2" -DBITSTATE
for precaution in RECHECK TAGFIRST ALTERNATE PROOF; do
  fails claim_and_death "-DCLAIMS=2 -D$precaution=0" -DBITSTATE
done
exit "$failed"
