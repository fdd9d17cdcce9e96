"""One interface to a place that holds mail; IMAP, Maildir and memory behind it."""
