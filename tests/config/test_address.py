"""Addresses: what each means, its canonical form, and why a wrong one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailtwin.config.address import is_address, parse_address, redact
from mailtwin.config.settings import ImapSettings, Layout, MaildirSettings, Tls
from mailtwin.errors import ConfigurationError, ExitCode

TLS, START, OFF = Tls.IMPLICIT, Tls.STARTTLS, Tls.OFF

IMAP = [
    # address | user, host, port, tls | canonical
    ("imaps://me@example.org/", ("me", "example.org", 993, TLS), "imaps://me@example.org/"),
    ("imaps://me@example.org", ("me", "example.org", 993, TLS), "imaps://me@example.org/"),
    ("IMAPS://me@Example.ORG:993/", ("me", "example.org", 993, TLS), "imaps://me@example.org/"),
    ("imaps://me@example.org:1993/", ("me", "example.org", 1993, TLS), "imaps://me@example.org:1993/"),
    ("imap://me@example.org/", ("me", "example.org", 143, START), "imap://me@example.org/"),
    ("imap://me@example.org:993/", ("me", "example.org", 993, START), "imap://me@example.org:993/"),
    ("imap://me@example.org/?tls=off", ("me", "example.org", 143, OFF), "imap://me@example.org/?tls=off"),
    ("imap://me@example.org?tls=off", ("me", "example.org", 143, OFF), "imap://me@example.org/?tls=off"),
    ("imap://me@example.org/?tls=starttls", ("me", "example.org", 143, START), "imap://me@example.org/"),
    ("imap://me@127.0.0.1:11143/", ("me", "127.0.0.1", 11143, OFF), "imap://me@127.0.0.1:11143/"),
    ("imap://me@localhost/?tls=starttls", ("me", "localhost", 143, START), "imap://me@localhost/?tls=starttls"),
    ("imaps://me@localhost/", ("me", "localhost", 993, TLS), "imaps://me@localhost/"),
    ("imaps://me@[::1]:1993/", ("me", "::1", 1993, TLS), "imaps://me@[::1]:1993/"),
    ("imap://me@[::1]/", ("me", "::1", 143, OFF), "imap://me@[::1]/"),
    ("imaps://me@example.org@imap.example.org", ("me@example.org", "imap.example.org", 993, TLS),
     "imaps://me%40example.org@imap.example.org/"),
    ("imaps://me%40example.org@imap.example.org/", ("me@example.org", "imap.example.org", 993, TLS),
     "imaps://me%40example.org@imap.example.org/"),
    ("imaps://a%3Ab%25@h/", ("a:b%", "h", 993, TLS), "imaps://a%3Ab%25@h/"),
    ("imaps://me@example.org./", ("me", "example.org.", 993, TLS), "imaps://me@example.org./"),
    ("imaps://me@bücher.example/", ("me", "bücher.example", 993, TLS), "imaps://me@bücher.example/"),
    ("imaps://jürgen@h/", ("jürgen", "h", 993, TLS), "imaps://j%C3%BCrgen@h/"),
]  # fmt: skip


@pytest.mark.parametrize(("address", "expected", "canonical"), IMAP)
def test_imap(address: str, expected: tuple[str, str, int, Tls], canonical: str) -> None:
    found = parse_address(address)
    assert isinstance(found, ImapSettings)
    assert (found.user, found.host, found.port, found.tls) == expected
    assert found.address == canonical
    assert parse_address(canonical) == found


MAILDIR = [
    ("maildir:/srv/mail", "/srv/mail", Layout.AUTO),
    ("maildir:///srv/mail/", "/srv/mail", Layout.AUTO),
    ("maildir:/srv/./a/../mail", "/srv/mail", Layout.AUTO),
    ("maildir:~/Mail", "HOME/Mail", Layout.AUTO),
    ("maildir:Mail", "CWD/Mail", Layout.AUTO),
    ("maildir:/srv/mail?layout=nested", "/srv/mail", Layout.NESTED),
    ("MAILDIR:/srv/mail?layout=maildir%2B%2B", "/srv/mail", Layout.MAILDIR_PLUS_PLUS),
    ("maildir:/srv/mail?layout=maildir++", "/srv/mail", Layout.MAILDIR_PLUS_PLUS),
    ("maildir:/srv/a%3Fb 100%", "/srv/a?b 100%", Layout.AUTO),
    ("maildir:/srv/\udcff%FE", "/srv/\udcff\udcfe", Layout.AUTO),
]


@pytest.mark.parametrize(("address", "path", "layout"), MAILDIR)
def test_maildir(
    address: str, path: str, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    expected = path.replace("HOME", "/home/somebody").replace("CWD", str(tmp_path))
    found = parse_address(address)
    assert found == MaildirSettings(Path(expected), layout)
    assert parse_address(found.address) == found


WRONG = [
    ("ftp://me@example.org/", "is not the address of a mail store"),
    ("me@example.org", "is not the address of a mail store"),
    ("/home/me/Mail", "is not the address of a mail store"),
    ("imaps:me@example.org", "goes on with //"),
    ("imaps://example.org/", "no user"),
    ("imaps://@example.org/", "no user"),
    ("imaps://me@/", "no host"),
    ("imaps://me@example.org:0/", "neither a port"),
    ("imaps://me@example.org:65536/", "neither a port"),
    ("imaps://me@example.org:imap/", "neither a port"),
    ("imaps://me@example.org/INBOX", "neither a port"),
    ("imaps://me@example.org/?tls=off", "no option 'tls'"),
    ("imap://me@example.org/?tls=maybe", "not one of tls=starttls, tls=off"),
    ("imap://me@example.org/?auth=plain", "no option 'auth', only tls"),
    ("imaps://me@imap..example.org/", "cannot be the name of a host"),
    (f"imaps://me@{'h' * 64}.org/", "cannot be the name of a host"),
    (f"imaps://me@{'ü' * 64}.org/", "cannot be the name of a host"),
    (f"imaps://me@{'h.' * 127}/", "cannot be the name of a host"),
    ("imaps://me@h\udcfc/", "cannot be the name of a host"),
    ("imaps://j\udcfcrgen@example.org/", "not UTF-8"),
    ("imaps://j%FCrgen@example.org/", "not UTF-8"),
    ("imaps://me%0D%0A@example.org/", "control character"),
    ("maildir:a%00b", "NUL"),
    ("maildir:", "no directory"),
    ("maildir://example.org/mail", "on no host"),
    ("maildir:/srv/mail?layout=flat", "not one of layout=auto"),
]


@pytest.mark.parametrize(("address", "why"), WRONG)
def test_wrong_address(address: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_address(address)
    assert why in caught.value.message
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert caught.value.hint


PASSWORDS = [
    "imaps://me:sesame@example.org/",
    "imaps://me:sesame/x@example.org/",
    "imaps://me:sesame?@example.org/",
    "imaps://me:x:sesame@example.org/INBOX",
    "imaps://me@example.org:sesame@imap.example.org/",
    "ftp://me:sesame@example.org/",
    "imaps://me:@sesame@example.org/",
    "imaps://me:sesame@/",
    "imaps://me:sesame",
    "imaps://me:sesame/",
]


@pytest.mark.parametrize("address", PASSWORDS)
def test_a_password_in_an_address_is_refused_and_never_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_address(address)
    assert "sesame" not in str(caught.value) + caught.value.hint


def test_a_password_in_an_address_is_told_from_other_mistakes() -> None:
    with pytest.raises(ConfigurationError, match="holds a password") as caught:
        parse_address("imaps://me:sesame@example.org/")
    assert "MAILTWIN_LEFT_PASSWORD" in caught.value.hint


def test_a_plain_path_gets_the_address_it_needs() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_address("~/Mail")
    assert caught.value.hint == "For a Maildir at that place, write maildir:~/Mail"


def test_home_of_an_unknown_user() -> None:
    with pytest.raises(ConfigurationError, match="home directory"):
        parse_address("maildir:~nobody-of-that-name/Mail")


def test_what_is_meant_as_an_address() -> None:
    assert [is_address(text) for text in ("imaps://x@y/", "maildir:~/M", "~/Mail", "home", "my-pair")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_redact_leaves_addresses_without_password_alone() -> None:
    for address in (
        "imaps://me@example.org:993/",
        "imap://me@[::1]:143/?tls=on",
        "imaps:me",
        "maildir:/a:b@c",
    ):
        assert redact(address) == address
