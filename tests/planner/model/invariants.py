"""What must hold in every state of the little world, and in the state that it settles into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.planner.model.world import Scenario, World

from mailtwin.model import Side
from mailtwin.planner import CopyIntent, Direction, Removals, Straggler, Unresolved


def violations_now(world: World) -> Iterator[str]:
    """What is wrong in this very state."""
    yield from _miscounts(world)
    if world.journal.validities != tuple(str(box.validity) for box in world.boxes):
        return  # the links speak of numbers that mean nothing any more
    for side in Side:
        refs = Counter(link[side] for link in world.journal.links)
        yield from (f"LINKED TWICE: {ref} on {side.label}" for ref, count in refs.items() if count > 1)
    for left, right, _ in world.journal.links:
        twins = (world.boxes[Side.LEFT].find(left), world.boxes[Side.RIGHT].find(right))
        identities = {mail.identity for mail in twins if mail is not None}
        if len(identities) > 1:
            yield f"LINKED {left} and {right}, which are {' and '.join(sorted(identities))}"


def violations_of_step(scenario: Scenario, before: World, after: World) -> Iterator[str]:
    """What is wrong about a step that no user made."""
    for side in scenario.untouchable():
        if before.boxes[side].mails != after.boxes[side].mails:
            yield f"CHANGED {side.label}, which only its user may change"


def violations_settled(
    scenario: Scenario, settled: World | None, unresolved: tuple[Unresolved, ...]
) -> Iterator[str]:
    """What is wrong about the state that a world settles into."""
    if settled is None:
        yield "NEVER SETTLES"
        return
    for problem in _miscounts(settled):
        yield f"settled: {problem}"
    left, right = (_contents(settled, side, unresolved) for side in Side)
    policy = scenario.policy
    one_way = policy.direction is Direction.LEFT_TO_RIGHT
    if policy.removals is not Removals.KEEP and (left - right if one_way else left != right):
        yield f"NOT EQUAL after settling: left {_text(left)}, right {_text(right)}"
    if not unresolved:
        yield from _resurrections(scenario, settled)
    if scenario.split:
        for box in settled.boxes:
            if any(mail.flags != settled.wanted for mail in box.mails):
                yield f"FORGOT a user's last word: wanted {sorted(settled.wanted)}, got {_text(left)}"


def _miscounts(world: World) -> Iterator[str]:
    """Losses and duplicates, counted by identity: what users placed there, less what users removed anywhere."""
    for side in Side:
        there = Counter(mail.identity for mail in world.boxes[side].mails)
        for tally in world.tallies:
            count = there[tally.identity]
            if count > sum(tally.placed) + tally.late[side]:
                yield f"DUPLICATE: {tally.identity} is {count} times on {side.label}"
            if count < tally.placed[side] - tally.removed:
                yield f"LOST: {tally.identity} is {count} times on {side.label}"


def _resurrections(scenario: Scenario, settled: World) -> Iterator[str]:
    """The only message of its identity was removed on the side that it came from, and is still somewhere.

    A new numbering forgives it (which agreement said that it was known?), and so do policies that want it back.
    """
    policy = scenario.policy
    wanted_back = policy.removals is not Removals.PROPAGATE or policy.flag_change_beats_removal
    if wanted_back or any(box.validity > 1 for box in settled.boxes):
        return
    there = {mail.identity for box in settled.boxes for mail in box.mails}
    for tally in settled.tallies:
        if sum(tally.placed) == 1 and tally.taken_back and tally.identity in there:
            yield f"RESURRECTED: {tally.identity}, which its owner removed"


Contents = Counter[tuple[str, tuple[str, ...]]]


def _contents(world: World, side: Side, unresolved: tuple[Unresolved, ...]) -> Contents:
    """What is there, with the flags that both sides can hold; without what a person has to look at."""
    pending = {
        op.intent.ref for op in unresolved if op.intent.source is side and isinstance(op.intent, CopyIntent)
    }
    stragglers = (op.intent for op in unresolved if isinstance(op.intent, Straggler))
    pending |= {each.found for each in stragglers if each.source is side.other and each.found is not None}
    return Counter(
        (mail.identity, tuple(sorted(world.boxes[Side.RIGHT].vocabulary.keep(mail.flags))))
        for mail in world.boxes[side].mails
        if mail.ref not in pending
    )


def _text(contents: Contents) -> str:
    return ", ".join(" ".join((name, *flags)) for name, flags in sorted(contents.elements())) or "nothing"
