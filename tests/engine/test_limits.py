"""A provider's limits, on simulated providers and a clock set by hand: what is used, what waits, who logs in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync
from mailtwin.engine.findings import Verification
from mailtwin.engine.metering import Meter
from mailtwin.engine.report import (
    Event,
    MailboxFinished,
    Progress,
    Reconnecting,
    Reporter,
    RunReport,
    ignore_events,
)
from mailtwin.engine.sync import PAUSE_S_MAX, REST_S, THROTTLED_S
from mailtwin.engine.verify import compare_stores, verify
from mailtwin.errors import ExitCode, LimitError, LoginError, MailtwinError, ThrottledError
from mailtwin.model import MailboxName
from mailtwin.model.traffic import DAY_S, NO_LIMITS, DailyLimits, Traffic, Way
from mailtwin.planner import Policy
from mailtwin.planner.operations import Phase
from mailtwin.state import Ledger, State
from mailtwin.stores.imap import ImapStore
from mailtwin.testing.interrupts import Interrupted
from mailtwin.testing.providers import EXCHANGE, GMAIL, Provider
from mailtwin.testing.simfaults import cut
from mailtwin.testing.simlimits import Limits
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

HOUR_S = 3600.0
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC).timestamp()
KIB = 1024
MESSAGE_BYTES = 20_000
"""Much more than a listing, so that bodies are what a day is used up by."""

WORDY_GMAIL = GMAIL.switch("textless_codes=no")
"""One that says what is the matter."""

PLAIN_GMAIL = WORDY_GMAIL.switch("download_daily=none", "upload_daily=none")
"""With nothing that its limits could have against us: what is held back is held back by ourselves."""


def body(number: int) -> bytes:
    head = f"Message-ID: <{number}@limits.example>\r\nSubject: {number}\r\nFrom: a@b.example\r\n\r\n"
    line = f"line of message {number} ".ljust(78, "x").encode() + b"\r\n"
    return head.encode() + line * ((MESSAGE_BYTES - len(head)) // len(line))


@dataclass
class Served:
    """A provider with one account, and how its store is made."""

    server: SimServer
    account: SimAccount
    limits: DailyLimits = NO_LIMITS
    credentials: Callable[[], Credentials] = lambda: Credentials("alice", Secret("secret"))

    def fill(self, numbers: range, mailbox: str = "INBOX") -> None:
        if mailbox not in self.account.names():
            self.account.create(mailbox)
        for number in numbers:
            self.account[mailbox].append(body(number))

    def store(self) -> ImapStore:
        endpoint = Endpoint("127.0.0.1", self.server.port, "plain")
        return ImapStore(endpoint, self.credentials, "alice", self.limits)

    def bodies_asked(self) -> Counter[int]:
        """How often each UID's body was asked for, in whatever mailbox."""
        found: Counter[int] = Counter()
        for _, line in self.server.transcript:
            asked = re.search(rb"UID FETCH ([\d,:]+) .*BODY\.PEEK\[\]", line)
            for part in asked[1].split(b",") if asked else ():
                first, _, last = part.partition(b":")
                found.update(range(int(first), int(last or first) + 1))
        return found

    @property
    def logins(self) -> int:
        """How many times somebody tried to log in."""
        return sum(b" LOGIN " in line or b" AUTHENTICATE " in line for _, line in self.server.transcript)

    @property
    def downloaded(self) -> int:
        """The bytes that ever came from the account after its logins."""
        return sum(self.server.meter.downloaded.values())


