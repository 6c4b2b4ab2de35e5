#!/usr/bin/env bash
# The unit, users and folders for systemd, as systemd's own checkers see them, and that they are installed where it looks.
set -euo pipefail
for checker in systemd-analyze systemd-sysusers systemd-tmpfiles; do
  command -v "$checker" >/dev/null || {
    echo "skipped: $checker is missing (package systemd)"
    exit 77
  }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*" >&2
  exit 1
}
build=$PENSTOCK_BIN/..
unit=$work/penstockd@shop.service

# The unit as it is installed, but with this build's program. What is wrong with it is told on stderr alone.
program=$(sed -n 's|^ExecStart=\([^ ]*\) .*|\1|p' "$build/service/penstockd@.service")
[ "${program##*/}" = penstockd ] && [ "${program#/}" != "$program" ] || fail "the unit starts '$program'"
sed "s|^ExecStart=[^ ]*|ExecStart=$PENSTOCK_BIN/penstockd|" "$build/service/penstockd@.service" >"$unit"
verify() { SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$1" >"$work/told" 2>&1; }
verify "$unit" && [ ! -s "$work/told" ] || fail "$(cat "$work/told")"
systemd-analyze security --offline=yes --threshold=25 "$unit" >"$work/told" || fail "the unit is more exposed: $(tail -1 "$work/told")"
# They do look.
mkdir "$work/wrong"
sed 's/^ProtectClock=/ProtectClok=/' "$unit" >"$work/wrong/penstockd@shop.service"
verify "$work/wrong/penstockd@shop.service" || true
grep -q ProtectClok "$work/told" || fail "an unknown setting is not noticed"
sed '/^Protect\|^Private\|^SystemCall/d' "$unit" >"$work/wrong/penstockd@shop.service"
if systemd-analyze security --offline=yes --threshold=25 "$work/wrong/penstockd@shop.service" >/dev/null; then
  fail "a unit without protection passes"
fi

# The user and the folder that the unit names.
mkdir "$work/root"
systemd-sysusers --dry-run --root="$work/root" "$PWD/tools/service/sysusers.conf" >"$work/told" 2>&1 || fail "$(cat "$work/told")"
grep -q "$(sed -n 's/^User=//p' "$unit")" tools/service/sysusers.conf || fail "another user"
sed "s/ penstock penstock / $(id -un) $(id -gn) /" tools/service/tmpfiles.conf >"$work/tmpfiles.conf"
systemd-tmpfiles --create --root="$work/root" "$work/tmpfiles.conf" >"$work/told" 2>&1 || fail "$(cat "$work/told")"
[ "$(stat -c %a "$work/root/var/lib/penstock")" = 755 ] || fail "no /var/lib/penstock"

# Where systemd, and people, look below the prefix.
DESTDIR=$work/installed cmake -P "$build/tools/cmake_install.cmake" >"$work/told" || fail "$(cat "$work/told")"
for file in lib/systemd/system/penstockd@.service lib/sysusers.d/penstock.conf lib/tmpfiles.d/penstock.conf \
  share/penstock/grafana-dashboard.json share/penstock/alerts.yml; do
  [ -n "$(find "$work/installed" -path "*/$file")" ] || fail "$file is not installed"
done
