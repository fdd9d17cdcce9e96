-- What a side listed when the mailbox was last in step: how many messages, and where (stores.base.Observation.location).
CREATE TABLE sightings (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    listed INTEGER NOT NULL,
    location TEXT NOT NULL,
    PRIMARY KEY (mailbox, side)
) WITHOUT ROWID;

-- Removals on `side` that the guard did not let through, and why; `whole`: of the mailbox itself.
CREATE TABLE held (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    validity TEXT NOT NULL,
    whole INTEGER NOT NULL,
    why NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (mailbox, side)
) WITHOUT ROWID;

CREATE TABLE held_messages (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    ref NOT NULL,
    approved INTEGER NOT NULL,
    PRIMARY KEY (mailbox, side, ref)
) WITHOUT ROWID;
