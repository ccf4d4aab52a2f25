"""Descriptions of binary messages of fixed size, for both encoding and decoding.

In Python a message is a `NamedTuple`. A `Layout` describes its bytes by a `struct` format. Integers are unsigned and
big-endian. Text is ASCII, left-justified and padded with blanks; the `NamedTuple` has it as a `str` without the blanks.
"""

from __future__ import annotations

import re
import struct
from typing import Any, Generic, NamedTuple, TypeVar

Message = TypeVar("Message", bound=tuple[Any, ...])


class WireError(ValueError):
    """Received bytes are no message of the protocol, or a value does not fit into its field of a message."""


class Field(NamedTuple):
    """The name of a message's field, its offset in the message, and its size in bytes.

    Documentation and tests use it.
    """

    name: str
    offset: int
    size_bytes: int


class Layout(Generic[Message]):
    """The layout of the bytes of one message type. `code` is the letter of the type, which is the first byte."""

    def __init__(self, code: str, message: type[Message], body: str) -> None:
        """Describe the messages of the class `message`.

        `body` is the `struct` format of the fields, without the byte order. It must have one code for each field; the
        attribute `codes` lists the codes.
        """
        codes = re.findall(r"\d*[a-zA-Z]", body)
        names: tuple[str, ...] = message._fields  # type: ignore[attr-defined]
        if len(codes) != len(names):
            raise TypeError(f"{message.__name__}: {len(names)} fields but {len(codes)} struct codes")
        self.code = code
        self.message = message
        self.codes = codes
        self._struct = struct.Struct(">c" + body)
        self._prefix = code.encode("ascii")
        self.size_bytes = self._struct.size
        self._widths = [struct.calcsize(">" + item) if item.endswith("s") else 0 for item in codes]
        self.fields: list[Field] = []
        offset = 1
        for name, item in zip(names, codes, strict=True):
            size = struct.calcsize(">" + item)
            self.fields.append(Field(name, offset, size))
            offset += size

    def encode(self, message: Message) -> bytes:
        """Return the bytes of the message. Raises WireError for a text that is too long or a number out of range."""
        values: list[bytes | int] = []
        for field, width, value in zip(self.fields, self._widths, message, strict=True):
            if width:
                raw = str(value).encode("ascii", "strict")
                if len(raw) > width:
                    raise WireError(
                        f"{self.message.__name__}.{field.name}: {value!r} is longer than {width} characters"
                    )
                values.append(raw.ljust(width))
            else:
                values.append(value)
        try:
            return self._struct.pack(self._prefix, *values)
        except struct.error as error:
            raise WireError(f"{self.message.__name__}: {error}") from error

    def decode(self, data: bytes) -> Message:
        """Return the message in `data`. Raises WireError if `data` has another type or length."""
        if len(data) != self.size_bytes or data[:1] != self._prefix:
            raise WireError(
                f"{self.message.__name__}: expected type {self.code!r} and {self.size_bytes} bytes, "
                f"got {bytes(data[:1])!r} and {len(data)}"
            )
        values = self._struct.unpack(data)[1:]
        text = [
            value.decode("latin-1").rstrip(" ") if width else value
            for value, width in zip(values, self._widths, strict=True)
        ]
        return self.message(*text)


class Protocol:
    """The message types of one direction of a protocol, such as all types that clients send."""

    def __init__(self, name: str, layouts: list[Layout[Any]]) -> None:
        self.name = name
        self.by_code: dict[int, Layout[Any]] = {ord(layout.code): layout for layout in layouts}
        self._by_message: dict[type, Layout[Any]] = {layout.message: layout for layout in layouts}

    def encode(self, message: tuple[Any, ...]) -> bytes:
        """Return the bytes of the message. Raises WireError when a value does not fit into its field."""
        return self._by_message[type(message)].encode(message)

    def decode(self, data: bytes) -> Any:
        """Return the message in `data`. Raises WireError for an unknown type or a wrong length."""
        layout = self.by_code.get(data[0]) if data else None
        if layout is None:
            raise WireError(f"{self.name}: no message of type {bytes(data[:1])!r}")
        return layout.decode(data)
