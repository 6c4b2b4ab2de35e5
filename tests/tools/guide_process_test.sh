#!/bin/bash
# What the guide and the README show is true: their fenced blocks of commands, Python and JavaScript run as they stand,
# each page's in one shell, and print what stands below them; their C++ and C compiles. Whole programs of the README are
# also run: its C++ and C by tests/install/outside_process_test.sh, its Python and JavaScript by the bindings' tests.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/main_job/common.sh
build=$(cd "$PENSTOCK_BIN/.." && pwd)
export PYTHONPATH=$build/python NODE_PATH=$build/node PYTHONDONTWRITEBYTECODE=1

fails=0
complain() {
  echo "guide: $1" >&2
  fails=$((fails + 1))
}

# A block's kind is its fence's first word, a mark the second. Those of a mark or language that is not to be had are left
# out, with what they print.
declare -A missing=()
if grep -q '^PENSTOCK_SANITIZE:[A-Z]*=.' "$build/CMakeCache.txt"; then
  missing[python]="no interpreter runs with a sanitized library" missing[js]=${missing[python]}
fi
[ -d "$PYTHONPATH/penstock" ] || missing[python]="the Python package is not built"
[ -d "$NODE_PATH/penstock" ] && command -v node >/dev/null || missing[js]="the package for Node.js is not built"
# What is marked root makes users: in an /etc of its own, with programs that all of them reach.
alone=()
if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
  missing[root]="it wants root, and a mount namespace"
else
  chmod 755 "$work" && cp -a /etc "$work/etc" && install -D -t "$work/bin" "$PENSTOCK_BIN/penstock" "$PENSTOCK_BIN/penstockd"
  # shellcheck disable=SC2016  # the other shell's
  alone=(unshare --mount sh -c 'mount --bind "$0" /etc && exec "$@"' "$work/etc" env PATH="$work/bin:$PATH")
fi

# The page's blocks, one a file: blocks/NUMBER.KIND, numbered as they stand; those that are left out as NUMBER.KIND.left.
split() {
  local without=" ${!missing[*]} "
  [ "$name" != README ] || without+="python js "
  awk -v without="$without" '
    /^```[a-z]+( [a-z]+)?$/ {
      kind = substr($1, 4); left = index(without, " " kind " ") || (NF > 1 && index(without, " " $2 " "))
      if (kind == "text") left = before
      before = left; file = sprintf("blocks/%03d.%s%s", ++n, kind, left ? ".left" : ""); printf "" >file; next }
    /^```$/ { file = ""; next }
    file != "" { print >file }' "$1"
  find blocks -type f -exec sed -i "s:/var/lib/shop:$PWD/shop:g" {} +
}
# Runs the blocks in one shell; what each prints in a file of its own.
run_page() {
  local block
  {
    echo 'set -e; trap "kill \$(jobs -p) 2>/dev/null || true; wait || true" EXIT'
    for block in blocks/*.sh blocks/*.python blocks/*.js; do
      [ -e "$block" ] || continue
      case $block in
        *.sh) echo "${block#*/} . $block" ;;
        *.python) echo "${block#*/} /usr/bin/python3 -X dev - <$block" ;;
        *.js) echo "${block#*/} node - <$block" ;;
      esac
    done | sort | while read -r name command; do echo "exec >blocks/$name.out; $command"; done
  } >page
  "${alone[@]}" timeout 120 bash page 2>errors
}
# compiles FILE COMPILER...: a block stands in the middle of a function, or is a program.
compiles() {
  local block=$1
  shift
  if grep -q '^int main' "$block"; then
    cp "$block" "$block.unit"
  else
    {
      echo '#include <penstock/daemon.hpp>'
      echo '#include <penstock/penstock.hpp>'
      echo 'using namespace std::chrono_literals;'
      echo 'int example(penstock::Bus& bus, penstock::Bytes bytes) {'
      cat "$block"
      echo '  return bytes.size() == 1; }'
    } >"$block.unit"
  fi
  "$@" -fsyntax-only -Itransport/include -Idaemon/include -Ibindings/c/include "$block.unit"
}

for page in README.md tools/guide/*.md; do
  name=$(basename "$page" .md)
  mkdir -p "$work/$name/blocks"
  # Links to files of the project lead somewhere; the guide's, which is installed alone, to itself.
  while read -r link; do
    [ -e "$(dirname "$page")/${link%%#*}" ] || complain "$page: $link leads nowhere"
    [[ $page != tools/guide/* || $link != */* ]] || complain "$page: $link leads out of the guide"
  done < <(grep -oE '\]\([^): ]+\)' "$page" | tr -d '])(')
  page=$PWD/$page
  cd "$work/$name" || exit 1
  # What examples call that is the reader's: a producer of lines, and a command that ships an order.
  printf '#!/bin/sh\nprintf "order-17:paid\\norder-18:paid\\n"\n' >producer
  printf '#!/bin/sh\ncat >/dev/null\n' >ship
  chmod +x producer ship
  split "$page"
  run_page || complain "$page: a command failed: $(tail -n 3 errors)"
  for wanted in blocks/*.text; do
    [ -e "$wanted" ] || continue
    shown=$(printf 'blocks/%03d.' $((10#$(basename "$wanted" .text) - 1)))
    diff "$wanted" <(sed -e "\$a\\" "$shown"*.out) >difference 2>&1 || complain "$page, $wanted: $(cat difference)"
  done
  cd - >/dev/null || exit 1
  for block in "$work/$name"/blocks/*.cpp; do
    [ ! -e "$block" ] || compiles "$block" "${CXX:-c++}" -std=c++20 -x c++ || complain "$page: $(basename "$block") does not compile"
  done
  for block in "$work/$name"/blocks/*.c; do
    [ ! -e "$block" ] || compiles "$block" "${CC:-cc}" -std=c11 -x c || complain "$page: $(basename "$block") does not compile"
  done
done
for kind in "${!missing[@]}"; do echo "left out: blocks of kind $kind, since ${missing[$kind]}"; done
[ "$fails" = 0 ] || exit 1
