"""The jobs of an experiment, tied to its assets, for hundreds of experiments."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.run_config_schema import RunConfigSchema


class Template(NamedTuple):
    """What a run of a job may be configured with, and what each kind of op adds to it."""

    schema: RunConfigSchema
    """Of one job; its types are those that name no op."""
    of_op: Mapping[Any, dg.Field | None]
    """By the schema of the op's own configuration."""


class Jobs:
    """Ties jobs to assets.

    Args:
        shared: the resources and the executor of all of them.
    """

    def __init__(self, shared: dg.Definitions) -> None:
        self._shared = shared
        self._templates: dict[Any, Template] = {}

    def tie(self, part: dg.Definitions) -> dg.Definitions:
        """The definitions of an experiment, with each job tied to its assets.

        Left to Dagster, every job is looked up among the assets of all experiments: with 300 of
        them that alone is 40 seconds. A job's assets all belong to one experiment.
        """
        made: list[Any] = [*(part.assets or ()), *(part.asset_checks or ())]
        untied: list[Any] = [*(part.jobs or ())]
        graph = AssetGraph.from_assets(made)
        jobs = [job.resolve(graph, self._shared.executor, self._shared.resources) for job in untied]
        for job in jobs:
            self._describe_configuration(job)
        return dg.Definitions(
            assets=part.assets,
            asset_checks=part.asset_checks,
            jobs=jobs,
            schedules=part.schedules,
            sensors=part.sensors,
        )

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
    ops = _fields(schema.config_type)["ops"].config_type
    rest = {
        key: each
        for key, each in schema.config_type_dict_by_key.items()
        if key not in (schema.config_type.key, ops.key)
    }
    of_op = {node.definition.config_schema: _fields(ops).get(node.name) for node in job.nodes}
    return Template(schema._replace(config_type_dict_by_key=rest), of_op)


def _renamed(template: Template, job: dg.JobDefinition) -> RunConfigSchema:
    """With the ops of this job."""
    schema, of_op = template
    root = _fields(schema.config_type)
    fields = {node.name: of_op[node.definition.config_schema] for node in job.nodes}
    ops = _shape({name: field for name, field in fields.items() if field})
    described = _shape({**root, "ops": dg.Field(ops, description=root["ops"].description)})
    types = {**schema.config_type_dict_by_key, ops.key: ops, described.key: described}
    return schema._replace(run_config_schema_type=described, config_type_dict_by_key=types)


def _shape(fields: Mapping[str, dg.Field]) -> dg.Shape:
    return dg.Shape(fields)  # type: ignore[no-untyped-call]


def _fields(shape: Any) -> Mapping[str, dg.Field]:
    fields: Mapping[str, dg.Field] = shape.fields
    return fields
