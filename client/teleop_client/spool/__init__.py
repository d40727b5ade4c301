"""The spool: a session's frames, events and state on disk, and the log of records that it is made of."""
