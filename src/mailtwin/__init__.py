"""Keep two mail stores identical: IMAP with IMAP, IMAP with Maildir."""
