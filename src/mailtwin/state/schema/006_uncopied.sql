-- Messages that could not be copied, so that they are not sent for ever: state.records.Uncopied. `due` NULL: not before
-- something changed; `grounds` is what it was tried against, `stamp` what its store told of it.
CREATE TABLE uncopied (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    ref NOT NULL,
    obstacle INTEGER NOT NULL,
    reason NOT NULL,
    due REAL,
    attempts INTEGER NOT NULL,
    first REAL NOT NULL,
    last REAL NOT NULL,
    grounds NOT NULL,
    stamp NOT NULL,
    size INTEGER,
    message_id NOT NULL,
    identity_headers TEXT,
    identity_content TEXT,
    has_message_id INTEGER,
    PRIMARY KEY (mailbox, side, ref)
) WITHOUT ROWID;
