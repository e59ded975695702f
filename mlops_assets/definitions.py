"""What Dagster loads: every experiment in the configs folder, as one code location."""

import dagster as dg

from mlops_assets import resources, settings
from mlops_assets.experiment import loader
from mlops_assets.graph import build_all
from mlops_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    return load(settings.load())


def load(chosen: Settings) -> dg.Definitions:
    """The definitions for these settings.

    Raises:
        ExperimentError: with every problem of every YAML in the folder.
    """
    experiments = loader.load_all(chosen.configs)
    shared = dg.Definitions(resources=resources.build(chosen), executor=dg.in_process_executor)
    return build_all(experiments, shared)
