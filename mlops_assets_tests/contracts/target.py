"""What every deployment target promises. A test class inherits it and names its target."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from mlops_assets.deployment.journal import Journal, Progress
from mlops_assets.deployment.probe import probe
from mlops_assets.deployment.rollout import RolloutError, roll_out
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Release, Target, TargetContext, TargetError
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.serving import bundle
from mlops_assets_tests.builders import Built
from mlops_assets_tests.fakes.target import KilledError


class KilledSettling(Journal):
    """Of a run that is killed as soon as it has said that it settles."""

    def write(self, progress: Progress) -> None:
        super().write(progress)
        if progress.stage == "settling":
            raise KilledError


class TargetContract:
    """Inherit, set `kind`, and give the fixtures `site`, which deploys, and `one` and `two`, two
    bundles.

    Its context has a secret environment value, SECRET. Whatever is started must be ended by the
    fixtures.
    """

    kind: ClassVar[str]
    SECRET = "a-secret-value"

    @pytest.fixture
    def target(self, site) -> Target:
        return site.target()

    @pytest.fixture
    def context(self, site) -> TargetContext:
        return site.context

    @pytest.fixture
    def builts(self, one, two) -> tuple[Built, Built]:
        return one, two

    @pytest.fixture
    def releases(self, site, one, two) -> tuple[Release, Release]:
        """Two good ones of the experiment `churn`, of the bundles."""
        return site.release(one, 1), site.release(two, 2)

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Journal:
        return Journal(DataStore(str(tmp_path / "journal"), {}), "churn", self.kind)

    def test_is_of_its_kind_and_knows_its_keys(self, target: Target) -> None:
        assert target.model_dump()["kind"] == self.kind
        with pytest.raises(ValidationError, match="surprise"):
            type(target)(**{**target.model_dump(), "surprise": 1})

    def test_rendering_is_pure_and_holds_no_secret(self, target, context, releases) -> None:
        before = sorted(context.state.rglob("*"))
        first, again = (target.render(releases[0], context) for _ in range(2))
        assert json.dumps(first, sort_keys=True) == json.dumps(again, sort_keys=True)
        assert first != target.render(releases[1], context)
        assert self.SECRET not in json.dumps(first)
        assert sorted(context.state.rglob("*")) == before
        assert (first["experiment"], first["version"]) == ("churn", 1)
        assert first["bundle_digest"] == releases[0].bundle_digest

    def test_nothing_is_there_before_the_first_deployment(self, target, context, releases) -> None:
        manifest = target.render(releases[0], context)
        assert target.observe("churn", context) is None
        assert target.serves(manifest, context) is None
        assert target.rollback(manifest, context) is None
        assert target.retire("churn", context) is None
        assert target.measure("churn", 0.25, context) == {}
        with pytest.raises(TargetError):
            target.ask("churn", 1, [], context)

    @pytest.fixture
    def deploy(self, target, context, builts, releases, journal):
        """Roll out a release, changed as asked."""

        def deployed(index: int, journal: Journal = journal, **changes):
            return roll_out(
                target,
                replace(releases[index], **changes),
                builts[index].folder,
                spec=RolloutSpec(),
                journal=journal,
                context=context,
                run="test",
                tell=lambda _: None,
            )

        return deployed

    def test_a_life(
        self, deploy, target, context, builts, releases, journal, tmp_path: Path
    ) -> None:
        first = deploy(0)
        live = first.endpoint
        assert first.changed
        assert (live.experiment, live.target, live.state) == ("churn", self.kind, "live")
        assert (live.version, live.previous_version, live.traffic) == (1, None, {})
        again = deploy(0)
        assert not again.changed
        assert again.endpoint == live == target.observe("churn", context)

        second = deploy(1).endpoint
        assert (second.version, second.previous_version, second.url) == (2, 1, live.url)

        damaged = shutil.copytree(builts[0].folder, tmp_path / "damaged")
        (damaged / bundle.GOLDEN).write_text("{}")
        with pytest.raises((RolloutError, TargetError), match=r"(?i)version 2 still serves"):
            roll_out(
                target,
                replace(releases[0], version=3, bundle_digest="0" * 64),
                damaged,
                spec=RolloutSpec(),
                journal=journal,
                context=context,
                run="test",
                tell=lambda _: None,
            )
        observed = target.observe("churn", context)
        assert observed is not None
        assert (observed.version, observed.state) == (2, "live")

        back = deploy(0).endpoint
        assert (back.version, back.previous_version) == (1, 2)

        stopped = target.retire("churn", context)
        assert stopped is not None
        assert (stopped.state, stopped.version) == ("stopped", 1)
        assert target.retire("churn", context) == stopped
        assert target.observe("churn", context) == stopped

    def test_a_candidate_is_asked_alone_and_goes_without_a_trace(
        self, target, context, builts, releases
    ) -> None:
        one, two = (target.render(release, context) for release in releases)
        target.apply(one, builts[0].folder, context)
        target.shift(one, 1.0, context)
        live = target.settle(one, context)

        target.apply(two, builts[1].folder, context)
        for version, built in enumerate(builts, 1):
            found = probe(
                lambda records, v=version: target.ask("churn", v, records, context),
                version=version,
                bundle_folder=built.folder,
            )
            assert found.passed, found.reason
        observed = target.observe("churn", context)
        assert observed is not None
        assert (observed.version, observed.since, observed.state) == (1, live.since, "live")
        assert target.serves(two, context) is None

        given = target.shift(two, 0.5, context)
        assert 0 < given <= 1
        for _ in range(2):
            back = target.rollback(two, context)
            assert back is not None
            assert (back.version, back.url, back.state, back.traffic) == (1, live.url, "live", {})
        with pytest.raises(TargetError):
            target.ask("churn", 2, [], context)
        assert target.serves(one, context) is not None
        assert target.rollback(one, context) == target.observe("churn", context)
        assert target.serves(one, context) is not None, "what is settled was rolled back"

    def test_what_was_stopped_while_it_was_settled_is_no_lock(
        self, deploy, target, context, tmp_path: Path
    ) -> None:
        killed = KilledSettling(DataStore(str(tmp_path / "journal"), {}), "churn", self.kind)
        for first, following in ((0, 1), (0, 0)):
            with pytest.raises(KilledError):
                deploy(first, killed)
            target.retire("churn", context)
            after = deploy(following)
            assert after.changed
            assert (after.endpoint.version, after.endpoint.state) == (following + 1, "live")
            assert target.observe("churn", context) == after.endpoint
