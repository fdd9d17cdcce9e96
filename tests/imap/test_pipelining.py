"""Every pair of command kinds: may the second be sent before the first is answered? Told without the rules."""

from __future__ import annotations

from itertools import product

from tests.imap.kinds import KINDS, SAMPLES

from mailtwin.imap import commands as c
from mailtwin.imap.commands import notify, ordered, switches
from mailtwin.imap.pipelining import RULES, Trait, may_follow

# Neither before nor behind anything.
LONELY = {
    "Authenticate", "Compress", "Idle", "Login", "Logout", "StartTls", "Unauthenticate",
}  # fmt: skip
# Behind nothing; what changes messages is not sent behind them.
SELECTING = {"Close", "Examine", "Select", "Unselect"}
CHANGING = {"Copy", "Expunge", "Move", "Store", "StoreLabels", "UidExpunge"}
# Neither behind one of those nor behind another of its kind.
CHANGING_SINGLY = {"Replace"}
# Not behind another of the same verb.
SINGLE = {
    "Capability", "GetJmapAccess", "Id", "List", "Lsub", "Namespace", "Notify", "Search", "Sort", "Thread",
}  # fmt: skip
# Nothing behind it.
FINAL = {"Enable"}
# As many as one likes: the answers name a mailbox or a UID or carry the tag, or there are none.
FREE = {
    "Append", "Create", "Delete", "DeleteAcl", "Fetch", "GetAcl", "GetMetadata", "GetMyRights", "GetQuota",
    "GetQuotaRoot", "ListRights", "MakeUidBatches", "Noop", "Rename", "SetAcl", "SetMetadata", "SetQuota", "StatusOf",
    "Subscribe", "Unsubscribe",
}  # fmt: skip


def expected(earlier: str, later: str) -> bool:
    if {earlier, later} & LONELY or later in SELECTING or earlier in FINAL:
        return False
    if earlier in SELECTING and later in CHANGING | CHANGING_SINGLY:
        return False
    return not (earlier == later and earlier in SINGLE | CHANGING_SINGLY)


def test_every_kind_is_in_one_group() -> None:
    groups = (LONELY, SELECTING, CHANGING, CHANGING_SINGLY, SINGLE, FINAL, FREE)
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert {kind.__name__ for kind in KINDS} == set().union(*groups)
    assert {type(sample) for sample in SAMPLES} == KINDS
    assert len(SAMPLES) == len(KINDS)


def test_every_pair() -> None:
    wrong = [
        (type(first).__name__, type(second).__name__)
        for first, second in product(SAMPLES, repeat=2)
        if may_follow(second, [first]) != expected(type(first).__name__, type(second).__name__)
    ]
    assert not wrong


def test_three_are_as_good_as_their_pairs() -> None:
    for first, second, third in product(SAMPLES, repeat=3):
        together = may_follow(third, [first]) and may_follow(third, [second])
        assert may_follow(third, [first, second]) is together


def test_every_rule_is_needed() -> None:
    """Without any one of them some pair would be let through."""
    pairs = list(product(SAMPLES, repeat=2))
    for rule in RULES:
        others = [other for other in RULES if other is not rule]
        assert any(
            rule.forbids(first, second) and not any(other.forbids(first, second) for other in others)
            for first, second in pairs
        ), rule.why


def test_every_trait_has_a_rule() -> None:
    named = [trait for rule in RULES for trait in (rule.earlier, rule.later) if trait is not None]
    assert set(named) == set(Trait)


def test_a_named_answer_is_no_reason_to_wait() -> None:
    assert may_follow(ordered.MakeUidBatches(500), [ordered.MakeUidBatches(500)])
    assert may_follow(c.Search(), [ordered.Sort(("DATE",)), ordered.Thread()])
    assert not may_follow(notify.Notify(), [notify.Notify()])
    assert not may_follow(switches.Compress(), [c.Noop()])
