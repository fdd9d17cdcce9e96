"""Reports and plans in words: pure functions from the engine's values to text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import groupby

from mailtwin.engine.approving import HeldBack
from mailtwin.engine.findings import Alteration, Finding, Kind, Verification
from mailtwin.engine.metering import standing
from mailtwin.engine.rationing import Use
from mailtwin.engine.report import Counts, MailboxResult, Problem, Reconnecting
from mailtwin.engine.resolving import Decision, Undecided
from mailtwin.model import Flags, Ref, Side, format_flags
from mailtwin.model.traffic import Way
from mailtwin.planner.operations import (
    Abandon,
    Adopt,
    Copy,
    CopyIntent,
    CreateMailbox,
    Forget,
    ForgetMailbox,
    Hold,
    HoldMailbox,
    Identify,
    MailboxOperation,
    Operation,
    Phase,
    Plan,
    Record,
    Relink,
    Remove,
    RemoveMailbox,
    Reset,
    Settle,
    StoreFlags,
    Straggler,
    Unresolved,
    Wait,
)
from mailtwin.state import Kept, Obstacle, RunRecord, Uncopied

PHASES: Mapping[Phase, str] = {
    Phase.RESET: "pairing anew",
    Phase.SETTLE: "settling interrupted copies",
    Phase.IDENTIFY: "recognising",
    Phase.COPY: "copying",
    Phase.FLAGS: "setting flags",
    Phase.REMOVE: "removing",
    Phase.FORGET: "tidying up",
}


def number(count: int, noun: str) -> str:
    """`1 message`, `2 messages`, `12,345 messages`."""
    plural = f"{noun}es" if noun.endswith(("x", "s")) else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def size(count: int) -> str:
    """A number of bytes for people."""
    if count < 1024:
        return number(count, "byte")
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def duration(seconds: float) -> str:
    """A span of time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def counts(done: Counts) -> str:
    """What was done, or `nothing to do`."""
    parts = []
    if done.copied_to_left:
        parts.append(f"{done.copied_to_left:,} copied to the left")
    if done.copied_to_right:
        parts.append(f"{done.copied_to_right:,} copied to the right")
    if parts and done.transferred_bytes:
        parts[-1] += f" ({size(done.transferred_bytes)})"
    if done.adopted:
        parts.append(f"{done.adopted:,} recognised on both sides")
    for count, side in ((done.flags_left, "left"), (done.flags_right, "right")):
        if count:
            parts.append(f"{number(count, 'flag change')} on the {side}")
    for count, side in ((done.removed_left, "left"), (done.removed_right, "right")):
        if count:
            parts.append(f"{count:,} removed on the {side}")
    return ", ".join(parts) or "nothing to do"


def run_counts(run: RunRecord) -> str:
    """The counts of a run as the state keeps them; those of another version are passed over.

    A run that was cut short counted only the mailboxes that it finished.
    """
    if run.command == "verify":
        return _verify_counts(run.counts)
    known = {field.name for field in fields(Counts)}
    done = Counts(**{name: count for name, count in run.counts.items() if name in known})
    if run.outcome in ("in step", "not in step"):
        return counts(done)
    return f"{counts(done)}, or more" if any(done.as_dict().values()) else "not counted"


def _verify_counts(counts: Mapping[str, int]) -> str:
    if "same" not in counts:
        return "not counted"
    different = number(counts.get("differences", 0), "difference")
    return f"{counts['same']:,} the same, {different}"


def mailbox_line(result: MailboxResult) -> str:
    """How one mailbox ended."""
    return f"{result.name}: {counts(result.counts)}{'' if result.in_step else '; not in step'}"


# --- plans ----------------------------------------------------------------------------------------------------------


def message(ref: Ref) -> str:
    """A message as its store knows it."""
    return f"UID {ref}" if isinstance(ref, int) else ref


def interrupted(intent: CopyIntent | Straggler) -> str:
    """The message that an interrupted copy is about: the one to be copied, or the one that arrived late."""
    found = intent.found if isinstance(intent, Straggler) else None
    if found is not None:
        return f"{message(found)} of the {intent.source.other.label}"
    return f"{message(intent.ref)} of the {intent.source.label}"


