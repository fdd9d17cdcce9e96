"""Processes in namespaces of their own: an unpacked tree laid over /usr, and nothing left when they end.

The servers have compiled-in paths (/usr/lib/dovecot, /etc/courier, /run/courier). A private mount namespace makes
those true for them alone; the mounts end with it. A private process namespace makes stopping certain: when its first
process ends, the kernel kills the rest. That first process ends with the server, or when the writing end of its
standard input closes, which happens even if this process is killed.

The run directory appears as /mnt inside, so that sockets have short names and an unprivileged server process need
not pass through directories that only root may enter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from mailtwin.testing._packages import RealServerError

__all__ = ["INSIDE", "LOG", "start", "stop"]

INSIDE: Final = "/mnt"
"""Where the run directory is seen inside the namespace."""
LOG: Final = "log"
"""Everything the processes print, in the run directory."""

_CAP_SYS_ADMIN: Final = 21
_STOP_TIMEOUT_S: Final = 5
# Run by bash as the first process, with $tree and $directory set. Overlays are read-only: they have no upper layer,
# which also lets them lie on another overlay. `serve` starts the server in the background; what comes after it must
# not be started before, or the server would hold our standard input too.
_FIRST_PROCESS: Final = f"""
set -e
mount -t overlay none -o "lowerdir=$tree/usr:/usr" /usr
if [ -d "$directory/etc" ]; then mount -t overlay none -o "lowerdir=$directory/etc:/etc" /etc; fi
if [ -d "$directory/etc/courier" ]; then mount --bind "$directory/etc/courier" /etc/courier; fi
mount --bind "$directory" {INSIDE}
mount --bind {INSIDE}/run /run
cd {INSIDE}
. {INSIDE}/serve
exec 3<&0
cat <&3 >/dev/null &
wait -n
"""


def start(tree: Path, directory: Path, script: str) -> subprocess.Popen[bytes]:
    """Run a bash script with `tree` over /usr and `directory` as /mnt; its output goes to the log in `directory`.

    The script runs as root and puts what stays running into the background; when the first of these ends, all do.
    Raises RealServerError when this process may not make namespaces.
    """
    _require_privilege()
    if any(mark in str(path) for path in (tree, directory) for mark in ":,\\"):
        raise RealServerError(
            f"{tree} or {directory}: an overlay cannot have a path with a colon, comma or backslash"
        )
    (directory / "run").mkdir(exist_ok=True)
    directory.chmod(0o711)
    (directory / "serve").write_text(script)
    unshare = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    with (directory / LOG).open("ab") as log:
        return subprocess.Popen(
            [*unshare, "bash", "-c", _FIRST_PROCESS],
            cwd="/",
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C",
                "tree": str(tree),
                "directory": str(directory),
            },
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End everything that `start` started, and wait for it; harmless when it has ended already."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _require_privilege() -> None:
    missing = [tool for tool in ("bash", "mount", "unshare") if shutil.which(tool) is None]
    if missing:
        raise RealServerError(f"{', '.join(missing)} missing: real servers need util-linux and mount")
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
    if os.geteuid() != 0 or not capabilities >> _CAP_SYS_ADMIN & 1:
        raise RealServerError(
            "real servers need root with CAP_SYS_ADMIN, to lay their unpacked packages over /usr in a private"
            " mount namespace; a container has it only if started with --privileged or --cap-add SYS_ADMIN"
        )
