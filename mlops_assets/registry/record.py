"""The decision about a version as people read it: `decision.md`, beside the model card and
`decision.json` in the MLflow run that evaluated it.

A file of its own, because the card is what was measured, written once by the evaluation, while
decisions follow each other, by several programs: each writes the whole file anew, from what stands
on the version, so that none has to read what another one is writing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import versions as past
from mlops_assets.gateways.decisions import AUTHOR, COMPARED_WITH, OVERRIDDEN, Decision
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.registered import EVALUATED_IN, RegistryVersion
from mlops_assets.registry.promotion import Finding, Judged, findings_of, findings_table

FILE = "decision.md"
FINDINGS = "decision.json"
ADOPTED = ("mlops.bundle_uri", "mlops.bundle_digest", "mlops.data_digest")
"""Tags of a run that a version needs to be served."""


def render(
    experiment: Experiment,
    decision: Decision,
    tags: Mapping[str, str],
    findings: tuple[Finding, ...],
    *,
    subject: str,
    dagster_url: str,
) -> str:
    """The decision as Markdown. Pure.

    Args:
        experiment: whose model it is.
        decision: about it.
        tags: of the version.
        findings: of the gates.
        subject: what was decided about, in words.
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
    lines = [f"- {name}: {said}" for name, said in facts.items() if said]
    sections = [f"# Decision about {subject}", "\n".join(lines)]
    if findings:
        sections.append(f"## What the gates found\n\n{findings_table(findings)}")
    return "\n\n".join([*sections, experiment.registry.card.markdown()]).strip() + "\n"


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
    text = render(
        experiment,
        decision,
        {},
        tuple(findings),
        subject=f"the model of run {run_id}",
        dagster_url=dagster_url,
    )
    _log(registry, run_id, text, decision)


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
    text = render(
        experiment,
        decision,
        version.tags,
        _findings(registry, run_id),
        subject=f"{version.name} version {version.version}",
        dagster_url=dagster_url,
    )
    _log(registry, run_id, text, decision)


def _log(registry: ModelRegistry, run_id: str, text: str, decision: Decision) -> None:
    try:
        registry.log_text(run_id, text, FILE)
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
