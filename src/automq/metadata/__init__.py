"""Metadata: records, the image they add up to, and the log in which they are ordered and kept.

* `records`: one class per fact, `@record(key=...)`. `Image` = `ClusterImage` + `StorageImage`.
* `Register`: create, read, delete; the one thing that the log stands on.
* `log`, `reader`, `writer`, `election`, `snapshots`: the metadata log, `meta/<chunk>/<number>`.
* `MetadataState`: the shell of the active controller: commands in, replies out when stored.

Invariants. Exactly one creator wins a number of the log; its bytes are fixed before the first
attempt, and it is repeated until it has a verdict. Whoever won a number asks whether its chunk is
closed before it believes; whoever found a number absent asks the same of the chunk where its
reading began. Nothing leaves the process (a reply, a push, a DELETE, a snapshot) before all that it
saw is stored. A chunk is closed only after a verified snapshot that covers it was named in the log,
and its entries are deleted only after that.

Never: a clock in a decision about who may write; an overwrite; a list; a record that a node does
not know silently skipped.
"""
