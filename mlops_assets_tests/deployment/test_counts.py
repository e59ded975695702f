"""How counts grow while pods come and go; and that nothing is counted twice, or lost."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.deployment.counts import NOTHING, Growth, total
from mlops_assets.deployment.targets.base import Counts, Traffic
from mlops_assets.gateways.telemetry import ProfileLog


def answered(requests: int, errors: int = 0) -> Traffic:
    return Traffic(requests, errors, 0, requests, {"label=Yes": requests // 2})


def grown(*looks: Counts, restarts: bool = True) -> Traffic:
    """What version 1 answered over these looks."""
    growth = Growth(restarts=restarts)
    for look in looks:
        growth.look(look)
    return growth.of({1})


def test_what_a_pod_counted_before_it_went_stays() -> None:
    both = {1: {"a": answered(1000, 10), "b": answered(500)}}
    later = {1: {"a": answered(1100, 12), "b": answered(520)}}
    assert grown(both, later, {1: {"b": answered(540)}}) == answered(140, 2)
    assert grown(both, later, {}) == answered(120, 2), "the last one went"


def test_a_pod_that_is_seen_for_the_first_time_counts_from_then_on() -> None:
    """It may be one that was not ready when the first look was taken."""
    first, second = {1: {"a": answered(10)}}, {1: {"a": answered(20), "b": answered(9000, 70)}}
    assert grown(first, second) == answered(10)
    assert grown(first, second, {1: {"a": answered(20), "b": answered(9010, 80)}}) == answered(
        20, 10
    )


def test_a_pod_that_was_away_for_a_look_goes_on_where_it_was() -> None:
    here, there = {1: {"a": answered(100)}}, {1: {"a": answered(130)}}
    assert grown(here, {1: {}}, there) == answered(30)


def test_a_process_that_began_anew_loses_what_was_not_seen_alone() -> None:
    looks = [{1: {"a": answered(count)}} for count in (100, 160, 40, 70)]
    assert grown(*looks).requests == 60 + 40 + 30


def test_a_platform_that_corrects_its_counts_did_not_begin_anew() -> None:
    looks = [{1: {"lambda": answered(count)}} for count in (100, 160, 155, 165)]
    assert grown(*looks, restarts=False).requests == 65


@given(lives=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1))
def test_growth_is_what_each_pod_counted_between_its_first_look_and_its_last(
    lives: list[list[int]],
) -> None:
    counts = [list(itertools.accumulate(steps)) for steps in lives]
    looks = [
        {1: {str(pod): answered(seen[at]) for pod, seen in enumerate(counts) if at < len(seen)}}
        for at in range(6)
    ]
    assert grown(*looks).requests == sum(seen[-1] - seen[0] for seen in counts)


def test_versions_are_kept_apart() -> None:
    growth = Growth(restarts=True)
    growth.look({1: {"a": answered(10)}, 2: {"b": answered(20)}})
    growth.look({1: {"a": answered(15)}, 2: {"b": answered(21)}})
    assert growth.versions == {1, 2}
    assert (growth.of({1}).requests, growth.of({2}).requests) == (5, 1)
    assert growth.of({3}) == NOTHING


def test_sources_add_up() -> None:
    one = Traffic(1, 1, 1, 1, {"a": 1}, {"late": 1}, ProfileLog(1, 1, 1, 1, None))
    two = Traffic(2, 2, 2, 2, {"a": 1, "b": 1}, {"late": 2}, ProfileLog(2, 2, 2, 2, 7.0))
    both = Traffic(3, 3, 3, 3, {"a": 2, "b": 1}, {"late": 3}, ProfileLog(3, 3, 3, 3, 7.0))
    assert total([one, two, NOTHING]) == both
    assert total([]) == NOTHING


def test_rows_that_are_not_told_stay_unknown_and_are_none_before_the_first() -> None:
    untold = Traffic(50, 0, 0, None, {})
    nobody, told = Traffic(0, 0, 0, 0, {}), Traffic(60, 0, 0, 60, {"label=Yes": 9}, {"bad_row": 3})
    assert grown({1: {"a": nobody}}, {1: {"a": untold}}).rows is None
    assert grown({1: {"a": nobody}}, {1: {"a": told}}) == told
    assert total([untold, told]).rows is None


def test_what_is_said_late_is_not_said_of_the_rows_before() -> None:
    """Names of metrics that become known while a step lasts."""

    def look(rows: int, **labels: int) -> Counts:
        return {1: {"a": Traffic(rows, 0, 0, rows, {f"label={k}": n for k, n in labels.items()})}}

    first, second = look(100, Yes=40), look(150, Yes=50, No=100)
    assert grown(first, second).predictions == {"label=Yes": 10}
    assert grown(first, second, look(200, Yes=60, No=140)).predictions == {"label=Yes": 20}
    idle = look(100, Yes=40, No=60)
    assert grown(first, idle, look(150, Yes=50, No=100)).predictions == {
        "label=Yes": 10,
        "label=No": 40,
    }
