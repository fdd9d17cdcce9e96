"""What completion offers: commands, and the names of mailboxes, flags and capabilities that the server has said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mailtwin.imap import responses as r
from mailtwin.imap.state import ALLOWED

SEEN_MAX = 20_000
"""Names of mailboxes, and flags, each: beyond it nobody looks for one by its first letters."""

OWN_COMMANDS = ("/all", "/both", "/help", "/parsed", "/quit", "/raw", "/wait")
UID_COMMANDS = ("COPY", "EXPUNGE", "FETCH", "MOVE", "REPLACE", "SEARCH", "SORT", "STORE", "THREAD")
VERBS = tuple(sorted({*ALLOWED, "CHECK", "REPLACE", "SETQUOTA", "UID", "XLIST"}))

_MAILBOX_VERBS = (
    "APPEND COPY CREATE DELETE EXAMINE GETACL GETMETADATA GETQUOTAROOT LIST LSUB MOVE MYRIGHTS RENAME REPLACE SELECT "
    "SETACL SETMETADATA STATUS SUBSCRIBE UNSUBSCRIBE"
)
_SYSTEM_FLAGS = ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")
_FLAG_VERBS = frozenset(("APPEND", "REPLACE", "STORE"))
_WORDS = {
    "FETCH": (
        "BODY.PEEK[] BODY.PEEK[HEADER] BODYSTRUCTURE CHANGEDSINCE ENVELOPE FLAGS INTERNALDATE MODSEQ RFC822.SIZE UID"
    ),
    "LIST": "RETURN SPECIAL-USE STATUS SUBSCRIBED",
    "SEARCH": (
        "ALL ANSWERED BEFORE DELETED FLAGGED FROM HEADER KEYWORD LARGER MODSEQ NOT ON OR RETURN SEEN SINCE SMALLER "
        "SUBJECT TEXT TO UID UNDELETED UNSEEN"
    ),
    "STATUS": "HIGHESTMODSEQ MESSAGES RECENT SIZE UIDNEXT UIDVALIDITY UNSEEN",
    "STORE": "+FLAGS +FLAGS.SILENT -FLAGS -FLAGS.SILENT FLAGS FLAGS.SILENT UNCHANGEDSINCE",
}
_ATOM = re.compile(r"[^\s(){%*\"\\\]]+")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*\Z|[^\s()]*\Z')


class Knowledge:
    """What was learnt from the server's responses."""

    def __init__(self) -> None:
        self.mailboxes: dict[str, None] = {"INBOX": None}
        self.flags: dict[str, None] = dict.fromkeys(_SYSTEM_FLAGS)
        self.capabilities: frozenset[str] = frozenset()

    def learn(self, response: r.Response) -> None:
        """Notes the names in it."""
        match response:
            case r.ListItem(name=name) | r.MailboxStatus(name=name):
                _note(self.mailboxes, [written(name)])
            case r.MailboxFlags(flags=flags):
                _note(self.flags, flags)
            case r.Fetch(flags=flags):
                _note(self.flags, flags or ())
            case r.Capability(names=names):
                self.capabilities = names
            case r.Status(code=code) if code is not None:
                if code.name == "CAPABILITY":
                    self.capabilities = frozenset(str(name).upper() for name in code.args)
                elif code.name == "PERMANENTFLAGS":
                    _note(self.flags, (str(flag) for flag in code.args if flag != "\\*"))

    def complete(self, line: str) -> tuple[str, list[str]]:
        """The word at the end of `line`, and what it may become."""
        found = _WORD.search(line)
        word = found[0] if found is not None else ""
        before = line[: len(line) - len(word)].split()
        offered = self._offered([part.upper() for part in before], word)
        bare = word.lstrip('"').lower()
        return word, sorted({one for one in offered if one.lstrip('"').lower().startswith(bare)})

    def _offered(self, before: Sequence[str], word: str) -> Iterable[str]:
        if not before:
            return OWN_COMMANDS if word.startswith("/") else VERBS
        verb = before[0]
        if verb == "UID":
            if len(before) == 1:
                return UID_COMMANDS
            verb = before[1]
        if word[:1] in ("\\", "$"):
            return self.flags
        offered = _WORDS.get(verb, "").split()
        if verb in _MAILBOX_VERBS.split():
            offered += self.mailboxes
        if verb in _FLAG_VERBS:
            offered += self.flags
        if verb == "ENABLE":
            offered += self.capabilities
        if verb == "AUTHENTICATE":
            offered += [name[5:] for name in self.capabilities if name.startswith("AUTH=")]
        return offered


def written(name: bytes) -> str:
    """The name of a mailbox as a command has it: quoted where it must be."""
    text = name.decode("utf-8", "surrogateescape")
    if _ATOM.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _note(seen: dict[str, None], names: Iterable[str]) -> None:
    for name in names:
        # What cannot be shown cannot be offered; and nobody types it.
        if len(seen) < SEEN_MAX and name.isprintable():
            seen[name] = None
