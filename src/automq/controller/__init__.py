"""The active controller: what the cluster is, decided by one node at a time.

Commands are plain functions over the image (`topics.py`, `configs.py`, `leaders.py`, `nodes.py`,
`objects.py`): they change nothing and return the records that would. `LocalController` runs them
on this process's metadata and answers when all they saw and decided is stored. `client.py` says
what brokers ask of it, `stream.client` what storage engines ask.

Invariants: a command from outside never reaches an assertion: what cannot be applied is refused;
what is decided together is stored together; a WAL is taken over only from an owner that a stored
record has fenced; streams are opened only at their committed ends; nothing is deleted from the
store before a stored record has doomed it.

Never here: a clock that decides who may write, a list of the store, a Kafka request.
"""
