#!/usr/bin/env bash
# Penstock as a part of another project's build: add_subdirectory, with the C++ library, the daemon and the C library.
set -euo pipefail
. "$(dirname "$0")/outside.sh"
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
# What the outer project did not ask for stays out.
project inner 'C CXX' daemon.cpp 'penstock::daemon penstock::c' \
  "add_subdirectory($PWD penstock EXCLUDE_FROM_ALL)" \
  'if(TARGET penstock_tests OR CPACK_GENERATOR)' 'message(FATAL_ERROR "tests or packages of Penstock")' 'endif()'
builds inner -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -g1" "${launcher[@]}"
[ ! -e "$work/inner/build/bin/penstock" ] || fail "programs nobody asked for were built"