def flag_change(add: Flags, remove: Flags) -> str:
    """A change of flags."""
    parts = [f"add {format_flags(add)}"] if add else []
    return " and ".join(parts + ([f"remove {format_flags(remove)}"] if remove else []))


def operation_kind(operation: Operation) -> str:
    """What an operation does, without the message: operations of one kind and reason are counted together."""
    match operation:
        case Reset(side=side):
            return f"pair anew with the {side.label}"
        case Settle():
            return "make sure of an interrupted copy"
        case Abandon():
            return "give up an interrupted copy"
        case Hold():
            return "hold what arrived late"
        case Unresolved():
            return "unresolved, left for a person"
        case Wait(source=source):
            return f"not copied to the {source.other.label} yet"
        case Identify(side=side):
            return f"look at headers on the {side.label}"
        case Copy(source=source):
            return f"copy to the {source.other.label}"
        case Adopt():
            return "recognise on both sides"
        case Relink(side=side):
            return f"recognise again on the {side.label}"
        case StoreFlags(side=side):
            return f"set flags on the {side.label}"
        case Record():
            return "note flags"
        case Remove(side=side):
            return f"remove on the {side.label}"
        case Forget():
            return "forget"


def operation_line(operation: Operation) -> str:
    """One operation with its message, without the reason."""
    kind = operation_kind(operation)
    match operation:
        case Reset():
            return kind
        case Settle(intent=intent) | Abandon(intent=intent) | Unresolved(intent=intent):
            return f"{kind}: {interrupted(intent)}"
        case Hold(held=held):
            return f"{kind}: {interrupted(held)}"
        case Identify(refs=refs):
            return f"{kind}: {number(len(refs), 'message')}"
        case Copy(source=source, ref=ref) | Wait(source=source, ref=ref):
            return f"{kind}: {message(ref)} of the {source.label}"
        case Adopt(left=left, right=right):
            return f"{kind}: {message(left)} and {message(right)}"
        case Relink(link=link, side=side, ref=ref):
            return f"{kind}: {message(link.ref(side))} is {message(ref)} now"
        case StoreFlags(link=link, side=side, add=add, remove=remove):
            return f"{kind}: {message(link.ref(side))}, {flag_change(add, remove)}"
        case Record(link=link) | Forget(link=link):
            return f"{kind}: {message(link.left)} and {message(link.right)}"
        case Remove(ref=ref):
            return f"{kind}: {message(ref)}"


def reconnecting(event: Reconnecting) -> str:
    """Why nothing seems to happen."""
    when = f"in {duration(event.pause_s)}"
    return f"{event.error.message}; connecting anew {when} ({event.attempt} of {event.attempts})"


def undecided(one: Undecided) -> str:
    """A message that waits for a person."""
    known = [one.message_id] if one.message_id else []
    if one.size is not None:
        known.append(size(one.size))
    if one.sha256 and not one.message_id:
        known.append(f"SHA-256 {one.sha256[:16]}")
    what = (
        "an extra copy, which arrived late"
        if one.is_extra
        else f"may have been stored on the {one.side.other.label}, and is not found there"
    )
    return f"{one.mailbox}: {message(one.ref)} of the {one.side.label} ({', '.join(known) or 'size unknown'}): {what}"


def undone(one: Uncopied) -> str:
    """What was not done with a message."""
    return "not removed" if one.obstacle is Obstacle.QUARANTINE else "not copied"


def undone_where(one: Uncopied) -> str:
    """The same, with the side on which it was not done."""
    is_removal = one.obstacle is Obstacle.QUARANTINE
    return f"{undone(one)} {'on' if is_removal else 'to'} the {(one.side if is_removal else one.side.other).label}"


def uncopied(one: Uncopied) -> str:
    """Why a message was not copied, how often that was tried, and when it will be again."""
    again = "again when something changed" if one.due is None else f"again after {local_time(one.due)}"
    times = "once" if one.attempts == 1 else f"{one.attempts:,} times"
    return (
        f"{one.reason} (tried {times}, last {local_time(one.last)}; {again}, or with `mailtwin sync --retry`)"
    )


def uncopied_line(one: Uncopied) -> str:
    """The same, with the message."""
    known = one.message_id or ("size unknown" if one.size is None else size(one.size))
    return f"{one.mailbox}: {message(one.ref)} of the {one.side.label} ({known}): {uncopied(one)}"


