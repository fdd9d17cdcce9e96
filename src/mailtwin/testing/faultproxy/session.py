"""One connection through the proxy: commands one way, responses the other, and the rules in between.

Read first: `rules`, `rewriting`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailtwin.errors import RemoteProtocolError
from mailtwin.imap.framing import Frame
from mailtwin.testing.faultproxy.rewriting import Flight, View
from mailtwin.testing.faultproxy.rules import (
    CONNECTION,
    AddCode,
    Answer,
    Cut,
    CutAtByte,
    Duplicate,
    HoldBack,
    Inject,
    Kill,
    Recreate,
    Reorder,
    Rule,
    Shorten,
    Stall,
    SwapUids,
    Throttle,
    When,
)
from mailtwin.testing.faultproxy.wire import LINE_BYTES_MAX, Command, Response, Responses, read_command

if TYPE_CHECKING:
    from mailtwin.testing.faultproxy.proxy import FaultProxy

__all__ = ["ProxySession"]

_CHUNK = 64 * 1024
_SLICE_S = 0.05
_APPENDUID = re.compile(rb"\[APPENDUID [^\]]*\]")
_SERVER_ENDS_S = 5.0
_FLUSH_S_MAX = 2.0
_ON_REPLIES = (AddCode, Duplicate, Inject, Reorder, Shorten, SwapUids)


class _EndError(Exception):
    """The connection is over, by a rule or by one of both ends."""


class ProxySession:
    """One client and the connection to the server that was made for it."""

    def __init__(
        self, proxy: FaultProxy, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._number = number
        self._from_client = reader
        self._to_client = writer
        self._rules = proxy.due(CONNECTION)
        self._view = View(self._rules)
        self._flights: dict[bytes, Flight] = {}
        self._raw_tag = b""
        self._go: asyncio.Future[bool] | None = None
        self._landed = asyncio.Event()
        self._frozen = asyncio.Event()
        self._frozen.set()
        self._swapping: tuple[Flight, Response] | None = None
        self._passed = {True: 0, False: 0}
        self._client_is_gone = self._server_is_taken = False
        self._from_server: asyncio.StreamReader
        self._to_server: asyncio.StreamWriter | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until one of both ends hangs up, a rule ends it, or the proxy stops."""
        tasks = [asyncio.create_task(self._work()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            failure, _ = await asyncio.gather(*tasks, return_exceptions=True)
            for writer in self._ends():
                await _hang_up(writer)
        finally:
            # Also when the whole program is being cancelled.
            for task in tasks:
                task.cancel()
            for writer in self._ends():
                writer.transport.abort()
        if isinstance(failure, BaseException) and not isinstance(
            failure, (_EndError, OSError, asyncio.CancelledError)
        ):
            raise failure

    def _ends(self) -> list[asyncio.StreamWriter]:
        """The connections that end with this session."""
        if self._to_server is None or self._server_is_taken:
            return [self._to_client]
        return [self._to_client, self._to_server]

    async def _work(self) -> None:
        self._note_lasting()
        await self._on_connection()
        self._from_server, self._to_server = await asyncio.open_connection(
            *self._proxy.server_address, limit=LINE_BYTES_MAX
        )
        tasks = [asyncio.create_task(self._commands()), asyncio.create_task(self._responses())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- rules ---

    def _note_lasting(self) -> None:
        for rule in self._rules:
            if not isinstance(rule.do, (Answer, Cut, CutAtByte, Kill, Stall)):
                self._proxy.note(self._number, rule, CONNECTION)

    async def _on_connection(self) -> None:
        for rule in self._rules:
            if isinstance(rule.do, (Answer, Cut, Kill, Stall)):
                self._proxy.note(self._number, rule, CONNECTION)
                if isinstance(rule.do, Answer):
                    self._to_client.write(_status(b"*", rule.do))
                    raise _EndError
                await self._strike(rule)

    async def _strike(self, rule: Rule) -> None:
        """Cut, kill or stall, now."""
        match rule.do:
            case Cut(reset=reset):
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    sock = self._to_client.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self._to_client.transport.abort()
                raise _EndError
            case Kill():
                assert self._proxy.kill is not None, "a scenario that kills needs somebody to kill"
                self._proxy.kill()
                raise _EndError
            case Stall(seconds=seconds):
                self._frozen.clear()
                if seconds is None:
                    await self._client_hangs_up()
                    raise _EndError
                await asyncio.sleep(seconds)
                self._frozen.set()
            case _:
                raise AssertionError(rule)

    async def _client_hangs_up(self) -> None:
        while not self._client_is_gone and await self._look():
            pass

    async def _look(self) -> bool:
        """Reads what nobody will get; False at the end of the client's stream."""
        try:
            return bool(await self._from_client.read(_CHUNK))
        except RuntimeError:
            # The other task reads just now; the end will come to it.
            await asyncio.sleep(_SLICE_S)
            return True

    async def _strike_if_due(self, flight: Flight, when: When) -> None:
        await self._strike_all(flight, [rule for rule in flight.rules if rule.when is when])

    async def _strike_all(self, flight: Flight, rules: Sequence[Rule]) -> None:
        for rule in rules:
            if isinstance(rule.do, (Cut, Kill, Stall)):
                self._proxy.note(self._number, rule, str(flight.command))
                await self._strike(rule)

    # --- to the server ---

    async def _commands(self) -> None:
        while line := await self._from_client.readline():
            await self._frozen.wait()
            if self._raw_tag and self._raw_tag in self._flights:
                if line.strip().upper() == b"DONE":
                    self._raw_tag = b""
                await self._send(line)
                continue
            command = await read_command(self._from_client, line, self._go_ahead)
            if command is None:
                break
            await self._pass(command)
        self._client_is_gone = True
        await self._let_the_server_end()

    def _go_ahead(self) -> None:
        self._to_client.write(b"+ go ahead\r\n")

    async def _let_the_server_end(self) -> None:
        """What the client sent before it hung up is with the server; it may finish."""
        assert self._to_server is not None
        if self._to_server.can_write_eof():
            self._to_server.write_eof()
        await asyncio.sleep(_SERVER_ENDS_S)

    async def _pass(self, command: Command) -> None:
        rules = tuple(self._proxy.due(command.name, b"".join(command.parts)))
        flight = Flight(command, rules)
        await self._strike_if_due(flight, When.BEFORE)
        for rule in rules:
            if rule.when is not When.BEFORE:
                continue
            match rule.do:
                case Answer() as answer:
                    await self._all_landed()
                    self._proxy.note(self._number, rule, str(command))
                    self._answer(command.tag, answer)
                    return
                case HoldBack(seconds=seconds):
                    self._proxy.note(self._number, rule, str(command))
                    await self._hold_back(flight, seconds)
                case Recreate() as deed:
                    await self._all_landed()
                    await self._proxy.recreate(deed)
                    self._proxy.note(self._number, rule, str(command))
                case _:
                    pass
        for rule in rules:
            if isinstance(rule.do, _ON_REPLIES):
                self._proxy.note(self._number, rule, str(command))
        await self._proxy.gate.wait()
        await self._forward(flight)

    def _answer(self, tag: bytes, answer: Answer) -> None:
        self._to_client.write(_status(b"*" if answer.word == "BYE" else tag, answer))
        if answer.word == "BYE":
            raise _EndError

    async def _all_landed(self) -> None:
        while self._flights:
            self._landed.clear()
            await self._landed.wait()

    async def _hold_back(self, flight: Flight, seconds: float) -> None:
        """Cuts the client off, and takes this connection along into a task that outlives the session."""
        await self._all_landed()
        assert self._to_server is not None
        late = _deliver_late(flight.command, seconds, self._from_server, self._to_server)
        self._proxy.later(asyncio.create_task(late), self._to_server)
        self._server_is_taken = True
        raise _EndError

    async def _forward(self, flight: Flight) -> None:
        command = flight.command
        self._view.begin(command)
        self._flights[command.tag] = flight
        if command.name in ("IDLE", "AUTHENTICATE"):
            self._raw_tag = command.tag
        last_literal = max(0, len(command.parts) - 2)
        for index, part in enumerate(command.parts):
            in_part = index == last_literal
            half = next((r for r in flight.rules if r.when is When.IN_LITERAL), None) if in_part else None
            if half is not None:
                await self._send(part[: len(part) // 2])
                await self._strike_if_due(flight, When.IN_LITERAL)
                part = part[len(part) // 2 :]
            wants_go = index % 2 == 0 and index + 1 < len(command.parts) and command.is_synchronising(index)
            if wants_go:
                self._go = asyncio.get_running_loop().create_future()
            await self._send(part)
            if wants_go and not await self._may_go():
                return

    async def _may_go(self) -> bool:
        assert self._go is not None
        try:
            return await self._go
        finally:
            self._go = None

    async def _send(self, data: bytes) -> None:
        assert self._to_server is not None
        await self._move(self._to_server, data, to_server=True)

    # --- to the client ---

    async def _responses(self) -> None:
        cutter = Responses()
        while data := await self._from_server.read(_CHUNK):
            try:
                for response in cutter.feed(data):
                    await self._frozen.wait()
                    await self._respond(response)
            except RemoteProtocolError as error:
                raise _EndError from error

    async def _respond(self, response: Response) -> None:
        if response.is_continuation and self._go is not None:
            self._go.set_result(True)
            return
        flight = self._flights.get(response.tag) or next(iter(self._flights.values()), None)
        if flight is None:
            await self._give(response, None)
            return
        is_reply = response.tag == flight.command.tag
        if not response.is_continuation:
            is_first, flight.started = not flight.started, True
            await self._in_the_middle(flight, response, is_first=is_first)
        if not is_reply:
            await self._give(response, flight)
            return
        if self._go is not None and not self._go.done() and list(self._flights)[-1] == response.tag:
            self._go.set_result(False)
        await self._strike_if_due(flight, When.EXECUTED)
        lie = next((r for r in flight.rules if r.when is When.EXECUTED and isinstance(r.do, Answer)), None)
        if lie is not None and isinstance(lie.do, Answer):
            self._proxy.note(self._number, lie, str(flight.command))
            self._answer(response.tag, lie.do)
        elif not self._waits_to_swap(flight, response):
            await self._reply(flight, response)
        self._land(response.tag)

    async def _in_the_middle(self, flight: Flight, response: Response, *, is_first: bool) -> None:
        rules = [
            rule
            for rule in flight.rules
            if rule.when is When.MID_REPLY and (rule.holds(response.raw) if rule.about else is_first)
        ]
        if rules:
            await self._move(self._to_client, response.raw[: response.middle], to_server=False)
            await self._strike_all(flight, rules)
            # It was a stall, and is over: the other half follows as it is.
            await self._move(self._to_client, response.raw[response.middle :], to_server=False)

    def _land(self, tag: bytes) -> None:
        del self._flights[tag]
        self._landed.set()

    def _waits_to_swap(self, flight: Flight, response: Response) -> bool:
        others = [f for tag, f in self._flights.items() if tag != response.tag and f.command.name == "APPEND"]
        if self._swapping is None and flight.find(SwapUids) and b"[APPENDUID" in response.line and others:
            self._swapping = flight, response
            return True
        return False

    async def _reply(self, flight: Flight, response: Response) -> None:
        if self._swapping is not None:
            waiting, first = self._swapping
            self._swapping = None
            first, response = _swapped(first, response)
            await self._give(first, waiting)
        await self._give(response, flight)

    async def _give(self, response: Response, flight: Flight | None) -> None:
        for piece in self._view.rewrite(response, flight):
            await self._move(self._to_client, piece, to_server=False)

    # --- both ways ---

    async def _move(self, writer: asyncio.StreamWriter, data: bytes, *, to_server: bool) -> None:
        """Passes bytes on, as slowly and as far as the rules say."""
        for rule in self._rules:
            if isinstance(rule.do, CutAtByte) and rule.do.to_server == to_server:
                left = rule.do.byte - self._passed[to_server]
                if len(data) >= left:
                    writer.write(data[:left])
                    self._proxy.note(self._number, rule, CONNECTION)
                    raise _EndError
        self._passed[to_server] += len(data)
        speed = next((r.do.bytes_per_s for r in self._rules if isinstance(r.do, Throttle)), None)
        step = len(data) if speed is None else max(1, int(speed * _SLICE_S))
        for at in range(0, len(data), max(1, step)):
            writer.write(data[at : at + step])
            await writer.drain()
            if speed is not None:
                await asyncio.sleep(_SLICE_S)


async def _deliver_late(
    command: Command, seconds: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await asyncio.sleep(seconds)
    for index, part in enumerate(command.parts):
        writer.write(part)
        if index % 2 == 0 and index + 1 < len(command.parts) and command.is_synchronising(index):
            while not (line := await reader.readline()).startswith(b"+"):
                if not line or line.startswith(command.tag + b" "):
                    return
    while (line := await reader.readline()) and not line.startswith(command.tag + b" "):
        pass


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes; what was written goes out, unless nobody takes it."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), _FLUSH_S_MAX)
    except (OSError, TimeoutError):
        writer.transport.abort()


def _status(tag: bytes, answer: Answer) -> bytes:
    code = f"[{answer.code}] " if answer.code else ""
    return tag + f" {answer.word} {code}{answer.text}\r\n".encode()


def _swapped(one: Response, other: Response) -> tuple[Response, Response]:
    first, second = _APPENDUID.search(one.raw), _APPENDUID.search(other.raw)
    if first is None or second is None:
        return one, other
    return _with_code(one, second[0]), _with_code(other, first[0])


def _with_code(response: Response, code: bytes) -> Response:
    raw = _APPENDUID.sub(code, response.raw)
    return Response(raw, Frame((raw.rstrip(b"\r\n"),), (), is_text=True))
