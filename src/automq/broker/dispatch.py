"""From a request to its handler, and from what the handler says to the answer.

A handler is written once, in `broker/apis/<name>.py`, and is found by its request class::

    @handles(EndTxnRequest)
    async def end_txn(call: Call[EndTxnRequest]) -> EndTxnResponse: ...

Produce and Fetch are *hot*: plain functions that get the slot to answer, without a coroutine each
(HOTPATH 2). Everything else is a coroutine. A handler raises `KafkaError`; dispatch makes the
answer of it. Whatever else escapes is UNKNOWN_SERVER_ERROR, a log line and a metric.
"""

import importlib
import logging
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from automq.broker.connection import Slot
from automq.protocol import errors

if TYPE_CHECKING:
    from automq.broker.broker import Broker
    from automq.config.listeners import Listener

log = logging.getLogger(__name__)

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)  # not frozen: that would cost every request half a microsecond
class Call(Generic[R]):
    """One request, decoded, with what a handler may ask about where it came from."""

    request: R
    version: int
    broker: "Broker"
    slot: Slot

    @property
    def client_id(self) -> str:
        return self.slot.head.client_id or ""

    @property
    def client_host(self) -> str:
        """The client's address, as Kafka shows it (`/127.0.0.1`)."""
        return f"/{self.slot.connection.peer_host}"

    @property
    def listener(self) -> "Listener":
        return self.slot.connection.listener


HotHandler = Callable[[Call[Any]], bool]
Handler = Callable[[Call[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Api:
    """One API that this broker implements: its handler and the versions that it advertises."""

    key: int
    name: str
    request: type
    response: type
    first_version: int
    last_version: int
    handler: Handler | None
    hot: HotHandler | None


REGISTRY: dict[int, Api] = {}


def handles(
    request: type,
    response: type,
    *,
    versions: tuple[int, int] | None = None,
    hot: bool = False,
) -> Callable[[F], F]:
    """Register the handler of an API. `versions` narrows what the schema has, both included."""
    first, last = versions or request.VALID_VERSIONS  # type: ignore[attr-defined]
    key = request.API_KEY  # type: ignore[attr-defined]
    assert key not in REGISTRY, request

    def register(function: F) -> F:
        name = request.__name__.removesuffix("Request")
        plain, fast = (None, function) if hot else (function, None)
        REGISTRY[key] = Api(key, name, request, response, first, last, plain, fast)
        return function

    return register


def load_apis() -> dict[int, Api]:
    """Import every module of `broker/apis` and return what they registered."""
    from automq.broker import apis

    for module in pkgutil.iter_modules(apis.__path__):
        importlib.import_module(f"{apis.__name__}.{module.name}")
    return REGISTRY


def error_answer(api: Api, error: errors.KafkaError) -> Any | None:
    """The answer that says only `error`; None when this API has no place for it at its top."""
    response = api.response()
    if not hasattr(response, "error_code"):
        return None
    response.error_code = error.code
    if hasattr(response, "error_message"):
        response.error_message = error.message
    return response
