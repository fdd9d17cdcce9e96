"""The synchronisers under test, one adapter each: how each is told what to keep in step, and how it is run once.

All of them get the same task: all mailboxes, both ways, new mail, flags and removals, arrival dates kept, one attempt.
An adapter writes configuration and starts the program; it knows nothing of faults.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import mailtwin
from mailtwin.testing.realservers import HOST, Kind

__all__ = ["TOOLS", "Endpoint", "Held", "Interimap", "Mailtwin", "Mbsync", "OfflineImap", "Tool"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a side is: an account at a port (perhaps the proxy's), or a Maildir at `path`."""

    kind: Kind | None = None
    port: int = 0
    user: str = ""
    password: str = ""
    prefix: str = ""
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A message that a tool says it leaves to a person. `is_extra`: one copy too many, on that side, under that UID."""

    mailbox: str
    on_left: bool
    ref: str
    is_extra: bool


class Tool(ABC):
    """A synchroniser with its configuration in `home`. `marks`: header fields it is known to add to copies."""

    name: ClassVar[str]
    program: ClassVar[str]
    marks: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self, home: Path, left: Endpoint, right: Endpoint) -> None:
        self.home, self.left, self.right = home, left, right
        home.mkdir(parents=True, exist_ok=True)

    @classmethod
    def version(cls) -> str | None:
        """Which one is installed; None: none."""
        path = cls.path()
        if path is None:
            return None
        told = subprocess.run(
            [path, *cls.version_arguments()], capture_output=True, text=True, check=False, timeout=30
        )
        lines = (told.stdout + told.stderr).strip().splitlines()
        return lines[0] if lines else "unknown version"

    @classmethod
    def path(cls) -> str | None:
        """The program, if it is installed."""
        return shutil.which(cls.program)

    @classmethod
    def version_arguments(cls) -> list[str]:
        return ["--version"]

    @classmethod
    def unable(cls, left: Endpoint, right: Endpoint) -> str | None:
        """Why this tool cannot keep these two in step at all; None if it can."""
        del left, right
        return None

    @abstractmethod
    def prepare(self) -> None:
        """Writes the configuration."""

    @abstractmethod
    def arguments(self) -> list[str]:
        """The command of one run."""

    def environ(self) -> dict[str, str]:
        """The environment of one run: a home of its own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAILTWIN_", "XDG_"))}
        home = str(self.home)
        return {
            **kept,
            "HOME": home,
            "XDG_STATE_HOME": f"{home}/state",
            "XDG_CONFIG_HOME": f"{home}/config",
            "XDG_DATA_HOME": f"{home}/data",
        }

    def held(self) -> list[Held]:
        """What the tool leaves to a person, and says so."""
        return []


