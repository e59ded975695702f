"""How bad each cause is, which chapter of RUNBOOK.md is about it, what to do next, and which causes
explain which. One table each; a test holds every check, job, sensor and schedule to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlops_assets import vocabulary as names
from mlops_assets.monitoring.tickets.findings import Severity

RUNS, SENSORS, SCHEDULES = "runs", "sensors", "schedules"
RETRAIN, DEPLOY, MONITOR = f"{RUNS}/retrain", f"{RUNS}/deploy", f"{RUNS}/monitor"


@dataclass(frozen=True)
class Advice:
    """What is known of a cause before it is met."""

    severity: Severity
    action: str
    chapter: str = ""
    """Of RUNBOOK.md, as an anchor; empty of a check, which has one of its own name."""


ADVICE: Mapping[str, Advice] = {
    names.MATCHES_SCHEMA: Advice(
        "error",
        "Look at the table on the check's page; mend the source, or infer the schema again.",
    ),
    names.LABELS_DO_NOT_LEAK: Advice(
        "error",
        "Put the columns it names into features.exclude, or mend the query that makes the rows.",
    ),
    names.SERVING_MATCHES_TRAINING: Advice(
        "error", "Set training.runtime: sklearn to go on, and report the estimator.",
    ),
    # The gates did what they are for: the version that serves goes on serving.
    names.MEETS_QUALITY_FLOOR: Advice(
        "info", "Nothing has to be done: a candidate was refused, the champion serves.",
    ),
    names.BEATS_CHAMPION: Advice(
        "info", "Nothing has to be done: a candidate was refused, the champion serves.",
    ),
    names.NO_SLICE_LEFT_BEHIND: Advice(
        "info", "Look at the rows of the slice; the champion serves meanwhile.",
    ),
    names.KEEPS_ITS_BUDGETS: Advice(
        "info", "Look at which budget was missed; the champion serves meanwhile.",
    ),
    names.PASSED_PREFLIGHT: Advice(
        "warning",
        "Nothing was deployed and the old version serves: look at what was seen and what is "
        "allowed.",
    ),
    names.ANSWERS_PROBE: Advice(
        "critical",
        "Ask mlops status; when the endpoint is gone, launch the experiment's deploy job.",
    ),
    names.SERVES_THE_CHAMPION: Advice(
        "error", "Launch the experiment's deploy job, or set deployment.repair.",
    ),
    names.PROFILE_IS_FRESH: Advice(
        "error",
        "See whether the endpoint has traffic; then its endpoint.log and its unsent folder.",
    ),
    names.DATA_QUALITY_HOLDS: Advice(
        "error",
        "Look at the columns it names: mend what sends them, or say in monitoring.expectations "
        "that they are right.",
    ),
    names.HAS_NOT_DRIFTED: Advice(
        "warning",
        "Look at what the first column's most moved says; when the world changed, retrain.",
    ),
    names.PREDICTIONS_HAVE_NOT_DRIFTED: Advice(
        "warning",
        "With stable inputs suspect the deployment; with drifted inputs it is their consequence.",
    ),
    names.ROWS_HAVE_NOT_DRIFTED: Advice(
        "warning",
        "Look at the columns it names together: each alone may look as in training.",
    ),
    names.QUALITY_HOLDS: Advice(
        "error",
        "Compare with the drift of the inputs; retrain, or roll back to the version before.",
    ),
    RETRAIN: Advice(
        "error",
        "Read the error of the step that failed, mend it, launch it again.",
        chapter="training",
    ),
    DEPLOY: Advice(
        "error",
        "The old version serves: read the error of the run, then launch it.",
        chapter="deployment",
    ),
    MONITOR: Advice(
        "error",
        "Read the error of the step that failed: nothing is judged now.",
        chapter="monitoring",
    ),
    f"{RUNS}/{names.RETENTION_JOB}": Advice(
        "warning",
        "Read the error of the run: nothing old is removed meanwhile.",
        chapter="registry",
    ),
    f"{SENSORS}/{names.REGISTRY_SENSOR}": Advice(
        "error",
        "Read the error of its last tick under Automation: no champion is deployed meanwhile.",
        chapter="registry",
    ),
    f"{SENSORS}/{names.TRUTH_SENSOR}": Advice(
        "error",
        "Read the error of its last tick under Automation: no endpoint is looked after meanwhile.",
        chapter="deployment",
    ),
    f"{SENSORS}/{names.RETRAINING_SENSOR}": Advice(
        "error",
        "Read the error of its last tick under Automation: nothing is retrained meanwhile.",
        chapter="retraining",
    ),
    SCHEDULES: Advice(
        "error",
        "Read the error of its last tick under Automation.",
        chapter="monitoring",
    ),
}  # fmt: skip
"""By the name of a check, or by cause; `schedules` of every schedule."""

OTHER = Advice(
    "warning", "Look at the page of the check, which says what it found.", chapter="tickets"
)
"""Of a check that is none of the platform's."""

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    names.SERVES_THE_CHAMPION: (names.ANSWERS_PROBE, names.PASSED_PREFLIGHT, DEPLOY),
    names.PROFILE_IS_FRESH: (names.ANSWERS_PROBE,),
    names.DATA_QUALITY_HOLDS: (names.ANSWERS_PROBE,),
    names.HAS_NOT_DRIFTED: (names.ANSWERS_PROBE, names.DATA_QUALITY_HOLDS),
    names.PREDICTIONS_HAVE_NOT_DRIFTED: (names.ANSWERS_PROBE, names.HAS_NOT_DRIFTED),
    names.ROWS_HAVE_NOT_DRIFTED: (names.ANSWERS_PROBE, names.HAS_NOT_DRIFTED),
    names.QUALITY_HOLDS: (names.ANSWERS_PROBE,),
}
"""By cause, what explains it while that holds, too."""


def advice_of(cause: str) -> Advice:
    return ADVICE.get(_kind(cause), OTHER)


def chapter_of(cause: str) -> str:
    """Anchor of RUNBOOK.md."""
    return advice_of(cause).chapter or _kind(cause)


def root_of(cause: str, holding: Iterable[str]) -> str:
    """The first cause, of those that hold, which explains this one; empty when none does."""
    others = sorted(holding)
    for root in FOLLOWS.get(_kind(cause), ()):
        for other in others:
            if _kind(other) == root and _same_endpoint(cause, other):
                return root_of(other, others) or other
    return ""


def _kind(cause: str) -> str:
    head, _, rest = cause.partition("/")
    if head == SCHEDULES:
        return SCHEDULES
    return cause if head in (RUNS, SENSORS) else rest.rpartition("/")[2]


def _same_endpoint(cause: str, other: str) -> bool:
    """Whether they are not about different endpoints."""
    assets = [each.rpartition("/")[0] for each in (cause, other)]
    return assets[0] == assets[1] or not all(a.startswith(f"{names.ENDPOINTS}/") for a in assets)
