"""What must hold in every state of the little world, and in the state that it settles into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.planner.model.world import Scenario, World, identity_of

from mailtwin.model import Side
from mailtwin.planner import CopyIntent, Direction, Removals, Straggler, Unresolved
from mailtwin.planner.begun import CONTESTED


def violations_now(scenario: Scenario, world: World) -> Iterator[str]:
    """What is wrong in this very state."""
    yield from _miscounts(scenario, world)
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
    for problem in _miscounts(scenario, settled, unresolved):
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


def _miscounts(
    scenario: Scenario, world: World, unresolved: tuple[Unresolved, ...] | None = None
) -> Iterator[str]:
    """Losses and duplicates, counted by identity: what users placed there, less what users removed anywhere.

    What users moved out may be missing on both sides, and on the other one still when it is back; not after settling
    (`unresolved`: what a person has to look at then). What is held for a copy that arrived late is on one side only.
    Under a policy that wants back what was removed, and under a new numbering, which tells no removal from new mail on
    the other side, what was moved out is there once more when it comes back. So is what users moved on both sides: when
    it was away from both at once, nobody knows any more that they were twins.
    """
    away = Counter(mail.identity for _, mail in world.away)
    stragglers = (op.intent for op in unresolved or () if isinstance(op.intent, Straggler))
    away.update(each.identity.headers for each in stragglers)
    returns = _is_wanted_back(scenario) or _is_renumbered(world)
    for side in Side:
        there = Counter(mail.identity for mail in world.boxes[side].mails)
        for tally in world.tallies:
            count, name = there[tally.identity], tally.identity
            elsewhere = sum(tally.moved) if unresolved is None else away[name]
            most = sum(tally.placed) - tally.shared + tally.late[side]
            if count > most + (sum if returns else min)(tally.moved):
                yield f"DUPLICATE: {name} is {count} times on {side.label}"
            if count < tally.placed[side] - tally.removed - elsewhere:
                yield f"LOST: {name} is {count} times on {side.label}"


def _resurrections(scenario: Scenario, settled: World) -> Iterator[str]:
    """The only message of its identity was removed on the side that it came from, and is still somewhere.

    A new numbering forgives it (which agreement said that it was known?), and so do policies that want it back, and a
    user who moved it: nobody can know who a message was that is gone from both sides.
    """
    if _is_wanted_back(scenario) or _is_renumbered(settled):
        return
    there = {mail.identity for box in settled.boxes for mail in box.mails}
    for tally in settled.tallies:
        if sum(tally.placed) == 1 and tally.taken_back and not any(tally.moved) and tally.identity in there:
            yield f"RESURRECTED: {tally.identity}, which its owner removed"


def _is_wanted_back(scenario: Scenario) -> bool:
    """Whether a removal may bring a message back, or keep it."""
    policy = scenario.policy
    return policy.removals is not Removals.PROPAGATE or policy.flag_change_beats_removal


def _is_renumbered(world: World) -> bool:
    return any(box.validity > 1 for box in world.boxes)


Contents = Counter[tuple[str, tuple[str, ...]]]


def _contents(world: World, side: Side, unresolved: tuple[Unresolved, ...]) -> Contents:
    """What is there, with the flags that both sides can hold; without what a person has to look at.

    Of equal messages that are contested nothing is decided, whichever they are.
    """
    copies = [(op.intent, op.why) for op in unresolved if isinstance(op.intent, CopyIntent)]
    pending = {intent.ref for intent, _ in copies if intent.source is side}
    stragglers = (op.intent for op in unresolved if isinstance(op.intent, Straggler))
    pending |= {each.found for each in stragglers if each.source is side.other and each.found is not None}
    contested = {intent.identity for intent, why in copies if why.endswith(CONTESTED)}
    return Counter(
        (mail.identity, tuple(sorted(world.boxes[Side.RIGHT].vocabulary.keep(mail.flags))))
        for mail in world.boxes[side].mails
        if mail.ref not in pending and identity_of(mail.identity) not in contested
    )


def _text(contents: Contents) -> str:
    return ", ".join(" ".join((name, *flags)) for name, flags in sorted(contents.elements())) or "nothing"
