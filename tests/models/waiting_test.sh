#!/usr/bin/env bash
# Nobody sleeps in front of a committed event: see waiting.pml.
. "$(dirname "$0")/search.sh"

holds waiting "-DBELLS=1"
holds waiting "-DBELLS=2 -DSINGLE=1 -DEVENTS=2"
holds waiting "-DBELLS=2 -DUNFENCED=1 -DEVENTS=2"
fails waiting "-DBELLS=2 -DUNFENCED=1 -DEVENTS=2 -DFENCE=0"
holds waiting "-DBELLS=1 -DUNFENCED=2"
fails waiting "-DBELLS=1 -DUNFENCED=2 -DFENCE=0"
fails waiting "-DBELLS=1 -DUNFENCED=2 -DFENCE=2"
for precaution in TOGETHER LISTEN FIRST AGAIN BOUND; do
  fails waiting "-DBELLS=2 -D$precaution=0"
done
fails waiting "-DBELLS=1 -DWAKERS=0"
exit "$failed"
