"""What a body says that it is, and what is in it."""

import codecs
import re
from collections.abc import Sequence
from email.message import Message
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

JSON = "application/json"
TEXT = "text/plain"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
BINARY = "application/octet-stream"

Model = TypeVar("Model", bound=BaseModel)

# Those of the WHATWG Encoding Standard, by Python's names. Other codecs of Python's (idna, unicode_escape) are no
# character sets, and some take quadratic time.
_CHARSETS = re.compile(
    r"ascii|big5|cp125\d|cp866|euc_(jp|kr)|gb18030|gbk|iso2022_jp|iso8859-\d+|koi8-[ru]|shift_jis|utf-8|utf-16(-[bl]e)?"
)


class DamagedBodyError(Exception):
    """The body does not inflate."""

    def __init__(self) -> None:
        super().__init__("the body is damaged: it is not what its Content-Encoding says")


class InflatedTooFarError(Exception):
    """The body stands for too many times its own bytes."""


class UnsupportedBodyError(Exception):
    """The body is of a kind that this address does not take."""


class InvalidBodyError(Exception):
    """The body does not have the shape that this address takes. `errors`: pydantic's findings."""

    def __init__(self, errors: Sequence[Any]) -> None:
        super().__init__("the body has another shape")
        self.errors = errors


def media_type(headers: Headers) -> str:
    """The media type without its parameters, in lower case; empty if none is named."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def parsed(content: bytes, model: type[Model]) -> Model:
    """JSON of this shape.

    Raises: InvalidBodyError if it is no JSON, or JSON of another shape.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise InvalidBodyError(error.errors(include_url=False, include_context=False, include_input=False)) from None


def decoded(content: bytes, headers: Headers) -> str:
    """Text in the charset that the request names, UTF-8 by default.

    Raises:
        UnsupportedBodyError: The charset is not known.
        InvalidBodyError: The bytes are none of that charset.
    """
    charset = _charset(headers)
    try:
        return content.decode(charset).removeprefix("\ufeff")  # a byte order mark, which is no part of the text
    except UnicodeError:
        raise InvalidBodyError([{"loc": (), "msg": f"the body is not text in {charset}"}]) from None


def _charset(headers: Headers) -> str:
    message = Message()
    message["content-type"] = headers.get("content-type", TEXT)
    named = message.get_content_charset("utf-8")
    try:
        name = codecs.lookup(named).name
    except LookupError:
        name = named
    if not _CHARSETS.fullmatch(name):
        raise UnsupportedBodyError("the charset is not known here; send UTF-8")
    return name


def unsupported(*taken: str) -> UnsupportedBodyError:
    """The error that names what is taken instead."""
    return UnsupportedBodyError(f"send the header Content-Type with one of: {', '.join(taken)}")


async def content_of(request: Request, *taken: str) -> bytes:
    """The whole body, if its media type is among those taken.

    Raises: UnsupportedBodyError if it is another.
    """
    if media_type(request.headers) not in taken:
        raise unsupported(*taken)
    return await request.body()
