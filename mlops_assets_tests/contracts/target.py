"""What every deployment target promises. A test class inherits it and names its target."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from mlops_assets.deployment.targets.base import Release, Target, TargetContext, TargetError


class TargetContract:
    """Inherit, set `kind`, and give the fixtures `target`, `context` and `releases`.

    `releases` are two good ones (versions 1 and 2) of one experiment. `context` has a secret
    environment value, SECRET. Whatever is started must be ended by the fixtures.
    """

    kind: ClassVar[str]
    SECRET = "a-secret-value"

    @pytest.fixture
    def target(self) -> Target:
        raise NotImplementedError

    @pytest.fixture
    def context(self) -> TargetContext:
        raise NotImplementedError

    @pytest.fixture
    def releases(self) -> tuple[Release, Release]:
        raise NotImplementedError

    def test_is_of_its_kind_and_knows_its_keys(self, target: Target) -> None:
        assert target.model_dump()["kind"] == self.kind
        with pytest.raises(ValidationError, match="surprise"):
            type(target)(kind=self.kind, surprise=1)

    def test_rendering_is_pure_and_holds_no_secret(self, target, context, releases) -> None:
        before = sorted(context.state.rglob("*"))
        first, again = (target.render(releases[0], context) for _ in range(2))
        assert json.dumps(first, sort_keys=True) == json.dumps(again, sort_keys=True)
        assert first != target.render(releases[1], context)
        assert self.SECRET not in json.dumps(first)
        assert sorted(context.state.rglob("*")) == before

    def test_nothing_is_there_before_the_first_deployment(self, target, context) -> None:
        assert target.observe("churn", context) is None
        assert target.retire("churn", context) is None

    def test_a_life(self, target, context, releases, tmp_path: Path) -> None:
        one, two = (target.render(release, context) for release in releases)
        live = target.apply(one, context)
        assert (live.experiment, live.target, live.state) == ("churn", self.kind, "live")
        assert (live.version, live.previous_version) == (1, None)
        assert target.apply(one, context) == live, "applying again changed something"
        assert target.observe("churn", context) == live

        second = target.apply(two, context)
        assert (second.version, second.previous_version, second.url) == (2, 1, live.url)

        absent = replace(releases[0], version=3, bundle=tmp_path / "absent")
        bad = target.render(replace(absent, bundle_digest="0" * 64), context)
        with pytest.raises(TargetError, match=r"(?i)version 2 still serves"):
            target.apply(bad, context)
        observed = target.observe("churn", context)
        assert observed is not None
        assert (observed.version, observed.state) == (2, "live")

        back = target.apply(one, context)
        assert (back.version, back.previous_version) == (1, 2)

        stopped = target.retire("churn", context)
        assert stopped is not None
        assert (stopped.state, stopped.version) == ("stopped", 1)
        assert target.retire("churn", context) == stopped
        assert target.observe("churn", context) == stopped
