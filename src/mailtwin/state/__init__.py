"""What must survive a crash, in SQLite: agreements, journal, snapshots, history."""
