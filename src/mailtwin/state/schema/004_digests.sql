-- The bytes of a message when they were last read. While `stamp` is what its store tells of it, they need not be read
-- again to compare them: see stores.base.Look. `headers` is the digest of its identity fields.
CREATE TABLE digests (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    ref NOT NULL,
    stamp NOT NULL,
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    headers TEXT NOT NULL,
    message_id NOT NULL,
    PRIMARY KEY (mailbox, side, ref)
) WITHOUT ROWID;
