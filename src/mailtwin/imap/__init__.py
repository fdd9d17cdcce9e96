"""The IMAP wire protocol as a pure kernel: bytes in, events out; no socket, clock or log."""
