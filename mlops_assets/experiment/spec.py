"""The base of every YAML section, and the discovery of plug-ins. Knows no section by name."""

import ast
import functools
import hashlib
import importlib
import inspect
import json
import pkgutil
import textwrap
from functools import reduce
from itertools import pairwise
from operator import or_
from types import ModuleType
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(core)
        properties = handler.resolve_ref_schema(found)["properties"]
        for name, text in descriptions(cls).items():
            properties[name] = {**properties[name], "description": text}
        return found

    def fingerprint(self) -> str:
        """Twelve hex digits that change when, and only when, a value of the section changes."""
        return digest_of(self.model_dump(mode="json"))


@functools.cache
def descriptions(section: type[Spec]) -> dict[str, str]:
    """What the docstrings below a section's fields say, by field.

    They are read when somebody asks. Pydantic would do it as well, but for every section whenever
    a process starts, which takes a quarter of a second.
    """
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if issubclass(kind, Spec):
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
            found |= _docstrings(definition)
    return {name: text for name, text in found.items() if name in section.model_fields}


def _docstrings(definition: ast.stmt) -> dict[str, str]:
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    }


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
