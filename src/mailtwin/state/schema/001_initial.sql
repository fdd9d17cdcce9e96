-- Refs have no type: 7 is a UID, '7' is a Maildir name, and they must stay apart. A blob is a text that is not valid
-- Unicode (see codec.py). Times are seconds since 1970. Sides: 0 left, 1 right.

CREATE TABLE pair (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    left_address NOT NULL,
    right_address NOT NULL,
    created REAL NOT NULL
);

-- `known` is 0 for a mailbox that was forgotten and that only the history still names; `links` counts its agreements.
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY,
    name NOT NULL UNIQUE,
    known INTEGER NOT NULL DEFAULT 1,
    links INTEGER NOT NULL DEFAULT 0,
    left_validity TEXT,
    right_validity TEXT
);

CREATE TABLE links (
    mailbox INTEGER NOT NULL,
    left_ref NOT NULL,
    right_ref NOT NULL,
    flags NOT NULL,
    PRIMARY KEY (mailbox, left_ref)
) WITHOUT ROWID;
CREATE UNIQUE INDEX links_by_right ON links (mailbox, right_ref);

-- The journal: copies and flag changes that were begun and not seen to end.
CREATE TABLE copies (
    mailbox INTEGER NOT NULL,
    source INTEGER NOT NULL,
    ref NOT NULL,
    flags NOT NULL,
    validity TEXT NOT NULL,
    target,
    floor INTEGER,
    identity_headers TEXT,
    identity_content TEXT,
    has_message_id INTEGER,
    finished INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    message_id NOT NULL,
    begun REAL NOT NULL,
    PRIMARY KEY (mailbox, source, ref)
) WITHOUT ROWID;

CREATE TABLE stores (
    mailbox INTEGER NOT NULL,
    left_ref NOT NULL,
    right_ref NOT NULL,
    side INTEGER NOT NULL,
    add_flags NOT NULL,
    remove_flags NOT NULL,
    result NOT NULL,
    PRIMARY KEY (mailbox, left_ref, right_ref)
) WITHOUT ROWID;

CREATE TABLE snapshots (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    cursor TEXT NOT NULL,
    PRIMARY KEY (mailbox, side)
) WITHOUT ROWID;

-- Where a side differed from the agreements when it was last seen; flags NULL: a linked message was missing.
CREATE TABLE deviations (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    ref NOT NULL,
    flags,
    PRIMARY KEY (mailbox, side, ref)
) WITHOUT ROWID;

-- `outcome` is NULL while it runs and 'interrupted' when it was killed; `first_note` is where its history begins.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    began REAL NOT NULL,
    ended REAL,
    outcome TEXT,
    counts TEXT NOT NULL DEFAULT '{}',
    first_note INTEGER NOT NULL
);

-- AUTOINCREMENT: a number is never used twice, so the notes of a run stay a range of numbers.
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER,
    at REAL NOT NULL,
    mailbox INTEGER NOT NULL,
    operation TEXT NOT NULL,
    left_ref,
    right_ref,
    detail NOT NULL,
    message_id NOT NULL
);
