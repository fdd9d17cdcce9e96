"""What the documents for library users show is what happens: every example runs, every table is that of the code."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.client.scripted import AUTHORITY, server_tls
from tests.docs.drawings import DOCUMENT, DRAWINGS, places

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.client.result import Result
from mailtwin.imap import OpenRange, commands
from mailtwin.model import UidSet
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ("imap-kernel.md", "imap-client.md")
_EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
EXAMPLES = [
    pytest.param(*found.groups(), id=f"{name}-{number}")
    for name in GUIDES
    for number, found in enumerate(_EXAMPLE.finditer((DOCS / name).read_text(encoding="utf-8")), 1)
]
PASSWORD = "correct-horse"


def account() -> SimMail:
    mail = SimMail()
    mail.add_account("user", PASSWORD)
    return mail


def run(code: str, port: int) -> str:
    """What a whole program prints."""
    given = {
        "HOST": "localhost",
        "PORT": port,
        "USER": "user",
        "PASSWORD": PASSWORD,
        "CA_FILE": str(AUTHORITY),
    }
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "<example>", "exec"), {"__name__": "example", **given})
    return out.getvalue()


@pytest.mark.parametrize(("code", "expected"), EXAMPLES)
async def test_examples(code: str, expected: str | None) -> None:
    async with SimServer(account(), tls=server_tls()) as server:
        assert await asyncio.to_thread(run, code, server.port) == (expected or "")


def test_every_example_is_found() -> None:
    for name in GUIDES:
        text = (DOCS / name).read_text(encoding="utf-8")
        assert text.count("```python") == len(_EXAMPLE.findall(text)) > 3


def test_the_drawings_are_those_of_the_code() -> None:
    drawn = dict(places(DOCUMENT.read_text(encoding="utf-8")))
    assert drawn == {name: draw() for name, draw in DRAWINGS.items()}


def migrated() -> list[str]:
    rows = (DOCS / "migrating.md").read_text(encoding="utf-8").splitlines()
    cells = [re.split(r"(?<!\\)\|", row) for row in rows if row.startswith("|")][2:]
    return [cell[5].strip().strip("`") for cell in cells]


async def test_each_task_works() -> None:
    """All calls of the table, in its order, in one session."""
    async with SimServer(account(), tls=server_tls()) as server:
        box = server.mail.accounts["user"]["INBOX"]
        box.append(b"Subject: one\r\n\r\n")
        box.append(b"Subject: two\r\n\r\n", ["\\Deleted"])
        server.mail.accounts["user"].create("Archive")
        names = {
            "Session": Session,
            "endpoint": Endpoint("localhost", server.port, "tls", AUTHORITY),
            "credentials": Credentials("user", Secret(PASSWORD)),
            "c": commands,
            "OpenRange": OpenRange,
            "UidSet": UidSet,
        }
        calls = migrated()
        assert calls[0].startswith("s = await Session.open")
        for call in calls:
            await _call(call, names)
        assert len(box) == 1
    assert len(server.mail.accounts["user"]["Archive"]) == 2


async def _call(call: str, names: dict[str, object]) -> None:
    name, _, expression = call.rpartition(" = ")
    if name and "(" in name:
        # An equals sign inside of an argument.
        name, expression = "", call
    waits = expression.startswith("await ")
    value = eval(expression.removeprefix("await "), names)
    if waits:
        value = await value
    if name:
        names[name] = value
    if isinstance(value, AsyncGenerator):
        async with contextlib.aclosing(value) as answers:
            async for _ in answers:
                pass
    for result in value if isinstance(value, list) else [value]:
        assert not isinstance(result, Result) or (result.ok and result.complete), call


@pytest.mark.parametrize("name", [*GUIDES, "migrating.md", "speed.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCS / target).exists(), target
    assert f"docs/{name}" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
