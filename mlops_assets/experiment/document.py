"""Reads one YAML document by the rules of YAML 1.2, and knows the line of every key.

Knows nothing of experiments: what the keys mean is the loader's business.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml: the same rules, ten times slower
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

KeyPath = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"
_INTEGER = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_RESOLVERS = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INTEGER, list("-+0123456789")),
    (
        "float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+.0123456789"),
    ),
    ("merge", re.compile(r"^<<$"), ["<"]),
)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document, at a line counted from 1."""

    line: int
    message: str


class DocumentError(Exception):
    """The text is no YAML document that could be judged further."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Loader(_Base):
    # Own, empty table: `Yes`, `on` and dates are text in YAML 1.2.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[Problem] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            self._note_repeated(node)
        return super().construct_mapping(node, deep=deep)

    def _note_repeated(self, node: yaml.MappingNode) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                message = f"{key.value}: this key already stands on line {first[key.value]}"
                self.repeated.append(Problem(line, message))
            first.setdefault(key.value, line)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    if not _INTEGER.match(text):
        raise yaml.constructor.ConstructorError(None, None, "not a whole number", node.start_mark)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text[2:] if base != 10 else text, base)


for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def read(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        DocumentError: the file is absent, unreadable or not UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DocumentError(Problem(1, "no such file")) from error
    except OSError as error:
        raise DocumentError(Problem(1, f"cannot be read: {error.strerror}")) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise DocumentError(
            Problem(line, f"not UTF-8: byte 0x{byte:02x} is no text; save the file as UTF-8")
        ) from error


def parse(text: str) -> tuple[Any, list[Problem]]:
    """The value of the one document in `text`, and the keys that stand twice in a mapping.

    Raises:
        DocumentError: the text is not YAML; with the line and what stands there.
    """
    try:
        loader = _Loader(text)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_syntax_problem(error, text)) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise DocumentError(Problem(line, f"not YAML: {error.reason}")) from error
    except RecursionError as error:
        raise DocumentError(Problem(1, "nested too deeply")) from error
    except ValueError as error:
        raise DocumentError(Problem(1, f"a value does not fit its tag: {error}")) from error
    return value, loader.repeated


def line_of(text: str, path: KeyPath) -> int:
    """Line of the key at `path`, or of the nearest key above it that is there. `text` parses."""
    node = yaml.compose(text, Loader=_Loader)
    line = 1 if node is None else node.start_mark.line + 1
    for part in path:
        found = _child(node, part)
        if found is None:
            break
        node, line = found
    return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode):
        if isinstance(part, int) and part < len(node.value):
            item = node.value[part]
            return item, item.start_mark.line + 1
        return None
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == str(part):
            return value, key.start_mark.line + 1
    for key, value in node.value:
        if key.tag == _MERGE:
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if found := _child(merged, part):
                    return found
    return None


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    index = mark.line if mark is not None else 0
    lines = text.splitlines()
    around = lines[index] if index < len(lines) else ""
    what = ", ".join(part for part in (error.context, error.problem) if part)
    if error.context_mark is not None and error.context_mark.line != index:
        what += f" (begun on line {error.context_mark.line + 1})"
    hint = (
        "; indent with spaces, not tabs"
        if "\t" in around[: len(around) - len(around.lstrip())]
        else ""
    )
    near = f"; near {around.strip()[:60]!r}" if around.strip() else "; at the end of the file"
    return Problem(index + 1, f"not YAML: {what}{near}{hint}")
