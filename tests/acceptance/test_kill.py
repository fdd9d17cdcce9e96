"""Acceptance by kill -9: whatever moment a run is killed at, the next ones lose, double and alter nothing.

Twenty mailboxes are copied, then changed on both sides by other programs, then brought in step again; each of both
stages is killed five times. After each, both sides are read by a program that shares no code with mailtwin's stores and
compared, message by message, with a model of what must be there.

`MAILTWIN_ACCEPTANCE_MESSAGES` sets the size (`make acceptance`: 20,000), `MAILTWIN_ACCEPTANCE_SEED` repeats a failure
as far as random moments can be repeated.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.acceptance.foreign import (
    Contents,
    Foreign,
    ForeignMaildir,
    ForeignServer,
    Found,
    Letter,
    Mail,
    shown,
)
from tests.acceptance.killing import Run, Twin, bring_in_step

from mailtwin.testing.corpus import messages

MESSAGES = int(os.environ.get("MAILTWIN_ACCEPTANCE_MESSAGES", "1200"))
SEED = int(os.environ.get("MAILTWIN_ACCEPTANCE_SEED", "20261124"))
KILLS = 5
KILLS_MIN = 4
DIFFERENCES_SHOWN = 20

NAMES = (
    "INBOX",
    "Archive",
    "Archive/2022",
    "Archive/2023",
    "Archive/Été 2024",
    "Family",
    "Family/Fotos 🎂",
    "Lists",
    "Lists/dev & ops",
    "Lists/日本語",
    "Projects",
    "Projects/Größen",
    "Projects/[beta]",
    "Sent",
    "Sent/empty",
    "Work",
    "Work/naïve",
    "Work/tax",
    "Отчёты",
    "Отчёты/Квартал",
)
EMPTY = "Sent/empty"

EVENTS_PER_COPIED_MAILBOX = 4
EVENTS_PER_CHANGED_MAILBOX = 12

KEYWORD = frozenset({"$label1"})
FLAGGED, SEEN, ANSWERED, DRAFT = (frozenset({f}) for f in ("\\flagged", "\\seen", "\\answered", "\\draft"))

Model = dict[str, list[Mail]]
Route = Callable[[pytest.FixtureRequest, Path], Foreign]


def server(kind: str) -> Route:
    """A fresh account."""
    return lambda request, _: ForeignServer(request.getfixturevalue(kind))


def maildir(_: pytest.FixtureRequest, directory: Path) -> Foreign:
    """A Maildir that is not there yet."""
    return ForeignMaildir(directory / "Maildir")


ROUTES: Mapping[str, tuple[Route, Route]] = {
    "pull": (server("dovecot"), maildir),
    "push": (maildir, server("dovecot")),
    "server-to-server": (server("dovecot"), server("cyrus")),
}


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(300 + MESSAGES // 10)
@pytest.mark.parametrize("route", ROUTES)
def test_nothing_is_lost_doubled_or_altered(
    route: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    left, right = (make(request, tmp_path) for make in ROUTES[route])
    # Cyrus syncs every message to the disk; a third keeps it from taking most of the time.
    count = MESSAGES // 3 if route == "server-to-server" else MESSAGES
    scene = Scene(left, right, count, random.Random(f"{route}/{SEED}"), tmp_path)
    try:
        scene.fill()
        scene.twin(len(NAMES) * EVENTS_PER_COPIED_MAILBOX)
        scene.change()
        scene.twin(len(NAMES) * EVENTS_PER_CHANGED_MAILBOX)
        scene.expect_no_work()
    except BaseException as error:
        error.add_note(
            f"MAILTWIN_ACCEPTANCE_SEED={SEED} MAILTWIN_ACCEPTANCE_MESSAGES={MESSAGES} route {route}"
        )
        for run in scene.twins.runs:
            error.add_note(f"run: {run}")
        raise


@dataclass(slots=True)
class Scene:
    """Both sides, and the model of what both must hold."""

    left: Foreign
    right: Foreign
    count: int
    rng: random.Random
    home: Path
    model: Model = field(default_factory=dict)
    letters: Iterator[Letter] = field(init=False)
    twins: Twin = field(init=False)

    def __post_init__(self) -> None:
        self.letters = corpus(2 * self.count)
        password = self.left.password or self.right.password
        self.twins = Twin(self.home, self.left.address, self.right.address, password, self.rng)

    # --- the first copy ---

    def fill(self) -> None:
        """The left side as somebody has it who used it for years; the right one is empty."""
        self.left.create(NAMES)
        self.model = {name: [] for name in NAMES}
        full = [name for name in NAMES if name != EMPTY]
        letters: dict[str, list[Letter]] = defaultdict(list)
        for name in self.rng.choices(full, [self.rng.uniform(1, 5) for _ in full], k=self.count):
            letters[name].append(next(self.letters))
        for name in full:
            letters[name] += hard_to_tell_apart(name)
        for name, some in letters.items():
            self.deliver(self.left, name, some)
        self.compare(self.left)

    def deliver(self, side: Foreign, name: str, letters: list[Letter]) -> None:
        """New messages on one side, and in the model."""
        kept = [Letter(one.body, side.keeps(one.mail.flags), one.date) for one in letters]
        side.deliver(name, kept)
        self.model[name] += [letter.mail for letter in kept]

    # --- what people do ---

    def change(self) -> None:
        """Both sides are changed, by other programs, independently of each other."""
        contents = self.left.read(), self.right.read()
        for name in NAMES:
            found = contents[0][name], contents[1][name]
            self._remove_one_of_many(name, found)
            pairs = self._pairs(found)
            self.rng.shuffle(pairs)
            share = max(1, len(pairs) // 25)
            for act in (self._remove, self._reflag):
                act(name, [[pairs.pop() for _ in range(min(share, len(pairs)))] for _ in range(6)])
            for side in (self.left, self.right):
                self.deliver(side, name, [next(self.letters) for _ in range(share)])

    def _pairs(self, found: tuple[list[Found], list[Found]]) -> list[tuple[Found, Found]]:
        """Messages that nobody can mistake for others, as both sides show them."""
        sides = [_unique(side) for side in found]
        return [(sides[0][digest], sides[1][digest]) for digest in sorted(sides[0].keys() & sides[1].keys())]

    def _remove_one_of_many(self, name: str, found: tuple[list[Found], list[Found]]) -> None:
        """Of several messages that are the same in every respect one goes: no matter which."""
        for side, seen in ((self.left, found[0]), (self.right, found[1])):
            counted = Counter(one.mail for one in seen)
            same = [one for one in seen if counted[one.mail] > 1]
            if same:
                gone = min(same, key=lambda one: one.mail)
                side.remove(name, [gone])
                self._forget(name, gone)
                return

    def _remove(self, name: str, groups: list[list[tuple[Found, Found]]]) -> None:
        """On the left, on the right, on both; on one side while its flags change on the other, which is no reprieve."""
        left, right, both, left_flagged, right_flagged, _ = groups
        self.left.remove(name, [pair[0] for pair in left + both + left_flagged])
        self.right.remove(name, [pair[1] for pair in right + both + right_flagged])
        self.right.flag(name, [(pair[1], pair[1].mail.flags ^ FLAGGED) for pair in left_flagged])
        self.left.flag(name, [(pair[0], pair[0].mail.flags ^ SEEN) for pair in right_flagged])
        for pair in left + right + both + left_flagged + right_flagged:
            self._forget(name, *pair)

    def _reflag(self, name: str, groups: list[list[tuple[Found, Found]]]) -> None:
        """On the left, on the right, different flags on both, the same flag on both, a keyword, many at once."""
        nothing = frozenset[str]()
        changes = (
            (FLAGGED, nothing),
            (nothing, SEEN),
            (SEEN, ANSWERED | FLAGGED),
            (ANSWERED, ANSWERED),
            (self.left.keeps(KEYWORD), self.right.keeps(KEYWORD) and nothing),
            (SEEN | DRAFT, FLAGGED | self.right.keeps(KEYWORD)),
        )
        for group, (on_left, on_right) in zip(groups, changes, strict=True):
            self.left.flag(name, [(pair[0], pair[0].mail.flags ^ on_left) for pair in group])
            self.right.flag(name, [(pair[1], pair[1].mail.flags ^ on_right) for pair in group])
            for pair in group:
                self._toggle(name, pair, on_left | on_right)

    def _forget(self, name: str, *seen: Found) -> None:
        self.model[name].remove(self._modelled(name, seen))

    def _toggle(self, name: str, seen: tuple[Found, Found], flags: frozenset[str]) -> None:
        mail = self._modelled(name, seen)
        self.model[name].remove(mail)
        self.model[name].append(Mail(mail.digest, mail.flags ^ flags, mail.date_s))

    def _modelled(self, name: str, seen: tuple[Found, ...]) -> Mail:
        """The model's entry for a message; a side may show it with fewer flags."""
        digest, date_s = seen[0].mail.digest, seen[0].mail.date_s
        return next(m for m in self.model[name] if m.digest == digest and m.date_s == date_s)

    # --- proof ---

    def twin(self, events: int) -> None:
        """Brings both sides in step through kills, and compares."""
        killed = bring_in_step(self.twins, KILLS, events)
        self.compare(self.left)
        self.compare(self.right)
        expect_inside(killed)

    def expect_no_work(self) -> None:
        """One more run finds nothing to do."""
        last = self.twins.run()
        assert last.code == 0
        assert not any(last.counts.values()), last.counts
        self.compare(self.left)
        self.compare(self.right)

    def compare(self, side: Foreign) -> None:
        """Reads one side as another program and compares it with the model."""
        differences = list(_differences(self.model, side.read(), side))
        assert not differences, "\n".join(
            [f"{len(differences)} differences on {side.address}", *differences[:DIFFERENCES_SHOWN]]
        )


