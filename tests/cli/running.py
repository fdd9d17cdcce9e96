"""The real program, as a process of its own, and servers for it in this one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailtwin.testing.corpus import messages
from mailtwin.testing.manners import PLAIN, Manners
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

PROGRAM = shutil.which("mailtwin", path=str(Path(sys.executable).parent)) or "mailtwin"
CERTIFICATE = Path(__file__).parent.parent / "testing" / "localhost.pem"
PASSWORD = "sesame"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a process left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON, one object per line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Program:
    """Runs `mailtwin` with a home of its own."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    async def start(
        self, *arguments: object, limit: Callable[[], None] | None = None, wrapper: Sequence[str] = ()
    ) -> asyncio.subprocess.Process:
        """Starts it and does not wait. `limit` is called in the new process; `wrapper` is a command that runs it."""
        environ = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("MAILTWIN_", "XDG_"))
            },
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "MAILTWIN_LEFT_PASSWORD": PASSWORD,
            "MAILTWIN_RIGHT_PASSWORD": PASSWORD,
            **self.environ,
        }
        return await asyncio.create_subprocess_exec(
            *wrapper,
            PROGRAM,
            *map(str, arguments),
            env=environ,
            cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=limit,
        )

    async def run(
        self, *arguments: object, limit: Callable[[], None] | None = None, wrapper: Sequence[str] = ()
    ) -> Ended:
        """Runs it to its end."""
        return await wait(await self.start(*arguments, limit=limit, wrapper=wrapper))


async def wait(process: asyncio.subprocess.Process) -> Ended:
    """Waits for the end of a process; kills it when it takes implausibly long."""
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def interrupt_when(
    process: asyncio.subprocess.Process, seen: Callable[[], bool], which: signal.Signals
) -> None:
    """Sends a signal as soon as `seen` is true."""
    for _ in range(5_000):
        if seen():
            break
        await asyncio.sleep(0.002)
    process.send_signal(which)


def account(
    count: int = 0, *, mailboxes: Sequence[str] = ("INBOX",), seed: int = 1
) -> tuple[SimMail, SimAccount]:
    """An account `me` with `count` messages in each of these mailboxes."""
    mail = SimMail()
    found = mail.add_account("me", PASSWORD)
    source = messages(seed, count * len(mailboxes))
    for name in mailboxes:
        mailbox = found[name] if name in found else found.create(name)
        for _ in range(count):
            message = next(source)
            mailbox.append(message.body, message.flags, message.date)
    return mail, found


@asynccontextmanager
async def serving(
    mail: SimMail, manners: Manners = PLAIN, **options: Any
) -> AsyncIterator[tuple[SimServer, str]]:
    """A server and its address."""
    async with SimServer(mail, manners, **options) as server:
        scheme = "imaps" if options.get("tls") else "imap"
        yield server, f"{scheme}://me@{server.host}:{server.port}/"


def contents(found: SimAccount) -> dict[str, list[bytes]]:
    """All messages of an account, by mailbox."""
    return {name: sorted(found[name].bodies()) for name in found.names()}
