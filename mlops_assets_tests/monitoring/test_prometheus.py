"""A real Prometheus and Alertmanager over a real endpoint and `mlops metrics`: the endpoint is
found, its death reaches people, and so does its recovery; stopped by hand it is not missed."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from click.testing import CliRunner

from mlops_assets import vocabulary as names
from mlops_assets.cli import cli
from mlops_assets.commands.instance import open_instance
from mlops_assets.commands.metrics import Project as Experiments
from mlops_assets.deployment.targets.base import Release
from mlops_assets.monitoring.tickets.book import Book, Ticket
from mlops_assets.monitoring.tickets.findings import Finding
from mlops_assets.monitoring.tickets.shelf import Shelf
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.contracts.sink import Product, Server, server
from mlops_assets_tests.endpoints import Place, until
from mlops_assets_tests.monitoring.expressions import of_dashboards, of_rules, used_by
from mlops_assets_tests.peers import prometheus
from mlops_assets_tests.peers.missing import MissingError, needed
from mlops_assets_tests.programs import free_port

__all__ = ["server"]

ENDPOINT = names.endpoint_key("churn", "local")
PROFILE = names.asset_key("churn", names.SERVING_PROFILE)
DOWN = "MlopsEndpointDown"
FLUSHED = "mlops_profile_last_flush_timestamp_seconds"
OF_REGRESSION = {"mlops_prediction_value_bucket"}
"""What an endpoint of a classification has not."""


@dataclass
class Site(Place):
    """An endpoint where a project keeps those of this machine; it stores profiles every second."""

    def release(self, built: Built, version: int) -> Release:
        usual = super().release(built, version)
        return replace(usual, recording=replace(usual.recording, flush_seconds=1.0))


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    try:
        needed(*prometheus.PROGRAMS, for_what="monitoring with Prometheus")
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path)
    found.write(CHURN)
    (found.settings.home).mkdir()
    (found.settings.home / "endpoints").symlink_to(tmp_path / "state")
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.clear()


def report(project: Project) -> None:
    """What Dagster knows of a check that failed, a ticket of it, and runs."""

    @dg.op
    def work() -> None: ...

    @dg.job(name="churn__retrain", tags={names.EXPERIMENT_TAG: "churn"})
    def retrain() -> None:
        work()

    with open_instance(project.settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(PROFILE))
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=PROFILE,
                check_name=names.HAS_NOT_DRIFTED,
                passed=False,
                metadata={"value": 0.3, "threshold": 0.15},
            )
        )
        finding = Finding("serving_profile/has_not_drifted", "warning", "drifted", 1.0, 1.0)
        book = Book(tickets={finding.cause: Ticket(1, 1.0, finding, 1.0)})
        Shelf(instance.daemon_cursor_storage).save("churn", book)
        retrain.execute_in_process(instance=instance)
        started = dg.DagsterRunStatus.STARTED
        instance.create_run_for_job(retrain, status=started, tags=retrain.tags)


def deployed(project: Project) -> None:
    """Dagster knows of the deployment, too."""
    said = {"state": "live", "version": 1}
    with open_instance(project.settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(ENDPOINT, metadata=said))


@pytest.mark.peer
class TestMonitoring:
    product = Product

    def test_a_dead_endpoint_reaches_people_and_so_does_its_recovery(
        self, project: Project, site: Site, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = free_port()
        exporter = project.start("metrics", "--port", str(port))
        folder = project.root / "monitoring"
        folder.mkdir()
        address = f"127.0.0.1:{port}"
        try:
            with prometheus.running(folder, exporter=address, webhook=server.url) as monitoring:
                report(project)
                one = make_bundle(project.root / "one")
                live = site.deploy(one, 1)
                until(lambda: monitoring.query('up{experiment="churn",target="local"} == 1'), 60)
                deployed(project)
                until(lambda: monitoring.query("mlops_endpoint_expected == 1"), 60)
                assert alerts(server, DOWN) == []

                kill(site)
                until(lambda: alerts(server, DOWN) == ["firing"], 60)
                (fired,) = [each for each in told(server) if each["labels"]["alertname"] == DOWN]
                wanted = {"severity": "critical", "experiment": "churn", "target": "local"}
                assert wanted.items() <= fired["labels"].items()
                assert fired["annotations"]["runbook_url"].endswith("#mlopsendpointdown")
                assert {a.path for a in server.asked if DOWN.encode() in a.body} == {"/on-call"}

                site.deploy(one, 1)
                with httpx.Client(base_url=live.url, trust_env=False) as client:
                    body = {"instances": one.records(5)}
                    assert client.post("/invocations", json=body).status_code == 200
                    assert client.post("/invocations", json={}).status_code == 400
                until(lambda: alerts(server, DOWN) == ["firing", "resolved"], 60)
                # While the endpoint was dead, Alertmanager kept this to itself.
                until(lambda: "firing" in alerts(server, "MlopsDrift"), 60)
                until(lambda: FLUSHED in monitoring.names(), 60)
                used = set()
                for expression in (*of_rules(), *of_dashboards()):
                    monitoring.query(expression)
                    used |= used_by(expression)
                assert used - monitoring.names() == OF_REGRESSION
            assert expected(project) == [True]
            for name, value in project.environment.items():
                monkeypatch.setenv(name, value)
            assert CliRunner().invoke(cli, ["stop", "churn"]).exit_code == 0
            assert expected(project) == [False]
            exporter.send_signal(signal.SIGTERM)
            said, errors = exporter.communicate(timeout=20)
            assert (exporter.returncode, said.splitlines()[-1]) == (0, "Stopped.")
            assert "Traceback" not in errors
        finally:
            exporter.kill()
            exporter.communicate()


def expected(project: Project) -> list[bool]:
    return [each.expected for each in Experiments(project.settings).look().endpoints]


def kill(site: Site) -> None:
    """Supervisor and workers, at once."""
    state = site.state
    for pid in (state.pid, *state.worker_pids):
        os.kill(pid, signal.SIGKILL)


def told(server: Server) -> list[dict[str, Any]]:
    return [alert for asked in server.asked for alert in asked.json["alerts"]]


def alerts(server: Server, name: str) -> list[str]:
    """The states that people were told of an alert, in order."""
    return [a["status"] for a in told(server) if a["labels"]["alertname"] == name]
