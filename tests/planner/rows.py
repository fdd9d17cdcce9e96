"""A notation for what the planner is given and what it decides: one row per case, readable at a glance.

    base          | left    | right     | plan
    1=1:S         | 1:S     | 1         | store left 1 -S =   # a flag removed on the right

Left and right list messages as `ref:FLAGS@identity` (flags and identity may be missing; a ref that is not a number is
a Maildir name; `@?2` is a message that nobody can identify, of the size of `m~`, `@?` one of any size), then `?` when
the listing broke off and proves no absence, or `?1-3` when it covers UIDs 1 to 3, and `v2` when the numbering is not
"1", and `^9` when UID 9 is next. The base lists

* links `left=right:FLAGS`;
* copies begun: `1>5:S@m` is left 1, sent to the right with these flags when UID 5 was next there (`1>x` to the name x;
  `5<1` from right 1 to the left), then `?` when it was waited for, `!` when its answer was read, `!!` when that was
  that it was accepted, and `v2`;
* stragglers: the same with `~` in front, and `/9` behind when it was found as 9, `/9x` when it is
  to be removed, `/9k` when it is to be kept;
* stores begun: `1=1>+S-F:S` on the right (`<` on the left), agreeing on S;
* removals begun: `-1>` of left 1, `-<x` of right x, then `v2`;
* `renumbered`: what was agreed on before is forgotten.

Flags are letters: S seen, F flagged, A answered, K a keyword.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mailtwin.model import (
    ANY_SIZE,
    Flags,
    Identity,
    Listing,
    Ref,
    Side,
    SizeRange,
    UidSet,
    Vocabulary,
    make_flags,
)
from mailtwin.model.flags import EVERYTHING
from mailtwin.planner import (
    Abandon,
    Adopt,
    Attempt,
    Base,
    Copy,
    CopyIntent,
    Forget,
    Hold,
    Identify,
    Link,
    Operation,
    Plan,
    Policy,
    Record,
    Relink,
    Remove,
    RemoveIntent,
    Reset,
    Settle,
    StoreFlags,
    StoreIntent,
    Straggler,
    Unresolved,
    Verdict,
    Wait,
    plan_messages,
    straggler_of,
)

LETTERS = {"S": "\\Seen", "F": "\\Flagged", "A": "\\Answered", "K": "$Keyword"}


@dataclass(frozen=True, slots=True)
class Row:
    """One case of a table."""

    base: str
    left: str
    right: str
    plan: str
    name: str

    def planned(
        self,
        policy: Policy,
        aside: frozenset[tuple[Side, Ref]] = frozenset(),
        right_holds: str | None = None,
    ) -> str:
        """What the planner decides, in the table's notation."""
        vocabulary = EVERYTHING if right_holds is None else Vocabulary(flags(right_holds), any_keyword=False)
        left, right = listing(self.left), listing(self.right, vocabulary)
        return in_words(plan_messages(base(self.base), left, right, policy, aside))


def rows(table: str) -> list[Row]:
    """The rows of a table; a line without bars is a heading for people."""
    found = []
    for line in table.strip().splitlines():
        if "|" in line:
            cells, _, name = line.partition("#")
            given, left, right, plan = (" ".join(cell.split()) for cell in cells.split("|"))
            found.append(Row(given, left, right, plan, name.strip()))
    return found


def flags(letters: str) -> Flags:
    """`SF` as flags."""
    return make_flags(LETTERS[letter] for letter in letters)


def identity(name: str) -> Identity:
    """`m` as an identity; `m~` has the same headers and another size."""
    return Identity(headers=name.rstrip("~"), content=f"size:{len(name)}", has_message_id=True)


def listing(text: str, vocabulary: Vocabulary = EVERYTHING) -> Listing:
    """One side of a row."""
    seen: dict[Ref, Flags] = {}
    identities: dict[Ref, Identity] = {}
    nameless: dict[Ref, SizeRange] = {}
    coverage, validity, uid_next = None, "1", None
    for word in text.split():
        if word.startswith("?"):
            low, _, high = word[1:].partition("-")
            coverage = UidSet.of_ranges([(int(low), int(high))] if high else [])
        elif re.fullmatch(r"v\d*", word):
            validity = word[1:]
        elif word.startswith("^"):
            uid_next = int(word[1:])
        else:
            parts = _parts(r"(?P<ref>[^:@]+)(:(?P<flags>\w*))?(@(?P<identity>\S+))?", word)
            seen[ref(parts["ref"])] = flags(parts["flags"])
            name = parts["identity"]
            if name.startswith("?"):
                nameless[ref(parts["ref"])] = (int(name[1:]),) * 2 if name[1:] else ANY_SIZE
            elif name:
                identities[ref(parts["ref"])] = identity(name)
    return Listing(seen, validity, coverage, uid_next, identities, vocabulary, nameless)


VERDICTS = {"": Verdict.NONE, "x": Verdict.REMOVE, "k": Verdict.KEEP}
ATTEMPTS = {"": Attempt.OPEN, "?": Attempt.WAITED, "!": Attempt.ANSWERED, "!!": Attempt.ACCEPTED}


