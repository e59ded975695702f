"""Every change of a champion is deployed once, whatever happens between two looks."""

import copy
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlops_assets.registry.events import (
    NOTHING,
    Event,
    Live,
    Read,
    Seen,
    decide,
    read_now,
    to_ask,
)

FIRST = 1_700_000_000


def serving(*versions: int, deployment: int = 1) -> Live:
    """The last of these was deployed last."""
    return Live(frozenset(versions), versions[-1] if versions else None, deployment)


def test_a_first_champion_is_one_event() -> None:
    decided = decide({"churn": 1}, seen={}, live={"churn": NOTHING}, first=FIRST)
    assert decided.events == (Event("churn", 1, f"churn:1:{FIRST}"),)
    assert decided.seen == {"churn": Seen(1, FIRST)}


def test_what_was_seen_is_no_event_again() -> None:
    seen = {"churn": Seen(1, 5)}
    decided = decide({"churn": 1}, seen=seen, live={}, first=FIRST)
    assert decided.events == ()
    assert decided.seen == seen


def test_there_and_back_again_are_three_events() -> None:
    seen: dict[str, Seen] = {}
    keys = []
    for deployment, (version, live) in enumerate(((1, ()), (2, (1,)), (1, (2,)))):
        now = {"churn": serving(*live, deployment=deployment)}
        decided = decide({"churn": version}, seen=seen, live=now, first=FIRST)
        seen = decided.seen
        keys += [event.key for event in decided.events]
    assert keys == [f"churn:1:{FIRST}", f"churn:2:{FIRST + 1}", f"churn:1:{FIRST + 2}"]


def test_a_champion_that_is_live_already_is_remembered_only() -> None:
    decided = decide({"churn": 3}, seen={}, live={"churn": serving(3)}, first=FIRST)
    assert decided.events == ()
    assert decided.seen == {"churn": Seen(3, FIRST, 1)}


def test_endpoints_that_differ_are_brought_together() -> None:
    decided = decide({"churn": 3}, seen={}, live={"churn": serving(3, 2)}, first=FIRST)
    assert [event.version for event in decided.events] == [3]


def test_what_another_run_deployed_since_is_put_right_once() -> None:
    """The alias went to 2 and came back before anybody looked; the run for 1 deployed 2."""
    seen = {"churn": Seen(1, 7, 4)}
    now = {"churn": serving(2, deployment=5)}
    decided = decide({"churn": 1}, seen=seen, live=now, first=FIRST)
    assert decided.events == (Event("churn", 1, "churn:1:8"),)
    again = decide({"churn": 1}, seen=decided.seen, live=now, first=FIRST)
    assert again.events == (), "its deployment failed; it is not asked for for ever"


def test_a_target_that_fails_for_ever_is_not_asked_for_for_ever() -> None:
    """The other one is deployed anew each time."""
    seen = {"churn": Seen(3, 7, 4)}
    now = {"churn": serving(2, 3, deployment=9)}
    assert decide({"churn": 3}, seen=seen, live=now, first=FIRST).events == ()


def test_an_alias_taken_away_and_given_back_is_no_change() -> None:
    seen = {"churn": Seen(3, 7)}
    without = decide({}, seen=seen, live={}, first=FIRST)
    assert (without.events, without.seen) == ((), seen)
    assert decide({"churn": 3}, seen=without.seen, live={}, first=FIRST).events == ()


def test_experiments_do_not_disturb_each_other() -> None:
    decided = decide(
        {"b": 2, "a": 1, "c": 9},
        seen={"c": Seen(9, 4), "gone": Seen(1, 1)},
        live={"a": NOTHING, "b": serving(2)},
        first=FIRST,
    )
    assert [event.experiment for event in decided.events] == ["a"]
    assert decided.seen == {
        "a": Seen(1, FIRST),
        "b": Seen(2, FIRST, 1),
        "c": Seen(9, 4),
        "gone": Seen(1, 1),
    }


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30))
@settings(max_examples=200)
def test_one_event_per_change_when_every_look_sees_one_version(champions: list[int]) -> None:
    seen: dict[str, Seen] = {}
    live = NOTHING
    keys = []
    for version in champions:
        decided = decide({"churn": version}, seen=seen, live={"churn": live}, first=FIRST)
        seen = decided.seen
        for event in decided.events:
            keys.append(event.key)
            # Deployed before the next look.
            live = serving(event.version, deployment=live.deployment + 1)
        assert live.versions == {version}
    changes = sum(a != b for a, b in zip([None, *champions], champions, strict=False))
    assert len(keys) == len(set(keys)) == changes


