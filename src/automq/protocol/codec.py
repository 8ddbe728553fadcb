"""Bytes to messages and back: what a connection and a log of records need.

Everything here is the native codec's own function; the contract is in `automq._native`.
"""

from automq._native import Frames as Frames
from automq._native import FrameTooLarge as FrameTooLarge
from automq._native import MalformedMessage as MalformedMessage
from automq._native import RequestHead as RequestHead
from automq._native import UnencodableMessage as UnencodableMessage
from automq._native import decode_message as decode
from automq._native import encode_message as encode
from automq._native import encode_request as encode_request
from automq._native import encode_response as encode_response
from automq._native import read_request_header as read_request_header
from automq._native import response_header_version as response_header_version

__all__ = [
    "FrameTooLarge",
    "Frames",
    "MalformedMessage",
    "RequestHead",
    "UnencodableMessage",
    "decode",
    "encode",
    "encode_request",
    "encode_response",
    "read_request_header",
    "response_header_version",
]
