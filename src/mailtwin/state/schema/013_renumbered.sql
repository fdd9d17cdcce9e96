-- 1: the agreements were forgotten with the numbering, and the mailbox was not in step since.
ALTER TABLE mailboxes ADD COLUMN renumbered INTEGER NOT NULL DEFAULT 0;
