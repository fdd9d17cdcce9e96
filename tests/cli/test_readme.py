"""The README's tables, examples and commands are those of the program."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mailtwin.cli.app import commands
from mailtwin.cli.exitcodes import EXIT_CODES
from mailtwin.config.load import parse
from mailtwin.config.schema import IMAP_KEYS, MAILDIR_KEYS, PAIR_KEYS, AnyKey

COMMANDS = (
    "sync",
    "plan",
    "check",
    "status",
    "resolve",
    "approve",
    "verify",
    "log",
    "explain",
    "state check",
    "undo",
    "demo",
)
README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no section {title!r}"
    return found[1]


def rows(title: str) -> list[str]:
    """The lines of the table in a section, without its head."""
    return [line for line in section(title).splitlines() if line.startswith("|")][2:]


def key_row(key: AnyKey) -> str:
    default = "required" if key.required else key.default_text
    return f"| `{key.name}` | {key.kind.expected.replace('|', '/')} | {default} | {key.about} |"


@pytest.mark.parametrize(
    ("title", "keys"),
    [("`[stores.NAME]` with `type = \"imap\"`", IMAP_KEYS), ("`[stores.NAME]` with `type = \"maildir\"`", MAILDIR_KEYS),
     ("`[pairs.NAME]`", PAIR_KEYS)],
)  # fmt: skip
def test_configuration_keys(title: str, keys: tuple[AnyKey, ...]) -> None:
    assert rows(title) == list(map(key_row, keys))


def option_row(name: str, option: click.Option) -> str:
    spelled = ", ".join(f"`{spelling}`" for spelling in reversed(option.opts))
    value = "" if option.is_flag else (option.metavar or option.type.name.upper())
    if isinstance(option.type, click.Choice):
        value = " / ".join(option.type.choices)
    return f"| {spelled} | {value} | {name} | {(option.help or '').replace('|', '/')} |"


def command(name: str) -> click.Command:
    """The command of this name, which may be one of a group."""
    found: click.Command = commands
    for word in name.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


def test_all_commands_are_described() -> None:
    named = {name for name in commands.commands if not isinstance(commands.commands[name], click.Group)}
    assert named < set(COMMANDS)
    text = section("Commands")
    assert [name for name in COMMANDS if f"`mailtwin {name}" not in text] == []


def option_rows() -> Iterator[str]:
    found: dict[str, tuple[click.Option, list[str]]] = {}
    for name in COMMANDS:
        for option in command(name).params:
            if isinstance(option, click.Option):
                assert option.name is not None
                found.setdefault(option.name, (option, []))[1].append(name)
    for option, names in found.values():
        yield option_row(", ".join(names), option)


def test_options() -> None:
    assert rows("Options") == list(option_rows())


def test_exit_codes() -> None:
    assert rows("Exit codes") == [f"| {code.value} | {what} |" for code, what in EXIT_CODES.items()]


def test_json_events() -> None:
    """Every event has a row that names all its fields (those inside of others are described in words)."""
    shapes = json.loads(Path(__file__).with_name("json_v1.json").read_text(encoding="utf-8"))
    documented = {
        line.split("|")[1].strip().strip("`"): re.findall(r"`([a-z_]+)`", line.split("|")[2])
        for line in rows("JSON")
    }
    assert {event: list(shape) for event, shape in shapes.items()} == {
        event: ["version", "pair", "event", *fields] for event, fields in documented.items()
    }


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_configuration_examples_are_good() -> None:
    examples = blocks("toml")
    assert examples
    for text in examples:
        assert tomllib.loads(text)
        assert parse(text, Path("README.md")).pairs


def test_commands_exist() -> None:
    lines = [line.strip() for block in blocks("sh") for line in block.splitlines() if "mailtwin " in line]
    assert lines
    for line in lines:
        words = line.partition("#")[0].split()
        name, *arguments = words[words.index("mailtwin") + 1 :]
        known = {spelling for option in commands.commands[name].params for spelling in option.opts}
        assert {word for word in arguments if word.startswith("-")} <= known, line


def test_make_targets_exist() -> None:
    makefile = (Path(__file__).parent.parent.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
