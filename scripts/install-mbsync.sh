#!/bin/sh
# The tests of the simulated server want mbsync (Debian's isync) as a foreign client. As root; does nothing when it is there.
set -eu
command -v mbsync >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends isync || { apt-get update -q; apt-get install -y -q --no-install-recommends isync; }
