"""The base of every YAML section, and the discovery of plug-ins. Knows no section by name."""

import hashlib
import importlib
import inspect
import json
import pkgutil
from functools import reduce
from operator import or_
from types import ModuleType
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")


def _check_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("not an IANA time zone, for instance Europe/Berlin") from error
    return value


TimeZone = Annotated[str, AfterValidator(_check_time_zone)]
"""IANA name of a time zone."""


class Spec(BaseModel):
    """A frozen section of an experiment's YAML that refuses unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True
    )

    def fingerprint(self) -> str:
        """Twelve hex digits that change when, and only when, a value of the section changes."""
        return digest_of(self.model_dump(mode="json"))


def digest_of(values: Any) -> str:
    """Twelve hex digits of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def discover(package: ModuleType, base: type[T]) -> tuple[type[T], ...]:
    """The concrete subclasses of `base` defined in the modules of `package`, by `kind`."""
    members = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        members += [
            member
            for _, member in inspect.getmembers(module, inspect.isclass)
            if issubclass(member, base)
            and member.__module__ == module.__name__
            and "kind" in getattr(member, "model_fields", {})
        ]
    return tuple(sorted(members, key=kind_of))


def kind_of(member: type[Any]) -> str:
    """The value of the `kind` key that selects this plug-in in a YAML."""
    (kind,) = member.model_fields["kind"].annotation.__args__
    return str(kind)


def one_of(members: tuple[type[Any], ...]) -> Any:
    """A pydantic union of plug-ins, chosen by `kind`; a wrong kind is answered with the list."""
    if len(members) == 1:
        return members[0]
    return Annotated[reduce(or_, members), Field(discriminator="kind")]
