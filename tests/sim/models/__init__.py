"""Protocols that everything rests on, as small state machines, explored exhaustively.

`explore.py` visits every state that can be reached; `wal_takeover.py` and `metadata_log.py` say
what may happen next. Their rules can be switched off one by one: the exploration then finds how
that loses data, so every rule is needed. A request that was sent once may take effect at any later
time and any number of times: that covers late, lost and repeated answers and stalled processes.
"""