@dataclass
class World:
    """Two providers, one clock, and the directory that everything is remembered in."""

    directory: Path
    now: float = START
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @asynccontextmanager
    async def serve(self, provider: Provider = PLAIN_GMAIL, **limits: int) -> AsyncIterator[Served]:
        mail = SimMail(clock=lambda: datetime.fromtimestamp(self.now, UTC))
        account = provider.add_account(mail, "alice", "secret", "token 1")
        async with provider.server(mail) as server:
            yield Served(server, account, DailyLimits(**limits))

    def ledger(self) -> Ledger:
        return Ledger.open(self.directory / "accounts.ledger", now=lambda: self.now)

    async def run(
        self,
        left: Served,
        right: Served,
        report: Reporter = ignore_events,
        *,
        retry: bool = False,
        mailboxes: tuple[str, ...] = ("INBOX",),
        policy: Policy | None = None,
    ) -> RunReport:
        """One run, as a program of its own would make it."""
        with self.ledger() as ledger:
            stores = (left.store(), right.store())
            pair = Pair(
                *stores,
                policy=policy or Policy(),
                select={MailboxName.parse(name) for name in mailboxes}.__contains__,
                retry=retry,
                sleep=self.sleep,
                now=lambda: self.now,
                meter=Meter(ledger, stores),
            )
            one, two = (store.address for store in stores)
            path = self.directory / f"{left.server.port}-{right.server.port}.db"
            with State.open(path, left=one, right=two, now=lambda: self.now) as state:
                try:
                    return await sync(pair, state, report)
                finally:
                    assert state.check() == []

    async def prove(self, left: Served, right: Served) -> Verification:
        """A verification, as a program of its own would make it."""
        with self.ledger() as ledger:
            stores = (left.store(), right.store())
            pair = Pair(
                *stores,
                select=MailboxName.parse("INBOX").__eq__,
                sleep=self.sleep,
                now=lambda: self.now,
                meter=Meter(ledger, stores),
            )
            one, two = (store.address for store in stores)
            path = self.directory / f"{left.server.port}-{right.server.port}.db"
            with State.open(path, left=one, right=two, now=lambda: self.now) as state:
                return await verify(pair, state)

    def used(self, served: Served, way: Way) -> int:
        """What the ledger says was used of the account in the last day."""
        with self.ledger() as ledger:
            (use,) = Meter(ledger, (served.store(),)).uses()
            return use.used(way)

    async def settle(self, left: Served, right: Served, runs: int = 8) -> list[RunReport]:
        """Runs, each at the moment that the one before foretold, until both sides are in step."""
        reports = []
        for _ in range(runs):
            reports.append(await self.run(left, right))
            if reports[-1].in_step:
                return reports
            self.now = goes_on(reports[-1]) + 1
        raise AssertionError(reports[-1].problems)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def goes_on(report: RunReport) -> float:
    """When a report says that it goes on."""
    moments = [p.error.until for p in report.problems if isinstance(p.error, LimitError) and p.error.until]
    assert moments, report.problems
    return max(moments)


async def assert_identical(left: Served, right: Served, count: int) -> None:
    assert len(left.account["INBOX"]) == len(right.account["INBOX"]) == count
    verified = await compare_stores(left.store(), right.store())
    assert not [finding for finding in verified.differences if finding.mailbox == "INBOX"]


# --- the budget of a day ---------------------------------------------------------------------------------------------


async def test_three_days(world: World) -> None:
    """30 messages of 20 kB, 300 kB a day: three days, each body once, and never more than the limit in 24 hours."""
    limit = 300_000
    async with world.serve(down=limit) as left, world.serve() as right:
        left.fill(range(30))
        told = []
        report = RunReport()
        for day in range(3):
            began = left.downloaded
            report = await world.run(left, right)
            assert world.used(left, Way.DOWN) <= limit
            assert left.downloaded - began <= limit
            told.append(len(right.account["INBOX"]))
            if report.in_step:
                break
            assert day < 2, report.problems
            assert report.exit_code is ExitCode.UNREACHABLE
            assert report.is_news
            waiting, standing = [problem.error.message for problem in report.problems]
            assert waiting.startswith(f"{30 - told[-1]} messages wait (")
            assert "MiB downloaded in the last 24 hours, of 0.3 MiB; " in standing
            moment = goes_on(report)
            assert world.now + 23 * HOUR_S < moment <= world.now + 25 * HOUR_S
            await an_early_run_does_next_to_nothing(world, left, right)
            world.now = moment
        assert report.in_step
        assert told[0] in range(11, 14)
        assert told[-1] == 30
        assert max(left.bodies_asked().values()) == 1, "a body was asked for twice"
        with world.ledger() as ledger:
            assert ledger.account(left.store().account).left == ()
        await assert_identical(left, right, 30)


