#!/bin/sh
# The synchronisers that `make faults` runs beside mailtwin, from Debian. As root; what cannot be had the table says.
set -eu
export DEBIAN_FRONTEND=noninteractive
for pair in mbsync:isync offlineimap:offlineimap3 interimap:interimap; do
  command -v "${pair%%:*}" >/dev/null && continue
  apt-get install -y -q --no-install-recommends "${pair##*:}" ||
    { apt-get update -q; apt-get install -y -q --no-install-recommends "${pair##*:}"; } ||
    echo "no ${pair##*:} for this system" >&2
done
