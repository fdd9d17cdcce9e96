"""The configuration file: what a good one becomes, and every mistake with its place and what was expected."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mailtwin.config.load import default_path, described, load, nearest, parse
from mailtwin.config.schema import DAILY_LIMIT
from mailtwin.config.settings import Auth, Encoding, ImapSettings, Layout, MaildirSettings, SecretSource, Tls
from mailtwin.errors import ConfigurationError, ExitCode
from mailtwin.model import MailboxName
from mailtwin.planner.operations import Direction, Policy, Removals

FILE = Path("/etc/c.toml")

FULL = """
[stores.work]
type = "imap"
host = "imap.example.org"
user = "me@example.org"
tls = "starttls"
port = 1143
auth = "xoauth2"
password_command = ["oauth", "token"]
ca_file = "/etc/ca.pem"

[stores.here]
type = "maildir"
path = "~/Mail/work"
layout = "nested"
encoding = "imap"
info_separator = "!"

[pairs.home]
left = "work"
right = "here"
direction = "left-to-right"
removals = "keep"
flag_change_beats_removal = true
remove_mailboxes = true
mailboxes.include = ["*"]
mailboxes.exclude = ["Trash", "Spam/*"]
state_dir = "/var/lib/mailtwin"

[pairs.home.rename]
"[Gmail]/Sent Mail" = "Sent"
"""

SMALL = """
stores.a = { type = "imap", host = "a.example", user = "me" }
stores.b = { type = "imap", host = "[::1]", user = "me", tls = "off", password_file = "/run/secret" }
[pairs]
p = { left = "a", right = "b" }
"""


def test_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    [pair] = parse(FULL, FILE).pairs
    assert pair.left == ImapSettings(
        user="me@example.org",
        host="imap.example.org",
        port=1143,
        tls=Tls.STARTTLS,
        auth=Auth.XOAUTH2,
        secret=SecretSource(command=("oauth", "token")),
        ca_file=Path("/etc/ca.pem"),
    )
    assert pair.right == MaildirSettings(Path("/home/me/Mail/work"), Layout.NESTED, Encoding.IMAP, "!")
    assert pair.policy == Policy(Direction.LEFT_TO_RIGHT, Removals.KEEP, True, True)
    assert (pair.name, pair.include, pair.exclude) == ("home", ("*",), ("Trash", "Spam/*"))
    assert pair.rename == ((MailboxName(("[Gmail]", "Sent Mail")), MailboxName(("Sent",))),)
    assert pair.state_dir == Path("/var/lib/mailtwin")


def test_defaults() -> None:
    [pair] = parse(SMALL, FILE).pairs
    assert isinstance(pair.left, ImapSettings)
    assert isinstance(pair.right, ImapSettings)
    assert (pair.left.port, pair.left.tls, pair.left.auth) == (993, Tls.IMPLICIT, Auth.AUTO)
    assert (pair.right.port, pair.right.host) == (143, "::1")
    assert pair.right.secret == SecretSource(file=Path("/run/secret"))
    assert (pair.policy, pair.include, pair.exclude, pair.rename) == (Policy(), ("*",), (), ())


@pytest.mark.parametrize("auth", Auth)
def test_every_way_to_log_in(auth: Auth) -> None:
    [read] = parse(SMALL.replace('user = "me" }', f'user = "me", auth = "{auth.value}" }}', 1), FILE).pairs
    assert isinstance(read.left, ImapSettings)
    assert read.left.auth is auth


def test_a_tunnel() -> None:
    text = SMALL.replace(
        'user = "me" }', 'user = "me", tunnel_command = ["ssh", "h", "imapd"], compress = true }', 1
    )
    [read] = parse(text, FILE).pairs
    assert read.left == ImapSettings(
        "me", "a.example", 993, Tls.IMPLICIT, tunnel=("ssh", "h", "imapd"), compress=True
    )
    assert read.left.address == "imaps://me@a.example/"


@pytest.mark.parametrize(
    ("keys", "limits"),
    [
        ("", (None, None)),
        ("download_megabytes_per_day = 1500", (1500, None)),
        ("upload_megabytes_per_day = 0", (None, 0)),
        ('download_megabytes_per_day = "none"\nupload_megabytes_per_day = 7', (0, 7)),
    ],
)
def test_daily_limits(keys: str, limits: tuple[int | None, int | None]) -> None:
    [read] = parse(pair().replace('user = "me"', f'user = "me"\n{keys}'), FILE).pairs
    assert isinstance(read.left, ImapSettings)
    assert (read.left.download_megabytes_per_day, read.left.upload_megabytes_per_day) == limits


def imap(extra: str = "") -> str:
    return f'[stores.a]\ntype = "imap"\nhost = "a.example"\nuser = "me"\n{extra}\n'


def pair(extra: str = "") -> str:
    return (
        imap().rstrip()
        + f'\n[stores.b]\ntype = "maildir"\npath = "/m"\n[pairs.p]\nleft = "a"\nright = "b"\n{extra}\n'
    )


# Each row: what is in the file, and the lines of the error without the file's name.
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "empty": ("", ["1:1: the file: there is no pair; expected at least one table [pairs.NAME]"]),
    "a limit that is none of them": (
        imap('upload_megabytes_per_day = "some"') + pair().partition("\n\n")[2].partition('user = "me"\n')[2],
        [f'5:28: stores.a.upload_megabytes_per_day: found "some"; expected {DAILY_LIMIT.expected}'],
    ),
    "unknown section": (
        'pears = 1\n' + pair(),
        ["1:1: pears: unknown key; did you mean pairs?"],
    ),
    "section of the wrong type": (
        "stores = 3\npairs = true",
        [
            "1:10: stores: found 3; expected tables [stores.NAME]",
            "2:9: pairs: found true; expected tables [pairs.NAME]",
        ],
    ),
    "store of the wrong type": (
        'stores.a = "imap"',
        ['1:12: stores.a: found "imap"; expected a table [stores.NAME]'],
    ),
    "no type": (
        "[stores.a]\nhost = 'x'",
        ['1:1: stores.a: type is missing; expected "imap" or "maildir"'],
    ),
    "unknown type": (
        '[stores.a]\ntype = "pop3"',
        ['2:8: stores.a.type: found "pop3"; expected "imap" or "maildir"'],
    ),
    "type of the wrong type": (
        "[stores.a]\ntype = []",
        ['2:8: stores.a.type: found an empty list; expected "imap" or "maildir"'],
    ),
    "missing keys": (
        '\n[stores.a]\ntype = "imap"',
        [
            "2:1: stores.a: host is missing; expected a host",
            "2:1: stores.a: user is missing; expected a string",
        ],
    ),
    "unknown key": (imap('prot = 993'), ["5:1: stores.a.prot: unknown key; did you mean port?"]),
    "key of the other type": (
        imap('path = "/m"'),
        ['5:1: stores.a.path: unknown key here; only stores of type "maildir" have it'],
    ),
    "unknown key like no other": (
        '[stores.a]\ntype = "maildir"\npath = "/m"\nzzz = 1',
        ["4:1: stores.a.zzz: unknown key; expected one of type, path, layout, encoding, info_separator"],
    ),
    "password": (
        imap('password = "sesame"'),
        [
            (
                "5:1: stores.a.password: a password is never written into the configuration; expected "
                "password_command, password_file, password_env, or none of them to be asked"
            ),
        ],
    ),
    "two secrets": (
        imap('password_env = "P"\npassword_file = "/x"'),
        ["5:1: stores.a.password_env: a second source of the password, besides password_file; expected only one"]
    ),
    "wrong values": (
        imap('port = "993"\n  tls = "none" # odd\nauth=1\nca_file = "ca.pem"\npassword_command=[]'),
        [
            '5:8: stores.a.port: found "993"; expected a number from 1 to 65535',
            '6:9: stores.a.tls: found "none"; expected one of "implicit", "starttls", "off"',
            "7:6: stores.a.auth: found 1; expected one of "
            + ", ".join(f'"{auth.value}"' for auth in Auth),
            '8:11: stores.a.ca_file: found "ca.pem"; expected an absolute path, or one that begins with ~',
            "9:18: stores.a.password_command: found an empty list; expected a list of strings, or a line for the shell",
        ],
    ),
    "a tunnel beside what it replaces": (
        imap('tunnel_command = "ssh h imapd"\nport = 993\ntls = "starttls"\nca_file = "/ca.pem"'),
        [
            "6:1: stores.a.port: it has no meaning beside tunnel_command; expected only one of them",
            "7:1: stores.a.tls: it has no meaning beside tunnel_command; expected only one of them",
            "8:1: stores.a.ca_file: it has no meaning beside tunnel_command; expected only one of them",
        ],
    ),
    "port out of range": (
        imap("port = 65536"),
        ["5:8: stores.a.port: found 65536; expected a number from 1 to 65535"],
    ),
    "port is not a boolean": (
        imap("port = true"),
        ["5:8: stores.a.port: found true; expected a number from 1 to 65535"],
    ),
    "host with scheme": (
        '[stores.a]\ntype = "imap"\nhost = "imaps://a.example"\nuser = "me"',
        [
            (
                '3:8: stores.a.host: found "imaps://a.example"; expected the name or number of a host alone, without '
                "scheme, user or path"
            ),
        ],
    ),
    "empty string": (
        '[stores.a]\ntype = "imap"\nhost = "a"\nuser = " "',
        ['4:8: stores.a.user: found " "; expected a string that is not empty'],
    ),
    "host that no name server knows": (
        '[stores.a]\ntype = "imap"\nhost = "imap..example"\nuser = "me"',
        [
            (
                '3:8: stores.a.host: found "imap..example"; expected the name or number of a host alone, without '
                "scheme, user or path"
            ),
        ],
    ),
    "line break in a name": (
        '[stores.a]\ntype = "imap"\nhost = "a"\nuser = "me\\n"',
        ['4:8: stores.a.user: found "me\n"; expected a string without line breaks and other control characters'],
    ),
    "NUL": (
        '[stores.a]\ntype = "imap"\nhost = "a"\nuser = "\\u0000"',
        ['4:8: stores.a.user: found "\0"; expected a string without NUL'],
    ),
    "list with a number": (
        imap('password_command = ["pass", 1]'),
        ["5:29: stores.a.password_command.1: found 1; expected a string"],
    ),
    "maildir": (
        '[stores.a]\ntype = "maildir"\npath = "Mail"\nlayout = "flat"\ninfo_separator = "::"',
        [
            '3:8: stores.a.path: found "Mail"; expected an absolute path, or one that begins with ~',
            '4:10: stores.a.layout: found "flat"; expected one of "auto", "maildir++", "nested"',
            '5:18: stores.a.info_separator: found "::"; expected one of ":", ";", "!", "-"',
        ],
    ),
    "relative paths are not taken for one Maildir": (
        pair('[stores.c]\ntype = "maildir"\npath = "one"\n[stores.d]\ntype = "maildir"\npath = "two"\n'
             '[pairs.q]\nleft = "a"\nright = "c"\n[pairs.r]\nleft = "a"\nright = "d"'),
        [
            '13:8: stores.c.path: found "one"; expected an absolute path, or one that begins with ~',
            '16:8: stores.d.path: found "two"; expected an absolute path, or one that begins with ~',
        ],
    ),
    "unknown home": (
        '[stores.a]\ntype = "maildir"\npath = "~no-such-user-here/Mail"',
        [
            (
                '3:8: stores.a.path: found "~no-such-user-here/Mail"; expected a path (The home directory in '
                "'~no-such-user-here/Mail' is not known.)"
            ),
        ],
    ),
    "unknown store": (
        imap() + '[pairs.p]\nleft = "a"\nright = "aa"',
        ['8:9: pairs.p.right: there is no store "aa"; did you mean a?'],
    ),
    "no stores at all": (
        '[pairs.p]\nleft = "x"',
        [
            '1:1: pairs.p: right is missing; expected a string',
            '2:8: pairs.p.left: there is no store "x"; none is known',
        ],
    ),
    "one store on both sides": (
        imap() + '[pairs.p]\nleft = "a"\nright = "a"',
        ['8:9: pairs.p.right: found "a" on both sides; expected two stores'],
    ),
    "a wrong store is not reported a second time for its pair": (
        '[stores.a]\ntype = "pop3"\n' + '[stores.b]\ntype = "maildir"\npath = "/m"\n[pairs.p]\nleft = "a"\nright = "b"',
        ['2:8: stores.a.type: found "pop3"; expected "imap" or "maildir"'],
    ),
    "names of pairs that the command line would not understand": (
        pair('[pairs."mail/work"]\nleft = "a"\nright = "b"').replace("[pairs.p]", '[pairs."a:b"]', 1)
        .replace('"a:b"]\nleft = "a"\nright = "b"', '"a:b"]\nleft = "a"\nright = "c"\n[stores.c]\n'
                 'type = "maildir"\npath = "/c"', 1),
        [
            '8:1: pairs."a:b": a name with : or / would be taken for an address; expected another name',
            '14:1: pairs."mail/work": a name with : or / would be taken for an address; expected another name',
        ],
    ),
    "pair values": (
        pair('direction = "both"\nremovals = "never"\nremove_mailboxes = 1\ndirecton = "two-way"'),
        [
            '11:13: pairs.p.direction: found "both"; expected one of "two-way", "left-to-right", "right-to-left"',
            '12:12: pairs.p.removals: found "never"; expected one of "propagate", "keep", "restore"',
            "13:20: pairs.p.remove_mailboxes: found 1; expected true or false",
            "14:1: pairs.p.directon: unknown key; did you mean direction?",
        ],
    ),
    "labels are no mailboxes": (
        pair('view = "labels"\nmailboxes.exclude = ["Spam"]'),
        [
            (
                '11:8: pairs.p.view: with view = "labels" all mail is one mailbox; expected no choice of mailboxes '
                "and no names for them"
            ),
        ],
    ),
    "mailboxes": (
        pair('mailboxes = { include = "INBOX", excluded = [] }'),
        [
            '11:25: pairs.p.mailboxes.include: found "INBOX"; expected a list of strings',
            "11:34: pairs.p.mailboxes.excluded: unknown key; did you mean exclude?",
        ],
    ),
    "mailboxes is no table": (
        pair('mailboxes = ["INBOX"]'),
        ["11:13: pairs.p.mailboxes: found a list; expected mailboxes.include or mailboxes.exclude"],
    ),
    "rename": (
        pair('rename = { "A" = "X", "B" = "X" }'),
        ['11:1: pairs.p.rename: two mailboxes would both be "X" on the right'],
    ),
    "rename to nothing": (
        pair('rename."A/B" = "X//Y"\nrename.C = 1'),
        [
            (
                '11:16: pairs.p.rename."A/B": found "X//Y"; expected a mailbox name on both sides of =, '
                "without empty levels"
            ),
        ],
    ),
    "quoted names": (
        '[pairs."two words"]\nleft = 1\n\'ri"ght\' = 1',
        [
            '1:1: pairs."two words": right is missing; expected a string',
            '2:8: pairs."two words".left: found 1; expected a string',
            '3:1: pairs."two words"."ri"ght": unknown key; did you mean right?',
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake(case: str) -> None:
    text, expected = MISTAKES[case]
    with pytest.raises(ConfigurationError) as caught:
        parse(text, FILE)
    count = "one mistake" if len(expected) == 1 else f"{len(expected)} mistakes"
    assert caught.value.message.split("\n  ") == [
        f"The configuration has {count}:",
        *(f"{FILE}:{line}" for line in expected),
    ]


def test_a_password_in_the_file_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(imap('password = "sesame"\nusre = "sesame"'), FILE)
    assert "sesame" not in str(caught.value)


# --- one Maildir, one pair ------------------------------------------------------------------------------------------


def maildirs(one: Path, other: Path) -> str:
    return (
        f'{imap()}[stores.m]\ntype = "maildir"\npath = "{one}"\n[stores.n]\ntype = "maildir"\npath = "{other}"\n'
        '[pairs.p]\nleft = "a"\nright = "m"\n'
    )


def test_two_stores_with_one_maildir(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for other in ("real", "link", "real/.", "real/.Sub", "link/Sub"):
        with pytest.raises(ConfigurationError) as caught:
            parse(maildirs(tmp_path / "real", tmp_path / other), FILE)
        assert f"{FILE}:11:8: stores.n.path: " in caught.value.message
        assert "is the Maildir of stores.m" in caught.value.message


def test_a_maildir_around_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="or one lies in the other; expected one of its own"):
        parse(maildirs(tmp_path / "Mail" / "work", tmp_path / "Mail"), FILE)


def test_maildirs_side_by_side(tmp_path: Path) -> None:
    assert parse(maildirs(tmp_path / "work", tmp_path / "work2"), FILE).pairs


def test_two_pairs_with_one_maildir() -> None:
    text = pair() + '[stores.c]\ntype = "imap"\nhost = "c"\nuser = "me"\n[pairs.q]\nleft = "b"\nright = "c"\n'
    with pytest.raises(ConfigurationError) as caught:
        parse(text, FILE)
    what = "pairs.q.left: the Maildir /m belongs to pairs.p; expected one pair for each Maildir"
    assert f"{FILE}:17:8: {what}" in caught.value.message


def test_two_pairs_may_share_a_server() -> None:
    text = pair() + '[stores.c]\ntype = "imap"\nhost = "c"\nuser = "me"\n[pairs.q]\nleft = "a"\nright = "c"\n'
    assert [found.name for found in parse(text, FILE).pairs] == ["p", "q"]


# --- the file itself ------------------------------------------------------------------------------------------------

NOT_TOML = [
    ("[stores.a\n", "1:10: this is not TOML: expected ']' at the end of a table declaration."),
    ("a = \n", "1:5: this is not TOML: invalid value."),
    ('x = 1\ny = "abc\n', "2:9: this is not TOML: illegal character '\\n'."),
    ("x = 1\nx = 2\n", "2:6: this is not TOML: this key is there for the second time."),
    ("[a]\n[a]\n", "2:3: this is not TOML: this table is there for the second time."),
    ("x = [1,", "1:1: this is not TOML: invalid value."),
]


@pytest.mark.parametrize(("text", "expected"), NOT_TOML)
def test_not_toml(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, FILE)
    assert caught.value.message == f"{FILE}:{expected}"
    assert "toml.io" in caught.value.hint


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(SMALL)
    assert load(path).path == path


def test_a_mark_in_front_that_editors_write(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(SMALL.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    assert load(path).pairs


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no configuration file") as caught:
        load(tmp_path / "config.toml")
    assert "mailtwin sync imaps://" in caught.value.hint
    assert caught.value.exit_code is ExitCode.CONFIGURATION


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.touch(mode=0)
    if os.geteuid() == 0:  # root may read everything, so the disk has to be played
        monkeypatch.setattr(Path, "open", _forbidden)
    with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
        load(path)


def _forbidden(path: Path, _mode: str) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes("# ä\nx = 'ä".encode() + b"\xff'")
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path}:2:7: found a byte that is not UTF-8")


def test_default_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/cfg")
    assert default_path() == Path("/cfg/mailtwin/config.toml")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_path() == Path("/home/me/.config/mailtwin/config.toml")


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("platformdirs.user_config_path", homeless)
    with pytest.raises(ConfigurationError, match="your home directory is not known") as caught:
        default_path()
    assert "--config" in caught.value.hint


def homeless(_program: str) -> Path:
    raise RuntimeError


def test_words() -> None:
    assert described("x" * 100) == '"' + "x" * 56 + "..."
    assert described({}) == "a table"
    assert nearest("zzz", ["left", "right"]) == "expected one of left, right"
    many = nearest("zzz", [f"a{number:02}" for number in range(23)])
    assert many == f"expected one of {', '.join(f'a{number:02}' for number in range(20))} and 3 more"
    assert nearest("zzz", [f"a{number:02}" for number in range(20)]).endswith(" a18, a19")
