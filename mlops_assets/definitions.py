"""What Dagster loads: every experiment in the configs folder, as one code location."""

import atexit
import functools
import gc

import dagster as dg

from mlops_assets import resources, settings
from mlops_assets.experiment import loader
from mlops_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    return _of_this_process()


@functools.cache
def _of_this_process() -> dg.Definitions:
    """Dagster asks twice while it starts a code server: to see what there is, and to build it."""
    # Definitions stay as long as the process, and so does the code that makes them. Looking for
    # garbage among them takes as long as building them, and never finds any.
    gc.disable()
    try:
        return load(settings.load())
    finally:
        gc.freeze()
        # What Dagster makes of them next stays just as long: a snapshot of every job.
        gc.set_threshold(1_000_000)
        gc.callbacks.append(_collect_as_usual)
        gc.enable()
        # Then the system takes it all back at once, which takes Python two seconds.
        atexit.register(gc.freeze)


def _collect_as_usual(phase: str, info: dict[str, int]) -> None:
    """From the first collection on."""
    gc.callbacks.remove(_collect_as_usual)
    gc.set_threshold(10_000)


def load(chosen: Settings) -> dg.Definitions:
    """The definitions for these settings.

    Raises:
        ExperimentError: with every problem of every YAML in the folder.
    """
    # Most of our code, imported while nobody looks for garbage.
    from mlops_assets.graph import build_all

    experiments = loader.load_all(chosen.configs)
    shared = dg.Definitions(
        resources=resources.build(chosen), executor=resources.executor(chosen.executor)
    )
    return build_all(experiments, shared, webhooks=bool(chosen.webhook_secret))
