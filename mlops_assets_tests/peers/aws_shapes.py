"""Holds answers against AWS's service models: members, types, bounds and words."""

from collections.abc import Iterator
from typing import Any

from botocore.validate import ParamValidator

from mlops_assets_tests.peers.aws_call import Call


def check(call: Call, said: Any) -> None:
    """
    Raises:
        AssertionError: a peer answers what AWS could not.
    """
    shape = call.model.output_shape
    if shape is None:
        assert not said, f"{call.operation} answers nothing, not {said}"
        return
    report = ParamValidator().validate(said, shape).generate_report().splitlines()
    # An address on this machine is shorter than any of AWS's.
    report = [line for line in report if "parameter FunctionUrl," not in line]
    found = [*report, *_words(said, shape, call.operation)]
    assert not found, f"{call.operation} cannot answer {said}: {'; '.join(found)}"


def _words(said: Any, shape: Any, where: str) -> Iterator[str]:
    """Strings that are none of those a shape lists."""
    if shape.type_name == "structure" and isinstance(said, dict):
        for name, value in said.items():
            if name in shape.members:
                yield from _words(value, shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for value in said:
            yield from _words(value, shape.member, where)
    elif shape.type_name == "string" and shape.enum and said not in shape.enum:
        yield f"{where} is {said!r}, none of {', '.join(shape.enum)}"
