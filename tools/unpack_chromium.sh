#!/usr/bin/env bash
# Unpacks Debian's Chromium, and what it lacks here, into a folder; nothing is installed.
#
#   tools/unpack_chromium.sh FOLDER    # FOLDER/bin/chromium runs it
#
# For the tests of the report in a browser, which are skipped where there is none.
set -euo pipefail

folder="$(mkdir -p "$1" && cd "$1" && pwd)"
command -v apt-get >/dev/null || { echo "no apt-get here" >&2; exit 1; }
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/bin" "$folder/tree"
options=(-qq -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder/cache"
         -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
apt-get "${options[@]}" update
apt-get "${options[@]}" --no-install-recommends --download-only --yes install chromium
for package in "$folder"/cache/archives/*.deb; do dpkg --extract "$package" "$folder/tree"; done
rm -r "$folder/lists" "$folder/cache"

libraries="$(find "$folder/tree/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)"
{
  echo '#!/bin/sh'
  echo "export LD_LIBRARY_PATH=\"$libraries\""
  # Fonts that are here are found as they are.
  [ ! -e "$folder/tree/etc/fonts" ] || echo "export FONTCONFIG_SYSROOT=\"$folder/tree\""
  echo "exec \"$folder/tree/usr/lib/chromium/chromium\" \"\$@\""
} >"$folder/bin/chromium"
chmod +x "$folder/bin/chromium"
"$folder/bin/chromium" --headless --no-sandbox --disable-gpu --dump-dom about:blank 2>/dev/null |
  grep -q '<html>' || { echo "it does not run here" >&2; exit 1; }
