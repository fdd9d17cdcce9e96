"""Arbitrary knowledge and listings, most of them such as no sane world produces: the planner must answer all the same.

What the state guarantees is kept: one link for each message, one copy intent for each source, one store intent for each
link, one removal of each message.
"""

from __future__ import annotations

from hypothesis import strategies as st

from mailtwin.model import ANY_SIZE, Identity, Listing, Ref, Side, UidSet, Vocabulary, make_flags
from mailtwin.model.flags import EVERYTHING
from mailtwin.planner import (
    Attempt,
    Base,
    CopyIntent,
    Direction,
    Link,
    Policy,
    Removals,
    RemoveIntent,
    StoreIntent,
    Straggler,
    Verdict,
)

UIDS = st.integers(1, 6)
NAMES = st.sampled_from(["u", "v", "w", "x", "y"])
FLAGS = st.sets(st.sampled_from(["\\Seen", "\\Flagged", "$Key"])).map(make_flags)
IDENTITIES = st.builds(Identity, st.sampled_from("mn"), st.sampled_from(["size:1", "size:2"]), st.booleans())
SIZES = st.sampled_from([(1, 1), (1, 2), ANY_SIZE])
VALIDITIES = st.sampled_from(["1", "1", "1", "2", ""])
STRAGGLERS = st.builds(
    Straggler,
    st.sampled_from(Side),
    UIDS,
    FLAGS,
    VALIDITIES,
    UIDS,
    IDENTITIES,
    st.one_of(st.none(), UIDS),
    st.sampled_from(Verdict),
)
VOCABULARIES = st.sampled_from(
    [EVERYTHING, EVERYTHING, Vocabulary(make_flags(["\\Seen"]), any_keyword=False)]
)

POLICIES = st.builds(
    Policy, st.sampled_from(Direction), st.sampled_from(Removals), st.booleans(), st.booleans()
)
ASIDE = st.frozensets(st.tuples(st.sampled_from(Side), st.one_of(UIDS, NAMES)), max_size=3)


def _refs(named: bool) -> st.SearchStrategy[Ref]:
    return NAMES if named else UIDS


@st.composite
def listings(draw: st.DrawFn, *, named: bool) -> Listing:
    """One side, of UIDs or of names."""
    flags = draw(st.dictionaries(_refs(named), FLAGS, max_size=5))
    known = [ref for ref in flags if draw(st.booleans())]
    covered = st.none() if draw(st.booleans()) else st.sets(UIDS).map(UidSet.of)
    return Listing(
        flags=flags,
        validity=draw(VALIDITIES),
        coverage=draw(covered),
        uid_next=None if named else 7,
        identities={ref: draw(IDENTITIES) for ref in known},
        vocabulary=draw(VOCABULARIES),
        nameless={ref: draw(SIZES) for ref in flags if ref not in known and draw(st.booleans())},
    )


@st.composite
def bases(draw: st.DrawFn, *, named: bool) -> Base:
    """What may be known of a pair whose right side has UIDs, or names."""
    lefts = draw(st.lists(UIDS, unique=True, max_size=4))
    rights = draw(st.lists(_refs(named), unique=True, min_size=len(lefts), max_size=len(lefts)))
    links = [Link(left, right, draw(FLAGS)) for left, right in zip(lefts, rights, strict=True)]
    stores = [
        StoreIntent(link.left, link.right, draw(st.sampled_from(Side)), draw(FLAGS), draw(FLAGS), draw(FLAGS))
        for link in links
        if draw(st.booleans())
    ]
    copies = [
        intent
        for source in Side
        for ref in draw(st.sets(_refs(named and source is Side.RIGHT), max_size=2))
        for intent in [draw(copy_intents(source, ref, named=named))]
    ]
    validity = st.sampled_from(["1", "1", "1", None])
    stragglers = (
        draw(st.lists(STRAGGLERS, max_size=2, unique_by=lambda each: (each.source, each.found)))
        if not named
        else []
    )
    removals = [
        RemoveIntent(side, ref, draw(VALIDITIES))
        for side in Side
        for ref in draw(st.sets(_refs(named and side is Side.RIGHT), max_size=2))
    ]
    return Base(links, draw(validity), draw(validity), copies, stores, stragglers, removals)


@st.composite
def copy_intents(draw: st.DrawFn, source: Side, ref: Ref, *, named: bool) -> CopyIntent:
    """A copy of `ref` that was begun."""
    to_name = named and source is Side.LEFT
    return CopyIntent(
        source=source,
        ref=ref,
        flags=draw(FLAGS),
        validity=draw(VALIDITIES),
        target=draw(NAMES) if to_name else None,
        floor=None if to_name else draw(st.one_of(st.none(), UIDS)),
        identity=draw(st.one_of(st.none(), IDENTITIES)),
        attempt=draw(st.sampled_from(Attempt)),
    )


Arguments = tuple[Base, Listing, Listing, Policy, frozenset[tuple[Side, Ref]]]


@st.composite
def arguments(draw: st.DrawFn) -> Arguments:
    """The planner's arguments."""
    named = draw(st.booleans())
    left, right = draw(listings(named=False)), draw(listings(named=named))
    return draw(bases(named=named)), left, right, draw(POLICIES), draw(ASIDE)
