"""The decision about a version as people read it: the last section of the model card, and
`decision.md` with the texts that the YAML had then, in the MLflow run that evaluated it.

Decisions follow each other, by several programs: each writes both files anew, from what stands on
the version and from what was measured, so that none has to read what another one is writing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import versions as past
from mlops_assets.gateways.decisions import AUTHOR, COMPARED_WITH, OVERRIDDEN, Decision
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.registered import (
    EVALUATED_IN,
    MEASURED,
    MODEL_CARD,
    RegistryVersion,
)
from mlops_assets.registry.promotion import Finding, Judged, findings_of, findings_table

FILE = "decision.md"
FINDINGS = "decision.json"
ADOPTED = ("mlops.bundle_uri", "mlops.bundle_digest", "mlops.data_digest")
"""Tags of a run that a version needs to be served."""


def render(
    decision: Decision,
    tags: Mapping[str, str],
    findings: tuple[Finding, ...],
    *,
    dagster_url: str,
) -> str:
    """The decision as Markdown, without a heading. Pure.

    Args:
        decision: about a version, or about a model that got none.
        tags: of the version.
        findings: of the gates.
        dagster_url: where people open Dagster.
    """
    run = decision.run_id
    facts = {
        "Outcome": f"**{decision.outcome}**",
        "Why": decision.reason,
        "Decided by": decision.by,
        "Decided at": decision.at,
        "Made by": tags.get(AUTHOR, ""),
        "Compared with champion": tags.get(COMPARED_WITH, ""),
        "Gone over by force": tags.get(OVERRIDDEN, ""),
        "Dagster run": f"[{run}]({run_url(dagster_url, run)})" if run else "",
    }
    said = "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)
    return f"{said}\n\n## What the gates found\n\n{findings_table(findings)}" if findings else said


def run_url(dagster_url: str, run_id: str) -> str:
    """Where people see a run of Dagster."""
    return f"{dagster_url.rstrip('/')}/runs/{run_id}"


def write_judged(registry: ModelRegistry, run_id: str, judged: Judged) -> None:
    """Every rule with its numbers, for programs and for later decisions."""
    registry.log_text(run_id, json.dumps(judged.to_json(), indent=2), FINDINGS)


def write_refused(
    registry: ModelRegistry,
    experiment: Experiment,
    run_id: str,
    judged: Judged,
    decision: Decision,
    *,
    dagster_url: str,
) -> None:
    """What the gates refused has no version, unless somebody else registered it: the MLflow run
    keeps the record. Such a version gets its tags too, by which it can be promoted by force."""
    write_judged(registry, run_id, judged)
    run = past.run_record(registry, run_id)
    number = run.tags.get("mlops.adopts", "") if run else ""
    if run is not None and number.isdecimal():
        kept = {key: run.tags[key] for key in ADOPTED if key in run.tags}
        tags = {EVALUATED_IN: run_id, **kept, **decision.tags()}
        registry.tag_version(experiment.model_name, int(number), tags)
    findings = [f for verdict in judged.verdicts.values() for f in verdict.findings]
    said = render(decision, {}, tuple(findings), dagster_url=dagster_url)
    _log(registry, experiment, run_id, decision, said, subject=f"the model of run {run_id}")


def write(
    registry: ModelRegistry, experiment: Experiment, version: RegistryVersion, *, dagster_url: str
) -> None:
    """Write down what stands on the version as decided; nothing for one that no run evaluated.

    Raises:
        RegistryError: the run's artifacts cannot be written.
    """
    run_id = version.tags.get(EVALUATED_IN, version.run_id)
    decision = Decision.of(version.tags)
    if not run_id or decision is None:
        return
    findings = _findings(registry, run_id)
    said = render(decision, version.tags, findings, dagster_url=dagster_url)
    subject = f"{version.name} version {version.version}"
    _log(registry, experiment, run_id, decision, said, subject=subject)


def _log(
    registry: ModelRegistry,
    experiment: Experiment,
    run_id: str,
    decision: Decision,
    said: str,
    *,
    subject: str,
) -> None:
    """Both files, then the tags of the run. Runs of an older program have no card to go on from."""
    sections = [f"# Decision about {subject}", said, experiment.registry.card.markdown()]
    try:
        registry.log_text(run_id, "\n\n".join(sections).strip() + "\n", FILE)
        if measured := registry.read_text(run_id, MEASURED):
            registry.log_text(run_id, f"{measured.rstrip()}\n\n## Decision\n\n{said}\n", MODEL_CARD)
        registry.log(run_id, tags=decision.tags())
    except Exception as error:  # whatever the store of artifacts raises
        raise RegistryError(f"{FILE} cannot be written to the run {run_id}: {error}") from error


def _findings(registry: ModelRegistry, run_id: str) -> tuple[Finding, ...]:
    """None when the gates left none, as they do on what could not be evaluated."""
    with TemporaryDirectory() as folder:
        try:
            path = registry.download(f"runs:/{run_id}/{FINDINGS}", Path(folder))
            return findings_of(json.loads(path.read_text(encoding="utf-8")))
        except (RegistryError, TypeError, ValueError):
            return ()
