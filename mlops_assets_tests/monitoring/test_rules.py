"""What deploy/monitoring gives Prometheus and Alertmanager: it is taken, every alert is tested both
ways, and people find what to do."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_assets import settings, vocabulary
from mlops_assets.monitoring.exporter.families import FAMILIES, OWN
from mlops_assets_tests.monitoring.expressions import FOLDER, of_dashboards, rules, used_by
from mlops_assets_tests.runbook import RUNBOOK, chapters, hold_to_its_parts

ROOT = FOLDER.parents[1]
TESTS = yaml.safe_load((FOLDER / "monitoring-rules.test.yml").read_text(encoding="utf-8"))["tests"]
ALERTS = {rule["alert"]: rule for rule in rules()}
SEVERITIES = {"critical", "error", "warning", "{{ $labels.severity }}"}


def run(program: str, *arguments: str | Path) -> str:
    """What it prints; the test is skipped without the program."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", FOLDER / "monitoring-rules.test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_both_ways(alert: str) -> None:
    cases = [case for test in TESTS for case in test["alert_rule_test"]]
    fires = [bool(case.get("exp_alerts")) for case in cases if case["alertname"] == alert]
    assert {True, False} == {*fires}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_whose_it_is_how_bad_and_what_to_read(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["for"]
    assert rule["labels"]["severity"] in SEVERITIES
    assert {"summary", "description", "runbook_url"} == {*rule["annotations"]}
    assert rule["annotations"]["runbook_url"] == f"{settings.RUNBOOK_URL}#{alert.lower()}"
    # Of an experiment, or of all.
    fired = [
        each["exp_labels"]
        for test in TESTS
        for case in test["alert_rule_test"]
        for each in case.get("exp_alerts", ())
        if case["alertname"] == alert
    ]
    assert fired
    assert all("experiment" in labels for labels in fired)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_chapter_in_the_runbook(alert: str) -> None:
    hold_to_its_parts(alert)


def test_the_runbook_has_no_chapter_of_an_alert_that_is_gone() -> None:
    assert [name for name in chapters() if name.startswith("Mlops")] == [*ALERTS]


def test_checks_that_alerts_name_exist() -> None:
    known = {value for name, value in vars(vocabulary).items() if name.isupper()}
    text = " ".join(rule["expr"] for rule in rules())
    named = {
        name for found in re.findall(r'check!?=~?"([^"]+)"', text) for name in found.split("|")
    }
    assert named
    assert named <= known


def test_metrics_that_alerts_and_dashboards_name_exist() -> None:
    """Where Prometheus is installed, test_prometheus.py holds them to what a real one scraped."""
    table = set(re.findall(r"`(mlops_\w+)`", RUNBOOK.read_text(encoding="utf-8")))
    used = {name for rule in rules() for name in used_by(rule["expr"])}
    used |= {name for expression in of_dashboards() for name in used_by(expression)}
    known = {*FAMILIES, *OWN, *table, "up"}
    assert {name for name in used if re.sub("_(bucket|count|sum)$", "", name) not in known} == set()
    assert {*FAMILIES} <= used, "what nobody looks at need not be told"


def test_prometheus_takes_its_configuration() -> None:
    assert "SUCCESS" in run("promtool", "check", "config", FOLDER / "prometheus.yml")


def test_alertmanager_takes_its_configuration_and_who_is_told(tmp_path: Path) -> None:
    path = FOLDER / "alertmanager.yml"
    assert "SUCCESS" in run("amtool", "check-config", path)
    for severity, receiver in (
        ("critical", "on-call"),
        ("error", "on-call"),
        ("warning", "people"),
    ):
        told = run("amtool", "config", "routes", "test", f"--config.file={path}",
                   f"severity={severity}")  # fmt: skip
        assert told.strip() == receiver


def test_alerts_that_are_held_back_exist() -> None:
    content = yaml.safe_load((FOLDER / "alertmanager.yml").read_text(encoding="utf-8"))
    for rule in content["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.search('"(.*)"', matcher)
            assert pattern
            matching = [alert for alert in ALERTS if re.fullmatch(pattern[1], alert)]
            assert len(matching) >= pattern[1].count("|") + 1


def test_pods_are_scraped_under_the_names_that_alerts_know(tmp_path: Path) -> None:
    """Debian's Prometheus knows no Kubernetes, so that a file plays its part: promtool says what
    becomes of the labels."""
    content: Any = yaml.safe_load(
        (FOLDER / "prometheus-kubernetes.yml").read_text(encoding="utf-8")
    )
    (job,) = [each for each in content["scrape_configs"] if each["job_name"] == "mlops-endpoints"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    example = yaml.safe_load_all((ROOT / "deploy/k8s/model-serving.yaml").read_text())
    (pod,) = [e["spec"]["template"]["metadata"] for e in example if e["kind"] == "Deployment"]
    other = {"__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true"}
    (tmp_path / "pods.json").write_text(
        json.dumps(
            [
                {"targets": ["10.0.0.7:9999"], "labels": discovered(pod, "churn-risk-v7-x")},
                {"targets": ["10.0.0.8:80"], "labels": other},
            ]
        )
    )
    job["file_sd_configs"] = [{"files": ["pods.json"]}]
    content.pop("rule_files")
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(content))
    said = run("promtool", "check", "service-discovery", "--timeout=1s",
               tmp_path / "prometheus.yml", "mlops-endpoints")  # fmt: skip
    labelled = [each["labels"] for each in json.loads(said) if each.get("labels")]
    wanted = {"experiment": "churn_risk", "target": "kubernetes", "pod": "churn-risk-v7-x",
              "job": "mlops-endpoints", "instance": "10.0.0.7:8080"}  # fmt: skip
    assert [{k: v for k, v in each.items() if k[:2] != "__"} for each in labelled] == [wanted]


def discovered(pod: dict[str, Any], name: str) -> dict[str, str]:
    """The labels that Prometheus's discovery gives a pod."""

    def plain(text: str) -> str:
        return re.sub(r"\W", "_", text)

    prefix = "__meta_kubernetes_pod"
    return {
        f"{prefix}_name": name,
        **{f"{prefix}_label_{plain(k)}": v for k, v in pod["labels"].items()},
        **{f"{prefix}_labelpresent_{plain(k)}": "true" for k in pod["labels"]},
        **{f"{prefix}_annotation_{plain(k)}": v for k, v in pod["annotations"].items()},
    }