def expect_inside(killed: list[Run]) -> None:
    """Kills before the work or after it would prove nothing."""
    assert len(killed) >= KILLS_MIN, f"only {len(killed)} runs lasted until they were killed"
    assert sum(run.at_work for run in killed) >= KILLS_MIN - 1, [str(run) for run in killed]


def _differences(model: Model, contents: Contents, side: Foreign) -> Iterator[str]:
    for name in sorted(contents.keys() - model.keys()):
        yield f"{name}: a mailbox that should not be there"
    for name, mails in model.items():
        if name not in contents:
            yield f"{name}: the mailbox is missing"
            continue
        expected = Counter(Mail(mail.digest, side.keeps(mail.flags), mail.date_s) for mail in mails)
        found = Counter(one.mail for one in contents[name])
        for sign, rest in (("missing", expected - found), ("not expected", found - expected)):
            for mail, count in rest.items():
                yield f"{name}: {sign}, {count} times: {shown(mail)}"


def _unique(found: list[Found]) -> dict[str, Found]:
    counted = Counter(one.mail.digest for one in found)
    return {one.mail.digest: one for one in found if counted[one.mail.digest] == 1}


# --- mail ------------------------------------------------------------------------------------------------------------


def corpus(count: int) -> Iterator[Letter]:
    """Messages that every server keeps as they are.

    Cyrus replaces bytes above 127 in a header and refuses lines in it that are no fields, so there are none.
    """
    for message in messages(SEED, 2 * count):
        header = message.body.partition(b"\r\n\r\n")[0]
        if header.isascii() and b"not a header line" not in header:
            yield Letter(message.body, message.flags, message.date)


def hard_to_tell_apart(name: str) -> list[Letter]:
    """The same message twice, the same without Message-ID, and two that differ in nothing but their text.

    Whoever looks for a copy whose answer was lost finds several that look like it.
    """
    date = datetime(2020, 5, 17, 10, 30, 15, tzinfo=UTC)
    head = (
        f"From: <twin@example.org>\r\nSubject: twins\r\nDate: {date:%a, %d %b %Y %H:%M:%S} +0000\r\n".encode()
    )
    message_id = f"Message-ID: <{name.encode().hex()}@example.org>\r\n".encode()
    seen = frozenset({"\\Seen"})
    letters = [Letter(head + b"\r\nno Message-ID\r\n", seen, date)] * 3
    letters += [Letter(head + message_id + b"\r\nthe same\r\n", seen, date)] * 3
    for number, text in enumerate((b"one text", b"another!", b"a third.")):
        body = head + message_id + b"\r\n" + text + b"\r\n"
        letters.append(
            Letter(body, frozenset({"\\Flagged"} if number else ()), date + timedelta(days=number))
        )
    return letters
