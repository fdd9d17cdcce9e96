"""What a simulated service allows: connections, bytes a day, commands before a pause, the life of a session.

`Limits` is a value of switches, all off by default; `Meter` counts for one server, by the clock of its mail (so a test
moves time by moving the clock). The answers are those that clients of Gmail and Exchange report.

Read next: `mailtwin.testing.simsession`, which asks before each command.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from mailtwin.testing.simmail import SimAccount, SimMail

__all__ = ["Judgement", "Limits", "Meter", "Throttle"]


class Throttle(Enum):
    """How a server asks for a pause."""

    OK = "ok"
    """`OK Success [THROTTLED]`, and the answer broke off after its first response: Gmail."""
    BAD = "bad"
    """`BAD Request is throttled. Suggested Backoff Time: n milliseconds`, nothing done: Exchange."""
    NO = "no"
    """`NO [LIMIT] Rate limit hit.`, nothing done: Yahoo."""
    BYE = "bye"
    """`* BYE Connection is closed. 14`, and the connection ends: Exchange."""
    RAW = "raw"
    """`Server Unavailable. 15`, a line without tag or star, and the connection ends: Exchange."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The switches. None: no limit."""

    max_connections: int | None = None
    """More logins of an account get `NO [ALERT] Too many simultaneous connections.`: Gmail 15, Exchange 20."""
    download_daily: int | None = None
    """Bytes sent to an account in a day (of the mail's clock, UTC); beyond, every command is `NO [OVERQUOTA] Account
    exceeded command or bandwidth limits.` until the next: Gmail 2,500 MB."""
    upload_daily: int | None = None
    """Bytes of APPEND in a day; beyond, APPEND is refused so: Gmail 500 MB."""
    storage: int | None = None
    """Bytes of mail in an account; an APPEND beyond is `NO [OVERQUOTA] Out of storage space.`: everybody."""
    throttle: Throttle = Throttle.OK
    """How a pause is asked for."""
    throttle_every: int | None = None
    """Each n-th command of an account after login is throttled."""
    backoff_ms: int = 5000
    """The pause that `throttle=bad` suggests, in milliseconds."""
    error_limit: int | None = None
    """After so many BADs in a connection it ends: Exchange, 10."""
    pipeline_limit: int | None = None
    """A command behind which so many others wait unread is BAD: Exchange, about 50."""
    session_s: int | None = None
    """A session ends after so many seconds with `BYE Session expired, please login again.`: Gmail, 24 hours."""
    token_bye: str | None = None
    """A session ends when its OAuth token does, with a BYE of this text: Exchange's `Session invalidated -
    AccessTokenExpired`, Gmail's `Session expired, please login again.`"""
    idle_limit_s: int | None = None
    """IDLE ends after so many seconds (of the wall) with a BYE: Yahoo, 300."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            number = getattr(self, name)
            if isinstance(number, int) and not isinstance(number, bool) and number < 1:
                raise ValueError(f"{name} must be at least 1, or None for no limit")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to say instead of doing a command: a status with text and code, or the last words of the connection."""

    status: str
    text: str
    code: str | None = None
    throttled: bool = False
    """Do it, and break off the answer."""


class Meter:
    """The counts of one server. `account` is the name that logged in."""

    def __init__(self, limits: Limits, mail: SimMail) -> None:
        self.limits = limits
        self._mail = mail
        self.connections: Counter[str] = Counter()
        self.downloaded: Counter[tuple[str, date]] = Counter()
        self.uploaded: Counter[tuple[str, date]] = Counter()
        self._commands: Counter[str] = Counter()

    def now(self) -> datetime:
        """The time by the clock of the mail."""
        return self._mail.clock()

    def sent(self, account: str, size: int) -> None:
        """So many bytes went to a client."""
        self.downloaded[account, self.now().date()] += size

    def received(self, account: str, size: int) -> None:
        """So many bytes of mail came from a client."""
        self.uploaded[account, self.now().date()] += size

    def at_login(self, account: str) -> Judgement | None:
        """Whether the account has a connection left."""
        most = self.limits.max_connections
        if most is not None and self.connections[account] >= most:
            return Judgement("NO", "Too many simultaneous connections. (Failure)", "ALERT")
        return None

    def at_command(self, account: str, since: datetime) -> Judgement | None:
        """What stands against a command of a session that logged in at `since`; the command is counted."""
        limits, now = self.limits, self.now()
        if limits.session_s is not None and now - since >= timedelta(seconds=limits.session_s):
            return Judgement("BYE", "Session expired, please login again.")
        budget = limits.download_daily
        if budget is not None and self.downloaded[account, now.date()] >= budget:
            return Judgement("NO", "Account exceeded command or bandwidth limits. (Failure)", "OVERQUOTA")
        self._commands[account] += 1
        if limits.throttle_every is not None and self._commands[account] % limits.throttle_every == 0:
            return self._pause()
        return None

    def at_append(self, account: str, size: int, holder: SimAccount) -> Judgement | None:
        """What stands against a message of `size` bytes more."""
        budget = self.limits.upload_daily
        if budget is not None and self.uploaded[account, self.now().date()] + size > budget:
            return Judgement("NO", "Account exceeded command or bandwidth limits. (Failure)", "OVERQUOTA")
        if self.limits.storage is not None and holder.size() + size > self.limits.storage:
            return Judgement("NO", "Out of storage space. (Failure)", "OVERQUOTA")
        return None

    def _pause(self) -> Judgement:
        asked = f"Request is throttled. Suggested Backoff Time: {self.limits.backoff_ms} milliseconds"
        return {
            Throttle.OK: Judgement("OK", "Success [THROTTLED]", throttled=True),
            Throttle.BAD: Judgement("BAD", asked),
            Throttle.NO: Judgement("NO", "Rate limit hit.", "LIMIT"),
            Throttle.BYE: Judgement("BYE", "Connection is closed. 14"),
            Throttle.RAW: Judgement("RAW", "Server Unavailable. 15"),
        }[self.limits.throttle]
