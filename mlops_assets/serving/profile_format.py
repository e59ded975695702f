"""The bytes of a whylogs profile, written without whylogs: an endpoint has no room for it.

What `DatasetProfileView.serialize` of whylogs 1 writes: a magic word and length-delimited protobuf
messages (`whylogs_messages.proto`), one chunk of metric components per column. The reader is
whylogs itself. Standard library only.
"""

import struct
from collections.abc import Iterator, Mapping
from itertools import accumulate

MAGIC = b"WHY1"
FREQUENT_ITEMS, HLL, KLL = 4, 5, 6
"""The fields of a metric component that hold a sketch."""

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_COLUMN_CHUNK = 2


def integral(value: int) -> bytes:
    """A metric component that is a count."""
    return _number(2, value)


def fractional(value: float) -> bytes:
    """A metric component that is a float."""
    return _varint(3 << 3 | _FIXED64) + struct.pack("<d", value)


def sketch(kind: int, content: bytes) -> bytes:
    """A metric component that is a serialized sketch of one of the three kinds."""
    return _field(kind, _field(1, content))


def encode(
    columns: Mapping[str, Mapping[str, bytes]],
    *,
    when_ms: int,
    created_ms: int,
    metadata: Mapping[str, str],
) -> bytes:
    """A whole profile.

    Args:
        columns: by name, the components by path, such as `counts/n`.
        when_ms: start of the window, milliseconds since the epoch.
        created_ms: the same, when the profile was begun.
        metadata: words that go with it.
    """
    paths = sorted({path for components in columns.values() for path in components})
    index = {path: number for number, path in enumerate(paths)}
    names = sorted(columns)
    chunks = [_chunk(columns[name], index) for name in names]
    ends = list(accumulate(map(len, chunks)))
    offsets = dict(zip(names, [0, *ends], strict=False))
    header = b"".join(_header(offsets, paths, when_ms, created_ms, metadata, ends[-1:]))
    return b"".join([MAGIC, _delimited(b""), _delimited(header), *chunks])


def _header(
    offsets: Mapping[str, int],
    paths: list[str],
    when_ms: int,
    created_ms: int,
    metadata: Mapping[str, str],
    length: list[int],
) -> Iterator[bytes]:
    properties = [_number(4, created_ms), _number(5, when_ms)]
    properties += [
        _field(7, _text(1, key) + _text(2, value)) for key, value in sorted(metadata.items())
    ]
    yield _field(1, b"".join(properties))
    for name, offset in offsets.items():
        yield _field(2, _text(1, name) + _field(2, _field(1, _varint(offset))))
    yield from (_number(4, total) for total in length)
    for number, path in enumerate(paths):
        yield _field(5, _number(1, number) + _text(2, path))


def _chunk(components: Mapping[str, bytes], index: Mapping[str, int]) -> bytes:
    body = b"".join(
        _field(1, _number(1, index[path]) + _field(2, component))
        for path, component in components.items()
    )
    return _delimited(_number(1, _COLUMN_CHUNK) + _number(3, len(body))) + body


def _delimited(message: bytes) -> bytes:
    return _varint(len(message)) + message


def _text(field: int, value: str) -> bytes:
    return _field(field, value.encode())


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    """A number that is not negative, in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
