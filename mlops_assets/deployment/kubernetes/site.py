"""How versions of one endpoint come and go on Kubernetes.

A version's pods never change: what has the traffic is what the Service selects, one release or all
of them, and how many pods each has; or, with a Gateway, the weights of an HTTPRoute.
"""

import logging
from dataclasses import replace
from typing import Any

from mlops_assets.deployment.kubernetes import objects, trouble
from mlops_assets.deployment.kubernetes.objects import VERSION, Naming
from mlops_assets.deployment.kubernetes.standing import Record, Standing
from mlops_assets.deployment.targets.base import (
    LostError,
    Manifest,
    TargetContext,
    TargetError,
)
from mlops_assets.gateways.kubernetes import Cluster
from mlops_assets.gateways.records import Endpoint

Json = dict[str, Any]

LOG = logging.getLogger(__name__)
AFTERWARDS = ("Service", "ServiceMonitor", "HTTPRoute", "HorizontalPodAutoscaler")
"""Kinds that a version gets when it has the traffic."""
REMOVAL_S = 120.0


class Site:
    """One endpoint in its namespace."""

    def __init__(
        self, cluster: Cluster, naming: Naming, context: TargetContext, *, drain_s: float
    ) -> None:
        self._cluster = cluster
        self._naming = naming
        self._drain_s = drain_s
        self.standing = Standing(cluster, naming, context)

    def bring_up(self, manifest: Manifest) -> None:
        """The candidate with one pod, or with as many as it has already."""
        release, name = manifest["release"], manifest["name"]
        stable, there = self._beside(manifest), self.standing.deployments()
        kept = {release, stable.release if stable else release}
        if set(there) - kept:
            # Of a candidate that nobody remembers.
            self._remove(lambda other: other is not None and other not in kept)
        replicas = there[release]["spec"]["replicas"] if release in there else 1
        for one in manifest["objects"]:
            if one["kind"] == "Deployment":
                one = {**one, "spec": {**one["spec"], "replicas": replicas}}
            if one["kind"] not in AFTERWARDS or one["metadata"]["name"] == name:
                self._apply(one, unless="HorizontalPodAutoscaler")
        timeout = manifest["startup_timeout_s"]
        self.standing.await_ready(name, release, max(replicas, 1), timeout)

    def shift(self, manifest: Manifest, share: float) -> float:
        """See `Target.shift`. The stable version keeps its pods."""
        stable = self._beside(manifest)
        if share <= 0:
            if stable is not None:
                self._give_back(manifest, stable)
                self.standing.scale(manifest["name"], 1)
            return 0.0
        there = self.standing.deployments()
        if manifest["release"] not in there:
            raise TargetError(f"{manifest['name']} is not there; deploy again")
        beside = _replicas(there, stable.release if stable else manifest["release"])
        full = _full(manifest, beside)
        if stable is None or share >= 1:
            self._grow(manifest, full)
            return self._take_all(manifest)
        if _of_kind(manifest, "HTTPRoute") is not None:
            self._grow(manifest, full)
            return self._weigh(manifest, stable, share)
        wanted = min(full, max(1, round(share * beside / (1 - share))))
        self._grow(manifest, wanted)
        self.standing.select(manifest["release"], [stable.release])
        return wanted / (wanted + beside)

    def _grow(self, manifest: Manifest, replicas: int) -> None:
        name, timeout = manifest["name"], manifest["startup_timeout_s"]
        self.standing.scale(name, replicas)
        self.standing.await_ready(name, manifest["release"], replicas, timeout)

    def _take_all(self, manifest: Manifest) -> float:
        if self.standing.selected() is None:
            self._apply(_required(manifest, "Service"))
        self.standing.select(manifest["release"])
        route = _of_kind(manifest, "HTTPRoute")
        if route is not None:
            self._apply(route)
        return 1.0

    def _weigh(self, manifest: Manifest, stable: Record, share: float) -> float:
        """By weights; the Service for callers that do not come by the Gateway stays as it is."""
        route, percent = _required(manifest, "HTTPRoute"), round(share * 100)
        old = self._naming.of(stable.version, stable.release)
        service = next(
            one for one in manifest["objects"]
            if (one["kind"], one["metadata"]["name"]) == ("Service", manifest["name"])
        )  # fmt: skip
        # The stable version has none yet where the Gateway is new.
        self._apply(objects.renamed(service, old, stable.version, stable.release))
        weights = {manifest["name"]: percent, old: 100 - percent}
        self._apply(objects.weighed(route, weights))
        return percent / 100

    def _give_back(self, manifest: Manifest, stable: Record) -> None:
        route = _of_kind(manifest, "HTTPRoute")
        if route is not None and self._weights():
            old = self._naming.of(stable.version, stable.release)
            self._apply(objects.weighed(route, {old: 100}))
        self.standing.select(stable.release)

    def _leave(self, going: set[str]) -> None:
        """Whatever goes is there until a Gateway's data plane has heard that the route leads
        elsewhere; of a Service pods hear it themselves."""
        if going and self._weights():
            self.standing.context.sleep(self._drain_s)

    def _weights(self) -> dict[str, int]:
        """Of the HTTPRoute, by Service; empty without one."""
        if self._cluster.version_of("HTTPRoute") is None:
            return {}
        route = self._cluster.get("HTTPRoute", self._naming.endpoint)
        rules = route["spec"]["rules"] if route else []
        return {one["name"]: one["weight"] for rule in rules for one in rule["backendRefs"]}

    def settle(self, manifest: Manifest) -> None:
        """See `Target.settle`."""
        release, before = manifest["release"], self.standing.record()
        if self.standing.selected() != release:
            raise LostError(f"{manifest['name']} does not have the traffic that is to be settled")
        if before is None or before.release != release or before.state != "live":
            for one in manifest["objects"]:
                if one["kind"] in AFTERWARDS:
                    self._apply(one)
            previous = before.version if before else None
            if before and previous == manifest["version"]:
                previous = before.previous
            self.standing.write(
                Record(
                    version=manifest["version"],
                    release=release,
                    bundle_digest=manifest["bundle_digest"],
                    previous=previous,
                    since=self.standing.context.now().isoformat(timespec="seconds"),
                    url=manifest["url"],
                    state="live",
                )
            )
        for kind in objects.SHARED:
            if _of_kind(manifest, kind) is None and self._cluster.version_of(kind) is not None:
                self._cluster.delete(kind, self._naming.endpoint)
        self._leave({*self.standing.deployments()} - {release})
        self._remove(lambda other: other not in (None, release))

    def roll_back(self, manifest: Manifest) -> None:
        """See `Target.rollback`."""
        record, release = self.standing.record(), manifest["release"]
        live = record is not None and record.state == "live"
        if record is not None and live and record.release == release:
            return
        if record is not None and live:
            if self.standing.selected() is not None:
                self._give_back(manifest, record)
            self._leave({*self.standing.deployments()} & {release})
            self._remove(lambda other: other == release)
        else:
            self._remove(lambda _: True)

    def retire(self) -> None:
        """See `Target.retire`."""
        record = self.standing.record()
        if record is not None and record.state == "live":
            self.standing.write(replace(record, state="stopped"))
        self._remove(lambda _: True)

    def observe(self) -> Endpoint | None:
        record = self.standing.record()
        if record is None:
            return None
        state, detail, traffic = "stopped", "", {}
        if record.state == "live":
            detail = self._fault(record)
            state = "failed" if detail else "live"
            traffic = self._traffic(record)
        return Endpoint(
            experiment=self._naming.experiment,
            target="kubernetes",
            url=record.url,
            version=record.version,
            bundle_digest=record.bundle_digest,
            since=record.since,
            previous_version=record.previous,
            state=state,  # type: ignore[arg-type]
            detail=detail,
            traffic=traffic,
        )

    def serves(self, manifest: Manifest) -> bool:
        """Whether exactly this has all of the traffic, settled and healthy."""
        standing, record, release = self.standing, self.standing.record(), manifest["release"]
        if record is None or (record.release, record.state) != (release, "live"):
            return False
        there = standing.deployments()
        if standing.selected() != release or set(there) != {release} or self._fault(record):
            return False
        settings = self._cluster.get("ConfigMap", manifest["name"])
        image = _image(there[release])
        wanted = _required(manifest, "ConfigMap")["data"]
        return (
            settings is not None
            and settings.get("data") == wanted
            and image == _image(_required(manifest, "Deployment"))
        )

    def _beside(self, manifest: Manifest) -> Record | None:
        """What is live, unless it is this manifest itself."""
        record = self.standing.record()
        if record is None or record.state != "live" or record.release == manifest["release"]:
            return None
        return record

    def _fault(self, record: Record) -> str:
        """Why what was settled does not answer; empty when it does."""
        if self.standing.selected() is None:
            return "its Service is gone; deploy again"
        pods = self.standing.pods(record.release)
        if any(map(trouble.is_ready, pods)):
            return ""
        return f"no pod of it is ready: {trouble.state(pods[0])}" if pods else "it has no pods"

    def _traffic(self, record: Record) -> dict[str, float]:
        """Shares by version while the one that is settled has not all of it."""
        there = self.standing.deployments()
        version = {one["metadata"]["name"]: _version(one) for one in there.values()}
        shares: dict[str, float] = {}
        for name, weight in self._weights().items():
            found = version.get(name, "gone")
            shares[found] = shares.get(found, 0.0) + weight / 100
        if not shares:
            selected = self.standing.selected()
            counts = {
                release: one.get("status", {}).get("readyReplicas", 0)
                for release, one in there.items()
                if selected in ("", release)
            }
            total = sum(counts.values()) or 1
            for release, count in counts.items():
                found = _version(there[release])
                shares[found] = shares.get(found, 0.0) + count / total
        shares = {found: share for found, share in shares.items() if share > 0}
        return {} if set(shares) <= {str(record.version)} else shares

    def _apply(self, one: Json, unless: str = "") -> None:
        if one["kind"] == unless:
            return
        if self._cluster.version_of(one["kind"]) is None:
            LOG.info("%s is left out: this cluster serves none", one["kind"])
            return
        self._cluster.apply(one)

    def _remove(self, going: Any) -> None:
        self.standing.remove(going, REMOVAL_S)


def _of_kind(manifest: Manifest, kind: str) -> Json | None:
    return next((one for one in manifest["objects"] if one["kind"] == kind), None)


def _required(manifest: Manifest, kind: str) -> Json:
    found = _of_kind(manifest, kind)
    if found is None:
        raise TargetError(f"the manifest of {manifest['name']} holds no {kind}")
    return found


def _replicas(there: dict[str, Json], release: str) -> int:
    return int(there[release]["spec"]["replicas"]) if release in there else 0


def _full(manifest: Manifest, beside: int) -> int:
    """How many pods take all of the traffic: as many as do now, where that follows the load."""
    least, most = manifest["replicas"]
    return int(min(most, max(least, beside)))


def _version(deployment: Json) -> str:
    return str(deployment["metadata"]["labels"][VERSION])


def _image(deployment: Json) -> str:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["image"])
