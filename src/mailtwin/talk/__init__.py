"""`python -m mailtwin.imap talk`: a person speaks IMAP with a server, and sees all that is said.

For people who debug servers. What is typed is sent as it is, after a tag; nothing is corrected, guessed or left out,
but no password is shown. In the order of the data's way: `hearing` (the server's bytes, cut into responses),
`redaction` (what must not be shown), `screen` (how the rest is), `knowledge` (what completion offers), `line` (the
connection, in a thread of its own), `keyboard` (a terminal or a pipe), `person` (commands, literals, the end).
"""
