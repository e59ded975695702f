"""What may go of the past, whatever the past was."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.gateways.model_registry import CHALLENGER, CHAMPION
from mlops_assets.registry import retention
from mlops_assets.registry.retention import File, Run, Study, Usage, Version, Window, judge
from mlops_assets.registry.spec import RegistrySpec, RetentionSpec

NOW = datetime(2026, 5, 3, 12, tzinfo=UTC)
NOBODY = Usage({}, {}, ())


def aged(number: int, days: float, **facts: bool) -> Version:
    known = {"ours": True, "rolled_back": False, **facts}
    return Version(number, NOW - timedelta(days=days), **known)


def kept(verdicts) -> set[int]:
    return {one.version for one in verdicts if one.kept}


def reason(verdicts, number: int) -> str:
    return next(one.reason for one in verdicts if one.version == number)


@st.composite
def pasts(draw):
    """Versions of growing age, and who needs which; some that are needed are gone already."""
    count = draw(st.integers(0, 40))
    ages = sorted(draw(st.lists(st.floats(0, 900), min_size=count, max_size=count)), reverse=True)
    versions = [
        aged(n, age, ours=draw(st.integers(0, 9)) > 0, rolled_back=draw(st.booleans()))
        for n, age in enumerate(ages, 1)
    ]
    numbers = st.integers(1, max(count, 1) + 2)
    usage = Usage(
        draw(st.dictionaries(st.sampled_from([CHAMPION, CHALLENGER, "pinned"]), numbers)),
        draw(st.dictionaries(numbers, st.just("live on local"), max_size=3)),
        tuple(draw(st.lists(numbers, max_size=12))),
    )
    return versions, usage


policies = st.builds(RetentionSpec, keep_versions=st.integers(2, 50), keep_days=st.integers(1, 800))


@given(past=pasts(), policy=policies)
def test_what_is_live_aliased_or_to_be_rolled_back_to_always_stays(past, policy):
    versions, usage = past
    there = {one.number for one in versions}
    found = kept(judge(versions, usage, policy, NOW))
    assert {*usage.aliases.values(), *usage.endpoints} & there <= found
    others = [v for v in usage.deployed if v in there and v != usage.aliases.get(CHAMPION)]
    assert set(others[-1:]) <= found, "what was live before the champion"
    bad = {one.number for one in versions if one.rolled_back}
    assert set([v for v in others if v not in bad][-1:]) <= found, "what `mlops rollback` takes"
    good = [v for v in others if v not in bad and v != usage.deployed[-1]]
    assert set(good[-1:]) <= found, "the last good one before what serves"
    assert {one.number for one in versions if not one.ours} <= found
    assert {one.number for one in versions[-policy.keep_versions :]} <= found


@given(past=pasts(), policy=policies)
def test_a_version_goes_only_when_it_is_both_old_and_beyond_the_newest(past, policy):
    versions, usage = past
    gone = {one.number for one in versions} - kept(judge(versions, usage, policy, NOW))
    for one in versions:
        if one.number in gone:
            assert NOW - one.created > timedelta(days=policy.keep_days)
            assert sum(other.number > one.number for other in versions) >= policy.keep_versions


@given(past=pasts(), policy=policies, more=st.integers(0, 30), days=st.integers(0, 300))
def test_more_is_kept_by_a_longer_policy(past, policy, more, days):
    versions, usage = past
    longer = policy.model_copy(
        update={
            "keep_versions": policy.keep_versions + more, "keep_days": policy.keep_days + days,
        }
    )  # fmt: skip
    shorter = kept(judge(versions, usage, policy, NOW))
    assert shorter <= kept(judge(versions, usage, longer, NOW))


@given(past=pasts(), policy=policies)
def test_a_second_run_finds_nothing_more(past, policy):
    versions, usage = past
    first = kept(judge(versions, usage, policy, NOW))
    rest = [one for one in versions if one.number in first]
    assert kept(judge(rest, usage, policy, NOW)) == first


@given(past=pasts(), policy=policies, data=st.data())
def test_the_order_in_which_versions_are_listed_does_not_matter(past, policy, data):
    versions, usage = past
    shuffled = data.draw(st.permutations(versions))
    assert judge(shuffled, usage, policy, NOW) == judge(versions, usage, policy, NOW)


@given(past=pasts(), policy=policies)
def test_every_version_is_told_why(past, policy):
    versions, usage = past
    verdicts = judge(versions, usage, policy, NOW)
    assert [one.version for one in verdicts] == [one.number for one in versions]
    assert all(one.reason for one in verdicts)


def test_the_reasons_are_named():
    versions = [aged(n, 400 - n, rolled_back=n == 6) for n in range(1, 11)]
    usage = Usage({CHAMPION: 5}, {4: "served before on local"}, (1, 2, 3, 5, 6, 5))
    verdicts = judge(versions, usage, RetentionSpec(keep_versions=2, keep_days=30), NOW)
    assert kept(verdicts) == {3, 4, 5, 6, 9, 10}
    assert reason(verdicts, 5) == "has the alias champion"
    assert reason(verdicts, 6) == "was live before the champion"
    assert reason(verdicts, 3) == "the last good one before"
    assert reason(verdicts, 4) == "served before on local"
    assert reason(verdicts, 10) == "one of the newest 2"
    assert reason(verdicts, 1) == "399 days old, and nobody needs it"


def test_by_default_nothing_is_removed_and_staleness_is_left_alone():
    usual = RegistrySpec()
    assert not usual.retention.apply
    longer = RegistrySpec(retention=RetentionSpec(apply=True, keep_days=400))
    assert longer.fingerprint() == usual.fingerprint()
    assert RegistrySpec(promotion={"approval": "manual"}).fingerprint() != usual.fingerprint()


def test_runs_of_kept_versions_and_trials_of_kept_studies_stay():
    runs = [
        Run("version", ours=True, study="s1", trial=False),
        Run("refused", ours=True, study="s2", trial=False),
        Run("by hand", ours=False, study="", trial=False),
        Run("trial 1", ours=False, study="s1", trial=True),
        Run("trial 2", ours=False, study="s2", trial=True),
    ]
    gone = retention.superfluous_runs(
        runs, wanted=frozenset({"version"}), studies=frozenset({"s1"})
    )
    assert gone == ("refused", "trial 2")


def test_studies_go_that_rest_and_belong_to_no_kept_version():
    old, young = NOW - timedelta(days=100), NOW - timedelta(days=1)
    studies = [Study("old", old), Study("young", young), Study("wanted", old)]
    before = NOW - timedelta(days=90)
    assert retention.superfluous_studies(
        studies, wanted=frozenset({"wanted"}), before=before
    ) == ("old",)  # fmt: skip


def window(version: int, days: float) -> Window:
    start = NOW - timedelta(days=days)
    return Window(File(f"{version}/{days}", 1, start), version, start)


def test_the_newest_windows_of_a_kept_version_stay_however_old():
    windows = [window(7, days) for days in (400, 300, 200, 100, 1)]
    windows += [window(3, 1), window(2, 400), window(2, 1)]
    gone = retention.superfluous_windows(
        windows,
        kept=frozenset({7}),
        removed=frozenset({3}),
        newest=3,
        before=NOW - timedelta(days=90),
    )
    assert {one.path for one in gone} == {"7/400", "7/300", "3/1", "2/400"}


@pytest.mark.parametrize(
    ("registered", "endpoints", "expected"),
    [
        ({5, 6}, {}, {1, 2}),
        ({5, 6}, {2: "live on local"}, {1}),
        (set(), {}, set()),  # an empty registry says nothing of the past
        ({1}, {}, set()),  # nor does one that was begun anew
    ],
)
def test_versions_that_vanished_before(registered, endpoints, expected):
    usage = Usage({}, endpoints, ())
    seen = [1, 2, 6, 9]
    assert retention.vanished(seen, registered=frozenset(registered), usage=usage) == expected
