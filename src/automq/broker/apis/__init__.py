"""One file per API: what each request does, and nothing of how it travels.

A module registers its handler with `@handles(XRequest, XResponse)`; `dispatch.load_apis` imports
every module here, so adding a file is all that adding an API takes: ApiVersions advertises what is
registered. A handler raises `KafkaError` for the whole request; where a request has many items,
each is answered alone. Authorization comes before existence, existence before everything else.

Produce and Fetch are plain functions (`hot=True`), everything else is a coroutine.

Handlers decide nothing that must survive: they ask partitions, coordinators or the controller, and
translate. None of them keeps state between requests.
"""