def account_lines(use: Use) -> list[str]:
    """How an account stands: a rest, and each way in which it used anything, or may not use all it likes."""
    lines = []
    if use.rest is not None:
        until = local_time(use.record.on_the_clock(use.rest.until_s))
        lines.append(f"{use.account} is left alone until {until}: {use.rest.why}")
    lines += [
        standing(use, way)
        for way in Way
        if use.used(way) or use.left(way)[0] or use.limits.of(way) is not None
    ]
    return lines


def local_time(seconds: float) -> str:
    """A moment for people, in their own time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def resolved(decision: Decision | None, found: Sequence[Undecided]) -> str:
    """What follows from a decision, or which ones there are."""
    if not found:
        return "nothing to decide"
    if decision is not None:
        return f"{number(len(found), 'message')} decided ({decision.value}); the next `mailtwin sync` carries it out"
    missing = sum(not one.is_extra for one in found)
    ways = ["--send-again"] if missing else []
    ways += ["--remove-extra", "--keep-extra"] if missing < len(found) else []
    return f"{number(len(found), 'message')} to decide; decide with {' or '.join(ways)}"


def kept_lines(kept: Sequence[Kept]) -> list[str]:
    """Removed messages, run by run."""
    if not kept:
        return ["nothing is kept"]
    lines = []
    for run, group in groupby(sorted(kept, key=lambda one: one.run or 0), key=lambda one: one.run):
        removed = list(group)
        lines.append(f"run {run}: {number(len(removed), 'message')} removed")
        lines += [
            f"  {one.mailbox}: {message(one.ref)} of the {one.side.label} ({one.message_id or size(one.size)})"
            for one in removed
        ]
    return lines


def held_line(one: HeldBack) -> str:
    """Removals that are held back, or approved, in a mailbox."""
    held = one.held
    if held.is_approved:
        return f"{held.mailbox}: approved, the next `mailtwin sync` does it: {held.why}"
    return f"{held.mailbox}: {held.why}"


def held_lines(found: Sequence[HeldBack]) -> list[str]:
    """The same with the messages."""
    lines = []
    for one in found:
        lines.append(held_line(one))
        lines += [f"  {message(ref)} {message_id}".rstrip() for ref, message_id in one.messages]
        more = len(one.held.refs) - len(one.messages)
        lines += [f"  and {number(more, 'message')} more"] if more else []
    return lines or ["nothing is held back"]


def approved(done: Sequence[HeldBack], left: int) -> list[str]:
    """What an approval came to; `left`: so many were not approved, because they have changed since they were shown."""
    count = sum(len(one.held.refs) for one in done)
    lines = (
        [f"{number(count, 'removal')} approved; the next `mailtwin sync` carries them out"] if done else []
    )
    if any(one.held.whole for one in done):
        lines.append(
            "a whole mailbox is removed only with `--remove-mailboxes` (`remove_mailboxes = true`); "
            "a run without it ends the approval"
        )
    if left:
        lines.append(f"{number(left, 'mailbox')} changed since it was shown, and not approved: look again")
    return lines


def _weight(operation: Operation) -> int:
    return len(operation.refs) if isinstance(operation, Identify) else 1


def plan_lines(plan: Plan, *, verbose: bool) -> list[str]:
    """A mailbox's plan: operations counted by kind and reason, or each on a line of its own."""
    if verbose:
        return [f"{operation_line(operation)} ({operation.why})" for operation in plan]
    grouped: Counter[tuple[str, str]] = Counter()
    for operation in plan:
        grouped[operation_kind(operation), operation.why] += _weight(operation)
    return [f"{kind}: {number(count, 'message')} ({why})" for (kind, why), count in grouped.items()]


def mailbox_operation(operation: MailboxOperation) -> str:
    """What is planned for a mailbox as a whole, with its reason."""
    return f"{_mailbox_kind(operation)} ({operation.why})"


def _mailbox_kind(operation: MailboxOperation) -> str:
    match operation:
        case CreateMailbox(side=side):
            return f"create on the {side.label}"
        case HoldMailbox(side=side):
            return f"hold: nothing is done while it is missing on the {side.label}"
        case RemoveMailbox(side=side):
            return f"remove on the {side.label}"
        case ForgetMailbox():
            return "forget"


