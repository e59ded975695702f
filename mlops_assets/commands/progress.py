"""What a run says while it goes on: Dagster's events become lines. Knows no job by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlops_assets.commands import words
from mlops_assets.commands.console import Console

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

DOING = {
    "source": ("data", "reading the source"),
    "features": ("features", "typing and cleaning the columns"),
    "training_set": ("split", "splitting the rows"),
    "tuned_hyperparameters": ("tuning", "starting the trials"),
    "trained_model": ("model", "fitting the model, logging it in MLflow"),
    "evaluation": ("metrics", "judging the model on the held-out rows"),
    "registered_version": ("version", "registering"),
    "reference_profile": ("profile", "profiling the training rows"),
    "endpoints": ("endpoint", "bringing the new version up beside the old"),
    "serving_profile": ("traffic", "collecting profiles"),
}


class Progress:
    """Listens to one run. Dagster calls it from within the run, so it must never raise: what
    cannot be shown is left out, the outcome is told afterwards in any case."""

    def __init__(self, console: Console, read: Callable[..., Any]) -> None:
        self._console = console
        self._read = read
        """The record of an asset, by the parts of its key below the experiment."""

    def __call__(self, entry: "dg.EventLogEntry") -> None:
        try:
            self._hear(entry)
        except Exception as error:  # noqa: BLE001 a fault in what is shown must not fail the run
            self._console.field("", f"(not shown: {error})")

    def _hear(self, entry: "dg.EventLogEntry") -> None:
        event = entry.dagster_event
        if event is None:
            text = str(entry.user_message)
            if text.startswith("trial "):
                self._console.live("tuning", text)
            return
        kind = event.event_type_value
        if kind == "STEP_START" and event.step_key:
            part = event.step_key.split("__")[1] if "__" in event.step_key else ""
            if part in DOING:
                label, doing = DOING[part]
                self._console.passing(label, f"{doing} ...")
        elif kind == "ENGINE_EVENT" and "blocked by" in str(event.message):
            self._console.live("waiting", "another run of this experiment is at this step")
        elif kind == "ASSET_MATERIALIZATION" and event.asset_key is not None:
            path = event.asset_key.path[1:]
            for label, text in words.fields(path[0], self._read(*path)):
                self._console.field(label, text)
        elif kind == "ASSET_CHECK_EVALUATION":
            data: Any = event.event_specific_data
            verdict = "ok" if data.passed else "FAILED"
            self._console.field("check", f"{verdict}  {data.check_name}: {data.description}")
