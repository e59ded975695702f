"""The checks of an endpoint on the real server, and what its tickets say was measured."""

from collections.abc import Callable
from datetime import timedelta

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.deployment import checks
from mlops_assets.gateways import champions, record_json
from mlops_assets.gateways.records import Endpoint
from mlops_assets.monitoring.tickets import resources as tickets
from mlops_assets.monitoring.tickets.findings import Finding, Passed
from mlops_assets.resources import RecordIOManager
from mlops_assets_tests.builders import Built
from mlops_assets_tests.deployment.test_assets import Site, sited

__all__ = ["sited"]


def checked(site: Site) -> dict[str, dg.AssetCheckEvaluation]:
    """What a run of the checks finds, by name; the endpoint is as its asset recorded it."""
    live = Endpoint(
        "churn", "local", site.place.state.url, 1, "d", "2026-05-03T00:00:00+00:00", None
    )
    content = record_json.to_json(live).encode()
    site.store.write_bytes("records/churn/endpoints/local/latest.json", content)
    asked = (names.ANSWERS_PROBE, names.SERVES_THE_CHAMPION)
    selected = dg.AssetSelection.checks(*(dg.AssetCheckKey(site.key, name) for name in asked))
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(site.key)],
        asset_checks=checks.build(site.experiment).asset_checks,
        jobs=[dg.define_asset_job("judging", selected)],
        resources={
            "data_store": site.store,
            "model_registry": site.registry,
            "target_context": site.context,
            "io_manager": RecordIOManager(site.store),
        },
        executor=dg.in_process_executor,
    )
    done = definitions.resolve_job_def("judging").execute_in_process(instance=site.instance)
    return {found.check_name: found for found in done.get_asset_check_evaluations()}


def ticketed(site: Site) -> dict[str, tuple[str, str] | None]:
    """What a ticket of each check says was measured, and is allowed; None of one that passed."""
    keys = [dg.AssetCheckKey(site.key, name) for name in checked(site)]
    found = tickets.of_checks(site.instance, keys)["churn"]
    told: dict[str, tuple[str, str] | None] = {}
    for cause, observation in found.items():
        assert isinstance(observation, Finding | Passed)
        measured = isinstance(observation, Finding)
        said = (observation.value, observation.threshold) if measured else None
        told[cause.rpartition("/")[2]] = said
    return told


def test_tickets_of_an_endpoint_say_what_was_measured(
    sited: Callable[..., Site], one: Built, two: Built
) -> None:
    """It is well; another version becomes the champion; then it is gone."""
    site = sited()
    site.deploy(site.version(one))
    good = checked(site)
    assert all(found.passed for found in good.values())
    assert not any({"value", "threshold"} & {*found.metadata} for found in good.values())
    before = site.context.now() - timedelta(hours=1)
    champions.crown(site.registry, "churn", site.version(two), now=before)
    assert ticketed(site) == {
        names.ANSWERS_PROBE: None,
        names.SERVES_THE_CHAMPION: ("version 1", "version 2"),
    }
    site.place.clear()
    assert ticketed(site)[names.ANSWERS_PROBE] == ("no answer", "answers")


def test_a_ticket_of_a_refused_version_says_what_was_measured(
    sited: Callable[..., Site], one: Built
) -> None:
    site = sited(deployment={"preflight": {"requests": 20, "max_latency_ms": 1e-6}})
    refused = site.deploy(site.version(one))
    key = dg.AssetCheckKey(site.key, names.PASSED_PREFLIGHT)
    (finding,) = tickets.of_checks(site.instance, [key])["churn"].values()
    assert isinstance(finding, Finding)
    slowest = refused.preflight.metadata["p99_ms"].value
    number, _, unit = str(finding.value).partition(" ")
    # Each is rounded by itself.
    assert (float(number), unit) == (pytest.approx(slowest, abs=0.06), "ms")
    assert finding.threshold == "1e-06 ms"
