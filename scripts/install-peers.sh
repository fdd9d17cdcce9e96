#!/bin/sh
# The synchronisers that tests and `make faults` run beside mailtwin, from Debian: those named, or all. As root; what cannot
# be had the table of `make faults` says.
set -eu
export DEBIAN_FRONTEND=noninteractive
for pair in mbsync:isync offlineimap:offlineimap3 interimap:interimap; do
  case " ${*:-${pair%%:*}} " in *" ${pair%%:*} "*) ;; *) continue ;; esac
  command -v "${pair%%:*}" >/dev/null && continue
  apt-get install -y -q --no-install-recommends "${pair##*:}" ||
    { apt-get update -q; apt-get install -y -q --no-install-recommends "${pair##*:}"; } ||
    echo "no ${pair##*:} for this system" >&2
done
