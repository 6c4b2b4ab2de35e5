#!/usr/bin/env bash
# Reads the #include lines and refuses one that points upward:
#   layout <- {shm, log, group, io} <- storage <- api <- {daemon, bindings, tools, tests, bench}
# Boost.Interprocess is named only in transport/shm, liburing only in transport/io, and a public header includes the
# standard library, tl::expected and other public headers alone. Those depend on nothing of ours, so anyone may
# include them, except that the transport knows no daemon.
# The rules are tried first on trees made to break them, so that a rule that stopped biting is noticed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

# violations TREE: prints one line for each include that breaks a rule.
violations() {
  (cd "$1" && find transport daemon bindings tools -type f \( -name '*.hpp' -o -name '*.cpp' -o -name '*.h' -o -name '*.c' \) \
    -exec grep -nHE '^[[:space:]]*#[[:space:]]*include' {} + 2>/dev/null | sort) | awk '
    BEGIN {
      rank["layout"] = 0
      rank["shm"] = rank["log"] = rank["group"] = rank["io"] = 1
      rank["storage"] = 2
      rank["api"] = 3
    }
    function refuse(why) { print file ":" line ": " target ": " why }
    {
      file = $0; sub(/:.*/, "", file)
      line = $0; sub(/^[^:]*:/, "", line); sub(/:.*/, "", line)
      text = $0; sub(/^[^:]*:[^:]*:[^<"]*/, "", text)
      quoted = substr(text, 1, 1) == "\""
      target = substr(text, 2); sub(/[>"].*/, "", target)
      inner = target; sub(/^transport\//, "", inner)
      split(file, from, "/"); split(inner, to, "/")

      if (target ~ /(^|\/)\.\.\//) refuse("climbs out of its folder; name it from its root")
      if (target ~ /^boost\/interprocess/ && file !~ /^transport\/shm\//)
        refuse("only transport/shm names Boost.Interprocess")
      if (target ~ /^liburing/ && file !~ /^transport\/io\//) refuse("only transport/io names liburing")
      if (target ~ /^(tests|bench)\//) refuse("points upward")

      if (file ~ /^(transport|daemon|bindings\/[^\/]*)\/include\//) {
        if (quoted) refuse("a public header names public headers, in angle brackets")
        else if (target !~ /^(penstock\/|tl\/expected\.hpp$|[a-z_0-9]+$|(std[a-z]*|time|errno|string|sys\/[a-z]*)\.h$)/)
          refuse("a public header includes the standard library and tl::expected alone")
      }
      if (from[1] == "transport") {
        if (target ~ /^(daemon|tools|bindings)\// || target == "penstock/daemon.hpp") refuse("points upward")
        if (to[1] in rank && from[2] in rank && to[1] != from[2] && rank[to[1]] >= rank[from[2]])
          refuse("transport/" from[2] " may include only what is below it")
        if (target ~ /^boost\// && from[2] != "shm") refuse("Boost stays in transport/shm")
      }
      if (from[1] == "daemon" && target ~ /^(tools|bindings)\//) refuse("points upward")
      if (from[1] == "bindings" && (to[1] in rank || target ~ /^(daemon|tools)\//))
        refuse("a binding is written over the public headers alone")
    }'
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# rule FILE INCLUDE good|bad: a tree of one file with one include is accepted or refused.
rule() {
  local tree=$scratch/tree found
  rm -rf "$tree"
  mkdir -p "$tree/$(dirname "$1")"
  printf '// first line\n  # include %s  // why\n' "$2" >"$tree/$1"
  found=$(violations "$tree" || true)
  if [ "$3" = bad ] && [ -z "$found" ]; then
    echo "the rules let $1 include $2"
    failed=1
  elif [ "$3" = good ] && [ -n "$found" ]; then
    echo "the rules refuse what is allowed: $found"
    failed=1
  fi
}

rule transport/log/ring.cpp '"layout/record.hpp"' good
rule transport/log/ring.cpp '"log/ring.hpp"' good
rule transport/log/ring.cpp '<penstock/error.hpp>' good
rule transport/log/ring.cpp '"shm/mapping.hpp"' bad
rule transport/log/ring.cpp '"storage/segment.hpp"' bad
rule transport/log/ring.cpp '"transport/api/bus.hpp"' bad
rule transport/log/ring.cpp '"../api/bus.hpp"' bad
rule transport/log/ring.cpp '<penstock/daemon.hpp>' bad
rule transport/api/bus.cpp '"daemon/persister.hpp"' bad
rule transport/api/bus.cpp '"storage/segment.hpp"' good
rule transport/api/bus.cpp '<liburing.h>' bad
rule transport/io/uring.cpp '<liburing.h>' good
rule transport/io/uring.cpp '<boost/interprocess/mapped_region.hpp>' bad
rule transport/shm/mapping.cpp '<boost/interprocess/mapped_region.hpp>' good
rule daemon/metrics.cpp '<boost/beast/http.hpp>' good
rule daemon/metrics.cpp '<boost/interprocess/mapped_region.hpp>' bad
rule daemon/metrics.cpp '"tools/penstock/stats.hpp"' bad
rule transport/include/penstock/bus.hpp '<penstock/error.hpp>' good
rule transport/include/penstock/bus.hpp '<tl/expected.hpp>' good
rule transport/include/penstock/bus.hpp '<string_view>' good
rule transport/include/penstock/bus.hpp '"layout/record.hpp"' bad
rule transport/include/penstock/bus.hpp '<layout/record.hpp>' bad
rule transport/include/penstock/bus.hpp '<boost/version.hpp>' bad
rule daemon/include/penstock/daemon.hpp '<liburing.h>' bad
rule bindings/c/bus.cpp '"log/ring.hpp"' bad
rule bindings/c/bus.cpp '"bindings/c/internal.hpp"' good
rule bindings/c/include/penstock/penstock.h '<stdint.h>' good

found=$(violations "$root" || true)
if [ -n "$found" ]; then
  printf '%s\n' "$found"
  failed=1
fi
exit "$failed"
