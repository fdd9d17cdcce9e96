-- How often a connection ended over a message that was sent or asked for. A row of `uncopied` with no attempts is merely
-- suspected of it; with an obstacle of 3 (QUARANTINE) it is linked, and cannot be kept before its removal.
ALTER TABLE uncopied ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
