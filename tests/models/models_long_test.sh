#!/usr/bin/env bash
# The spin models with bounds that take minutes; the quick ones are in the scripts beside this one.
# PENSTOCK_MODEL_BITS (default 26) sizes the table of states where a model is too large to be searched to its end: a
# larger one searches further and longer.
. "$(dirname "$0")/search.sh"

holds slot_reuse "-DLIVES=2 -DKILLS=2"
holds slot_reuse "-DLIVES=2 -DKILLS=1 -DORDER=0"
holds takeover "-DOWNERS=3 -DCLAIMS=3"
holds waiting "-DBELLS=2"

pan_options=-w${PENSTOCK_MODEL_BITS:-26}
holds claim_and_death "-DCLAIMS=2" -DBITSTATE
for precaution in RECHECK TAGFIRST ALTERNATE PROOF; do
  fails claim_and_death "-DCLAIMS=2 -D$precaution=0" -DBITSTATE
done
holds pins "-DREADERS=2 -DEVENTS=4" -DBITSTATE
holds takeover "-DOWNERS=3 -DCLAIMS=4" -DBITSTATE
holds slot_reuse "-DLIVES=3 -DKILLS=2" -DBITSTATE
exit "$failed"