# --- verification ----------------------------------------------------------------------------------------------------

_SIDED: Mapping[Kind, str] = {
    Kind.SAME: "the same",
    Kind.MISSING: "missing on the",
    Kind.ALTERED: "altered",
    Kind.DOUBLED: "one too many on the",
    Kind.UNRESOLVED: "unresolved on the",
    Kind.UNREADABLE: "cannot be read on the",
    Kind.UNSEEN: "not seen on the",
}


def finding_kind(kind: Kind, side: Side | None) -> str:
    """A kind of finding with the side that it is about."""
    words = _SIDED[kind]
    if side is not None:
        return f"{words} {side.label}"
    return words.removesuffix(" on the")


def _alteration(altered: Alteration) -> str:
    return f"{altered.what} (left: {altered.left}; right: {altered.right})"


def finding(found: Finding) -> str:
    """One finding: where, what, which message, why."""
    ends = zip(Side, (found.left, found.right), strict=True)
    who = [f"{message(ref)} of the {side.label}" for side, ref in ends if ref is not None]
    about = [" and ".join(who)] if who else []
    about += [found.message_id] if found.message_id else []
    about += [size(found.size)] if found.size is not None and not found.altered else []
    about += [", ".join(map(_alteration, found.altered))] if found.altered else []
    what = finding_kind(found.kind, found.side)
    if not found.is_message:
        what = f"the mailbox is {what}" if found.kind is Kind.MISSING else what
    line = ": ".join([*([found.mailbox] if found.mailbox else []), what])
    line += f": {', '.join(about)}" if about else ""
    return f"{line} ({found.why})" if found.why else line


def verified(done: Verification) -> str:
    """A verification in one line."""
    parts = [
        f"{number(done.same, 'message')} in {number(len(done.mailboxes), 'mailbox')} the same on both sides"
    ]
    order = list(Kind)
    kinds = sorted(done.tally, key=lambda key: (order.index(key[0]), key[1] is None, key[1] or 0))
    parts += [
        f"{done.tally[kind, side]:,} {finding_kind(kind, side)}"
        for kind, side in kinds
        if kind is not Kind.SAME
    ]
    if done.excluded:
        parts.append(f"{number(done.excluded, 'mailbox')} left out")
    parts.append(f"{done.read:,} read ({size(done.read_bytes)})")
    return f"{'identical' if done.identical else 'not identical'}: {', '.join(parts)}"


# --- problems -------------------------------------------------------------------------------------------------------


def problem_line(problem: Problem) -> str:
    """One problem without its mailbox."""
    who = [] if problem.side is None else [f"on the {problem.side.label}"]
    if problem.ref is not None:
        who.append(message(problem.ref))
    if problem.message_id:
        who.append(problem.message_id)
    return f"{', '.join(who)}: {problem.error.message}" if who else problem.error.message


KNOWN_SHOWN = 10
"""So many known problems of one mailbox are listed by each run."""


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """All problems, grouped by mailbox, each hint once; then the first of those that an earlier run told already."""
    told = list(problems)
    new = [problem for problem in told if not problem.known]
    known = [problem for problem in told if problem.known]
    return _grouped_lines(new, "problems", len(new)) + _grouped_lines(known, "known problems", KNOWN_SHOWN)


def _grouped_lines(problems: Iterable[Problem], what: str, shown_max: int) -> list[str]:
    grouped: dict[str, list[Problem]] = {}
    for problem in problems:
        grouped.setdefault("" if problem.mailbox is None else str(problem.mailbox), []).append(problem)
    lines: list[str] = []
    for mailbox in sorted(grouped):
        lines.append(f"{what} in {mailbox}:" if mailbox else f"{what}:")
        lines += [f"  {problem_line(problem)}" for problem in grouped[mailbox][:shown_max]]
        more = len(grouped[mailbox]) - shown_max
        lines += [f"  and {more:,} more, which `mailtwin status` shows"] if more > 0 else []
        hints = dict.fromkeys(problem.error.hint for problem in grouped[mailbox] if problem.error.hint)
        lines += [f"  hint: {hint}" for hint in hints]
    return lines
