"""The decisions about copies that were begun and not seen to end: find each, or prove that it never happened.

A copy is found under its known name, or among the unlinked messages at or above the UID that was next when it was
begun, by its identity. Nothing is sent again that the other side may have stored: an attempt without an answer is
waited for, and it is proven that no message came and went since it was begun, by the UIDs that were given. Nothing
found is taken for new mail before every intent that might own it has been decided. And as no proof holds against a
server that was suspended, what is given up without an answer is remembered as a straggler.

Of several equal messages one may be on its way while another one, whose copy is known, is moved: then one message on
the other side may be either, and nobody can tell whether the other one was removed. Such a message is *contested*.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from mailtwin.model import Flags, Identity, Ref, Side
from mailtwin.model.flags import SYSTEM_FLAGS
from mailtwin.planner.draft import Draft, RefKey, Survivor, ref_key
from mailtwin.planner.merge import shared_flags
from mailtwin.planner.operations import (
    Abandon,
    Adopt,
    Attempt,
    CopyIntent,
    Operation,
    Record,
    Removals,
    Remove,
    Settle,
    Unresolved,
)
from mailtwin.planner.stragglers import straggler_of

CONTESTED = "its copy, or an equal one that was moved"
"""Why a copy is undecided when another message has a claim to what was found."""


def plan_begun_copies(draft: Draft) -> None:
    """Decides about every copy intent, and takes the messages it speaks for away from the fresh ones."""
    for intent in draft.base.copies:
        draft.taken[intent.source].add(intent.ref)
    for side in Side:
        intents = [intent for intent in draft.base.copies if intent.source is side.other]
        if intents:
            _Resolution(draft, side, intents).run()


def adoption(draft: Draft, intent: CopyIntent, source: Ref, copy: Ref, why: str) -> Adopt:
    """The end of a copy whose source and copy are both there."""
    left, right = (source, copy) if intent.source is Side.LEFT else (copy, source)
    arrived = _arrived(intent, draft.listings[intent.source.other].flags[copy])
    return Adopt(left, right, shared_flags(arrived, draft.vocabularies), why, intent)


def _arrived(intent: CopyIntent, seen: Flags) -> Flags:
    """The flags that were sent, not those seen now: what changed since, on either side, is then seen as a change.

    But keywords and labels count only if they are seen: a server that drops them is nobody who removed them.
    """
    return intent.flags & (SYSTEM_FLAGS | seen)


def _floor(intent: CopyIntent) -> RefKey:
    return ref_key(intent.floor or 0)


def _urgency(intent: CopyIntent) -> tuple[bool, RefKey, RefKey]:
    # A copy that the server accepted certainly exists, so it has the first claim. Among equals the lowest floor
    # takes the lowest UID: whatever a higher floor could take is then still there.
    return intent.attempt is not Attempt.ACCEPTED, _floor(intent), ref_key(intent.ref)


class _Resolution:
    """The copies towards one side. `free`: its unlinked messages, in order, that no intent was given yet.

    `by_name` are the intents whose copy has a name known beforehand, `by_number` those that only have a floor.
    """

    def __init__(self, draft: Draft, side: Side, intents: Sequence[CopyIntent]) -> None:
        self.draft = draft
        self.side = side
        self.listing = draft.listings[side]
        self.source = draft.listings[side.other]
        self.by_name = sorted((i for i in intents if i.target is not None), key=_urgency)
        self.by_number = sorted((i for i in intents if i.target is None), key=_urgency)
        # A message that is being copied itself is nobody's copy, however much it looks like one.
        own = draft.taken[side]
        self.free: dict[Ref, None] = dict.fromkeys(ref for ref in draft.unlinked[side] if ref not in own)
        self.gaps: dict[int, int] = {}

    def run(self) -> None:
        if not self.listing.complete:
            self._hold_windows()
            return
        self.by_name = [i for i in self.by_name if not self._is_void(i) and not self._is_found_by_name(i)]
        self.by_number = [intent for intent in self.by_number if not self._is_void(intent)]
        for intent in self.by_name:
            self._conclude(intent, "")
        if self._must_identify():
            self._hold_windows()
        else:
            self._find_by_identity()
            self._find_by_headers()

    def _is_void(self, intent: CopyIntent) -> bool:
        """Whether an intent means nothing any more; it is abandoned for that."""
        if intent.validity != self.listing.validity:
            self._give_up(intent, f"the numbering on {self.side.label} is another one now")
        elif intent.ref in self.source.flags and self.draft.is_linked(intent.source, intent.ref):
            self._give_up(intent, f"its message on {intent.source.label} is linked already")
        else:
            return False
        return True

    def _window(self) -> Iterator[Ref]:
        """The free messages that may be one of the copies without a name, as far as numbers tell."""
        lowest = min(map(_floor, self.by_number), default=None)
        return (ref for ref in self.free if lowest is not None and ref_key(ref) >= lowest)

    def _hold_windows(self) -> None:
        """Whatever may be one of the copies is nobody's new mail yet."""
        held = self.draft.taken[self.side]
        held.update(intent.target for intent in self.by_name if intent.target is not None)
        held.update(self._window())

    # --- finding a copy ---------------------------------------------------------------------------------------------

    def _is_found_by_name(self, intent: CopyIntent) -> bool:
        if intent.target is None or intent.target not in self.free:
            return False
        self._found(intent, intent.target)
        return True

    def _must_identify(self) -> bool:
        """Asks for the identities without which nothing can be decided; whether there are any."""
        copies = [ref for ref in self._window() if self.draft.is_unasked(self.side, ref)]
        unsaid = (i.ref for i in self.by_number if i.identity is None and i.ref in self.source.flags)
        sources = [ref for ref in unsaid if self.draft.is_unasked(self.side.other, ref)]
        self.draft.identify(self.side, copies)
        self.draft.identify(self.side.other, sources)
        bereft = bool(self.free) and bool(self.by_number) and self.draft.ask_survivors(self.side.other)
        return bool(copies or sources or bereft)

    def _identity(self, intent: CopyIntent) -> Identity | None:
        return intent.identity or self.source.identities.get(intent.ref)

    def _find_by_identity(self) -> None:
        """Gives each intent the first free message of its identity in its window, unless it is contested."""
        same: dict[Identity, list[Ref]] = defaultdict(list)
        for ref in self._window():
            if ref in self.listing.identities:
                same[self.listing.identities[ref]].append(ref)
        contested = self._contested()
        left_over = []
        for intent in self.by_number:
            identity = self._identity(intent)
            candidates = same.get(identity, []) if identity is not None else []
            match = next((ref for ref in candidates if ref_key(ref) >= _floor(intent)), None)
            if identity in contested and intent.attempt is not Attempt.ACCEPTED:
                self._conclude(intent, f"a message on {self.side.label} is {CONTESTED}")
            elif match is None:
                left_over.append(intent)
            else:
                candidates.remove(match)
                self._found(intent, match)
        self.by_number = left_over

    def _contested(self) -> set[Identity]:
        """The identities of which this side has too few fresh messages for all that have a claim: copies that may have
        been stored, and survivors whose twin is gone from here. None of them is decided, and the messages wait."""
        there = self.draft.listings[self.side.other]
        bereft = [each for each in self.draft.survivors if self._has_claim(each)]
        claims = Counter(each.identity(there) for each in bereft)
        begun = Counter(map(self._identity, self.by_number))
        certain = Counter(self._identity(i) for i in self.by_number if i.attempt is Attempt.ACCEPTED)
        came: dict[Identity, list[Ref]] = defaultdict(list)
        for ref in self.free if claims else ():
            if ref in self.listing.identities:
                came[self.listing.identities[ref]].append(ref)
        contested = {
            identity
            for identity, refs in came.items()
            if claims[identity]
            and begun[identity] > certain[identity]
            and certain[identity] < len(refs) < begun[identity] + claims[identity]
        }
        for identity in contested:
            self.draft.taken[self.side].update(came[identity])
        withheld = [each for each in bereft if each.identity(there) in contested]
        self.draft.survivors = [each for each in self.draft.survivors if each not in withheld]
        return contested

    def _has_claim(self, survivor: Survivor) -> bool:
        """Whether it would be removed because its twin is gone from this side."""
        return survivor.side is self.side.other and isinstance(survivor.otherwise, Remove | Record)

    def _find_by_headers(self) -> None:
        """Concludes the intents without an exact match, and before that looks for copies that were rendered anew."""
        alike: dict[str | None, list[Ref]] = defaultdict(list)
        blind = False
        for ref in self._window():
            identity = self.listing.identities.get(ref)
            blind = blind or identity is None
            if identity is not None and identity.has_message_id:
                alike[identity.headers].append(ref)
        groups: dict[str | None, list[CopyIntent]] = defaultdict(list)
        for intent in self.by_number:
            identity = self._identity(intent)
            groups[identity.headers if identity is not None and identity.has_message_id else None].append(
                intent
            )
        for headers, group in groups.items():
            self._pair(group, alike.get(headers, []), blind=blind)

    def _pair(self, group: list[CopyIntent], alike: list[Ref], *, blind: bool) -> None:
        """Pairs intents and messages with the same headers, if there are exactly as many of both.

        Only copies that can no longer arrive are paired like this, for the true one may still come. Where the numbers
        disagree nobody can tell: such a message is neither the copy nor new mail.
        """
        group = sorted(group, key=lambda intent: ref_key(intent.ref))
        if len(group) == len(alike) and all(map(_may_be, group, alike)):
            for intent, ref in zip(group, alike, strict=True):
                self._found(intent, ref)
            return
        self.draft.taken[self.side].update(alike)
        doubt = ""
        if blind:
            doubt = f"a message on {self.side.label} that may be the copy cannot be identified"
        elif alike:
            doubt = f"{len(alike)} messages on {self.side.label} resemble it"
        for intent in group:
            self._conclude(intent, doubt)

    # --- what follows -----------------------------------------------------------------------------------------------

    def _found(self, intent: CopyIntent, ref: Ref) -> None:
        """`ref` is the copy: link it, or take it back when its source was removed since."""
        del self.free[ref]
        self.draft.taken[self.side].add(ref)
        if intent.ref in self.source.flags:
            self.draft.add(
                adoption(self.draft, intent, intent.ref, ref, f"the copy arrived on {self.side.label}")
            )
        elif self.source.lacks(intent.ref):
            alone = self._without_source(intent, ref)
            self.draft.survivors.append(Survivor(self.side, ref, intent.ref, intent, alone))

    def _without_source(self, intent: CopyIntent, ref: Ref) -> Operation:
        policy, gone = self.draft.policy, f"removed on {intent.source.label} while it was copied"
        if self.draft.may_be_our_doing(intent.source, intent.ref):
            return Abandon(intent, f"{gone}, by mailtwin")
        if policy.removals is Removals.KEEP:
            return adoption(self.draft, intent, intent.ref, ref, f"{gone}; kept")
        if policy.removals is Removals.RESTORE or not policy.direction.may_change(self.side):
            return Abandon(intent, gone)
        seen = self.listing.flags[ref]
        if self.draft.flags_win(self.side, _arrived(intent, seen), seen):
            return Abandon(intent, f"{gone}, but its flags changed on {self.side.label}")
        return Remove(self.side, ref, None, gone, intent)

    def _conclude(self, intent: CopyIntent, doubt: str) -> None:
        """No message is this copy."""
        if not intent.finished:
            self.draft.add(Settle(intent, f"its copy may still arrive on {self.side.label}"))
        elif self.source.lacks(intent.ref):
            self._give_up(intent, f"neither it nor its copy on {self.side.label} is there any more")
        elif doubt:
            self.draft.add(Unresolved(intent, doubt))
        elif intent.attempt is Attempt.ACCEPTED:
            self.draft.add(Unresolved(intent, f"{self.side.label} accepted it and does not show it"))
        elif self._came_and_went(intent):
            self.draft.add(Unresolved(intent, f"it may be what came to {self.side.label} and is gone again"))
        else:
            self._give_up(intent, f"its copy never reached {self.side.label}")

    def _give_up(self, intent: CopyIntent, why: str) -> None:
        """Drops an intent; it may arrive all the same unless its answer was read."""
        identity = self._identity(intent)
        may_arrive = intent.attempt in (Attempt.OPEN, Attempt.WAITED)
        self.draft.add(Abandon(intent, why, straggler_of(intent, identity) if may_arrive else None))

    def _came_and_went(self, intent: CopyIntent) -> bool:
        """Whether this copy may be a message that was stored and removed again before anybody looked.

        Every UID from the floor on that is neither there nor linked was given to such a message. A server stores what
        one connection sends in the order in which it is sent, so of the copies with one floor as many as there are
        such UIDs are in doubt, the first ones; the later ones were certainly not stored.
        """
        if intent.attempt is not Attempt.WAITED or intent.floor is None:
            return False
        if intent.floor not in self.gaps:
            self.gaps[intent.floor] = self._count_gone(intent.floor)
        self.gaps[intent.floor] -= 1
        return self.gaps[intent.floor] >= 0

    def _count_gone(self, floor: int) -> int:
        """How many UIDs from `floor` on were given to messages that are not there any more, and were never linked."""
        numbers = [ref for ref in self.listing.flags if isinstance(ref, int) and ref >= floor]
        linked = (link.ref(self.side) for link in self.draft.base.links)
        gone = sum(isinstance(ref, int) and ref >= floor and self.listing.lacks(ref) for ref in linked)
        end = max(self.listing.uid_next or 0, max(numbers, default=0) + 1)
        return max(end - floor, 0) - len(numbers) - gone


def _may_be(intent: CopyIntent, ref: Ref) -> bool:
    return intent.finished and ref_key(ref) >= _floor(intent)
