"""An asset from a function, for hundreds of experiments.

What Dagster finds out about a function (its inputs, types, resources and configuration) takes two
milliseconds, and is the same for every experiment: their functions differ in what they enclose
alone. It is found out once, and other experiments' ops are copies with their own name and function.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import dagster as dg
from dagster._core.definitions.assets.definition.asset_graph_computation import (
    AssetGraphComputation,
)
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.definition_config_schema import IDefinitionConfigSchema

Compute = Callable[..., Any]

RESULT = "result"


class Shape(NamedTuple):
    """What ops must have in common to be copies of one another."""

    code: Any
    """Of the function."""
    ins: tuple[tuple[str, Any], ...]
    """Names and types of what the function is given."""
    waits: tuple[str, ...]
    """Names of what it only waits for."""
    outs: tuple[tuple[str, tuple[Any, ...]], ...]
    """Names of what it gives, and their types; none where its annotation says it."""
    required: bool
    """Whether it gives all of them."""


class NoConfiguration(IDefinitionConfigSchema):
    """Of an op without a parameter `config`: the launchpad does not list it.

    Without a schema Dagster takes any configuration, and leaves it unused.
    """

    def as_field(self) -> Any:
        return None


class Op(dg.OpDefinition):
    """A copy. All copies need the same resources, which Dagster asks each for, eight times."""

    def __init__(self, like: dg.OpDefinition) -> None:
        self._needs: dict[bool, list[Any]] = {}
        vars(self).update(vars(like))

    def get_resource_requirements(self, handle: Any, asset_layer: Any) -> Iterator[Any]:
        # In a job inputs have an I/O manager, that of their asset: in every job the same.
        in_a_job = bool(handle and asset_layer)
        if in_a_job not in self._needs:
            found: Iterator[Any] = super().get_resource_requirements(handle, asset_layer)
            each_once = {(type(need), need.key): need for need in found}
            self._needs[in_a_job] = [*each_once.values()]
        return iter(self._needs[in_a_job])

    def get_config_field(self) -> dg.Field:
        # Dagster asks for one, whether there is or not, when an asset is called by hand.
        return self.config_field or dg.Field({}, is_required=False)

    def apply_config_mapping(self, config: Mapping[str, Any]) -> Any:
        # The job of all assets takes a configuration of whatever its schema does not list.
        if config["config"] and not self.config_field:
            said = f"{self.name} takes no configuration"
            raise dg.DagsterInvalidConfigError(said, [], config)  # type: ignore[no-untyped-call]
        return super().apply_config_mapping(config)


class Found(NamedTuple):
    """What is copied."""

    op: Op
    signature: inspect.Signature


class Asset(dg.AssetsDefinition):
    """Is made, and given the resources of a location, without being looked through by Dagster."""

    @classmethod
    def made_by(
        cls,
        op: Op,
        keys: Mapping[str, dg.AssetKey],
        specs: Mapping[str, dg.AssetSpec],
        checks: Mapping[str, dg.AssetCheckSpec],
        *,
        can_subset: bool = False,
    ) -> Self:
        """What the op makes, and what it checks.

        Args:
            op: of one asset, or of none.
            keys: of what it waits for, by input.
            specs: complete, by output.
            checks: by output.
            can_subset: whether it can evaluate some of the checks alone.
        """
        asset = cls.__new__(cls)
        made = {name: spec.key for name, spec in specs.items()}
        checked = {name: spec.key for name, spec in checks.items()}
        asset._computation = AssetGraphComputation(
            node_def=op,
            keys_by_input_name=keys,
            keys_by_output_name=made,
            check_keys_by_output_name=checked,
            selected_asset_keys=set(made.values()),
            selected_asset_check_keys=set(checked.values()),
            can_subset=can_subset,
            is_subset=False,
            backfill_policy=None,
            execution_type=AssetExecutionType.MATERIALIZATION,
        )
        asset._specs_by_key = {spec.key: spec for spec in specs.values()}
        asset._check_specs_by_output_name = checks
        asset._check_specs_by_key = {spec.key: spec for spec in checks.values()}
        asset._hook_defs, asset._partition_mappings, asset._resource_defs = frozenset(), {}, {}
        return asset

    @property
    def check_specs_by_output_name(self) -> Mapping[str, dg.AssetCheckSpec]:
        # All: a subset of them would be none of this class.
        return self._check_specs_by_output_name

    def get_resource_requirements(self) -> Iterator[Any]:
        # The resources that it is given need no others, and it has no hooks.
        return self.op.get_resource_requirements(None, None)

    def with_resources(
        self, resource_defs: Mapping[str, dg.ResourceDefinition]
    ) -> dg.AssetsDefinition:
        if self.resource_defs:
            return super().with_resources(resource_defs)
        # All of the same needs are given the same.
        known = (self.op.required_resource_keys, tuple(resource_defs.items()))
        if known not in _resources:
            _resources[known] = super().with_resources(resource_defs).resource_defs
        given = copy.copy(self)
        given._resource_defs = _resources[known]
        return given


class Checks(Asset, dg.AssetChecksDefinition):
    """Likewise."""


_found: dict[Shape, Found] = {}
_resources: dict[Any, Mapping[str, dg.ResourceDefinition]] = {}


def asset_of(
    spec: dg.AssetSpec,
    *,
    ins: Mapping[str, dg.AssetIn],
    check_specs: Sequence[dg.AssetCheckSpec],
    dagster_type: Any,
    pool: str | None,
) -> Callable[[Compute], dg.AssetsDefinition]:
    """As `dg.asset` of the same arguments, but for names of the op's inputs and outputs, and that
    configuration is refused where the function has no parameter `config`.

    Args:
        spec: what Dagster shows; its `deps` are all, those of `ins` as well.
        ins: what the function is given, by parameter: key and type.
        check_specs: of the checks that it evaluates.
        dagster_type: of its result; None where its annotation says it.
        pool: whose limit holds its runs.
    """

    def decorate(compute: Compute) -> dg.AssetsDefinition:
        keys = _keys(ins, [dep.asset_key for dep in spec.deps])
        checks = {each.name: each for each in check_specs}
        result = () if dagster_type is None else (dagster_type,)
        op = _op(compute, ins, keys, {RESULT: result} | dict.fromkeys(checks, (None,)))
        op._name = spec.key.to_python_identifier()
        op._description, op._version, op._pool = spec.description, spec.code_version, pool
        return Asset.made_by(op, keys, {RESULT: spec}, checks)

    return decorate


def checks_of(
    *,
    name: str,
    specs: Sequence[dg.AssetCheckSpec],
    ins: Mapping[str, dg.AssetIn],
    can_subset: bool = False,
) -> Callable[[Compute], dg.AssetChecksDefinition]:
    """As `dg.multi_asset_check` of the same arguments, with the same differences."""

    def decorate(compute: Compute) -> dg.AssetChecksDefinition:
        deps = [dep.asset_key for spec in specs for dep in spec.additional_deps]
        keys = _keys(ins, [*(spec.asset_key for spec in specs), *deps])
        outs = {spec.name: (None,) for spec in specs}
        op = _op(compute, ins, keys, outs, required=not can_subset)
        op._name = name
        checks = {spec.name: spec for spec in specs}
        return Checks.made_by(op, keys, {}, checks, can_subset=can_subset)

    return decorate


def _keys(ins: Mapping[str, dg.AssetIn], deps: Sequence[dg.AssetKey]) -> dict[str, dg.AssetKey]:
    """By the name of an input what it stands for: first what is given, then what is waited for."""
    given = {}
    for name, each in ins.items():
        more = each.key_prefix or each.metadata or each.input_manager_key or each.partition_mapping
        if each.key is None or more:
            raise ValueError(f"an input has a key, may have a type, and nothing else: {each}")
        given[name] = each.key
    waits = [key for key in dict.fromkeys(deps) if key not in given.values()]
    # Without the experiment, whose ops would not be copies otherwise.
    keys = given | {"__".join(key.path[1:]): key for key in waits}
    if len(keys) < len(given) + len(waits):
        raise ValueError(f"two inputs have one name: {[*given]}, {waits}")
    return keys


def _op(
    compute: Compute,
    ins: Mapping[str, dg.AssetIn],
    names: Mapping[str, Any],
    outs: Mapping[str, tuple[Any, ...]],
    *,
    required: bool = True,
) -> Op:
    """An op without a name of its own."""
    types = tuple((name, each.dagster_type) for name, each in ins.items())
    waits = tuple(name for name in names if name not in ins)
    shape = Shape(compute.__code__, types, waits, tuple(outs.items()), required)
    if shape not in _found:
        signature = inspect.signature(compute)
        configuration: Any = None if "config" in signature.parameters else NoConfiguration()
        op = dg.op(
            ins={name: dg.In(kind) for name, kind in types}
            | {name: dg.In(dg.Nothing) for name in waits},
            out={name: _out(kind, required=required) for name, kind in outs.items()},
            config_schema=configuration,
        )(compute)
        _found[shape] = Found(Op(op), signature)
    found = _found[shape]
    # Dagster asks for a function's signature about thirty times, and Python works it out anew each
    # time, unless it stands on the function.
    compute.__signature__ = found.signature  # type: ignore[attr-defined]
    op = Op(found.op)
    op._compute_fn = DecoratedOpFunction(compute)
    return op


def _out(kind: tuple[Any, ...], *, required: bool) -> dg.Out:
    return dg.Out(kind[0], is_required=required) if kind else dg.Out(is_required=required)
