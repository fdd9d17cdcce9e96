-- Removals that were begun and not seen to end: planner.operations.RemoveIntent. `validity` is the numbering that `ref`
-- belongs to, `steady` the time at which it was begun, by the clock for deadlines.
CREATE TABLE removals (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    ref NOT NULL,
    validity TEXT NOT NULL,
    steady REAL NOT NULL,
    PRIMARY KEY (mailbox, side, ref, validity)
) WITHOUT ROWID;