async def an_early_run_does_next_to_nothing(world: World, left: Served, right: Served) -> None:
    bytes_before, bodies = left.downloaded, left.bodies_asked()
    world.now += HOUR_S
    early = await world.run(left, right)
    world.now -= HOUR_S
    assert not early.in_step
    assert not early.is_news, "the run before told it"
    assert early.exit_code is ExitCode.UNREACHABLE
    assert left.bodies_asked() == bodies
    assert left.downloaded - bytes_before < 4_000, "hardly more than a login and a list"


async def test_it_is_done_when_it_was_said(world: World) -> None:
    async with world.serve(down=300_000) as left, world.serve() as right:
        left.fill(range(60))
        report = await world.run(left, right)
        (use,) = [use for use in report.uses if use.limits != NO_LIMITS and use.limits.down == 300_000]
        said = use.record.on_the_clock(use.done_s(Way.DOWN))
        assert 4 * DAY_S < said - world.now < 6 * DAY_S
        await world.settle(left, right, 20)
        assert abs(world.now - said) <= DAY_S
        await assert_identical(left, right, 60)


async def test_uploads_have_a_limit_of_their_own(world: World) -> None:
    async with world.serve() as left, world.serve(up=300_000) as right:
        left.fill(range(30))
        reports = await world.settle(left, right)
        assert len(reports) == 3
        assert "uploaded in the last 24 hours" in reports[0].problems[-1].error.message
        assert all(world.used(right, Way.UP) <= 300_000 for _ in reports)
        assert max(left.bodies_asked().values()) == 1
        await assert_identical(left, right, 30)


async def test_flags_and_removals_go_on_while_copies_wait(world: World) -> None:
    async with world.serve(down=300_000) as left, world.serve() as right:
        left.fill(range(3))
        assert (await world.run(left, right)).in_step
        left.fill(range(3, 30))
        left.account["INBOX"].set_flags(1, {"\\Flagged"})
        right.account["INBOX"].set_flags(3, {"\\Seen"})
        right.account["INBOX"].remove(2)
        report = await world.run(left, right)
        assert not report.in_step
        done = report.counts
        assert (done.removed_left, done.flags_left, done.flags_right) == (1, 1, 1)
        assert 0 < done.copied_to_right < 27
        assert "\\Flagged" in right.account["INBOX"][1].flags
        await world.settle(left, right)
        await assert_identical(left, right, 29)


async def test_without_a_limit_nothing_is_held_back_and_all_is_counted(world: World) -> None:
    async with world.serve(down=0) as left, world.serve(PLAIN_GMAIL, down=0, up=0) as right:
        left.fill(range(5))
        assert (await world.run(left, right)).in_step
        sizes = sum(len(body(number)) for number in range(5))
        assert sizes < world.used(left, Way.DOWN) < sizes + 10 * KIB
        assert sizes < world.used(right, Way.UP) < sizes + 10 * KIB


async def test_a_provider_is_known_by_what_its_server_announces(world: World) -> None:
    async with world.serve() as left, world.serve(EXCHANGE) as right:
        left.fill(range(1))
        report = await world.run(left, right)
        assert [use.limits for use in report.uses] == [DailyLimits(2000 << 20, 400 << 20), NO_LIMITS]


async def test_a_message_larger_than_a_day_is_copied_when_the_day_is_free(world: World) -> None:
    async with world.serve(down=60_000) as left, world.serve() as right:
        left.fill(range(1))
        left.account["INBOX"].append(
            b"Message-ID: <big@limits.example>\r\n\r\n" + b"y" * 70 + b"\r\n" * 50_000
        )
        left.fill(range(2, 3))
        await world.settle(left, right)
        assert max(left.bodies_asked().values()) == 1
        await assert_identical(left, right, 3)


