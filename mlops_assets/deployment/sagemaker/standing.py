"""How things stand on SageMaker for one experiment, and what a version of it would be there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mlops_assets.deployment.sagemaker import requests
from mlops_assets.deployment.sagemaker.account import Account, weights_of
from mlops_assets.deployment.sagemaker.requests import Json, Record
from mlops_assets.deployment.targets.base import Manifest, TargetError
from mlops_assets.gateways.records import Endpoint


@dataclass(frozen=True)
class Standing:
    """What was there when it was looked at."""

    account: Account
    experiment: str
    main: Json | None
    """The endpoint that callers ask."""
    record: Record | None
    """Of its configuration."""
    stable: Record | None
    """Of the stable version; None when there is none."""
    stopped: Record | None
    """Of the version that was stable when the endpoint was retired."""

    @classmethod
    def look(cls, account: Account, experiment: str, *, waits: bool) -> "Standing":
        """See what is there.

        Args:
            account: where.
            experiment: whose endpoint.
            waits: until nothing is being done to it.
        """
        name = requests.base(experiment)
        main = account.settled(name) if waits else account.endpoint(name)
        record = None if main is None else account.record(main["EndpointConfigName"])
        stable = record
        if record is not None and not record.since:
            stable = account.record(record.before)
        stopped = None
        if stable is None:
            stopped = account.record(requests.stopped(experiment))
        return cls(account, experiment, main, record, stable, stopped)

    @property
    def name(self) -> str:
        return requests.base(self.experiment)

    @property
    def current(self) -> str:
        """Configuration of the endpoint."""
        return "" if self.main is None else str(self.main["EndpointConfigName"])

    @property
    def stable_config(self) -> str:
        """Configuration of the stable version; empty when there is none."""
        if self.stable is None or self.record is None:
            return ""
        return self.current if self.record.since else self.record.before

    @property
    def shares(self) -> dict[str, float]:
        """Of the traffic, by variant."""
        weights = weights_of(self.main or {})
        total = sum(weights.values()) or 1.0
        return {name: weight / total for name, weight in weights.items()}

    @property
    def has_failed(self) -> bool:
        """Whether AWS lets the endpoint do nothing but go."""
        return self.main is not None and self.main["EndpointStatus"] == "Failed"

    def heed_kind(self, *, serverless: bool) -> None:
        """AWS makes no serverless endpoint out of one on instances, and cannot go back to one."""
        variants = (self.main or {}).get("ProductionVariants", [])
        if any(("CurrentServerlessConfig" in one) != serverless for one in variants):
            raise TargetError(
                f"{self.name} cannot change between instances and serverless: stop it first"
            )

    def bring_aside(self, config: str) -> None:
        """A candidate on an endpoint of its own, where nobody but us asks it."""
        name = requests.aside(self.experiment)
        found = self.account.settled(name)
        if found is not None and (
            found["EndpointStatus"] == "Failed" or found["EndpointConfigName"] != config
        ):
            self.account.delete(name)
        self.account.create(name, config, requests.owner(self.experiment))

    def place_of(self, version: int) -> tuple[str, str] | None:
        """Endpoint and variant of a version that is there, a candidate's before the stable's."""
        aside = requests.aside(self.experiment)
        for name, found in ((aside, self.account.endpoint(aside)), (self.name, self.main)):
            variants = list(weights_of(found or {}))
            for variant in (f"v{version}-new", f"v{version}"):
                if variant in variants:
                    return name, variant
            if found is not None and variants == [requests.ALONE]:
                record = self.account.record(found["EndpointConfigName"])
                if record is not None and record.version == version:
                    return name, requests.ALONE
        return None

    def version_of(self, variant: str) -> int | None:
        if self.record is None:
            return None
        if variant == requests.ALONE:
            return self.record.version
        return int(variant.removeprefix("v").removesuffix("-new"))

    def endpoint(self) -> Endpoint | None:
        """The same for the platform."""
        if (shown := self.stable or self.stopped) is None:
            return None
        state, detail, shares = "stopped", "", {}
        if self.stable is not None and self.main is not None:
            status = self.main["EndpointStatus"]
            good = status in ("InService", "Updating", "SystemUpdating", "RollingBack")
            state = "live" if good else "failed"
            reason = self.main.get("FailureReason", "")
            detail = "" if good else f"{status}: {reason}" if reason else status
            shares = {str(self.version_of(name)): part for name, part in self.shares.items()}
        return Endpoint(
            experiment=self.experiment,
            target="sagemaker",
            url=self.account.url(self.name),
            version=shown.version,
            bundle_digest=shown.bundle_digest,
            since=shown.since,
            previous_version=shown.previous,
            state=state,  # type: ignore[arg-type]
            detail=detail,
            traffic={} if shares.get(str(shown.version)) == 1.0 else shares,
        )

    def stop(self) -> None:
        """End everything, and note what was stable."""
        if self.stable is not None:
            self._note_stopped(self.stable)
        self.account.delete(self.name)
        self.clear(keep="")

    def clear(self, keep: str) -> None:
        """Leave nothing but the endpoint, and what it needs with this configuration."""
        self.account.delete(requests.aside(self.experiment))
        self.account.clear(self.experiment, self.name, {keep})

    def forget_stopped(self) -> None:
        self.account.delete_config(requests.stopped(self.experiment))

    def _note_stopped(self, stable: Record) -> None:
        name = requests.stopped(self.experiment)
        before = self.account.record(name)
        if before == stable:
            return
        if before is not None:
            self.account.delete_config(name)
        config = self.account.config(self.stable_config)
        if config is None:
            raise TargetError(f"the endpoint configuration {self.stable_config} is gone")
        # A configuration costs nothing, and outlives what it describes.
        self.account.ensure_config(
            {
                "EndpointConfigName": name,
                "ProductionVariants": config["ProductionVariants"],
                "Tags": [*requests.owner(self.experiment), *stable.tags()],
            }
        )


class Wanted:
    """A version to be, beside or instead of what is there."""

    def __init__(
        self, manifest: Manifest, standing: Standing, environment: Mapping[str, str]
    ) -> None:
        self.manifest = manifest
        self._standing = standing
        self._environment = environment
        version = manifest["version"]
        self.fingerprint = requests.fingerprint(manifest, environment)
        named = (manifest["experiment"], version, self.fingerprint)
        self.alone = requests.alone(*named)
        self.beside = requests.beside(*named, standing.stable_config)
        last = standing.stable or standing.stopped
        previous = None
        if last is not None:
            previous = last.previous if last.version == version else last.version
        before = "" if standing.stable_config == self.alone else standing.stable_config
        self.record = Record(
            version=version,
            bundle_digest=manifest["bundle_digest"],
            fingerprint=self.fingerprint,
            since="",
            previous=previous,
            before=before,
        )

    @property
    def is_current(self) -> bool:
        return self._standing.current == self.alone

    @property
    def is_stable(self) -> bool:
        stable = self._standing.stable
        return stable is not None and stable.fingerprint == self.fingerprint

    def make_model(self) -> None:
        request = requests.model(self.manifest, self.alone, self._environment)
        self._standing.account.ensure_model(request)

    def make_alone(self) -> str:
        """Its configuration without any other version."""
        account, standing = self._standing.account, self._standing
        if self.alone not in (standing.current, standing.stable_config):
            found = account.record(self.alone)
            if found is not None and found != self.record:  # of another time
                account.delete_config(self.alone)
        variants = [requests.variant(self.manifest, self.alone)]
        account.ensure_config(requests.config(self.manifest, self.alone, variants, self.record))
        return self.alone

    def make_beside(self) -> str:
        """Its configuration together with the stable version, which has all of the traffic."""
        request = requests.config(self.manifest, self.beside, self._pair(), self.record)
        self._standing.account.ensure_config(request)
        return self.beside

    def weights(self, share: float) -> dict[str, float]:
        """Of the variants, when it is to have that share of the traffic."""
        stable, candidate = (one["VariantName"] for one in self._pair())
        return {stable: round(1 - share, 4), candidate: round(share, 4)}

    def settle(self, now: datetime) -> None:
        """Let its configuration say that it is stable."""
        account = self._standing.account
        found = account.record(self.alone) or self.record
        if not found.since:
            since = now.isoformat(timespec="seconds")
            account.note(self.alone, replace(found, since=since, before=""))

    def _pair(self) -> list[Json]:
        standing = self._standing
        config = standing.account.config(standing.stable_config)
        if config is None or standing.stable is None:
            raise TargetError(f"the endpoint configuration {standing.stable_config!r} is gone")
        (stable,) = config["ProductionVariants"]
        candidate = requests.variant(self.manifest, self.alone)
        return requests.pair(stable, standing.stable.version, candidate)
