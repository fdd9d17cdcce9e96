-- How long the listings of a side rest on what its server said had changed: `whole` is when it was last listed whole (by
-- the clock for deadlines; 0: not known), `changed` in how many runs since then it was not.
ALTER TABLE sightings ADD COLUMN whole REAL NOT NULL DEFAULT 0;
ALTER TABLE sightings ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
