"""The JSON that `--json` prints: one object per line, every one with `version` and `event`; documented in the README.

Fields may be added under the same version; one that changes its meaning or goes away makes a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailtwin.cli.past import Past, entries
from mailtwin.cli.status import PairStatus
from mailtwin.cli.words import operation_kind
from mailtwin.engine.approving import HeldBack
from mailtwin.engine.findings import Finding, Kind, Tally, Verification, VerifiedMailbox
from mailtwin.engine.putback import Undone
from mailtwin.engine.rationing import Use
from mailtwin.engine.report import (
    CheckReport,
    Compared,
    Connected,
    Event,
    Listed,
    MailboxFinished,
    MailboxResult,
    MailboxStarted,
    MailboxVerified,
    PairPlan,
    PhaseStarted,
    Problem,
    ProblemFound,
    Progress,
    Reconnecting,
    RunReport,
    Verifying,
)
from mailtwin.engine.resolving import Decision, Undecided
from mailtwin.errors import LimitError, MailtwinError
from mailtwin.model import Ref, Side
from mailtwin.model.traffic import Way
from mailtwin.planner.operations import (
    Abandon,
    Adopt,
    Copy,
    CopyIntent,
    Forget,
    ForgetMailbox,
    Hold,
    Identify,
    MailboxOperation,
    Operation,
    Record,
    Relink,
    Remove,
    Reset,
    Settle,
    StoreFlags,
    Straggler,
    Unresolved,
    Wait,
)
from mailtwin.state import Kept, MailboxRecord, RunRecord, Uncopied

VERSION = 1
"""The version of the format."""

Json = dict[str, Any]


def event(happened: Event) -> Json:
    """One event of a run."""
    match happened:
        case Connected(side=side, address=address):
            return {"event": "connected", "side": side.label, "address": address}
        case Listed(total=total, changed=changed, operations=operations):
            todo = list(map(mailbox_operation, operations))
            return {"event": "listed", "mailboxes": total, "changed": changed, "mailbox_operations": todo}
        case MailboxStarted(name=name, index=index, total=total):
            return {"event": "mailbox-started", "mailbox": str(name), "index": index, "total": total}
        case PhaseStarted(name=name, phase=phase, operations=operations):
            named = {"mailbox": str(name), "phase": phase.name.lower()}
            return {"event": "phase-started", **named, "operations": operations}
        case Progress(name=name, phase=phase, done=done, total=total, transferred_bytes=size):
            named = {"mailbox": str(name), "phase": phase.name.lower()}
            return {"event": "progress", **named, "done": done, "total": total, "transferred_bytes": size}
        case MailboxFinished(result=result):
            return {"event": "mailbox-finished", **mailbox(result)}
        case ProblemFound(problem=found):
            return {"event": "problem", **problem(found)}
        case Reconnecting(error=why, pause_s=pause_s, attempt=attempt, attempts=attempts):
            times = {"pause_s": pause_s, "attempt": attempt, "attempts": attempts}
            return {"event": "reconnecting", **error(why), **times}
        case Verifying(name=name, done=done, total=total, read_bytes=size):
            return {
                "event": "verifying",
                "mailbox": str(name),
                "done": done,
                "total": total,
                "read_bytes": size,
            }
        case Compared(finding=found):
            return {"event": "compared", **finding(found)}
        case MailboxVerified(result=result):
            return {"event": "mailbox-verified", **verified_mailbox(result)}


def report(done: RunReport) -> Json:
    """A whole run."""
    return {
        "event": "report",
        "in_step": done.in_step,
        "exit_code": done.exit_code.value,
        "counts": done.counts.as_dict(),
        "mailboxes": list(map(mailbox, done.mailboxes)),
        "problems": list(map(problem, done.problems)),
        "accounts": list(map(account, done.uses)),
    }


def account(use: Use) -> Json:
    """How an account stands: what it used in the last 24 hours each way, what waits, when that goes on and is done."""
    rest, at = use.rest, use.record.on_the_clock
    return {
        "account": use.account,
        **{way.value: _way(use, way) for way in Way},
        "rests_until": None if rest is None else at(rest.until_s),
        "rests_because": None if rest is None else rest.why,
    }


def _way(use: Use, way: Way) -> Json:
    messages, size = use.left(way)
    at = use.record.on_the_clock
    return {
        "bytes": use.used(way),
        "limit": use.limits.of(way),
        "waiting": {"messages": messages, "bytes": size},
        "goes_on": at(use.goes_on_s(way)) if messages else None,
        "done": at(use.done_s(way)) if messages else None,
    }


def mailbox(result: MailboxResult) -> Json:
    """How one mailbox ended."""
    return {
        "mailbox": str(result.name),
        "in_step": result.in_step,
        "unchanged": result.unchanged,
        "counts": result.counts.as_dict(),
    }


def error(found: MailtwinError) -> Json:
    """An error without its place. `until`: when a limit is one no more, if the error is about one and tells."""
    return {
        "kind": type(found).__name__,
        "message": found.message,
        "hint": found.hint,
        "exit_code": found.exit_code.value,
        "retry": found.retry.value,
        "until": found.until if isinstance(found, LimitError) else None,
    }


def problem(found: Problem) -> Json:
    """A problem with its place; what does not apply is null."""
    return {
        **error(found.error),
        "mailbox": None if found.mailbox is None else str(found.mailbox),
        "side": None if found.side is None else found.side.label,
        "ref": found.ref,
        "message_id": found.message_id or None,
        "known": found.known,
    }


# --- plan -----------------------------------------------------------------------------------------------------------


def plan(planned: PairPlan) -> Json:
    """Everything that a run would do."""
    return {
        "event": "plan",
        "mailbox_operations": list(map(mailbox_operation, planned.mailbox_operations)),
        "label_operations": list(map(mailbox_operation, planned.label_operations)),
        "mailboxes": [
            {
                "mailbox": str(entry.name),
                "in_step": entry.in_step,
                "operations": list(map(operation, entry.plan)),
            }
            for entry in planned.mailboxes
        ],
        "problems": list(map(problem, planned.problems)),
    }


def mailbox_operation(todo: MailboxOperation) -> Json:
    """What is planned for a mailbox as a whole."""
    side = None if isinstance(todo, ForgetMailbox) else todo.side.label
    return {
        "operation": _kebab(type(todo).__name__),
        "mailbox": str(todo.name),
        "side": side,
        "why": todo.why,
    }


def operation(todo: Operation) -> Json:
    """One operation: what, on which side, on which messages, with which flags, why."""
    form: Json = {"operation": _kebab(type(todo).__name__), "what": operation_kind(todo), "why": todo.why}
    match todo:
        case Reset(side=side, old=old, new=new):
            form |= {"side": side.label, "old": old, "new": new}
        case Identify(side=side, refs=refs):
            form |= {"side": side.label, "refs": list(refs)}
        case Copy(source=source, ref=ref, flags=flags):
            form |= {"side": source.other.label, **_refs(source, ref), "flags": sorted(flags)}
        case Wait(source=source, ref=ref):
            form |= {"side": source.other.label, **_refs(source, ref)}
        case Adopt(left=left, right=right, flags=flags):
            form |= {"left": left, "right": right, "flags": sorted(flags)}
        case Relink(link=link, side=side, renewed=renewed):
            form |= {"side": side.label, "left": renewed.left, "right": renewed.right, "old": link.ref(side)}
        case StoreFlags(link=link, side=side, add=add, remove=remove):
            form |= {"side": side.label, "left": link.left, "right": link.right}
            form |= {"add": sorted(add), "remove": sorted(remove)}
        case Record(link=link, flags=flags):
            form |= {"left": link.left, "right": link.right, "flags": sorted(flags)}
        case Remove(side=side, ref=ref):
            form |= {"side": side.label, **_refs(side, ref)}
        case Forget(link=link):
            form |= {"left": link.left, "right": link.right}
        case Settle(intent=intent) | Abandon(intent=intent) | Unresolved(intent=intent):
            form |= _interrupted(intent)
        case Hold(held=held):
            form |= _interrupted(held)
    return form


def _interrupted(intent: CopyIntent | Straggler) -> Json:
    there = intent.source.other
    found = intent.found if isinstance(intent, Straggler) else None
    return {
        "side": there.label,
        **_refs(intent.source, intent.ref),
        **({} if found is None else _refs(there, found)),
    }


def _refs(side: Side, ref: Ref) -> Json:
    return {side.label: ref}


def _kebab(name: str) -> str:
    return "".join("-" + char.lower() if char.isupper() else char for char in name).lstrip("-")


# --- verification ---------------------------------------------------------------------------------------------------


def finding(found: Finding) -> Json:
    """What was found about one message, or about a mailbox as a whole (then `left` and `right` are null)."""
    return {
        "finding": found.kind.value,
        "mailbox": found.mailbox or None,
        "side": None if found.side is None else found.side.label,
        "left": found.left,
        "right": found.right,
        "message_id": found.message_id or None,
        "size": found.size,
        "altered": [{"what": one.what, "left": one.left, "right": one.right} for one in found.altered],
        "why": found.why,
    }


def verified_mailbox(done: VerifiedMailbox) -> Json:
    """How one mailbox ended: how many findings of each kind, and what had to be read for them."""
    return {
        "mailbox": str(done.name),
        "findings": _by_kind(done.tally),
        "read": done.read,
        "read_bytes": done.read_bytes,
    }


def _by_kind(tally: Tally) -> Json:
    return {kind.value: sum(count for key, count in tally.items() if key[0] is kind) for kind in Kind}


def verified(done: Verification) -> Json:
    """A verification as a whole."""
    return {
        "event": "verify",
        "identical": done.identical,
        "exit_code": done.exit_code.value,
        "deep": done.deep,
        "findings": _by_kind(done.tally),
        "excluded_mailboxes": done.excluded,
        "read": done.read,
        "read_bytes": done.read_bytes,
        "mailboxes": list(map(verified_mailbox, done.mailboxes)),
    }


# --- check and status -----------------------------------------------------------------------------------------------


def check(found: CheckReport) -> Json:
    """How the mailboxes map."""
    return {
        "event": "check",
        "left": list(found.sides[Side.LEFT]),
        "right": list(found.sides[Side.RIGHT]),
        "mailboxes": [
            {"mailbox": str(row.name), "left": row.left or None, "right": row.right or None, "what": row.what}
            for row in found.rows
        ],
        "problems": [{"mailbox": name, "message": why} for name, why in found.problems],
    }


def status(found: PairStatus) -> Json:
    """A pair's state."""
    return {
        "event": "status",
        "left": found.left,
        "right": found.right,
        "state": str(found.path),
        "runs": list(map(_run, found.runs)),
        "links": found.links,
        "open_intents": found.intents,
        "mailboxes": list(map(_record, found.mailboxes)),
        "unresolved": list(map(undecided, found.unresolved)),
        "kept": {"messages": len(found.kept), "bytes": sum(one.size for one in found.kept)},
        "uncopied": list(map(uncopied, found.uncopied)),
        "held": list(map(held_back, found.held)),
        "accounts": list(map(account, found.uses)),
    }


