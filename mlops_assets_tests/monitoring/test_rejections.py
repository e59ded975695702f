"""Requests that do not fit the schema, as a share of those since the last look."""

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.gateways.telemetry import Telemetry
from mlops_assets.monitoring.rejections import SCHEMA, judge
from mlops_assets.monitoring.spec import DataQualitySpec

SPEC = DataQualitySpec()


def told(requests, target="local", **refused):
    return Telemetry(
        target, "2026-05-03T12:00:00+00:00", "answers", "", requests, requests, refused
    )


def judged(*said, before=()):
    return judge(said, {one.target: one for one in before}, SPEC)


def test_few_refused_requests_are_allowed():
    verdict = judged(told(1000, wrong_type=30))
    assert verdict.passed
    assert verdict.share == 0.03
    assert verdict.reason == (
        "30 of 1,000 requests did not fit the schema, most as `wrong_type`; 5.0% may"
    )


def test_many_are_not():
    verdict = judged(told(1000, wrong_type=60, missing_field=40))
    assert not verdict.passed
    assert verdict.by_reason == {"missing_field": 40, "wrong_type": 60}


def test_a_handful_of_requests_is_no_proof():
    assert judged(told(10, wrong_type=1)).passed


def test_other_refusals_are_not_the_schema_s():
    verdict = judged(told(1000, overload=500, unauthorized=400))
    assert verdict.passed
    assert verdict.share == 0.0


def test_only_what_came_since_the_last_look_counts():
    before = told(10_000, wrong_type=9_000)
    assert judged(told(11_000, wrong_type=9_010), before=[before]).share == 0.01
    assert not judged(told(11_000, wrong_type=9_900), before=[before]).passed


def test_after_a_restart_all_counts():
    verdict = judged(told(100, wrong_type=50), before=[told(400, wrong_type=10)])
    assert (verdict.requests, verdict.share) == (100, 0.5)


def test_what_was_told_by_nobody_is_said():
    silent = Telemetry("kubernetes", "2026-05-03T12:00:00+00:00", "silent", "gone")
    platform = Telemetry("aws_lambda", "2026-05-03T12:00:00+00:00", "answers", "", 50)
    verdict = judged(silent, platform)
    assert verdict.passed
    assert verdict.reason == ("kubernetes, aws_lambda does not tell how many requests were refused")
    assert judged(told(0)).reason == "no requests since the last look"


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from(SCHEMA), st.integers(0, 100))))
def test_whatever_endpoints_tell_the_share_is_one(counts):
    said = [told(requests, str(k), **{why: n}) for k, (requests, why, n) in enumerate(counts)]
    before = {str(k): told(300, str(k), wrong_type=50) for k in range(0, len(counts), 2)}
    verdict = judge(said, before, SPEC)
    assert 0.0 <= verdict.share <= 1.0
    assert verdict.passed or verdict.share > SPEC.max_rejected