def base(text: str) -> Base:
    """The base of a row."""
    links, copies, stores, stragglers, removals = [], [], [], [], []
    renumbered = False
    for word in text.split():
        if word == "renumbered":
            renumbered = True
        elif word.startswith("~"):
            stragglers.append(_straggler(word))
        elif word.startswith("-"):
            removals.append(_removal(word))
        elif re.search(r"=.*[<>]", word):
            stores.append(_store(word))
        elif ">" in word or "<" in word:
            copies.append(_copy(word))
        else:
            parts = _parts(r"(?P<left>\w+)=(?P<right>\w+)(:(?P<flags>\w*))?", word)
            links.append(Link(ref(parts["left"]), ref(parts["right"]), flags(parts["flags"])))
    return Base(links, "1", "1", copies, stores, stragglers, removals, renumbered)


def _removal(word: str) -> RemoveIntent:
    parts = _parts(r"-((?P<left>\w+)>|<(?P<right>\w+))(?P<v>v\d)?", word)
    side = Side.LEFT if parts["left"] else Side.RIGHT
    return RemoveIntent(side, ref(parts["left"] or parts["right"]), parts["v"][1:] or "1")


def _straggler(word: str) -> Straggler:
    sent, _, found = word[1:].partition("/")
    intent = _copy(sent)
    straggler = straggler_of(intent, intent.identity)
    assert straggler is not None, f"nobody could recognise it: {word}"
    number = int(found.rstrip("xk")) if found else None
    return replace(straggler, found=number, verdict=VERDICTS[found.lstrip("0123456789")])


def _copy(word: str) -> CopyIntent:
    pattern = r"(?P<left>\w+)(?P<way>[<>])(?P<right>\w+)(:(?P<flags>\w*))?(@(?P<id>[\w~]+))?(?P<end>[!?]*)(?P<v>v\d)?"
    parts = _parts(pattern, word)
    source, place = (
        (parts["left"], parts["right"]) if parts["way"] == ">" else (parts["right"], parts["left"])
    )
    target = ref(place)
    return CopyIntent(
        source=Side.LEFT if parts["way"] == ">" else Side.RIGHT,
        ref=ref(source),
        flags=flags(parts["flags"]),
        validity=parts["v"][1:] or "1",
        target=target if isinstance(target, str) else None,
        floor=target if isinstance(target, int) else None,
        identity=identity(parts["id"]) if parts["id"] else None,
        attempt=ATTEMPTS[parts["end"]],
    )


def _store(word: str) -> StoreIntent:
    pattern = r"(?P<l>\w+)=(?P<r>\w+)(?P<way>[<>])(\+(?P<add>\w+))?(-(?P<remove>\w+))?(:(?P<result>\w*))?"
    parts = _parts(pattern, word)
    side = Side.RIGHT if parts["way"] == ">" else Side.LEFT
    add, remove, result = (flags(parts[name]) for name in ("add", "remove", "result"))
    return StoreIntent(ref(parts["l"]), ref(parts["r"]), side, add, remove, result)


def _parts(pattern: str, word: str) -> dict[str, str]:
    match = re.fullmatch(pattern, word)
    assert match is not None, f"not in the notation: {word}"
    return {name: value or "" for name, value in match.groupdict().items()}


def ref(text: str) -> Ref:
    """A UID or a name."""
    return int(text) if text.isdigit() else text


# --- plans in words -------------------------------------------------------------------------------------------------


def in_words(plan: Plan) -> str:
    """A plan as the last column of a table."""
    return ", ".join(_words(operation) for operation in plan)


def _words(operation: Operation) -> str:
    return " ".join(word for word in _all_words(operation) if word)


def _all_words(operation: Operation) -> Iterator[str]:
    yield "store" if isinstance(operation, StoreFlags) else type(operation).__name__.lower()
    match operation:
        case StoreFlags(link, side, add, remove, result):
            yield from (
                side.label,
                str(link.ref(side)),
                _sign("+", add),
                _sign("-", remove),
                "=" + _letters(result),
            )
        case Record(link, agreed):
            yield from (f"{link.left}={link.right}", _letters(agreed))
        case Forget(link):
            yield f"{link.left}={link.right}"
        case Adopt(left, right, agreed):
            yield from (f"{left}={right}", _letters(agreed))
        case Relink(link, side, message, _, intent):
            yield from (f"{link.left}={link.right}", side.label, str(message), "with store" if intent else "")
        case Remove(side, message) | Wait(side, message):
            yield from (side.label, str(message))
        case Copy(source, message, sent):
            yield from (source.label, str(message), _letters(sent))
        case Identify(side, refs):
            yield from (side.label, *map(str, refs))
        case Reset(side, old, new):
            yield from (side.label, f"{old}->{new}")
        case Settle(intent) | Abandon(intent) | Unresolved(intent):
            yield from (intent.source.label, str(intent.ref))
            if isinstance(operation, Abandon) and operation.straggler is not None:
                yield "~"
        case Hold(straggler, held):
            yield from (straggler.source.label, f"{straggler.ref}/{held.found}")


def _sign(sign: str, changed: Flags) -> str:
    return sign + _letters(changed) if changed else ""


def _letters(held: Flags) -> str:
    return "".join(letter for letter, flag in LETTERS.items() if flag in held)
