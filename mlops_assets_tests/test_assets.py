"""An asset is what `dg.asset` makes of the same function, however many experiments there are."""

import dagster as dg
import pytest

from mlops_assets import assets, graph, resources, settings
from mlops_assets_tests.builders import shipped_twice

RESOURCES = {
    name: dg.ResourceDefinition.hardcoded_resource(name)
    for name in resources.build(settings.load({}))
    if name != "io_manager"
} | {"io_manager": dg.IOManagerDefinition.hardcoded_io_manager(dg.InMemoryIOManager())}


def by_asset(spec, *, ins, check_specs, dagster_type, pool):
    """As `assets.asset_of`, by Dagster's decorator."""
    given = {each.key for each in ins.values()}
    return dg.asset(
        key=spec.key,
        group_name=spec.group_name,
        owners=spec.owners,
        tags=spec.tags,
        metadata=spec.metadata,
        description=spec.description,
        code_version=spec.code_version,
        freshness_policy=spec.freshness_policy,
        deps=[dep.asset_key for dep in spec.deps if dep.asset_key not in given],
        ins=ins,
        check_specs=check_specs,
        dagster_type=dagster_type,
        pool=pool,
    )


def told(made):
    """Everything of an asset that Dagster shows or acts by; inputs and outputs by what they are."""
    op = made.op
    inputs = {
        key: op.input_dict[name].dagster_type.key for name, key in made.keys_by_input_name.items()
    }
    outputs = {
        key: (op.output_dict[name].dagster_type.key, op.output_dict[name].is_required)
        for name, key in [
            *made.keys_by_output_name.items(),
            *((name, spec.key) for name, spec in made.check_specs_by_output_name.items()),
        ]
    }
    return {
        "specs": [
            spec.replace_attributes(deps=sorted(spec.deps, key=lambda dep: dep.asset_key))
            for spec in made.specs
        ],
        "checks": sorted(made.check_specs, key=lambda spec: spec.name),
        "op": (op.name, op.description, op._version, op.pool, dict(op.tags), op.retry_policy),
        "resources": (op.required_resource_keys, made.required_resource_keys),
        "config": sorted(getattr(op.config_schema.config_type, "fields", {})),
        "given": dict(made.with_resources(RESOURCES).resource_defs),
        "function": op.compute_fn.decorated_fn.__code__,
        "parameters": [n for n in op.compute_fn.positional_inputs() if n in op.input_dict],
        "inputs": inputs,
        "outputs": outputs,
        "subset": made.can_subset,
    }


def test_assets_and_checks_are_those_of_the_decorators(monkeypatch):
    def every():
        found = {}
        for experiment in shipped_twice():
            made = graph.build_experiment(experiment)
            for each in (*made.assets, *made.asset_checks):
                if each.is_executable:
                    found[each.op.name] = told(each)
        return found

    ours = every()
    monkeypatch.setattr(assets, "asset_of", by_asset)
    monkeypatch.setattr(assets, "checks_of", dg.multi_asset_check)
    theirs = every()
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name] == expected
    assert len(ours) > 80


def test_each_experiment_has_its_own_function():
    first, *_ = found = shipped_twice()
    second = next(one for one in found if one.name == f"{first.name}_2")

    def enclosed(experiment):
        made = graph.build_experiment(experiment).get_assets_def([experiment.name, "source"])
        function = made.op.compute_fn.decorated_fn
        cells = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
        return cells["experiment"].cell_contents.name, made.op.name

    assert enclosed(first) == (first.name, f"{first.name}__source")
    assert enclosed(second) == (second.name, f"{second.name}__source")
    assert enclosed(first) == (first.name, f"{first.name}__source")


@pytest.mark.parametrize("given", [dg.AssetIn("a", metadata={"x": 1}), dg.AssetIn(key_prefix="a")])
def test_an_input_with_more_than_key_and_type_is_refused(given):
    decorate = assets.asset_of(
        dg.AssetSpec("made"), ins={"a": given}, check_specs=[], dagster_type=None, pool=None
    )
    with pytest.raises(ValueError, match="nothing else"):
        decorate(lambda a: a)


def test_two_inputs_of_one_name_are_refused():
    spec = dg.AssetSpec(["one", "made"], deps=[["one", "b"], ["two", "b"]])
    decorate = assets.asset_of(spec, ins={}, check_specs=[], dagster_type=None, pool=None)
    with pytest.raises(ValueError, match="two inputs have one name"):
        decorate(lambda: None)
