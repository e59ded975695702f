"""ONNX files as what they are, protobuf messages, read and written without the onnx library.

A message is a row of fields: a number, and a value that is a varint, or bytes with their length in
front. The numbers here are those of `onnx.proto`. NumPy alone.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Fields = list[tuple[int, Any]]
"""Values are integers or bytes."""

GRAPH = 7
"""Of a model."""
NODE, INITIALIZER, ASKED = 1, 5, 11
"""Of a graph."""
READ, WRITTEN, KIND, ATTRIBUTE = 1, 2, 4, 5
"""Of a node."""
_INTEGER, _TENSOR, _INTEGERS = 3, 5, 8
_DIMENSION, _TYPE, _INT32_DATA, _NAME, _RAW_DATA = 1, 2, 5, 8, 9
_DOUBLE = 11
_VARINT, _BYTES = 0, 2


def fields(content: bytes) -> Fields:
    """Number and value of each field of a message.

    Raises:
        ValueError: a value is of another kind.
        IndexError: the message ends too early.
    """
    return list(_fields(content))


def values(message: Fields, number: int) -> list[Any]:
    """Of all fields with that number."""
    return [value for found, value in message if found == number]


def message(content: Iterable[tuple[int, int | bytes]]) -> bytes:
    """The bytes of these fields."""
    parts = []
    for number, value in content:
        if isinstance(value, int):
            parts += [_written(number << 3 | _VARINT), _written(value)]
        else:
            parts += [_written(number << 3 | _BYTES), _written(len(value)), value]
    return b"".join(parts)


def doubles(name: bytes) -> bytes:
    """An input of a graph: a tensor of doubles of any shape."""
    return message([(1, name), (2, message([(1, message([(1, _DOUBLE)]))]))])


def tensor(content: bytes) -> tuple[bytes, "Array | None"]:
    """Name and values of an initializer; None where it does not hold doubles."""
    import numpy as np

    found = fields(content)
    name, raw = values(found, _NAME)[0], values(found, _RAW_DATA)
    if values(found, _TYPE) != [_DOUBLE] or not raw:
        return name, None
    return name, np.frombuffer(raw[0], dtype="<f8").reshape(values(found, _DIMENSION))


def attribute(content: bytes) -> tuple[str, "Array"]:
    """Name and numbers of a node's attribute; of text none."""
    import numpy as np

    _, at = _varint(content, 0)
    length, at = _varint(content, at)
    name, rest = content[at : at + length].decode(), content[at + length :]
    if rest[0] & 7 == _VARINT:
        # Every number with its field; the attribute's type comes last.
        keys, numbers = _varints(rest).reshape(-1, 2).T
        return name, numbers[np.isin(keys >> 3, (_INTEGER, _INTEGERS))]
    number, value = next(_fields(rest))
    if number == _INTEGERS:
        return name, _varints(value)
    if number != _TENSOR:
        return name, np.zeros(0)
    stored = fields(value)
    if raw := values(stored, _RAW_DATA):
        return name, np.frombuffer(raw[0], dtype="<f8")
    return name, _varints(b"".join(values(stored, _INT32_DATA)))


def _varints(content: bytes) -> "Array":
    """int64 of varints that stand one after the other: thousands, one for each node of a tree."""
    import numpy as np

    each = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(each < 0x80) + 1
    starts = np.concatenate([[0], ends[:-1]])
    shifts = 7 * (np.arange(len(each)) - np.repeat(starts, ends - starts))
    return np.bitwise_or.reduceat((each & 0x7F).astype(np.int64) << shifts, starts)


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        value: Any
        value, at = _varint(content, at)
        if key & 7 == _BYTES:
            value, at = content[at : at + value], at + value
        elif key & 7 != _VARINT:
            raise ValueError(f"its field {key >> 3} is neither a varint nor bytes")
        yield key >> 3, value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    value = shift = 0
    while content[at] >= 0x80:
        value |= (content[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | content[at] << shift, at + 1


def _written(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
