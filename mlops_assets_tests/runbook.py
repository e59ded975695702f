"""The chapters of RUNBOOK.md to which a ticket or an alert leads, and the commands and keys of the
YAML that documents name."""

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click

from mlops_assets.cli import cli
from mlops_assets.experiment import loader

RUNBOOK = Path(__file__).parent.parent / "RUNBOOK.md"
PARTS = ("Meaning", "First look", "Likely causes", "Commands", "Silence")


def chapters() -> dict[str, str]:
    """What stands under each heading of level 3, by its words."""
    content = RUNBOOK.read_text(encoding="utf-8")
    found = re.findall(r"^### (.+?)$(.*?)(?=^##|\Z)", content, flags=re.MULTILINE | re.DOTALL)
    assert len(found) == len(dict(found)), "two chapters of RUNBOOK.md have one name"
    return dict(found)


def parts_of(chapter: str) -> list[tuple[str, str]]:
    """The labelled parts with their words, in order; what follows an empty line is none of them."""
    return re.findall(
        r"^- \*\*([\w ]+)\.\*\*(.*?)(?=^- \*\*|^$|\Z)", chapter, flags=re.MULTILINE | re.DOTALL
    )


def hold_to_its_parts(name: str) -> dict[str, str]:
    """The parts of a chapter, which says all that somebody who is paged at night has to know."""
    assert name in chapters(), f"RUNBOOK.md has no chapter {name}"
    found = parts_of(chapters()[name])
    order = tuple(part for part, _ in found)
    assert order == PARTS, f"{name} has the parts {order}"
    assert all(words.strip() for _, words in found), f"{name} has an empty part"
    parts = dict(found)
    assert "`" in parts["Commands"]
    for call in calls_in("\n".join(parts.values())):
        assert not refused(call), f"{name}: mlops {shlex.join(call)}: {refused(call)}"
    return parts


def calls_in(document: str) -> list[list[str]]:
    """The words after each `mlops` of code spans and blocks, up to the next command or a comment;
    that of `kubectl -n mlops` is a namespace."""
    found = re.findall(r"(?<![\w/.])(?<!-n )mlops ([a-z][^`\n;|&#]*)", _code_of(document))
    return [shlex.split(words) for words in found]


def _code_of(document: str) -> str:
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", document, flags=re.DOTALL))


def options_of(command: click.Command) -> set[str]:
    named = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return named | {"-h", "--help"}


def refused(call: list[str]) -> str:
    """Why the program does not take these words; empty when it does."""
    name, *words = call
    if name not in cli.commands:
        return "no such command"
    try:
        cli.commands[name].make_context(name, words)
    except click.UsageError as error:
        return error.format_message()
    return ""


def keys_in(document: str) -> list[str]:
    """The keys that code spans and blocks name with dots, from a section of the YAML on: `a.b.c`,
    with `[]` behind a list and `<what>` for any name."""
    sections = "|".join(_schema()["properties"])
    return re.findall(rf"(?<![\w./<-])((?:{sections})(?:\.[\w<>\[\]]+)+)", _code_of(document))


def is_a_key(name: str) -> bool:
    """Whether an experiment may have it, by the schema of its YAML."""
    nodes = [_schema()]
    for part in re.findall(r"[^.\[]+|\[\]", name):
        nodes = [below for node in nodes for whole in _meant(node) for below in _below(whole, part)]
    return bool(nodes)


@cache
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(loader.schema_text())
    return found


def _meant(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a node refers to, and every choice that it gives."""
    if "$ref" in node:
        yield from _meant(_schema()["$defs"][node["$ref"].rpartition("/")[2]])
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _meant(choice)
    yield node


def _below(node: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    others = node.get("additionalProperties")
    if part == "[]":
        yield from (node["items"],) if "items" in node else ()
    elif part in node.get("properties", {}):
        yield node["properties"][part]
    elif isinstance(others, dict):
        yield others
