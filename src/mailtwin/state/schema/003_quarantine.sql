-- Removed messages that are kept for a while: each lies in a file beside this database. `begun`: it was about to be put
-- back, in the numbering `begun_validity`, under the name `target` or at a UID of at least `floor`.
CREATE TABLE kept (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    ref NOT NULL,
    validity TEXT NOT NULL,
    run INTEGER,
    flags NOT NULL,
    date TEXT NOT NULL,
    size INTEGER NOT NULL,
    message_id NOT NULL,
    identity_headers TEXT NOT NULL,
    identity_content TEXT NOT NULL,
    has_message_id INTEGER NOT NULL,
    file TEXT NOT NULL,
    since REAL NOT NULL,
    begun INTEGER NOT NULL DEFAULT 0,
    begun_validity TEXT,
    target,
    floor INTEGER
);
CREATE UNIQUE INDEX kept_once ON kept (mailbox, side, validity, ref);
