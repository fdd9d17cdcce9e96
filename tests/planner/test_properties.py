"""What holds of every plan, whatever the planner is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, settings
from tests.planner.strategies import Arguments, arguments

from mailtwin.model import Listing, Ref, Side, UidSet
from mailtwin.planner import (
    PHASES,
    Abandon,
    Adopt,
    Attempt,
    Base,
    Copy,
    CopyIntent,
    Forget,
    Identify,
    Link,
    Operation,
    Record,
    Relink,
    Remove,
    Reset,
    Settle,
    StoreFlags,
    Straggler,
    Verdict,
    plan_messages,
)

EXAMPLES = settings(max_examples=150, deadline=None)


@EXAMPLES
@given(arguments())
def test_the_order_of_what_is_known_does_not_matter(given_: Arguments) -> None:
    base, left, right, policy, aside = given_
    turned = Base(
        base.links[::-1],
        base.left_validity,
        base.right_validity,
        base.copies[::-1],
        base.stores[::-1],
        base.stragglers[::-1],
        base.removals[::-1],
    )
    again = plan_messages(turned, _turned(left), _turned(right), policy, aside)
    assert plan_messages(*given_) == again


def _turned(listing: Listing) -> Listing:
    flags = dict(reversed(list(listing.flags.items())))
    identities = dict(reversed(list(listing.identities.items())))
    nameless = dict(reversed(list(listing.nameless.items())))
    return replace(listing, flags=flags, identities=identities, nameless=nameless)


@EXAMPLES
@given(arguments())
def test_a_plan_is_sorted_by_phase(given_: Arguments) -> None:
    phases = [PHASES[type(operation)] for operation in plan_messages(*given_)]
    assert phases == sorted(phases)


@EXAMPLES
@given(arguments())
def test_no_side_is_changed_that_may_not_be(given_: Arguments) -> None:
    policy = given_[3]
    for operation in plan_messages(*given_):
        for side in _changed_sides(operation):
            assert policy.direction.may_change(side)


def _changed_sides(operation: Operation) -> Iterator[Side]:
    match operation:
        case StoreFlags(side=side) | Remove(side=side):
            yield side
        case Copy(source=source):
            yield source.other


@EXAMPLES
@given(arguments())
def test_nothing_is_removed_without_proof(given_: Arguments) -> None:
    """Invariant 3: the listing that shows it missing covers it and belongs to the agreement's numbering.

    What a person decided to be unwanted needs no other proof.
    """
    base, left, right, _, _ = given_
    seen = (left, right)
    for operation in plan_messages(*given_):
        if isinstance(operation, Remove):
            assert operation.ref in seen[operation.side].flags
            if isinstance(operation.intent, Straggler):
                assert operation.intent in base.stragglers
                assert operation.intent.verdict is Verdict.REMOVE
                assert operation.intent.found == operation.ref
                continue
            missing = operation.side.other
            evidence = operation.link.ref(missing) if operation.link else _source(operation)
            assert seen[missing].lacks(evidence)
            assert base.validity(missing) in (None, seen[missing].validity) or not seen[missing].validity


def _source(operation: Remove) -> Ref:
    assert operation.intent is not None
    return operation.intent.ref


@EXAMPLES
@given(arguments())
def test_copies_go_only_where_everything_was_seen(given_: Arguments) -> None:
    base, left, right, _, aside = given_
    seen = (left, right)
    for operation in plan_messages(*given_):
        if isinstance(operation, Copy):
            assert seen[operation.source.other].complete
            assert operation.ref in seen[operation.source].flags
            assert (operation.source, operation.ref) not in aside
            assert operation.ref not in seen[operation.source].nameless
            assert base.copies or base.links or not _may_be_there(operation, seen)
            assert all(
                (intent.source, intent.ref) != (operation.source, operation.ref) for intent in base.copies
            )


@EXAMPLES
@given(arguments())
def test_agreements_stay_one_to_one(given_: Arguments) -> None:
    """No message gets a second link, not even with what a phase adopts and copies at once."""
    base = given_[0]
    ends: Counter[tuple[Side, Ref]] = Counter()
    for link in base.links:
        ends.update([(Side.LEFT, link.left), (Side.RIGHT, link.right)])
    for operation in plan_messages(*given_):
        match operation:
            case Adopt(left, right):
                ends.update([(Side.LEFT, left), (Side.RIGHT, right)])
            case Relink(side=side, ref=ref):
                ends.update([(side, ref)])
            case Copy(source, ref):
                ends.update([(source, ref)])
    assert all(count == 1 for count in ends.values())


@EXAMPLES
@given(arguments())
def test_a_link_gets_one_decision(given_: Arguments) -> None:
    links = Counter(
        (operation.link.left, operation.link.right)
        for operation in plan_messages(*given_)
        if isinstance(operation, StoreFlags | Record | Relink | Forget | Remove)
        and operation.link is not None
    )
    assert all(count == 1 for count in links.values())


@EXAMPLES
@given(arguments())
def test_an_agreement_moves_only_from_what_is_gone_to_the_same_message(given_: Arguments) -> None:
    base, left, right, _, _ = given_
    seen = (left, right)
    linked = {(side, link.ref(side)) for link in base.links for side in Side}
    for operation in plan_messages(*given_):
        if isinstance(operation, Relink):
            side, survivor = operation.side, operation.link.ref(operation.side.other)
            assert seen[side].lacks(operation.link.ref(side))
            assert (side, operation.ref) not in linked
            assert seen[side].identities[operation.ref] == seen[side.other].identities[survivor]
            assert survivor in seen[side.other].flags
            assert operation.renewed.flags == operation.link.flags
            assert operation.renewed.ref(side.other) == survivor


@EXAMPLES
@given(arguments())
def test_what_we_may_have_removed_takes_no_twin_with_it(given_: Arguments) -> None:
    base, left, right, _, _ = given_
    seen = (left, right)
    ours = {(each.side, each.ref) for each in base.removals if each.validity == seen[each.side].validity}
    for operation in plan_messages(*given_):
        match operation:
            case Remove(side, link=Link() as link):
                assert (side.other, link.ref(side.other)) not in ours
            case Remove(intent=CopyIntent(source=source, ref=ref)):
                assert (source, ref) not in ours


@EXAMPLES
@given(arguments())
def test_flags_are_stored_only_where_they_can_be_held(given_: Arguments) -> None:
    seen = given_[1:3]
    for operation in plan_messages(*given_):
        if isinstance(operation, StoreFlags):
            vocabulary = seen[operation.side].vocabulary
            assert operation.add or operation.remove
            assert all(map(vocabulary.holds, operation.add | operation.remove))
            shown = seen[operation.side].flags[operation.link.ref(operation.side)]
            assert not operation.add & shown
            assert operation.remove <= shown


@EXAMPLES
@given(arguments())
def test_a_new_numbering_leaves_nothing_else_to_do(given_: Arguments) -> None:
    base, left, right, _, _ = given_
    changed = [
        side
        for side, listing in zip(Side, (left, right), strict=True)
        if base.validity(side) is not None
        and base.validity(side) != listing.validity
        and (listing.validity or listing.complete)
    ]
    plan = plan_messages(*given_)
    waited_for = [intent for intent in base.copies if intent.attempt is Attempt.WAITED]
    if changed and waited_for and all(intent.finished for intent in base.copies):
        assert {op.intent for op in plan if isinstance(op, Abandon)} == set(waited_for)
    elif changed and all(intent.finished for intent in base.copies):
        assert [op.side for op in plan if isinstance(op, Reset)] == changed == [_side(op) for op in plan]
    elif changed:
        assert all(isinstance(op, Settle) for op in plan)
    else:
        assert not any(isinstance(op, Reset) for op in plan)


def _side(operation: Operation) -> Side | None:
    return operation.side if isinstance(operation, Reset) else None


def _may_be_there(operation: Copy, seen: tuple[Listing, Listing]) -> bool:
    """Whether one of the messages that nobody can identify may be this one."""
    identity = seen[operation.source].identities.get(operation.ref)
    size = None if identity is None else identity.size
    return any(
        size is None or least <= size <= most
        for least, most in seen[operation.source.other].nameless.values()
    )


@EXAMPLES
@given(arguments())
def test_only_the_unknown_are_identified_and_only_once(given_: Arguments) -> None:
    _, left, right, _, _ = given_
    seen = (left, right)
    requests = [op for op in plan_messages(*given_) if isinstance(op, Identify)]
    assert len({request.side for request in requests}) == len(requests)
    for request in requests:
        for ref in request.refs:
            assert ref in seen[request.side].flags
            assert ref not in seen[request.side].identities
            assert ref not in seen[request.side].nameless


@EXAMPLES
@given(arguments())
def test_what_is_executed_first_is_one_phase_of_the_plan(given_: Arguments) -> None:
    plan = plan_messages(*given_)
    first = plan.first_phase()
    assert bool(first) == bool(plan)
    assert len({PHASES[type(operation)] for operation in first}) <= 1
    assert set(map(id, first)) <= set(map(id, plan.operations))


@EXAMPLES
@given(arguments())
def test_a_side_of_which_nothing_was_seen_removes_and_copies_nothing(given_: Arguments) -> None:
    base, left, right, policy, aside = given_
    blind = replace(left, flags={}, identities={}, coverage=UidSet())
    for operation in plan_messages(base, blind, right, policy, aside):
        assert not isinstance(operation, Copy | Adopt | Relink | StoreFlags)
        if isinstance(operation, Remove) and operation.side is Side.RIGHT:
            assert isinstance(operation.intent, Straggler)
