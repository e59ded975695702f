"""Jobs, tied to the assets of hundreds of experiments."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.job.asset_job import (
    JobScopedAssetGraph,
    _subset_assets_defs,
    build_asset_job,
)
from dagster._core.definitions.external_asset import (
    create_unexecutable_external_asset_from_assets_def as only_read,
)
from dagster._core.definitions.resolved_asset_deps import resolve_stub_assets_defs
from dagster._core.definitions.run_config_schema import RunConfigSchema
from dagster._core.execution.build_resources import wrap_resources_for_execution
from dagster_shared.record import as_dict


class Template(NamedTuple):
    """What a run of a job may be configured with, and what each kind of op adds to it."""

    schema: RunConfigSchema
    """Of one job; its types are those that name no op."""
    of_op: Mapping[Any, dg.Field | None]
    """By the schema of the op's own configuration."""


class Described(dg.Field):
    """A copy. It writes out once what it is by default: Dagster asks for every job."""

    def __init__(self, like: dg.Field, **changed: Any) -> None:
        vars(self).update(vars(like) | changed)

    @functools.cached_property
    def default_value_as_json_str(self) -> str:
        written: str = super().default_value_as_json_str
        return written


class Job(dg.JobDefinition):
    """A copy. Dagster found all resources that it needs while it was tied, and would look for them
    twice more."""

    def __init__(self, like: dg.JobDefinition) -> None:
        vars(self).update(vars(like))

    def is_missing_required_resources(self) -> bool:
        return False

    def validate_resource_requirements_satisfied(self) -> None:
        return None


class Assets(AssetGraph):
    """What they wait for is named by its whole key: Dagster would look for it by group and by table
    as well, in each job anew."""

    @staticmethod
    def normalize_assets(assets: Iterable[Any]) -> Sequence[dg.AssetsDefinition]:
        given = [*assets]
        return [*given, *resolve_stub_assets_defs(given)]


class Jobs:
    """Ties jobs to assets.

    Args:
        shared: the resources and the executor of all of them.
    """

    def __init__(self, shared: dg.Definitions) -> None:
        self._executor: Any = shared.executor
        self._resources = wrap_resources_for_execution(shared.resources)
        self._templates: dict[Any, Template] = {}

    def tie(self, part: dg.Definitions, among: Iterable[Any]) -> dg.Definitions:
        """These definitions, with each job tied to its assets.

        Left to Dagster, every job is looked up among the assets of all experiments: with 300 of
        them that alone is 40 seconds.

        Args:
            part: whose jobs are tied.
            among: assets and checks that the jobs select from, and all that those wait for.
        """
        graph = Assets.from_assets(among)
        return dg.Definitions(
            assets=part.assets,
            asset_checks=part.asset_checks,
            jobs=[self._job(each, graph) for each in part.jobs or ()],
            schedules=part.schedules,
            sensors=part.sensors,
        )

    def _job(self, untied: Any, graph: AssetGraph) -> dg.JobDefinition:
        """As Dagster ties it, but for its graph of the job, where each dependency is looked for."""
        selected = untied.selection.resolve(graph)
        checked = untied.selection.resolve_checks(graph)
        made, others = _subset_assets_defs(graph.assets_defs, selected, checked)
        inputs = [key for each in made for key in each.node_keys_by_input_name.values()]
        outputs = [key for each in made for key in each.node_keys_by_output_name.values()]
        known = {*inputs, *outputs} - selected
        read, _ = _subset_assets_defs(others, known, None, allow_extraneous_asset_keys=True)
        of_job = Assets.key_mappings_from_assets([*made, *map(only_read, read)])
        said = {name: value for name, value in as_dict(untied).items() if name != "selection"}
        said["executor_def"] = untied.executor_def or self._executor
        job = build_asset_job(
            asset_graph=JobScopedAssetGraph(*of_job, graph),
            resource_defs=self._resources,
            allow_different_partitions_defs=False,
            **said,
        )
        self._describe_configuration(job)
        return Job(job)

    def _describe_configuration(self, job: dg.JobDefinition) -> None:
        """Say what a run of it may be configured with.

        Executor, loggers and resources are those of all jobs; Dagster would describe them anew for
        each, in four milliseconds. Only the names of the ops differ between experiments.
        """
        kinds = frozenset(node.definition.config_schema for node in job.nodes)
        known = (frozenset(job.required_resource_keys), kinds)
        if known in self._templates:
            described: Any = _renamed(self._templates[known], job)
            job._run_config_schema = described
        else:
            self._templates[known] = _template(job)


def _template(job: dg.JobDefinition) -> Template:
    schema = job.run_config_schema
    # Shapes of one content are one object, whoever describes them.
    for shape in schema.config_type_dict_by_key.values():
        if isinstance(shape, dg.Shape):
            shape.fields = {name: Described(field) for name, field in shape.fields.items()}
    root: Any = schema.config_type
    ops = root.fields["ops"].config_type
    rest = {
        key: each
        for key, each in schema.config_type_dict_by_key.items()
        if key not in (root.key, ops.key)
    }
    of_op = {node.definition.config_schema: ops.fields.get(node.name) for node in job.nodes}
    return Template(schema._replace(config_type_dict_by_key=rest), of_op)


def _renamed(template: Template, job: dg.JobDefinition) -> RunConfigSchema:
    """With the ops of this job."""
    schema, of_op = template
    root: Any = schema.config_type
    fields = {node.name: of_op[node.definition.config_schema] for node in job.nodes}
    shown = {name: field for name, field in fields.items() if field}
    ops = _shape(shown)
    like = root.fields["ops"]
    changed: dict[str, Any] = {"config_type": ops}
    if like.default_provided:
        changed["_default_value"] = {name: field.default_value for name, field in shown.items()}
    described = _shape({**root.fields, "ops": Described(like, **changed)})
    types = {**schema.config_type_dict_by_key, ops.key: ops, described.key: described}
    return schema._replace(run_config_schema_type=described, config_type_dict_by_key=types)


def _shape(fields: Mapping[str, dg.Field]) -> dg.Shape:
    return dg.Shape(fields)  # type: ignore[no-untyped-call]
