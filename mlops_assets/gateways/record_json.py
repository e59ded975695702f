"""Records as JSON, and back: strict, so that records of another program are told from ours."""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(record: Any) -> str:
    """The record as deterministic JSON."""
    return json.dumps(dataclasses.asdict(record), sort_keys=True, indent=1)


def from_json(kind: type[T], text: str) -> T:
    """The record of type `kind` written by `to_json`.

    Raises:
        ValueError: the text is no JSON object, lacks a field or holds one the record does not
            know.
    """
    record: T = _build(kind, json.loads(text))
    return record


def _build(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"a {kind.__name__} is a JSON object, not {json.dumps(value)[:60]}")
        hints = typing.get_type_hints(kind)
        if unknown := set(value) - set(hints):
            raise ValueError(f"{kind.__name__} has no field {sorted(unknown)}")
        try:
            return kind(**{key: _build(hints[key], item) for key, item in value.items()})
        except TypeError as error:
            raise ValueError(f"incomplete {kind.__name__}: {error}") from error
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return tuple(_build(arguments[0], item) for item in value)
    if origin is dict and len(arguments) == 2:
        return {key: _build(arguments[1], item) for key, item in value.items()}
    if origin is types.UnionType and value is not None:
        return _build(next(a for a in arguments if a is not types.NoneType), value)
    return value