async def test_mailboxes_in_which_nothing_waits_go_on(world: World) -> None:
    async with world.serve(down=300_000) as left, world.serve() as right:
        left.fill(range(1), "Busy")
        left.fill(range(1), "Calm")
        both = ("Busy", "Calm")
        assert (await world.run(left, right, mailboxes=both)).in_step
        left.fill(range(1, 30), "Busy")
        await world.run(left, right, mailboxes=both)
        world.now += HOUR_S
        right.fill(range(40, 41), "Calm")
        report = await world.run(left, right, mailboxes=both)
        assert report.counts.copied_to_left == 1
        assert {str(result.name): result.in_step for result in report.mailboxes} == {
            "Busy": False,
            "Calm": True,
        }


async def test_two_pairs_share_an_account(world: World) -> None:
    limit = 300_000
    async with world.serve(down=limit) as shared, world.serve() as one, world.serve() as two:
        shared.fill(range(9))
        assert (await world.run(shared, one)).in_step
        report = await world.run(shared, two)
        assert not report.in_step
        assert world.used(shared, Way.DOWN) <= limit
        assert shared.downloaded <= limit
        assert len(two.account["INBOX"]) < 9
        await world.settle(shared, two)
        await assert_identical(shared, two, 9)
        # Nothing waits in the first pair, whatever waited in the other.
        assert (await world.run(shared, one)).in_step


async def test_all_of_a_day_used_ends_a_run_before_the_login(world: World) -> None:
    async with world.serve(down=300_000) as left, world.serve() as right:
        left.fill(range(3))
        with world.ledger() as ledger:
            ledger.charge(left.store().account, Traffic(300_000, 0))
        with pytest.raises(LimitError, match=r"downloaded in the last 24 hours, of 0\.3 MiB") as caught:
            await world.run(left, right)
        assert left.server.connections == right.server.connections == 0
        assert caught.value.exit_code is ExitCode.UNREACHABLE
        assert caught.value.until is not None
        world.now = caught.value.until
        assert (await world.run(left, right)).in_step


