"""The monitoring report of a version in MLflow: an artifact of the run that holds what belongs to
the version, and tags that say where it is. Written anew each time, so that nothing piles up."""

from mlops_assets.gateways.decisions import LONGEST
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.registered import EVALUATED_IN
from mlops_assets.gateways.versions import answering

PATH = "monitoring/report.html"
"""Of the artifact."""
REPORT = "mlops.monitoring_report"
"""The tag that says where the report is."""
REPORT_AT = "mlops.monitoring_report_at"
"""When it was made, ISO 8601, UTC."""
REPORT_STATE = "mlops.monitoring_state"
"""What it says, in short: `warning: 2 columns have drifted; ...`."""


def attach_report(
    registry: ModelRegistry, name: str, number: int, html: str, *, at: str, said: str
) -> str:
    """Put the report beside a version; return where browsers get it.

    Args:
        registry: where the version is.
        name: of the registered model.
        number: of the version.
        html: the report.
        at: when it was made, ISO 8601, UTC.
        said: what it says, in short.

    Raises:
        RegistryError: MLflow or its artifact store does not answer, or the version or its run is
            gone.
    """
    with answering(registry, f"take the monitoring report of version {number} of {name}"):
        version = registry.version(name, number)
        run_id = version.tags.get(EVALUATED_IN, version.run_id)
        registry.log_text(run_id, html, PATH)
        tags = {REPORT: f"runs:/{run_id}/{PATH}", REPORT_AT: at, REPORT_STATE: said[:LONGEST]}
        registry.tag_version(name, number, tags)
        return registry.artifact_url(run_id, PATH)
