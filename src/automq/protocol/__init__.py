"""The Kafka wire protocol: messages, their bytes, the error codes. No I/O.

* `messages.<name>`: one module per message, with a `msgspec.Struct` for it and each struct inside;
  fields have Kafka's names in snake_case and Kafka's defaults. `API_KEY`, `VALID_VERSIONS` (both
  ends included) and `FLEXIBLE_FROM` are on the message's class. Requests, responses and headers,
  and the records of the coordinators' topics (whose two bytes of version stand outside).
* `codec`: `decode(cls, data, version, at)`, `encode(msg, version)`, the frames of requests and
  responses, `read_request_header`, and `Frames`, which cuts a connection's bytes into frames.
* `apis`: `APIS`, which messages belong to an API key and in which versions; imports none of them.
* `errors`: one class per Kafka error, `by_code`.

Types: a uuid is 16 `bytes`; `records` of a request are a `Buf`, a slice of the frame without a
copy; in a response they are a `Buf` or a list of them, and those of 4 KiB and more reach the socket
without a copy. Tagged fields that nobody knows survive decoding and encoding
(`unknown_tagged_fields`).

Invariants: what Apache's classes write we read to the same values and write to the same bytes,
in every version (`tests/protocol`); no bytes crash the codec or make it reserve more than they
are worth. One exception to Kafka: a string that is not UTF-8 is refused, not patched up.

The schemas (`schemas/kafka.schema`) are facts of Apache Kafka; the classes, `apis` and `errors` are
generated from them by `tools/make_*.py`. This layer never interprets a message: which versions
are offered and what a field means is the broker's business. It knows no record batches either.
"""
