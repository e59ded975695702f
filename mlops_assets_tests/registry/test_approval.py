"""Who may make a version the champion: what must hold of every answer."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.gateways.champions import UNDER_WAY, Crowned
from mlops_assets.gateways.decisions import (
    AUTHOR,
    BY_HAND,
    COMPARED_WITH,
    OVERRIDDEN,
    THE_GATES,
    Decision,
    Outcome,
)
from mlops_assets.registry.approval import FORCEABLE, Request, Standing, decided, judge, lacking
from mlops_assets.registry.by_hand import meaning
from mlops_assets.registry.freeze import Frozen

NOW = datetime(2026, 12, 20, 9, tzinfo=UTC)
HOLD = Frozen(datetime(2027, 1, 4, tzinfo=UTC), "end of the year")
CARD = ("intended_use", "limitations")
GOOD = Request("ann", "looked at by the board", force=False)


def told(outcome: Outcome, by: str = THE_GATES) -> Decision:
    return Decision(outcome, "because", by, "2026-12-01T00:00:00+00:00", "r")


def standing(**changes: Any) -> Standing:
    """Version 7, trained by bob, which passed the gates against version 4 and waits."""
    tags = {"mlops.bundle_uri": "b", AUTHOR: "bob", COMPARED_WITH: "4", **told("waiting").tags()}
    usual: dict[str, Any] = {
        "experiment": "churn",
        "version": 7,
        "tags": tags,
        "champion": 4,
        "required": CARD,
        "written": frozenset(CARD),
        "frozen": None,
    }
    return Standing(**{**usual, **changes})


def tagged(**tags: str) -> Standing:
    before = standing()
    named = {AUTHOR: tags.pop("author", before.tags[AUTHOR])}
    return replace(before, tags={**before.tags, **named, **tags})


def without(tag: str) -> Standing:
    before = standing()
    return replace(before, tags={k: v for k, v in before.tags.items() if k != tag})


def grounds(request: Request, known: Standing) -> list[str]:
    return [one.ground for one in judge(request, known).refusals]


def test_somebody_else_with_a_reason_is_allowed() -> None:
    judgement = judge(GOOD, standing())
    assert judgement.allowed
    assert decided(GOOD, judgement, NOW) == (
        Decision("promoted", "looked at by the board", "ann", "2026-12-20T09:00:00+00:00", ""),
        {},
    )


@pytest.mark.parametrize(
    ("request_", "known", "ground", "words"),
    [
        (replace(GOOD, approver="bob"), standing(), "author", "nobody approves their own"),
        (replace(GOOD, approver=" BOB "), standing(), "author", "ask somebody else"),
        (replace(GOOD, approver=""), standing(), "approver", "set the tag mlops.approved_by"),
        (replace(GOOD, approver=THE_GATES), standing(), "approver", "is no person"),
        (replace(GOOD, approver="sensor x"), standing(), "approver", "is no person"),
        (replace(GOOD, reason="  "), standing(), "reason", "say why"),
        (GOOD, without(AUTHOR), "unknown_author", "set its tag mlops.author"),
        (GOOD, without("mlops.bundle_uri"), "bundle", "has no serving bundle"),
        (GOOD, without("mlops.decision"), "gates", "Nothing was decided about version 7 yet"),
        (GOOD, tagged(**told("refused").tags()), "gates", "refused by the gates (because)"),
        (GOOD, tagged(**told("refused", "eve").tags()), "gates", "refused by eve (because)"),
        (GOOD, standing(champion=6), "champion", "with champion 4, and it is 6 now: launch"),
        (GOOD, standing(champion=None), "champion", "and it is none now"),
        (GOOD, standing(written=frozenset(CARD[:1])), "card", "lacks registry.card.limitations"),
        (GOOD, standing(frozen=HOLD), "freeze", "frozen until 2027-01-04T00:00+00:00 (end of"),
    ],
)
def test_each_refusal_says_what_to_do(
    request_: Request, known: Standing, ground: str, words: str
) -> None:
    (refusal,) = judge(request_, known).refusals
    assert refusal.ground == ground
    assert words in refusal.reason
    assert refusal.reason.endswith(".")
    assert judge(replace(request_, force=True), known).allowed == (ground in FORCEABLE)


def test_everything_that_stands_against_it_is_listed_at_once() -> None:
    known = tagged(**told("refused").tags())
    known = replace(known, frozen=HOLD, written=frozenset())
    asked = replace(GOOD, approver="bob")
    assert grounds(asked, known) == ["author", "gates", "card", "freeze"]
    forced = judge(replace(asked, force=True), known)
    assert [one.ground for one in forced.refusals] == ["author"], "never by force"


def test_what_was_forced_is_written_down() -> None:
    asked = replace(GOOD, force=True)
    decision, beside = decided(asked, judge(asked, standing(frozen=HOLD)), NOW)
    assert decision.reason.startswith("forced: looked at by the board. In spite of this: Promotion")
    assert beside == {OVERRIDDEN: "freeze"}
    assert decision.by == "ann"


def test_the_champion_is_not_approved_twice() -> None:
    champion = replace(tagged(**told("promoted").tags()), champion=7)
    judgement = judge(replace(GOOD, approver="bob"), champion)
    assert (judgement.done, judgement.allowed) == (True, True)
    # Decided, and ended before the alias followed: the same again goes on.
    judgement = judge(GOOD, tagged(**told("promoted", "ann").tags()))
    assert (judgement.done, judgement.allowed) == (False, True)


people = st.sampled_from(["ann", "bob", " Bob", "", "sensor s", "schedule s", THE_GATES])
standings = st.builds(
    lambda author, outcome, bundle, champion, written, hold: replace(
        standing(),
        tags={
            COMPARED_WITH: "4",
            **({AUTHOR: author} if author else {}),
            **({"mlops.bundle_uri": "b"} if bundle else {}),
            **(told(outcome).tags() if outcome else {}),
        },
        champion=champion,
        written=frozenset(written),
        frozen=hold,
    ),
    st.sampled_from(["bob", "BOB ", "schedule s", ""]),
    st.sampled_from(["waiting", "promoted", "refused", None]),
    st.booleans(),
    st.sampled_from([None, 4, 6, 7]),
    st.sets(st.sampled_from(CARD)),
    st.sampled_from([None, HOLD]),
)
requests = st.builds(Request, people, st.sampled_from(["why", "", " "]), st.booleans())


@given(requests, standings)
@settings(deadline=None)
def test_force_goes_over_the_rest_and_never_over_who_asks(asked: Request, known: Standing) -> None:
    plain = judge(replace(asked, force=False), known)
    forced = judge(replace(asked, force=True), known)
    assert plain.overridden == ()
    assert {*forced.refusals, *forced.overridden} == {*plain.refusals}
    assert {one.ground for one in forced.overridden} <= FORCEABLE
    assert not {one.ground for one in forced.refusals} & FORCEABLE
    own = asked.approver.strip().casefold() == known.tags.get(AUTHOR, "").strip().casefold()
    if (own or lacking(asked)) and not forced.done:
        assert not forced.allowed


@given(requests, standings)
@settings(deadline=None)
def test_a_version_waits_or_is_the_champion_before_it_is_allowed_unforced(
    asked: Request, known: Standing
) -> None:
    judgement = judge(replace(asked, force=False), known)
    if not judgement.allowed:
        return
    decision = Decision.of(known.tags)
    assert decision is not None
    assert decision.outcome != "refused"
    assert judgement.done or (known.champion == 4 and known.frozen is None)


@given(
    alias=st.integers(1, 3),
    crowned=st.none() | st.integers(1, 3),
    since=st.sampled_from([None, NOW - UNDER_WAY, NOW]),
    given=st.booleans(),
    before=st.none() | st.integers(1, 3),
    outcome=st.sampled_from(["waiting", "promoted", "refused", None]),
    by=st.sampled_from([THE_GATES, BY_HAND, "ann"]),
    evaluated=st.booleans(),
    mode=st.sampled_from(["accept", "report", "put_back"]),
)
@settings(deadline=None, max_examples=300)
def test_what_an_alias_means(
    alias: int, crowned: int | None, since: Any, given: bool, before: int | None, outcome: Any,
    by: str, evaluated: bool, mode: Any,
) -> None:  # fmt: skip
    said = meaning(
        alias,
        None if crowned is None else Crowned(crowned, since, given),
        before=before,
        decision=told(outcome, by) if outcome else None,
        evaluated=evaluated,
        mode=mode,
        now=NOW,
    )
    if crowned == alias:
        assert said == "in_order"
    elif crowned is not None:
        assert said != "in_order", "it stands elsewhere than was decided"
        assert (said == "under_way") == (since == NOW), "only for a minute"
        assert (said == "interrupted") == (since != NOW and alias == before and not given)
    if said == "follow":
        assert evaluated
        assert outcome != "refused"
        assert mode != "put_back"
    assert (said == "put_back") <= (mode == "put_back")
    if crowned is None and outcome in ("waiting", "refused"):
        assert said != "in_order"
