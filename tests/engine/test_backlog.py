"""Messages that cannot be copied: remembered, shown, tried again when that makes sense and not for ever."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.test_simulated import store
from tests.engine.test_sync import World, message

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, check, plan, sync, verify
from mailtwin.engine import backlog as backlog_module
from mailtwin.engine.backlog import RETRY_S_FIRST, RETRY_S_MAX, due_after, is_due
from mailtwin.engine.explaining import explain_message_id
from mailtwin.engine.report import RunReport
from mailtwin.errors import ExitCode, MailboxFullError, MailtwinError, MessageError, MessageRefusedError
from mailtwin.model import INBOX, MailboxName, Side, make_flags
from mailtwin.planner import Direction, Policy
from mailtwin.state import Obstacle, State, Uncopied
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.memory import Manners, MemoryMailbox, MemoryStore
from mailtwin.testing.faultproxy import Answer, FaultProxy, Rule
from mailtwin.testing.manners import PLAIN
from mailtwin.testing.simfaults import reply_no
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

HOUR = 3600.0
DAY = 24 * HOUR


class PoisonWorld(World):
    """A world whose clock stands still until it is told, and whose right side counts what is sent to it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.now_s = 1_000_000.0
        self.sent: list[bytes] = []
        self.poison: set[bytes] = {b"poison"}
        self.report = RunReport()
        self.pair = replace(self.pair, now=lambda: self.now_s)
        self.refuses_with(MessageRefusedError)

    def refuses_with(self, kind: type[MailtwinError], limits: str = "") -> None:
        """The right side refuses poison with this error, and says this of its limits."""
        self.right.manners = Manners(refusal=self._refusal, refuses_with=kind, limits=limits)

    def _refusal(self, data: bytes) -> str:
        self.sent.append(data)
        return "no poison" if any(word in data for word in self.poison) else ""

    async def attempts(self) -> int:
        """One run; how often something was sent to the right in it."""
        before = len(self.sent)
        self.report = await self.run()
        return len(self.sent) - before

    def uncopied(self) -> list[Uncopied]:
        """What the state remembers."""
        with self.state() as state:
            assert state.check() == []
            return state.uncopied()


@pytest.fixture
def world(tmp_path: Path) -> PoisonWorld:
    """A world with one poisonous message between two good ones."""
    world = PoisonWorld(tmp_path)
    for number, body in enumerate(("good", "poison", "good")):
        world.left.add(INBOX, message(number, body))
    return world


def poisonous(report: RunReport) -> list[tuple[object, bool]]:
    """What a report says of single messages: which, and whether that was known."""
    return [(problem.ref, problem.known) for problem in report.problems]


# --- when to try again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "after_s"),
    [
        (1, 0.0),
        (2, 0.0),
        (3, RETRY_S_FIRST),
        (4, 2 * HOUR),
        (5, 4 * HOUR),
        (10, 128 * HOUR),
        (11, RETRY_S_MAX),
        (10**9, RETRY_S_MAX),
    ],
)
def test_what_may_pass_is_tried_at_growing_distance(attempts: int, after_s: float) -> None:
    assert due_after(attempts, lasting=False, now_s=5.0) == 5.0 + after_s
    assert due_after(attempts, lasting=True, now_s=5.0) is None


async def test_a_lasting_refusal_is_sent_once_and_the_rest_goes_on(world: PoisonWorld) -> None:
    assert await world.attempts() == 3
    assert world.bodies(Side.RIGHT) == [message(0, "good"), message(2, "good")]
    assert poisonous(world.report) == [(2, False)]
    assert world.report.exit_code is ExitCode.NOT_IN_STEP
    assert world.report.is_news
    for _ in range(5):
        world.now_s += 365 * DAY
        assert await world.attempts() == 0
        assert poisonous(world.report) == [(2, True)]
        assert world.report.exit_code is ExitCode.NOT_IN_STEP
        assert not world.report.is_news