class Mailtwin(Tool):
    """mailtwin itself: the one that is imported here."""

    name = "mailtwin"
    program = "mailtwin"

    @classmethod
    def path(cls) -> str | None:
        return shutil.which(cls.program, path=str(Path(sys.executable).parent)) or shutil.which(cls.program)

    def prepare(self) -> None:
        pass

    def arguments(self) -> list[str]:
        # The hours that mailtwin leaves between attempts at a refused message do not pass in a trial.
        return [self.path() or self.program, "sync", "--quiet", "--retry", *self._sides()]

    def environ(self) -> dict[str, str]:
        source = str(Path(mailtwin.__file__).parent.parent)
        return {
            **super().environ(),
            "PYTHONPATH": source,
            # Compiled modules are half of the start, and are not to be written into the tree that is tested.
            "PYTHONPYCACHEPREFIX": str(self.home.parent / "bytecode"),
            "PYTHONDONTWRITEBYTECODE": "",
            "MAILTWIN_LEFT_PASSWORD": self.left.password,
            "MAILTWIN_RIGHT_PASSWORD": self.right.password,
        }

    def status(self) -> dict[str, Any]:
        """What `mailtwin status --json` says of the pair."""
        told = subprocess.run(
            [self.path() or self.program, "status", "--json", *self._sides()],
            env=self.environ(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        (status,) = (e for e in map(json.loads, told.stdout.splitlines()) if e["event"] == "status")
        return cast(dict[str, Any], status)

    def held(self) -> list[Held]:
        return [
            Held(one["mailbox"], one["source"] == "left", str(one["ref"]), one["kind"] == "extra")
            for one in self.status()["unresolved"]
        ]

    def _sides(self) -> list[str]:
        return [_address(self.left), _address(self.right)]


def _address(end: Endpoint) -> str:
    return f"maildir:{end.path}" if end.path else f"imap://{end.user}@{HOST}:{end.port}/"


class Mbsync(Tool):
    """isync's mbsync: `Create Both`, `Expunge Both`, pipelining as it comes."""

    name = "mbsync"
    program = "mbsync"
    marks = (b"X-TUID",)

    def prepare(self) -> None:
        state = self.home / "mbsync"
        state.mkdir(exist_ok=True)
        stores = "".join(self._store(name, end) for name, end in (("left", self.left), ("right", self.right)))
        self._config.write_text(
            f"{stores}Channel twin\nFar :left:\nNear :right:\nPatterns INBOX Work\nCreate Both\nExpunge Both\n"
            f"CopyArrivalDate yes\nSync All\nSyncState {state}/\n"
        )

    @property
    def _config(self) -> Path:
        return self.home / "mbsyncrc"

    def _store(self, name: str, end: Endpoint) -> str:
        if end.path:
            return f"MaildirStore {name}\nPath {end.path}/\nInbox {end.path}\nSubFolders Maildir++\n\n"
        path = f"Path {end.prefix}\n" if end.prefix else ""
        return (
            f"IMAPAccount {name}\nHost {HOST}\nPort {end.port}\nUser {end.user}\nPass {end.password}\n"
            f"SSLType None\nAuthMechs LOGIN\nTimeout 20\n\nIMAPStore {name}\nAccount {name}\n{path}\n"
        )

    def arguments(self) -> list[str]:
        return [self.program, "-c", str(self._config), "twin"]


class OfflineImap(Tool):
    """OfflineIMAP (Debian's offlineimap3): no colours, one connection for each side."""

    name = "offlineimap"
    program = "offlineimap"
    marks = (b"X-OfflineIMAP",)

    def prepare(self) -> None:
        repositories = self._repository("left", self.left) + self._repository("right", self.right)
        # Of a Maildir and an account the Maildir has to be the local one.
        local, remote = ("left", "right") if self.right.path is None else ("right", "left")
        self._config.write_text(
            f"[general]\naccounts = twin\nmetadata = {self.home}/offlineimap\nsocktimeout = 20\n\n"
            f"[Account twin]\nlocalrepository = {local}\nremoterepository = {remote}\n\n{repositories}"
        )

    @property
    def _config(self) -> Path:
        return self.home / "offlineimaprc"

    def _repository(self, name: str, end: Endpoint) -> str:
        if end.path:
            return (
                f"[Repository {name}]\ntype = Maildir\nlocalfolders = {end.path}\nutime_from_header = no\n\n"
            )
        return (
            f"[Repository {name}]\ntype = IMAP\nremotehost = {HOST}\nremoteport = {end.port}\n"
            f"remoteuser = {end.user}\nremotepass = {end.password}\nssl = no\nstarttls = no\n"
            "maxconnections = 1\n\n"
        )

    @classmethod
    def unable(cls, left: Endpoint, right: Endpoint) -> str | None:
        if left.path or right.path:
            return "its Maildir layouts have no INBOX in the root"
        return None

    def arguments(self) -> list[str]:
        return [self.program, "-o", "-u", "basic", "-c", str(self._config)]


class Interimap(Tool):
    """interimap: servers with QRESYNC on both sides only."""

    name = "interimap"
    program = "interimap"

    @classmethod
    def unable(cls, left: Endpoint, right: Endpoint) -> str | None:
        if left.path or right.path:
            return "it knows no Maildir"
        if "courier" in (left.kind, right.kind):
            return "it needs QRESYNC, which Courier has not"
        return None

    def prepare(self) -> None:
        sections = "".join(
            f"[{name}]\ntype = imap\nhost = {HOST}\nport = {end.port}\nusername = {end.user}\n"
            f"password = {end.password}\nSTARTTLS = NO\ncompress = NO\nauth = LOGIN PLAIN\n\n"
            for name, end in (("local", self.left), ("remote", self.right))
        )
        self._config.write_text(f"database = {self.home}/interimap.db\n\n{sections}")
        self._config.chmod(0o600)

    @property
    def _config(self) -> Path:
        return self.home / "interimaprc"

    def arguments(self) -> list[str]:
        return [self.program, "--config", str(self._config)]


TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Mailtwin, Mbsync, OfflineImap, Interimap)}
