"""Patterns of mailbox names."""

from __future__ import annotations

import pytest

from mailtwin.config.globs import naming, selector
from mailtwin.model import MailboxName

FITS = [
    ("*", "INBOX", True),
    ("*", "Archive/2024/May", True),
    ("Archive", "Archive", True),
    ("Archive", "Archive/2024", False),
    ("Archive/*", "Archive/2024/May", True),
    ("Archive/*", "Archive", False),
    ("Archive*", "Archive", True),
    ("archive", "Archive", False),
    ("inbox", "INBOX", True),
    ("Inbox/*", "INBOX/Lists", True),
    ("Inboxes", "Inboxes", True),
    ("20??", "2024", True),
    ("20??", "20245", False),
    ("[Gmail]/*", "[Gmail]/All Mail", True),
    ("[Gmail]/*", "G/All Mail", False),
    ("a.c", "abc", False),
    ("a\\*c", "a*c", True),
    ("a\\*c", "abc", False),
    ("a\\?", "a?", True),
    ("*\n*", "a\nb", True),
    ("Entwürfe", "Entwürfe", True),
]


@pytest.mark.parametrize(("glob", "name", "fits"), FITS)
def test_glob(glob: str, name: str, fits: bool) -> None:
    assert selector([glob], [])(MailboxName.parse(name)) is fits


def test_a_slash_inside_a_level_is_written_escaped() -> None:
    assert selector(["a\\/b"], [])(MailboxName(("a/b",)))
    assert not selector(["a\\/b"], [])(MailboxName(("a", "b")))


@pytest.mark.parametrize(
    ("include", "name", "named"),
    [
        (["*"], "[Gmail]/All Mail", False),
        (["*", "[Gmail]/All Mail"], "[Gmail]/All Mail", True),
        (["[Gmail]/*"], "[Gmail]/All Mail", False),
        (["inbox"], "INBOX", True),
        (["what\\?"], "what?", True),
        ([], "INBOX", False),
    ],
)
def test_what_is_included_by_its_very_name(include: list[str], name: str, named: bool) -> None:
    assert naming(include)(MailboxName.parse(name)) is named


def test_exclude_wins() -> None:
    select = selector(["*"], ["Trash", "Trash/*"])
    names = ["INBOX", "Trash", "Trash/old", "Trash2"]
    assert [select(MailboxName.parse(name)) for name in names] == [True, False, False, True]


def test_nothing_included() -> None:
    assert not selector([], [])(MailboxName(("INBOX",)))
