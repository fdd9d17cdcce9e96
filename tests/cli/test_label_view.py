"""`--view labels` from outside: what each command says of two accounts with labels, without a configuration."""

from __future__ import annotations

from tests.cli.running import PASSWORD, Program

from mailtwin.errors import ExitCode
from mailtwin.testing.providers import GMAIL
from mailtwin.testing.simlabels import LabelledAccount, Role
from mailtwin.testing.simmail import SimMail


def _account(mail: SimMail) -> LabelledAccount:
    made = GMAIL.add_account(mail, "you", PASSWORD)
    assert isinstance(made, LabelledAccount)
    return made


async def test_every_command(program: Program) -> None:
    mails = SimMail(), SimMail()
    left, right = map(_account, mails)
    left.create("Work")
    for number in range(30):
        left["Work"].append(b"Message-ID: <%d@view.example>\r\n\r\nbody\r\n" % number)
    async with GMAIL.server(mails[0]) as one, GMAIL.server(mails[1]) as two:
        pair = ("--view", "labels", *(f"imap://you@127.0.0.1:{each.port}/?tls=off" for each in (one, two)))
        planned = await program.run("plan", "--json", *pair)
        assert planned.code == ExitCode.OK, planned.err
        done = await program.run("sync", *pair)
        assert done.code == ExitCode.OK, done.err
        assert "Work" in right
        right.create("Empty")
        planned = await program.run("plan", "--json", *pair)
        operations = [line["label_operations"] for line in planned.lines if line["event"] == "plan"]
        assert "Empty" in str(operations)
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        assert "Empty" in left
        verified = await program.run("verify", *pair)
        assert verified.code == ExitCode.OK, verified.err
        for command in ("status", "log", "check", "resolve", "approve"):
            told = await program.run(command, *pair)
            assert told.code == ExitCode.OK, (command, told.err)
        explained = await program.run("explain", "<3@view.example>", *pair)
        assert "label(Work)" in explained.out
        for message in list(left.of(Role.ALL)):
            left.place(left.stored(message), left.of(Role.TRASH))
        held = await program.run("sync", *pair)
        assert held.code != ExitCode.OK
        assert len(right.of(Role.ALL)) == 30, "everything at once is not believed"
        approved = await program.run("approve", "--yes", *pair)
        assert approved.code == ExitCode.OK, approved.err
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        assert len(right.of(Role.ALL)) == 0
        assert len(right.of(Role.TRASH)) == 30
