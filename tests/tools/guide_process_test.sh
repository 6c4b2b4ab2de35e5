#!/bin/bash
# What the guide shows is true: its commands run as they stand, each page's in one shell, and print what stands below
# them; its C++ compiles.
set -u
cd "$(dirname "$0")/../.."
. tests/main_job/common.sh

fails=0
complain() {
  echo "guide: $1" >&2
  fails=$((fails + 1))
}

# The page's blocks of a kind, one a file: DIR/NUMBER.KIND, numbered as they stand.
split() {
  awk -v dir="$2" '/^```[a-z]+$/ { kind = substr($0, 4); file = sprintf("%s/%03d.%s", dir, ++n, kind); printf "" >file; next }
                   /^```$/ { file = ""; next }
                   file != "" { print >file }' "$1"
}

for page in tools/guide/*.md; do
  name=$(basename "$page" .md)
  mkdir -p "$work/$name/blocks"
  split "$page" "$work/$name/blocks"
  cd "$work/$name" || exit 1
  # One shell for the page; each block's output in a file of its own.
  {
    echo "set -e"
    for block in blocks/*.sh; do echo "exec >$block.out; . $block"; done
  } >page
  if [ -e blocks/001.sh ] || compgen -G 'blocks/*.sh' >/dev/null; then
    timeout 120 bash page 2>errors || complain "$page: a command failed: $(tail -n 3 errors)"
  fi
  for wanted in blocks/*.text; do
    [ -e "$wanted" ] || continue
    number=$(basename "$wanted" .text)
    shown=$(printf 'blocks/%03d.sh.out' $((10#$number - 1)))
    diff "$wanted" <(sed -e "\$a\\" "$shown") >difference 2>&1 || complain "$page, block $number: $(cat difference)"
  done
  cd - >/dev/null || exit 1
  for block in "$work/$name"/blocks/*.cpp; do
    [ -e "$block" ] || continue
    {
      echo '#include <penstock/daemon.hpp>'
      echo '#include <penstock/penstock.hpp>'
      echo 'using namespace std::chrono_literals;'
      echo 'int example(penstock::Bus& bus, penstock::Bytes bytes) {'
      cat "$block"
      echo '  return bytes.size() == 1; }'
    } >"$block.cc"
    "${CXX:-c++}" -std=c++20 -fsyntax-only -Itransport/include -Idaemon/include "$block.cc" || complain "$page: $(basename "$block") does not compile"
  done
done
[ "$fails" = 0 ] || exit 1