async def test_a_passing_refusal_is_tried_ever_more_rarely_and_not_for_ever_at_full_cost(
    world: PoisonWorld,
) -> None:
    world.refuses_with(MessageError)
    tries = 0
    await world.run()
    began = len(world.sent)
    for _hour in range(10 * 7 * 24):
        world.now_s += HOUR
        tries += await world.attempts()
    assert 10 <= tries <= 20, "eight doublings, then once a week"
    assert len(world.sent) - began == tries
    (one,) = world.uncopied()
    assert one.attempts == tries + 1
    assert one.first == 1_000_000.0


async def test_what_passed_is_copied_and_forgotten(world: PoisonWorld) -> None:
    world.refuses_with(MessageError)
    await world.run()
    world.poison.clear()
    assert await world.attempts() == 1
    assert world.report.in_step
    assert world.uncopied() == []
    await world.check()


async def test_known_poison_costs_a_run_without_changes_nothing(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.run()
    opened: list[MailboxName] = []
    original = MemoryStore.open

    def opening(self: MemoryStore, name: MailboxName) -> object:
        opened.append(name)
        return original(self, name)

    monkeypatch.setattr(MemoryStore, "open", opening)
    report = await world.run()
    assert opened == []
    assert [(result.unchanged, result.in_step) for result in report.mailboxes] == [(True, False)]


async def test_new_mail_beside_known_poison_is_copied(world: PoisonWorld) -> None:
    await world.run()
    world.left.add(INBOX, message(3, "good"))
    world.right.add(INBOX, message(4, "good"))
    assert await world.attempts() == 1
    assert world.bodies(Side.RIGHT) == [message(n, "good") for n in (0, 2, 3, 4)]
    assert len(world.bodies(Side.LEFT)) == 5
    assert poisonous(world.report) == [(2, True)]


# --- when something changed -------------------------------------------------------------------------------------------


async def test_another_limit_of_the_destination_is_a_reason_to_try_again(world: PoisonWorld) -> None:
    await world.run()
    world.refuses_with(MessageRefusedError, limits="APPENDLIMIT=10")
    assert await world.attempts() == 1
    assert await world.attempts() == 0


async def test_another_version_of_mailtwin_is_a_reason_to_try_again(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.run()
    monkeypatch.setattr(backlog_module, "program_version", lambda: "99")
    assert await world.attempts() == 1
    assert await world.attempts() == 0


async def test_a_person_may_have_it_tried_at_once(world: PoisonWorld) -> None:
    await world.run()
    world.pair = replace(world.pair, retry=True)
    assert await world.attempts() == 1
    assert poisonous(world.report) == [(2, True)]
    world.poison.clear()
    assert await world.attempts() == 1
    assert world.report.in_step


async def test_a_message_that_is_another_one_now_is_tried_again(world: PoisonWorld) -> None:
    await world.run()
    world.left.user_rots(INBOX, 2, message(1, "healed meanwhile"))
    assert await world.attempts() == 1
    assert world.report.in_step
    assert world.uncopied() == []


async def test_a_clock_that_was_set_back_keeps_nothing_resting(world: PoisonWorld) -> None:
    world.refuses_with(MessageError)
    for _ in range(3):
        await world.run()
    assert await world.attempts() == 0
    world.now_s -= 1000 * DAY
    assert await world.attempts() == 1


async def test_what_is_gone_is_forgotten(world: PoisonWorld) -> None:
    await world.run()
    world.left.user_remove(INBOX, 2)
    report = await world.run()
    assert report.in_step
    assert world.uncopied() == []


async def test_a_new_numbering_forgets_what_was_said_of_other_messages(world: PoisonWorld) -> None:
    await world.run()
    world.left.user_remove(INBOX, 1)
    world.left.user_renumbers(INBOX)
    await world.run()
    assert [one.ref for one in world.uncopied()] == [1]
    assert world.bodies(Side.RIGHT) == [message(0, "good"), message(2, "good")]
    assert len(world.bodies(Side.LEFT)) == 3


async def test_where_nothing_is_to_be_copied_any_more_nothing_is_owed(world: PoisonWorld) -> None:
    await world.run()
    world.pair = replace(world.pair, policy=Policy(direction=Direction.RIGHT_TO_LEFT))
    assert (await world.run()).in_step
    assert world.uncopied() == []


async def test_a_message_brought_over_by_hand_is_recognised_and_not_copied_back(world: PoisonWorld) -> None:
    await world.run()
    world.right.add(INBOX, message(1, "poison"))
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.adopted == 1
    assert len(world.bodies(Side.LEFT)) == len(world.bodies(Side.RIGHT)) == 3
    assert world.uncopied() == []


# --- what cannot be read ----------------------------------------------------------------------------------------------


async def test_what_cannot_be_fetched_is_asked_for_ever_more_rarely(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.poison.clear()
    world.left.user_withholds(INBOX, 2)
    asked: list[object] = []
    original = MemoryMailbox.fetch

    def fetch(self: MemoryMailbox, refs: list[object], spool: object) -> object:
        asked.extend(refs)
        return original(self, refs, spool)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryMailbox, "fetch", fetch)
    for _ in range(50):
        await world.run()
        world.now_s += 60
    assert asked.count(2) == 3
    world.left.user_withholds(INBOX, 2, False)
    world.now_s += HOUR
    assert (await world.run()).in_step
    await world.check()


async def test_what_cannot_be_identified_is_set_aside_and_asked_about_ever_more_rarely(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.poison.clear()
    world.left.user_withholds(INBOX, 2)
    world.right.add(INBOX, message(7, "of another size"))
    asked: list[object] = []
    original = MemoryMailbox.identify

    async def identify(self: MemoryMailbox, refs: list[object]) -> object:
        if self.store is world.left:
            asked.extend(refs)
        return await original(self, refs)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryMailbox, "identify", identify)
    for number in range(20):
        world.right.add(INBOX, message(100 + number, "of another size"))
        await world.run()
        world.now_s += 60
    assert asked.count(2) == 3 * 2, "three attempts, each asking twice"
    (one,) = world.uncopied()
    assert one.obstacle is Obstacle.IDENTITY
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert poisonous_plan(planned.problems) == [(2, True)]
    world.left.user_withholds(INBOX, 2, False)
    world.now_s += HOUR
    assert (await world.run()).in_step
    assert world.uncopied() == []
    await world.check()


def poisonous_plan(problems: tuple[object, ...]) -> list[tuple[object, bool]]:
    """The same of a plan's problems."""
    return [(problem.ref, problem.known) for problem in problems]  # type: ignore[attr-defined]


# --- a side that takes nothing ----------------------------------------------------------------------------------------


async def test_a_full_mailbox_is_sent_nothing_more_until_it_is_due_and_flags_and_removals_go_on(
    world: PoisonWorld,
) -> None:
    world.poison = {b"good"}
    world.refuses_with(MailboxFullError)
    linked = world.left.add(INBOX, message(50, "harmless"))
    world.left.user_remove(INBOX, 2)
    for _ in range(3):
        await world.run()
    sent = len(world.sent)
    for number in range(20):
        world.left.add(INBOX, message(100 + number, "good"))
        world.now_s += 60
        world.report = await world.run()
        assert len(world.sent) == sent
        assert [problem.known for problem in world.report.problems] == [True]
    world.left.user_flags(INBOX, linked, make_flags(["\\Flagged"]))
    await world.run()
    assert [one.flags for one in world.right.contents().values()] == [make_flags(["\\Flagged"])]
    world.poison.clear()
    world.now_s += HOUR
    report = await world.run()
    assert report.in_step, report.problems
    await world.check()


async def test_a_side_that_refuses_everything_is_not_sent_everything(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "UNCOPIED_MAX", 10)
    monkeypatch.setattr("mailtwin.engine.copying.BATCH_MESSAGES_MAX", 4)
    for number in range(1000):
        world.left.add(INBOX, message(1000 + number, "poison"))
    first = await world.attempts()
    assert first <= 16
    assert 10 <= len(world.uncopied()) <= 14
    assert await world.attempts() == 0


async def test_what_is_remembered_of_a_pair_is_bounded_and_nothing_is_lost(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "UNCOPIED_TOTAL_MAX", 5)
    for number in range(20):
        world.left.add(INBOX, message(1000 + number, "poison"))
    for _ in range(3):
        report = await world.run()
        assert len(report.problems) >= 20
        assert not report.in_step
    assert len(world.uncopied()) == 5
    world.poison.clear()
    world.pair = replace(world.pair, retry=True)
    assert (await world.run()).in_step
    await world.check()


# --- never silently ---------------------------------------------------------------------------------------------------


async def test_plan_check_verify_and_explain_tell_of_it(world: PoisonWorld) -> None:
    await world.run()
    with world.state() as state:
        planned = await plan(world.pair, state)
        looked = await check(world.pair, state)
        proof = await verify(world.pair, state)
        (explained,) = explain_message_id(state, "<1@sync.example>")
        noted = state.history(operation="not-copied")
    assert poisonous_plan(planned.problems) == [(2, True)]
    assert planned.exit_code is ExitCode.NOT_IN_STEP
    assert not any(entry.plan for entry in planned.mailboxes)
    assert looked.problems == (
        ("INBOX", "1 of its messages could not be copied; `mailtwin status` tells why"),
    )
    assert [finding.why for finding in proof.differences] == [
        "it could not be copied: the server does not take the message: no poison"
    ]
    assert [one.ref for one in explained.uncopied] == [2]
    assert [(line.left, line.message_id) for line in noted] == [(2, "<1@sync.example>")]


def test_what_is_excluded_is_no_problem_and_time_alone_moves_what_may_pass(world: PoisonWorld) -> None:
    one = Uncopied(
        INBOX, Side.LEFT, 1, "no", due=world.now_s, last=world.now_s, grounds=backlog_module.program_version()
    )
    assert is_due(world.pair, one)
    assert not is_due(world.pair, replace(one, due=world.now_s + 1))
    assert not is_due(world.pair, replace(one, due=None))


@pytest.mark.parametrize("stop_at", range(1, 40, 2))
async def test_interrupted_anywhere_nothing_is_lost_or_doubled(world: PoisonWorld, stop_at: int) -> None:
    await world.run_until(stop_at)
    for _ in range(3):
        await world.run()
    assert world.bodies(Side.RIGHT) == [message(0, "good"), message(2, "good")]
    assert [one.ref for one in world.uncopied()] == [2]
    world.poison.clear()
    world.pair = replace(world.pair, retry=True)
    assert (await world.run()).in_step
    await world.check()


# --- what servers say -------------------------------------------------------------------------------------------------

REFUSALS = {
    "TOOBIG": 1,
    "CANNOT": 1,
    "LIMIT": 3,
    "UNAVAILABLE": 3,
    "INUSE": 3,
    "OVERQUOTA": 3,
    "SERVERBUG": 3,
    None: 3,
}
"""Response code of a refused APPEND, and how often the message is sent in five runs within the hour (rule R17)."""


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_refused_append_is_sent_as_often_as_its_reason_deserves(
    code: str | None, tmp_path: Path
) -> None:
    mail = SimMail()
    account = mail.add_account("alice", "secret")
    left = MemoryStore("left")
    left.add(INBOX, message(1))
    account["INBOX"].append(message(2))
    async with SimServer(mail, faults=[reply_no("APPEND", 1, code, "Not this one", times=1000)]) as server:
        right = store(server)
        pair = Pair(left, right, sleep=no_sleep, now=lambda: 5e9)
        told: list[Uncopied] = []
        for _ in range(5):
            with State.open(
                tmp_path / "state.db", left="left", right=right.address, now=lambda: 5e9
            ) as state:
                report = await sync(pair, state)
                told = state.uncopied()
            assert report.exit_code is ExitCode.NOT_IN_STEP
        assert sum(b" APPEND " in line for _, line in server.transcript) == REFUSALS[code]
        (one,) = told
        assert "Not this one" in one.reason
        assert one.obstacle is (Obstacle.DESTINATION if code == "OVERQUOTA" else Obstacle.MESSAGE)
        assert len(left.contents()) == 2, "what the server holds was copied all the same"
        server.faults.clear()
        with State.open(tmp_path / "state.db", left="left", right=right.address, now=lambda: 5e9) as state:
            assert (await sync(replace(pair, retry=True), state)).in_step
    assert sorted(account["INBOX"].bodies()) == [message(1), message(2)]


async def no_sleep(_seconds: float) -> None:
    """Time does not pass."""


async def test_an_announced_limit_is_never_tried_and_its_change_is(tmp_path: Path) -> None:
    mail = SimMail()
    account = mail.add_account("alice", "secret")
    left = MemoryStore("left")
    left.add(INBOX, message(1, "x" * 5000))
    counts = []
    for limit in (1000, 1000, 2000, 2000, 100_000):
        async with SimServer(mail, replace(PLAIN, append_limit=limit)) as server:
            right = store(server)
            right.address = "right"
            pair = Pair(left, right, sleep=no_sleep)
            with State.open(tmp_path / "state.db", left="left", right="right", now=time.time) as state:
                report = await sync(pair, state)
            counts.append((server.counts["APPEND"], [problem.known for problem in report.problems]))
    assert counts == [(0, [False]), (0, [True]), (0, [True]), (0, [True]), (1, [])]
    assert len(account["INBOX"]) == 1


async def test_a_server_that_hangs_up_after_ten_refusals_stops_nothing(tmp_path: Path) -> None:
    """Exchange: ten times BAD and the connection is over. The rest is copied behind it, once each."""
    mail = SimMail()
    account = mail.add_account("alice", "secret")
    left = MemoryStore("left")
    for number in range(20):
        left.add(INBOX, message(number))
    async with SimServer(mail, PLAIN) as server, FaultProxy(server.port) as proxy:
        bad = Answer("BAD", text="Command Argument Error. 11")
        proxy.arm(
            [
                Rule(bad, ("APPEND",), times=10),
                Rule(Answer("BYE", text="Connection is closed. 13"), ("APPEND",), nth=11),
            ]
        )
        right = ImapStore(
            Endpoint("127.0.0.1", proxy.port, "plain"),
            lambda: Credentials("alice", Secret("secret")),
            "alice",
        )
        with State.open(tmp_path / "state.db", left="left", right=right.address, now=time.time) as state:
            pair = Pair(left, right, sleep=no_sleep)
            for known in (False, True):
                report = await sync(pair, state)
                assert [problem.known for problem in report.problems] == [known] * 10
                assert sorted(account["INBOX"].bodies()) == sorted(message(n) for n in range(10, 20))
        assert len(proxy.fired) == 11


@pytest.mark.parametrize("odd", ["pipe", "link to nowhere", "link in a circle"])
async def test_what_is_no_message_holds_up_nothing_that_arrives(tmp_path: Path, odd: str) -> None:
    """It can be nobody's twin: new mail of the other side must not wait for it, in whatever run it comes."""
    root = tmp_path / "mail"
    (root / "cur").mkdir(parents=True)
    (root / "new").mkdir()
    (root / "tmp").mkdir()
    path = root / "cur" / "1.odd:2,S"
    if odd == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name if odd == "link in a circle" else "nowhere")
    right = MemoryStore("right")
    for count in (1, 2, 3):
        right.add(INBOX, message(count))
        left = MaildirStore(root)
        with State.open(tmp_path / "state.db", left=left.address, right="right", now=time.time) as state:
            report = await sync(Pair(left, right), state)
        assert [problem.ref for problem in report.problems] == ["1.odd"]
        arrived = [one for part in ("cur", "new") for one in (root / part).iterdir() if one != path]
        assert len(arrived) == count


async def test_a_file_that_is_no_message_is_tried_again_when_it_is_another_one(tmp_path: Path) -> None:
    root = tmp_path / "mail"
    right = MemoryStore("right")

    async def run() -> RunReport:
        left = MaildirStore(root)
        with State.open(tmp_path / "state.db", left=left.address, right="right", now=time.time) as state:
            return await sync(Pair(left, right), state)

    await run()
    (root / "new" / "1.bait").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(b"Subject: secret\n\n")
    (root / "new" / "2.good").write_bytes(b"Subject: good\n\n")
    for _ in range(3):
        report = await run()
        assert [problem.ref for problem in report.problems] == ["1.bait"]
        assert len(right.contents()) == 1
    (root / "new" / "1.bait").unlink()
    (root / "new" / "1.bait").write_bytes(b"Subject: mended\n\n")
    with State.open(tmp_path / "state.db", left=f"maildir:{root}", right="right", now=time.time) as state:
        report = await sync(Pair(MaildirStore(root), right, retry=True), state)
    assert report.in_step
    assert len(right.contents()) == 2
