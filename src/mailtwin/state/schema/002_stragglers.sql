-- How an attempt to store a copy ended, so far: planner.operations.Attempt. What was `finished` and not `accepted` may
-- have been waited for only: the least that was known.
ALTER TABLE copies ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;
UPDATE copies SET attempt = iif(accepted, 3, iif(finished, 1, 0));
ALTER TABLE copies DROP COLUMN finished;
ALTER TABLE copies DROP COLUMN accepted;

-- Copies that were given up without an answer and may arrive all the same; `found` is the message that is it,
-- `verdict` what a person decided about that: planner.operations.Verdict.
CREATE TABLE stragglers (
    id INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL,
    source INTEGER NOT NULL,
    ref NOT NULL,
    flags NOT NULL,
    validity TEXT NOT NULL,
    floor INTEGER NOT NULL,
    identity_headers TEXT NOT NULL,
    identity_content TEXT NOT NULL,
    has_message_id INTEGER NOT NULL,
    found,
    verdict INTEGER NOT NULL,
    size INTEGER,
    message_id NOT NULL,
    since REAL NOT NULL
);
CREATE INDEX stragglers_by_mailbox ON stragglers (mailbox);