def test_while_nothing_happens_only_changed_champions_are_asked_about() -> None:
    seen, champions = {"a": Seen(1, FIRST), "b": Seen(1, FIRST)}, {"a": 1, "b": 2, "new": 1}
    settled = Read(newest=7, settled=True)
    assert to_ask(champions, seen=seen, read=settled, newest=7) == {"b", "new"}
    assert to_ask(champions, seen=seen, read=settled, newest=8) == {"a", "b", "new"}
    assert to_ask(champions, seen=seen, read=Read(7), newest=7) == {"a", "b", "new"}


def test_two_whole_looks_at_the_same_events_settle_it() -> None:
    first = read_now(Read(), newest=7, whole=True, without=())
    assert first == Read(7)
    assert read_now(first, newest=7, whole=True, without=()) == Read(7, settled=True)
    assert read_now(first, newest=7, whole=False, without=()) == Read(7)
    assert read_now(Read(7, settled=True), newest=8, whole=True, without=()) == Read(8)


@dataclass
class World:
    """A registry, an endpoint and the sensor between them, as they act on each other."""

    champion: int | None = None
    live: int | None = None
    seen: dict[str, Seen] = field(default_factory=dict)
    queued: list[int] = field(default_factory=list)
    """Versions that were champion when the runs were asked for."""
    keys: set[str] = field(default_factory=set)
    clock: int = FIRST
    deployments: int = 0
    events: int = 0
    """That Dagster has stored."""
    read: Read = field(default_factory=Read)
    reported: int | None = None
    """Live by somebody's report, whose event is stored and which shows at the next look."""

    def look(self) -> None:
        self.clock += 15
        known = self.live is not None and not self.queued
        live = serving(self.live, deployment=self.deployments) if known else NOTHING
        champions = {} if self.champion is None else {"churn": self.champion}
        before = self.seen.get("churn")
        asked = to_ask(champions, seen=self.seen, read=self.read, newest=self.events)
        told = {"churn": live} if asked else {}
        decided = decide(champions, seen=self.seen, live=told, first=self.clock)
        assert decided == decide(champions, seen=self.seen, live={"churn": live}, first=self.clock)
        without = decided.seen.keys() - champions.keys()
        self.read = read_now(self.read, newest=self.events, whole=not self.queued, without=without)
        self.seen = decided.seen
        changed = self.champion is not None and (before is None or before.version != self.champion)
        if not changed and decided.events:
            assert live.newest not in (None, self.champion)
        else:
            assert len(decided.events) == (changed and live.versions != {self.champion})
        for event in decided.events:
            assert event.key not in self.keys, "Dagster starts a key once, for ever"
            self.keys.add(event.key)
            self.queued.append(event.version)
        if self.reported is not None:
            self.materialize(self.reported)
            self.reported = None

    def deploy(self) -> None:
        """The endpoint asset deploys what is champion when it runs."""
        self.queued.pop(0)
        self.events += 1
        self.materialize(self.champion)

    def materialize(self, version: int | None) -> None:
        self.live = version
        self.deployments += 1


class Deployments(RuleBasedStateMachine):
    """Whatever happens, one more look and the runs it asks for make the champion live; and a look
    that asks about few decides as one that asks about all."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.failed = False

    @rule(version=st.integers(1, 4))
    def the_alias_is_moved(self, version: int) -> None:
        self.world.champion = version

    @rule()
    def the_alias_is_taken_away(self) -> None:
        self.world.champion = None

    @rule()
    def the_sensor_looks(self) -> None:
        self.world.look()

    @precondition(lambda self: self.world.queued and self.world.champion is not None)
    @rule()
    def a_run_deploys(self) -> None:
        self.world.deploy()

    @precondition(lambda self: self.world.queued)
    @rule()
    def a_run_deploys_what_was_champion_a_moment_ago(self) -> None:
        self.world.events += 1
        self.world.materialize(self.world.queued.pop(0))

    @precondition(lambda self: self.world.queued)
    @rule()
    def a_run_fails_without_a_trace(self) -> None:
        """A person mends it: it is not asked for again."""
        self.world.queued.pop(0)
        self.failed = True

    @precondition(lambda self: self.world.champion is not None)
    @rule(version=st.integers(1, 4))
    def somebody_reports_what_is_live(self, version: int) -> None:
        self.world.events += 1
        self.world.reported = version

    @rule()
    def something_else_happens(self) -> None:
        self.world.events += 1

    @rule()
    def the_cursor_is_lost(self) -> None:
        self.world.seen = {}
        self.world.read = Read()

    @precondition(lambda self: not self.failed and self.world.champion is not None)
    @invariant()
    def the_champion_will_be_live(self) -> None:
        world = copy.deepcopy(self.world)
        if world.reported is not None:
            world.look()
        world.look()
        while world.queued:
            world.deploy()
        assert world.live == world.champion


TestDeployments = Deployments.TestCase
TestDeployments.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