def _run(run: RunRecord) -> Json:
    return {
        "run": run.run,
        "command": run.command,
        "began": run.began,
        "ended": run.ended,
        "outcome": run.outcome,
        "counts": dict(run.counts),
    }


def log(past: Past) -> Json:
    """Runs, or lines of history."""
    if past.runs is not None:
        return {"event": "log", "runs": list(map(_run, past.runs)), "more": past.more}
    return {"event": "history", "entries": entries(past.entries), "more": past.more}


def _record(record: MailboxRecord) -> Json:
    return {"mailbox": str(record.name), "links": record.links, "open_intents": record.intents}


def undecided(one: Undecided) -> Json:
    """A message that waits for a person. `kind`: `missing` (`source` and `ref` name what was to be copied) or `extra`
    (they name the extra copy itself)."""
    return {
        "mailbox": str(one.mailbox),
        "kind": "extra" if one.is_extra else "missing",
        "source": one.side.label,
        "ref": one.ref,
        "size": one.size,
        "sha256": one.sha256 or None,
        "message_id": one.message_id or None,
        "begun": one.since,
    }


def uncopied(one: Uncopied) -> Json:
    """A message that could not be copied. `due`: when it is tried again; null: not before something changed."""
    return {
        "mailbox": str(one.mailbox),
        "side": one.side.label,
        "ref": one.ref,
        "message_id": one.message_id or None,
        "size": one.size,
        "reason": one.reason,
        "obstacle": one.obstacle.name.lower(),
        "attempts": one.attempts,
        "first": one.first,
        "last": one.last,
        "due": one.due,
    }


