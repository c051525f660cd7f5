#!/usr/bin/env bash
# Has prometheus, promtool, alertmanager and amtool: those on PATH, else Debian's, unpacked into the directory
# $1 and not installed, so that no service is started and no user made. Takes no input.
set -euo pipefail
into=$1
templates=/usr/share/prometheus/alertmanager # Debian's alertmanager looks for its templates nowhere else

missing() { ! PATH="$into/usr/bin:$PATH" command -v "$1" >/dev/null; }

packages=()
if missing prometheus || missing promtool; then packages+=(prometheus); fi
if missing amtool || { missing alertmanager && missing prometheus-alertmanager; }; then
  packages+=(prometheus-alertmanager)
fi
if [ ${#packages[@]} -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "prometheus, promtool, alertmanager and amtool are needed on PATH" >&2
  exit 3
fi
echo "== test-metrics: fetching ${packages[*]} with apt-get"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt-get update -qq
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}")
mkdir -p "$into"
for archive in "$work"/*.deb; do dpkg-deb -x "$archive" "$into"; done
if [ -d "$into$templates" ] && [ ! -e "$templates" ]; then
  mkdir -p "${templates%/*}"
  cp -r "$into$templates" "$templates"
fi
