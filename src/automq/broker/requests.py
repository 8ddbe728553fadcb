"""What happens to a request between its connection and its handler."""

import logging
from typing import TYPE_CHECKING, Any

from automq._native import Buf
from automq.broker.connection import Connection, Slot
from automq.broker.dispatch import Api, Call, error_answer, load_apis
from automq.broker.runs import Runs
from automq.protocol import errors
from automq.protocol.codec import MalformedMessage, UnencodableMessage, decode, encode_response
from automq.protocol.messages.api_versions_response import ApiVersion, ApiVersionsResponse

if TYPE_CHECKING:
    from automq.broker.broker import Broker

log = logging.getLogger(__name__)

API_VERSIONS = 18


class Dispatcher:
    """Decodes requests, runs their handlers, encodes their answers."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._apis = load_apis()
        self._runs = Runs(broker)
        self.start_run = self._runs.start
        self.answer_run = self._runs.answer

    def start(self, slot: Slot, frame: Buf) -> bool:
        """Begin to work on a request; see `Requests.start`."""
        head = slot.head
        api = self._apis.get(head.api_key)
        if api is None or not api.first_version <= head.api_version <= api.last_version:
            self._refuse_version(slot, api)
            return True
        try:
            request: object = decode(api.request, frame, head.api_version, head.body_at)
        except MalformedMessage as error:
            log.warning("closing connection from %s: bad %s: %s", slot_host(slot), api.name, error)
            slot.give_up()
            return True
        call = Call(request, head.api_version, self._broker, slot)
        if api.hot is not None:
            return self._run_hot(api, call)
        self._spawn(api, call)
        return True

    def closed(self, connection: Connection) -> None:
        """The client is gone. What it asked for is finished all the same, as in Apache Kafka; only
        reads that wait for data are let go.
        """
        self._broker.fetches.forget(connection)

    def _run_hot(self, api: Api, call: Call[Any]) -> bool:
        assert api.hot is not None
        try:
            return api.hot(call)
        except errors.KafkaError as error:
            self._answer_error(api, call, error)
        except Exception as error:
            self._answer_unexpected(api, call, error)
        return True

    def _spawn(self, api: Api, call: Call[Any]) -> None:
        self._broker.background.spawn(api.name, self._run(api, call))

    async def _run(self, api: Api, call: Call[Any]) -> None:
        assert api.handler is not None
        try:
            response = await api.handler(call)
        except errors.KafkaError as error:
            self._answer_error(api, call, error)
        except Exception as error:
            self._answer_unexpected(api, call, error)
        else:
            answer(call, response)

    def _answer_unexpected(self, api: Api, call: Call[Any], error: Exception) -> None:
        log.exception("%s v%d failed", api.name, call.version)
        self._broker.metrics.unexpected_errors += 1
        self._answer_error(api, call, errors.UnknownServerError(type(error).__name__))

    def _answer_error(self, api: Api, call: Call[Any], error: errors.KafkaError) -> None:
        if call.slot.answered:
            log.error("%s v%d failed after its answer: %s", api.name, call.version, error)
            return
        response = error_answer(api, error)
        if response is None:
            log.error("closing connection from %s: %s: %s", slot_host(call.slot), api.name, error)
            call.slot.give_up()
            return
        answer(call, response)

    def _refuse_version(self, slot: Slot, api: Api | None) -> None:
        """ApiVersions is answered in version 0 (KIP-511); for the rest the connection ends."""
        head = slot.head
        if api is not None and head.api_key == API_VERSIONS:
            response = ApiVersionsResponse(
                error_code=errors.UnsupportedVersion.code,
                api_keys=[ApiVersion(api.key, api.first_version, api.last_version)],
            )
            slot.answer(encode_response(response, 0, head.correlation_id))
            return
        log.warning(
            "closing connection from %s: api key %d version %d is not supported",
            slot_host(slot),
            head.api_key,
            head.api_version,
        )
        slot.give_up()


def answer(call: Call[Any], response: Any) -> None:
    """Encode `response` in the request's version and give it its place.

    A response that its version cannot carry is a mistake of ours. It ends the connection: without
    an answer, all that comes behind this request would wait for ever.
    """
    head = call.slot.head
    try:
        segments = encode_response(response, head.api_version, head.correlation_id)
    except UnencodableMessage:
        log.exception("closing connection from %s: no way to answer", slot_host(call.slot))
        call.broker.metrics.unexpected_errors += 1
        call.slot.give_up()
        return
    call.slot.answer(segments)


def slot_host(slot: Slot) -> str:
    return slot.connection.peer_host