def resolved(decision: Decision | None, found: Sequence[Undecided]) -> Json:
    """What was decided, or, without a decision, what could be."""
    return {
        "event": "resolve",
        "decision": decision.value if decision is not None else None,
        "messages": list(map(undecided, found)),
    }


def held_back(one: HeldBack) -> Json:
    """Removals that are held back, or approved: `count` messages on `side`, the first hundred of them by name."""
    held = one.held
    return {
        "mailbox": str(held.mailbox),
        "side": held.side.label,
        "whole_mailbox": held.whole,
        "why": held.why,
        "since": held.since,
        "approved": held.is_approved,
        "count": len(held.refs),
        "messages": [{"ref": ref, "message_id": message_id or None} for ref, message_id in one.messages],
    }


def kept(found: Sequence[Kept]) -> Json:
    """What was removed and can be put back."""
    return {"event": "kept", "messages": list(map(_kept, found))}


def undone(found: Undone) -> Json:
    """What was put back."""
    return {
        "event": "undo",
        "messages": list(map(_kept, found.restored)),
        "problems": list(map(problem, found.problems)),
    }


def _kept(one: Kept) -> Json:
    return {
        "run": one.run,
        "mailbox": str(one.mailbox),
        "side": one.side.label,
        "ref": one.ref,
        "size": one.size,
        "message_id": one.message_id or None,
        "removed": one.since,
    }
