"""Turns what pydantic refuses into sentences about the YAML: key path, value met, what is allowed.

Walks the types of the model, so that union tags in pydantic's locations do not reach the reader.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mlops_assets.experiment.document import KeyPath
from mlops_assets.experiment.spec import Spec, descriptions

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text (in quotes)",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "none": "null",
}
_SECRET = re.compile(r"(://)[^/@\s]*@")


def explain(error: ValidationError, model: type[BaseModel], data: Any) -> list[tuple[KeyPath, str]]:
    """Key path and sentence of every problem, in the order pydantic found them."""
    found: dict[KeyPath, list[str]] = {}
    for details in error.errors(include_url=False):
        path, annotation, parent = _walk(details["loc"], model)
        path, message = _sentence(details, path, annotation, parent, data)
        messages = found.setdefault(path, [])
        if message not in messages:
            messages.append(message)
    return [(path, _joined(messages)) for path, messages in found.items()]


def dotted(path: KeyPath) -> str:
    """`tuning.search_space.depth`, `deployment.targets[0].port`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """A value as it may stand in a message: short, and without the password of a URL."""
    text = {True: "true", False: "false", None: "null"}.get(value) if _is_constant(value) else None
    text = _SECRET.sub(r"\1***@", repr(value) if text is None else text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def suggestion(word: object, known: Iterable[str]) -> str:
    """` (did you mean 'depth'?)`, or nothing."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _walk(loc: tuple[str | int, ...], model: type[BaseModel]) -> tuple[KeyPath, Any, Any]:
    """The location as a path of the YAML, the annotation found there, and that of its parent."""
    path: list[str | int] = []
    parent: Any = None
    here: Any = model
    for part in loc:
        if part == "[key]":
            here = get_args(parent)[0] if get_args(parent) else None
            continue
        inner, discriminator = _bare(here)
        parent = inner
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            path.append(str(part))
            here = inner.model_fields.get(str(part))
        elif get_origin(inner) in (dict, Mapping):
            path.append(part)
            here = get_args(inner)[1]
        elif get_origin(inner) in (tuple, list):
            path.append(part)
            here = get_args(inner)[0]
        elif get_origin(inner) in (Union, UnionType):
            if discriminator is not None:
                here = _tagged(inner, discriminator).get(str(part))
        else:
            path.append(part)
            here = None
    return tuple(path), here, parent


def _bare(annotation: Any) -> tuple[Any, str | None]:
    """The annotation without Annotated, Optional and FieldInfo, and its discriminator."""
    discriminator = None
    while True:
        if isinstance(annotation, FieldInfo):
            discriminator = discriminator or annotation.discriminator
            annotation = annotation.annotation
        elif get_origin(annotation) is Annotated:
            annotation, *metadata = get_args(annotation)
            for item in metadata:
                if isinstance(item, FieldInfo) and item.discriminator:
                    discriminator = item.discriminator
        elif get_origin(annotation) in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not NoneType]
            if len(members) != 1:
                return annotation, discriminator if isinstance(discriminator, str) else None
            annotation = members[0]
        else:
            return annotation, None


def _tagged(union: Any, discriminator: str) -> dict[str, Any]:
    members = [_bare(member)[0] for member in get_args(union)]
    return {
        str(tag): member
        for member in members
        if isinstance(member, type) and issubclass(member, BaseModel)
        for tag in get_args(member.model_fields[discriminator].annotation)
    }


def _sentence(
    details: ErrorDetails, path: KeyPath, annotation: Any, parent: Any, data: Any
) -> tuple[KeyPath, str]:
    kind, met, context = details["type"], details["input"], details.get("ctx", {})
    inner, discriminator = _bare(annotation)
    if kind == "missing":
        return path, f"missing; {_description(path, annotation, parent)}"
    if kind == "extra_forbidden":
        known = list(parent.model_fields)
        return path, (f"unknown key{suggestion(path[-1], known)}; known keys: {', '.join(known)}")
    if kind == "invalid_key":
        return path, "this key is no text; put it in quotes"
    if kind == "union_tag_invalid":
        known = list(_tagged(inner, str(discriminator)))
        tag = str(context["tag"])
        return (*path, str(discriminator)), _not_allowed(tag, known)
    if kind == "union_tag_not_found":
        if not isinstance(met, dict):
            return path, f"{shown(met)} is not {_KINDS['model']}"
        known = list(_tagged(inner, str(discriminator)))
        return (*path, str(discriminator)), f"missing; one of: {', '.join(known)}"
    if kind == "literal_error":
        return path, _not_allowed(met, _literals(annotation))
    if kind == "value_error":
        path, message = _narrowed(str(context["error"]), path, annotation, data)
        said = isinstance(met, (dict, list, tuple)) or shown(met) in message
        return path, message if said else f"{message} (found {shown(met)})"
    if kind == "string_pattern_mismatch":
        written = "what stands there" if _hides(parent) else shown(met)
        return path, f"{written} is not allowed; {_description(path, annotation, parent)}"
    if kind == "too_short":
        return path, f"needs at least {context['min_length']}, has {context['actual_length']}"
    if (base := kind.split("_")[0]) in _KINDS and kind.endswith(("_type", "_parsing", "_float")):
        return path, f"{shown(met)} is not {_KINDS[base]}"
    message = details["msg"].removeprefix("Input ").removeprefix("Value ")
    return path, f"{message[0].lower()}{message[1:]}, not {shown(met)}"


def _hides(parent: Any) -> bool:
    """Whether what was written may be a secret in the wrong place, which no message repeats."""
    return bool(getattr(parent, "model_config", {}).get("hide_input_in_errors"))


def _narrowed(message: str, path: KeyPath, annotation: Any, data: Any) -> tuple[KeyPath, str]:
    """The path and message of a cross-field error, on the narrowest key the message names."""
    named = re.match(r"([\w.]+): ", message)
    if named and (deeper := _descend(path, named[1], data)):
        return deeper, message[named.end() :]
    if (first := re.match(r"[\w.]+", message)) and _is_field(annotation, first[0].split(".")[0]):
        return _descend(path, first[0], data) or path, message
    for mention in re.findall(r"\w+(?:\.\w+)+", message):
        if deeper := _descend(path, mention, data):
            return deeper, message
    return path, message


def _descend(path: KeyPath, mention: str, data: Any) -> KeyPath | None:
    """`path` prolonged by the keys of `mention`, if they are there or one level below."""
    here = _at(data, path)
    parts = tuple(mention.split("."))
    if _at(here, parts) is not None:
        return (*path, *parts)
    if isinstance(here, dict):
        below = [key for key in here if _at(here[key], parts) is not None]
        if len(below) == 1:
            return (*path, below[0], *parts)
    return None


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def _is_field(annotation: Any, name: str) -> bool:
    inner = _bare(annotation)[0]
    return isinstance(inner, type) and issubclass(inner, BaseModel) and name in inner.model_fields


def _literals(annotation: Any) -> list[str]:
    inner = _bare(annotation)[0]
    if get_origin(inner) is Literal:
        return [str(value) for value in get_args(inner)]
    return [value for member in get_args(inner) for value in _literals(member)]


def _not_allowed(met: Any, allowed: list[str]) -> str:
    hint = suggestion(met, allowed) if isinstance(met, str) else ""
    return f"{shown(met)} is not allowed{hint}; allowed: {', '.join(allowed)}"


def _description(path: KeyPath, annotation: Any, parent: Any) -> str:
    text, section = None, _bare(annotation)[0]
    if isinstance(parent, type) and issubclass(parent, Spec):
        text = descriptions(parent).get(str(path[-1]))
    if not text and isinstance(section, type) and issubclass(section, BaseModel):
        text = section.__doc__
    return " ".join(text.split()) if text else "see configs/schema.json"


def _joined(messages: list[str]) -> str:
    """One sentence for a key that several members of a union refused."""
    if len(messages) == 1:
        return messages[0]
    refused = [re.fullmatch(r"(.*?) is not (.*)", message) for message in messages]
    if not all(refused) or len({match[1] for match in refused if match}) != 1:
        return "; or: ".join(messages)
    wanted = [
        re.sub(r"^allowed.*?; allowed: (.*)$", r"one of \1", match[2]) for match in refused if match
    ]
    return f"{refused[0][1] if refused[0] else ''} is neither {', nor '.join(wanted)}"
