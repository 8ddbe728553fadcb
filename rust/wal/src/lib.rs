//! The write-ahead log on files: one thread, group commit, recovery.
