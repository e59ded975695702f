"""One look at the registry: which champions may be deployed, and which versions of others are to be
evaluated. Writes down what it finds decided, and may be repeated."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.champions import crowned
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import CHAMPION, AbsentError, ModelRegistry, RefusedError
from mlops_assets.gateways.registered import RegisteredModel, RegistryVersion
from mlops_assets.registry import answers, arrivals, moves
from mlops_assets.registry.answers import Desk
from mlops_assets.registry.arrivals import ATTEMPTS, Watched
from mlops_assets.registry.moves import Found

MOST_LOOKS = 50
"""Single versions asked for in one look, beside the sweep; the next one goes on from there."""


@dataclass(frozen=True)
class Attempt:
    """The newest run that evaluated a version."""

    run_id: str
    unfinished: bool
    refusal: str
    """Why the version is not fit; empty when the run ended for reasons of its own."""


@dataclass(frozen=True)
class Adoption:
    """A version to evaluate."""

    experiment: str
    version: int
    key: str
    """Equal for equal requests, so that Dagster starts one run for each."""


class Look:
    """What is there now, against what was remembered.

    Attributes:
        champions: by experiment, the version with the alias, where it may be deployed.
        adoptions: versions whose evaluation is to be started.
        arrived: by experiment, versions that others registered since the look before.
        watched: what to remember, by experiment.
        notes: what waits, and for what.
        moves: by experiment, what was done about an alias that was moved by hand.
        decided: by experiment, what was decided on somebody's request, or after a freeze.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        *,
        decided: Mapping[str, int],
        watched: Mapping[str, Watched],
        attempt: Callable[[str, int], Attempt | None],
        has_rows: Callable[[str], bool],
        now: datetime,
        dagster_url: str,
    ) -> None:
        """
        Args:
            registry: where the versions are.
            decided: the champion that was decided about last, by experiment.
            watched: from the look before.
            attempt: the newest run that evaluated this version of this experiment.
            has_rows: whether the experiment has a training set to evaluate on.
            now: aware.
            dagster_url: where people open Dagster.
        """
        self.champions: dict[str, int] = {}
        self.adoptions: list[Adoption] = []
        self.arrived: dict[str, list[int]] = {}
        self.watched: dict[str, Watched] = {}
        self.notes: list[str] = []
        self.moves: dict[str, str] = {}
        self.decided: dict[str, str] = {}
        self._registry = registry
        self._decided = decided
        self._before = watched
        self._attempt = attempt
        self._has_rows = has_rows
        self._now = now
        self._dagster_url = dagster_url
        self._left = MOST_LOOKS

    def take(self, experiments: Iterable[Experiment]) -> None:
        """Ask the registry.

        Raises:
            RegistryError: it does not answer; nothing of this look counts then.
        """
        models = self._registry.models()
        ours = tuple(experiments)
        for experiment in ours:
            model = models.get(experiment.model_name)
            if model is None:
                continue
            before = self._before.get(experiment.name)
            try:
                known = arrivals.known(model, before)
                seen = self._look_at_new(experiment, model, known)
                seen = self._look_at_champion(experiment, model, seen)
                self.watched[experiment.name] = self._look_at_waiting(experiment, model, seen)
                self.arrived[experiment.name] = sorted(seen.waiting.keys() - known.waiting.keys())
            except RefusedError as error:
                self.notes.append(f"{experiment.name}: {error}")
                self.watched |= {} if before is None else {experiment.name: before}
        answered = answers.answer(Desk(self._registry, self._now, self._dagster_url), ours)
        self.champions |= answered.champions
        self.notes += answered.notes
        self.decided |= answered.decided

    def _look_at_new(
        self, experiment: Experiment, model: RegisteredModel, watched: Watched
    ) -> Watched:
        for number in arrivals.unseen(model, watched):
            if self._left <= 0:
                break
            watched = arrivals.looked(watched, number, self._version(experiment, model, number))
        return watched

    def _look_at_champion(
        self, experiment: Experiment, model: RegisteredModel, watched: Watched
    ) -> Watched:
        """A version of others is deployed after it was evaluated, whoever gave it the alias."""
        name, number = experiment.name, model.aliases.get(CHAMPION)
        before, rightful = self._decided.get(name), crowned(model)
        if number is None:
            found = moves.removed(self._registry, experiment, model, before=before, now=self._now)
            self._learn(experiment, found)
            return watched
        # A registry that an older program left is learnt bit by bit.
        adopt = rightful is None and self._left > 0
        known = not adopt if rightful is None else rightful.version == number
        if before == number and known:
            self.champions[name] = number
            return watched
        writes = adopt or rightful is not None
        if self._left <= 0 and (writes or not _is_latest(model, number)):
            return watched
        self._left -= writes
        version = self._version(experiment, model, number)
        if version is None:
            return watched
        found = moves.found(
            self._registry,
            experiment,
            model,
            version,
            before=before,
            now=self._now,
            adopt=adopt,
        )
        self._learn(experiment, found)
        return arrivals.looked(watched, number, version) if found.unevaluated else watched

    def _learn(self, experiment: Experiment, found: Found) -> None:
        if found.champion is not None:
            self.champions[experiment.name] = found.champion
        if found.note:
            self.notes.append(found.note)
        if found.moved:
            self.moves[experiment.name] = found.note

    def _look_at_waiting(
        self, experiment: Experiment, model: RegisteredModel, watched: Watched
    ) -> Watched:
        if watched.waiting and not self._has_rows(experiment.name):
            numbers = ", ".join(map(str, watched.waiting))
            self.notes.append(
                f"{experiment.name} {numbers} is to be evaluated, and there is no training set: "
                f"materialize {experiment.name}/training_set and what it is made from"
            )
            return watched
        for number, times in watched.waiting.items():
            attempt = self._attempt(experiment.name, number)
            if attempt is not None and attempt.unfinished:
                self.notes.append(f"{experiment.name} {number} is being evaluated")
                continue
            if self._left <= 0:
                break
            version = self._version(experiment, model, number)
            if version is None or not arrivals.is_foreign(version):
                watched = arrivals.settled(watched, number)
            else:
                watched = self._undecided(watched, experiment, version, attempt, times=times)
        return watched

    def _undecided(
        self,
        watched: Watched,
        experiment: Experiment,
        version: RegistryVersion,
        attempt: Attempt | None,
        *,
        times: int,
    ) -> Watched:
        """No run evaluates it now: write down what the last one said, or ask for one."""
        name, number = experiment.name, version.version
        if attempt is not None and (attempt.refusal or times >= ATTEMPTS):
            reason = attempt.refusal or f"it could not be evaluated: {ATTEMPTS} runs failed"
            at = self._now.isoformat(timespec="seconds")
            refused = Decision("refused", reason, THE_GATES, at, attempt.run_id)
            self._registry.tag_version(version.name, number, refused.tags())
            return arrivals.settled(watched, number)
        # A request whose run is not there is made once more, under its own name.
        if attempt is not None or times == 0:
            times += 1
            watched = arrivals.asked(watched, number)
        key = f"{name}:adopt:{number}:{version.created_ms}:{times}"
        self.adoptions.append(Adoption(name, number, key))
        return watched

    def _version(
        self, experiment: Experiment, model: RegisteredModel, number: int
    ) -> RegistryVersion | None:
        """None when it was deleted."""
        if model.latest is not None and _is_latest(model, number):
            return model.latest
        self._left -= 1
        try:
            return self._registry.version(experiment.model_name, number)
        except AbsentError:
            return None


def _is_latest(model: RegisteredModel, number: int) -> bool:
    """Whether it came with the sweep, and costs no call."""
    return model.latest is not None and model.latest.version == number
