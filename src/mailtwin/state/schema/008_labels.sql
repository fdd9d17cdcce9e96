-- The labels that both sides had when they were last in step, where messages carry labels.
CREATE TABLE labels (name NOT NULL PRIMARY KEY) WITHOUT ROWID;
