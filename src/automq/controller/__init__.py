<<<<<<< HEAD
"""The active controller: what the cluster is, decided by one node at a time.

Commands are plain functions over the image (`topics.py`, `leaders.py`, `nodes.py`, `objects.py`):
they change nothing and return the records that would. `LocalController` runs them on this
process's metadata and answers when all they saw and decided is stored. `client.py` says what
brokers ask of it, `stream.client` what storage engines ask.

Invariants: a command from outside never reaches an assertion: what cannot be applied is refused;
what is decided together is stored together; a WAL is taken over only from an owner that a stored
record has fenced; streams are opened only at their committed ends; nothing is deleted from the
store before a stored record has doomed it.

Never here: a clock that decides who may write, a list of the store, a Kafka request.
=======
"""The active controller: the commands that change the metadata image, and its sweeps.

* `storage`: streams, objects and their ranges: open, commit, trim, replace, remove, close.
* `nodes`: registration, fencing, write-ahead logs and their takeover, reserved ids.
* `sweeper`: dooms, deletes and forgets objects that nothing reads.
* `refusals`: why a command was refused; each class tells the caller what to do.

A command is a function that returns a `Command`: given the image it returns a `Decision` or raises,
and changes nothing. `MetadataState.run` applies and stores what was decided.

Invariants. A commit is one record for a whole object, and each of its ranges gets a verdict of its
own. Nothing is deleted from the store before a record that dooms it is stored. A node epoch, a
stream epoch or a WAL that is over can change nothing any more. What a command lets through can be
applied; what cannot is refused, however odd the request.

Never: a clock in a decision about who may write (deadlines only say when to doom).
>>>>>>> 56d05a2 (controller: commands about nodes, streams and objects, and the sweeper)
"""
