"""A simulated provider as a program of its own, for clients in any language: `python -m mailtwin.testing.simulate`.

It listens on 127.0.0.1, says at which port on its first line of output, and ends with SIGINT or SIGTERM; the mail is in
its memory. The same from a test: `mailtwin.testing.providers`. What it can do: docs/simulator.md.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from mailtwin.testing.corpus import messages
from mailtwin.testing.providers import PROVIDERS, Provider
from mailtwin.testing.simmail import SimMail

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        provider = PROVIDERS[options.provider].switch(*options.switch)
        mail = SimMail(clock=lambda: datetime.now(UTC))
        for account in options.account or ["user:password"]:
            _add(mail, provider, account, options)
        tls = _tls(options.tls)
    except (OSError, ValueError) as bad:
        parser.error(str(bad))
    if options.list:
        for switch in provider.switches():
            choices = f" ({', '.join(switch.choices)})" if switch.choices else ""
            sys.stdout.write(f"{switch.name}={switch.value}{choices}\n    {switch.about}\n")
        return 0
    asyncio.run(_serve(provider, mail, options.port, tls))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mailtwin.testing.simulate", description="A simulated mail provider on 127.0.0.1."
    )
    parser.add_argument("provider", nargs="?", default="gmail", choices=PROVIDERS)
    parser.add_argument("--port", type=int, default=0, help="where to listen [any free port]")
    parser.add_argument(
        "--account", action="append", metavar="USER:PASSWORD", help="an account [user:password]"
    )
    parser.add_argument("--token", help="the OAuth token that XOAUTH2 takes for every account")
    parser.add_argument(
        "--token-seconds", type=int, metavar="N", help="how long the token is good [for ever]"
    )
    parser.add_argument("--messages", type=int, default=0, metavar="N", help="messages in each INBOX [0]")
    parser.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="see docs/simulator.md, or --list"
    )
    parser.add_argument("--tls", metavar="PEM", help="speak TLS, with the key and certificate in this file")
    parser.add_argument("--list", action="store_true", help="show all switches as they are set, and end")
    return parser


def _add(mail: SimMail, provider: Provider, account: str, options: argparse.Namespace) -> None:
    user, colon, password = account.partition(":")
    if not (user and colon and password):
        raise ValueError(f"an account is USER:PASSWORD, not {account!r}")
    made = provider.add_account(mail, user, password, options.token)
    if options.token_seconds is not None:
        made.token_ends = mail.clock() + timedelta(seconds=options.token_seconds)
    for message in messages(seed=1, count=options.messages):
        made["INBOX"].append(message.body, message.flags, message.date)


def _tls(path: str | None) -> ssl.SSLContext | None:
    if path is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


async def _serve(provider: Provider, mail: SimMail, port: int, tls: ssl.SSLContext | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with provider.server(mail, port=port, tls=tls) as server:
        sys.stdout.write(f"{provider.name} listens on {server.host} port {server.port}\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    sys.exit(main())
