-- What a store calls a linked message in whatever mailbox it is (stores.base.Mailbox.email_ids), where it has such names.
CREATE TABLE emails (
    mailbox INTEGER NOT NULL,
    side INTEGER NOT NULL,
    ref NOT NULL,
    email_id TEXT NOT NULL,
    PRIMARY KEY (mailbox, side, ref)
) WITHOUT ROWID;
CREATE INDEX emails_by_id ON emails (email_id, side);
