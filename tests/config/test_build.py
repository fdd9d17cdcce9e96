"""Settings to stores, pairs and logins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mailtwin.client import Place, Tunnel
from mailtwin.config.address import parse_address
from mailtwin.config.build import Login, build_pair, with_stand_ins
from mailtwin.config.places import default_state_dir
from mailtwin.config.settings import Auth, ImapSettings, PairSettings, SecretSource, Tls, View
from mailtwin.errors import ConfigurationError, SecretError
from mailtwin.model import INBOX, MailboxName, Side
from mailtwin.model.traffic import NO_LIMITS, DailyLimits
from mailtwin.planner import Policy
from mailtwin.planner.operations import Direction
from mailtwin.stores.base import ALL_MAIL
from mailtwin.stores.imap_labels import LabelView
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.maildir_labels import LabelledMaildir

ACCOUNT = ImapSettings("me", "imap.example.org", 993, Tls.IMPLICIT)


def settings(left: str = "imaps://me@h/", right: str = "maildir:/m") -> PairSettings:
    return PairSettings("p", parse_address(left), parse_address(right))


def nobody(_question: str) -> None:
    return None


def test_login_is_found_once_and_kept() -> None:
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return "sesame"

    login = Login(dataclasses.replace(ACCOUNT, auth=Auth.LOGIN), Side.LEFT, ask, {})
    first, second = login.find(), login.find()
    assert (first.user, first.secret.reveal(), first.mechanism) == ("me", "sesame", "login")
    assert second is first
    assert len(asked) == 1
    assert "sesame" not in repr(login)


def test_a_token_is_good_for_one_login_and_a_password_for_all() -> None:
    answers = iter(range(9))
    by_command = SecretSource(command="echo token")
    for auth, source, found in [
        (Auth.AUTO, by_command, [True, True]),
        (Auth.XOAUTH2, by_command, [True, False]),
        (Auth.OAUTHBEARER, by_command, [True, False]),
        (Auth.XOAUTH2, SecretSource(), [True, True]),
    ]:
        wanted = dataclasses.replace(ACCOUNT, auth=auth, secret=source)
        login = Login(wanted, Side.LEFT, lambda _question: f"typed {next(answers)}", {})
        first = login.find()
        assert [login.use() is first, login.use() is first] == found, (auth, source)
    assert next(answers) == 1, "a person was asked twice"


def test_limits_are_in_mebibytes_and_none_is_none() -> None:
    limited = dataclasses.replace(ACCOUNT, download_megabytes_per_day=3, upload_megabytes_per_day=0)
    built = build_pair(dataclasses.replace(settings(), left=limited), nobody)
    assert built.pair.left.daily_limits == DailyLimits(3 * 1024 * 1024, 0)
    assert build_pair(settings(), nobody).pair.left.daily_limits == NO_LIMITS
    assert built.ledger.parent == built.state.parent


@pytest.mark.parametrize(
    ("address", "account"),
    [
        ("imaps://me@h/", "me@h"),
        ("imap://me@h/?tls=starttls", "me@h"),
        ("imaps://me@h:1993/", "me@h:1993"),
        ("imaps://you%40example.org@h/", "you@example.org@h"),
    ],
)
def test_an_account_is_the_same_however_it_is_reached(address: str, account: str) -> None:
    assert build_pair(settings(address), nobody).pair.left.account == account


def test_pair() -> None:
    policy = Policy(direction=Direction.LEFT_TO_RIGHT)
    sent, gesendet = MailboxName(("Sent",)), MailboxName(("Gesendet",))
    configured = dataclasses.replace(
        settings(), policy=policy, exclude=("Trash",), rename=((sent, gesendet),), state_dir=Path("/state")
    )
    built = build_pair(configured, nobody)
    assert (built.name, built.pair.policy) == ("p", policy)
    assert built.pair.select(INBOX)
    assert not built.pair.select(MailboxName(("Trash",)))
    assert built.pair.names.to_right(sent) == gesendet
    assert built.state.parent == Path("/state")
    assert [login.side for login in built.logins] == [Side.LEFT]
    with pytest.raises(SecretError):
        Login(ACCOUNT, Side.LEFT, nobody, {}).find()


def test_a_pair_with_labels() -> None:
    configured = dataclasses.replace(settings(), view=View.LABELS, state_dir=Path("/state"))
    built = build_pair(configured, nobody)
    assert isinstance(built.pair.left, LabelView)
    assert isinstance(built.pair.right, LabelledMaildir)
    assert built.pair.select(ALL_MAIL)
    assert not built.pair.select(INBOX)
    plain = build_pair(dataclasses.replace(settings(), state_dir=Path("/state")), nobody)
    assert built.state != plain.state, "what was agreed on about mailboxes says nothing about labels"


def test_the_state_is_found_by_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert default_state_dir() == Path("/xdg/mailtwin")
    found = [
        build_pair(settings(*pair), nobody).state
        for pair in (
            ("imaps://me@h/", "maildir:/m"),
            ("imaps://me@H:993", "maildir:/m/."),
            ("imaps://you@h/", "maildir:/m"),
            ("maildir:/m", "imaps://me@h/"),
        )
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize("relative", [True, False])
def test_the_state_needs_a_home_or_a_directory(relative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(program: str) -> Path:
        if not relative:
            raise RuntimeError
        return Path("~/.local/state") / program

    monkeypatch.setattr("platformdirs.user_state_path", homeless)
    with pytest.raises(ConfigurationError, match="your home directory is not known") as caught:
        build_pair(settings(), nobody)
    assert "--state-dir" in caught.value.hint
    build_pair(dataclasses.replace(settings(), state_dir=Path("/state")), nobody)


def test_plain_connections_only_when_asked_for() -> None:
    build_pair(settings("imap://me@127.0.0.1:1143/"), nobody)
    build_pair(settings("imap://me@example.org/?tls=off"), nobody)
    plain = dataclasses.replace(settings(), left=dataclasses.replace(ACCOUNT, tls=Tls.OFF))
    build_pair(plain, nobody)


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (("ssh", "h", "imapd"), ("ssh", "h", "imapd")),
        ("exec ssh h imapd", ("/bin/sh", "-c", "exec ssh h imapd")),
    ],
)
def test_a_tunnel_is_the_same_account(
    command: tuple[str, ...] | str, argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Place] = []

    class Store:
        def __init__(self, place: Place, _credentials: object, _user: str, _limits: object) -> None:
            places.append(place)
            self.address = "address"

    monkeypatch.setattr("mailtwin.stores.imap.ImapStore", Store)
    account = dataclasses.replace(ACCOUNT, tunnel=command, compress=True)
    build_pair(dataclasses.replace(settings(), left=account), nobody)
    assert places == [Tunnel(argv, "imap.example.org", compress=True)]
    monkeypatch.undo()
    direct, through = (
        build_pair(dataclasses.replace(settings(), left=left), nobody) for left in (ACCOUNT, account)
    )
    assert direct.state == through.state
    assert through.logins[0].find().secret.reveal() == ""


def test_two_mailboxes_with_one_name() -> None:
    archive = MailboxName(("Archive",))
    rename = ((MailboxName(("A",)), archive), (MailboxName(("B",)), archive))
    with pytest.raises(ConfigurationError):
        build_pair(dataclasses.replace(settings(), rename=rename), nobody)


async def test_stand_in_for_a_maildir_to_come(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    for path in (tmp_path / "missing", tmp_path):
        built = build_pair(settings(right=f"maildir:{path}"), nobody)
        ahead = with_stand_ins(built, agreed=False).pair.right
        assert ahead.address == built.pair.right.address
        await ahead.connect(create=False)
        assert list((await ahead.mailboxes()).mailboxes) == [INBOX]
        assert "does not exist yet" in ahead.describe()[1]
        assert with_stand_ins(built, agreed=True) is built
    (tmp_path / "cur").mkdir()
    built = build_pair(settings(right=f"maildir:{tmp_path}"), nobody)
    assert isinstance(with_stand_ins(built, agreed=False).pair.right, MaildirStore)