@pytest.mark.parametrize("portion", [1, 2])
async def test_a_killed_run_has_used_no_more_than_is_noted(
    world: World, portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailtwin.engine.metering.PORTION_MESSAGES_MAX", 4)
    limit = 300_000
    async with world.serve(down=limit) as left, world.serve() as right:
        left.fill(range(30))
        seen = 0

        def kill(event: Event) -> None:
            nonlocal seen
            if isinstance(event, Progress) and event.phase is Phase.COPY:
                seen += 1
                if seen == portion:
                    raise Interrupted("kill -9")

        # Who is killed charges nothing any more.
        monkeypatch.setattr(Meter, "charge", dying(Meter.charge, lambda: seen >= portion))
        with pytest.raises(Interrupted):
            await world.run(left, right, kill)
        monkeypatch.undo()
        monkeypatch.setattr("mailtwin.engine.metering.PORTION_MESSAGES_MAX", 4)
        slack = 4 * MESSAGE_BYTES
        assert left.downloaded - slack <= world.used(left, Way.DOWN) + 4 * KIB
        assert world.used(left, Way.DOWN) <= left.downloaded + slack
        report = await world.run(left, right)
        assert not report.in_step
        assert left.downloaded <= limit
        await world.settle(left, right)
        assert max(left.bodies_asked().values()) == 1, (
            "what was stored before the kill is not asked for again"
        )
        await assert_identical(left, right, 30)


def dying(charge: Callable[..., None], is_dead: Callable[[], bool]) -> Callable[..., None]:
    def charging(self: Meter, *arguments: object) -> None:
        if not is_dead():
            charge(self, *arguments)

    return charging


async def test_verification_ends_where_the_day_does_and_goes_on_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailtwin.engine.metering.PORTION_BYTES_MAX", 40_000)
    async with world.serve(down=0) as left, world.serve() as right:
        left.fill(range(30))
        assert (await world.run(left, right)).in_step
        world.now += 2 * DAY_S
        left.limits = DailyLimits(down=300_000)
        proved = None
        for _ in range(4):
            try:
                proved = await world.prove(left, right)
                break
            except LimitError:
                assert 280_000 < world.used(left, Way.DOWN) < 300_000 + 40_000 + 2 * MESSAGE_BYTES
                with pytest.raises(LimitError):
                    await world.prove(left, right)
                world.now += DAY_S + HOUR_S
        assert proved is not None
        assert proved.identical
        assert 0 < proved.read <= 40, "what was read on a day before is not read again"


# --- what providers say themselves -----------------------------------------------------------------------------------


async def test_a_locked_account_ends_the_run_at_once_and_rests_for_a_day(world: World) -> None:
    provider = WORDY_GMAIL.switch("download_daily=150000", "upload_daily=none")
    async with world.serve(provider, down=0) as left, world.serve() as right:
        left.fill(range(20))
        with pytest.raises(ThrottledError, match="command or bandwidth limits") as caught:
            await world.run(left, right)
        assert world.slept == [], "no pause helps"
        assert "no run logs in before 2026-03-02" in caught.value.hint
        assert left.logins == 1
        for hours in (0, 1, 10, 12.9):
            world.now = START + hours * HOUR_S
            with pytest.raises(LimitError, match="is left alone until 2026-03-02") as left_alone:
                await world.run(left, right)
            assert left_alone.value.exit_code is ExitCode.UNREACHABLE
        assert left.server.connections == right.server.connections == 1
        with pytest.raises(ThrottledError):
            await world.run(left, right, retry=True)
        assert left.logins == 2, "a person may know better, once"
        report = RunReport()
        for _ in range(5):
            world.now += DAY_S
            try:
                report = await world.run(left, right)
            except ThrottledError:
                continue
            break
        assert report.in_step
        assert left.logins <= 6
        left.server.meter.limits = Limits()
        await assert_identical(left, right, 20)


async def test_a_locked_account_that_is_written_to(world: World) -> None:
    provider = WORDY_GMAIL.switch("upload_daily=150000", "download_daily=none")
    async with world.serve() as left, world.serve(provider, up=0) as right:
        left.fill(range(10))
        with pytest.raises(ThrottledError, match="command or bandwidth limits"):
            await world.run(left, right)
        assert world.slept == []
        with pytest.raises(LimitError):
            await world.run(left, right)
        with world.ledger() as ledger:
            assert ledger.account(right.store().account).rest is not None
            assert ledger.account(left.store().account).rest is None, "the other one asked for nothing"
        world.now += DAY_S
        assert (await world.run(left, right)).in_step
        await assert_identical(left, right, 10)


async def test_throttled_in_the_middle_of_a_batch(world: World) -> None:
    """`OK Success [THROTTLED]` behind some of the bodies: a pause, and those that came are not asked for again."""
    provider = PLAIN_GMAIL.switch("throttle_every=9")
    async with world.serve(provider) as left, world.serve() as right:
        left.fill(range(6))
        events: list[Event] = []
        report = await world.run(left, right, events.append)
        assert report.in_step, report.problems
        pauses = [event.pause_s for event in events if isinstance(event, Reconnecting)]
        assert pauses
        assert set(pauses) <= set(THROTTLED_S)
        assert left.logins == 1 + len(pauses), "one login for each pause"
        assert all(count <= 1 + len(pauses) for count in left.bodies_asked().values())
        await assert_identical(left, right, 6)
        uploaded = right.server.counts["APPEND"]
        assert uploaded == 6


@pytest.mark.parametrize(
    ("backoff_ms", "ends"), [(5_000, False), (int(PAUSE_S_MAX * 1000), False), (7_200_000, True)]
)
async def test_a_suggested_pause_is_kept(world: World, backoff_ms: int, *, ends: bool) -> None:
    provider = EXCHANGE.switch("throttle_every=12", f"backoff_ms={backoff_ms}")
    async with world.serve(provider) as left, world.serve() as right:
        left.fill(range(3))
        if not ends:
            report = await world.run(left, right)
            for _ in range(3):
                report = await world.run(left, right)
            assert report.in_step, report.problems
            assert world.slept
            assert set(world.slept) <= {backoff_ms / 1000}
            return
        caught: MailtwinError | None = None
        for _ in range(6):
            try:
                await world.run(left, right)
            except ThrottledError as error:
                caught = error
                break
        assert caught is not None
        assert world.slept == []
        logins = left.logins
        world.now += 7_199
        with pytest.raises(LimitError, match="Suggested Backoff Time"):
            await world.run(left, right)
        assert left.logins == logins
        world.now += 1
        await world.run(left, right)


async def test_too_many_connections_is_one_login_and_a_rest(world: World) -> None:
    provider = PLAIN_GMAIL.switch("max_connections=1")
    async with world.serve(provider) as left, world.serve() as right:
        left.server.meter.connections["alice"] = 1
        with pytest.raises(ThrottledError, match="Too many simultaneous connections"):
            await world.run(left, right)
        assert left.logins == 1
        with pytest.raises(LimitError):
            await world.run(left, right)
        assert left.logins == 1
        left.server.meter.connections["alice"] = 0
        world.now += REST_S
        assert (await world.run(left, right)).in_step


async def test_a_login_refused_in_the_middle_of_a_run_is_not_repeated(world: World) -> None:
    async with world.serve() as left, world.serve() as right:
        left.fill(range(3))
        right.server.faults.add(cut("APPEND", nth=2))

        def change_password(event: Event) -> None:
            if isinstance(event, Reconnecting):
                right.account.password = "another"

        with pytest.raises(LoginError) as caught:
            await world.run(left, right, change_password)
        assert caught.value.exit_code is ExitCode.LOGIN
        assert right.logins == 2


async def test_a_session_that_expires_is_made_anew(world: World) -> None:
    provider = PLAIN_GMAIL.switch("session_s=3600")
    async with world.serve(provider) as left, world.serve() as right:
        left.fill(range(3), "A")
        left.fill(range(3), "B")

        def work_for_long(event: Event) -> None:
            if isinstance(event, MailboxFinished):
                world.now += 3000

        report = await world.run(left, right, work_for_long, mailboxes=("A", "B", "INBOX"))
        assert report.in_step, report.problems
        assert left.logins == 2
        assert len(right.account["B"]) == 3


async def test_a_token_that_ends_in_the_middle_of_a_run_is_asked_for_again_once(world: World) -> None:
    async with world.serve(EXCHANGE) as left, world.serve() as right:
        left.account.token_ends = datetime.fromtimestamp(world.now + HOUR_S, UTC)
        left.fill(range(3), "A")
        left.fill(range(3), "B")
        asked: list[int] = []

        def find() -> Credentials:
            asked.append(len(asked))
            if len(asked) == 2:
                left.account.token, left.account.token_ends = "token 2", None
            return Credentials("alice", Secret(left.account.token or ""), "xoauth2")

        left.credentials = find

        def work_for_long(event: Event) -> None:
            if isinstance(event, MailboxFinished):
                world.now += HOUR_S

        report = await world.run(left, right, work_for_long, mailboxes=("A", "B"))
        assert report.in_step, report.problems
        assert len(asked) == left.logins == 2


async def test_a_token_that_cannot_be_renewed_is_refused_once(world: World) -> None:
    async with world.serve(EXCHANGE) as left, world.serve() as right:
        left.account.token_ends = datetime.fromtimestamp(world.now + HOUR_S, UTC)
        left.fill(range(3), "A")
        left.fill(range(3), "B")
        left.credentials = lambda: Credentials("alice", Secret("token 1"), "xoauth2")

        def work_for_long(event: Event) -> None:
            if isinstance(event, MailboxFinished):
                world.now += HOUR_S

        with pytest.raises(LoginError) as caught:
            await world.run(left, right, work_for_long, mailboxes=("A", "B"))
        assert caught.value.exit_code is ExitCode.LOGIN
        assert left.logins == 2
