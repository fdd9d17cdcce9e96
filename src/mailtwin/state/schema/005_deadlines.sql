-- A clock for deadlines: `steady` goes on with the clock of the machine (`read`: as it was last read), but never back
-- and never by more than a day from one run to the next. What has a deadline is noted with it.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    read REAL NOT NULL,
    steady REAL NOT NULL
);
INSERT INTO clock (id, read, steady)
SELECT 1, at, at
FROM (SELECT coalesce((SELECT max(coalesce(ended, began)) FROM runs), (SELECT created FROM pair), 0) AS at);
ALTER TABLE kept ADD COLUMN steady REAL NOT NULL DEFAULT 0;
UPDATE kept SET steady = since;
ALTER TABLE stragglers ADD COLUMN steady REAL NOT NULL DEFAULT 0;
UPDATE stragglers SET steady = since;
-- Files of the quarantine whose rows are gone and that are to be deleted. A file that is neither here nor in `kept` was
-- kept by a state that was lost.
CREATE TABLE let_go (file TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER kept_let_go AFTER DELETE ON kept BEGIN INSERT OR IGNORE INTO let_go (file) VALUES (old.file); END;
