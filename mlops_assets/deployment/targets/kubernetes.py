"""Deployments behind a Service of a Kubernetes cluster, EKS for instance."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mlops_assets.deployment import exposition
from mlops_assets.deployment.kubernetes import asking, objects
from mlops_assets.deployment.kubernetes.objects import Naming
from mlops_assets.deployment.kubernetes.site import Site
from mlops_assets.deployment.targets.base import (
    Counts,
    Manifest,
    Release,
    Target,
    TargetContext,
    TargetError,
)
from mlops_assets.experiment.spec import Spec
from mlops_assets.gateways.kubernetes import Cluster, ClusterError, Send, connect
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving.client import Answer

Cpu = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+|m)?$")]
Memory = Annotated[str, Field(pattern=r"^[0-9]+(Ki|Mi|Gi|k|M|G)$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Autoscaling(Spec):
    """How many pods there are, by their load. Needs the cluster's metrics server."""

    min: int = Field(default=2, ge=1, le=1000)
    """Pods at least."""
    max: int = Field(ge=1, le=1000)
    """Pods at most."""
    target_cpu_percent: int = Field(default=70, ge=1, le=100)
    """Percent of the requested CPU that pods are kept at."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        return self


class Kubernetes(Target):
    """Pods of the serving image behind a Service; versions share the traffic by their pods, or by
    the weights of a Gateway."""

    kind: Literal["kubernetes"]
    """`kubernetes`."""
    namespace: Name = "mlops"
    """Namespace of everything that is made; it has to be there."""
    context: str | None = None
    """Context of the kubeconfig; its current one by default. Not asked inside a cluster."""
    image: str = Field(pattern=r"^[^\s]+$", max_length=500)
    """The serving image (`make image`), where nodes can pull it."""
    replicas: int = Field(default=2, ge=1, le=1000)
    """Pods of the version that has the traffic. Does not count with `autoscaling`."""
    autoscaling: Autoscaling | None = None
    """How many pods there are, by their load; a fixed number by default."""
    cpu: Cpu = "500m"
    """CPU each pod is guaranteed: `500m`, `2`."""
    cpu_limit: Cpu | None = None
    """CPU each pod is held to; what the node has to spare by default."""
    memory: Memory = "512Mi"
    """Memory each pod is guaranteed: `512Mi`, `2Gi`."""
    memory_limit: Memory | None = None
    """Memory at which a pod is ended; `memory` by default."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer in a pod; each holds the model in memory."""
    max_rows: int = Field(default=10_000, ge=1)
    """Rows a single request may hold; more are answered with 413."""
    max_body_mb: float = Field(default=10.0, gt=0, le=1000)
    """Megabytes a request's body may hold; more are answered with 413."""
    max_in_flight: int = Field(default=64, ge=1)
    """Requests a worker answers or keeps waiting at the same time; more are answered with 503."""
    port: int = Field(default=8080, ge=1024, le=65_000)
    """Port of the pods."""
    service_port: int = Field(default=80, ge=1, le=65535)
    """Port of the Service."""
    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Who reaches the Service: pods of the cluster, or others as well."""
    service_annotations: dict[str, str] = Field(default={})
    """Annotations of the Service, for its load balancer."""
    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+[^\s]*$")
    """How callers reach the endpoint; the Service's name in the cluster by default."""
    gateway: Name | None = None
    """A Gateway of the namespace: versions share the traffic by weights of an HTTPRoute."""
    hostnames: tuple[str, ...] = ()
    """Host names of that HTTPRoute; any by default."""
    service_account_annotations: dict[str, str] = Field(default={})
    """Annotations of the pods' service account, as `eks.amazonaws.com/role-arn`: the IAM role with
    which they read bundles and write profiles."""
    node_selector: dict[str, str] = Field(default={})
    """Labels of the nodes that may run the pods."""
    tolerations: tuple[dict[str, Any], ...] = ()
    """Taints of nodes the pods put up with, as Kubernetes writes them."""
    host_network: bool = False
    """Pods share their node's network, where there is none for pods. Each listens on `port` and
    its version's last two digits, so that a node holds one pod of a version."""
    environment: dict[Variable, str] = Field(default={})
    """Variables of the pods, as `AWS_DEFAULT_REGION`; nothing secret."""
    environment_secret: str | None = None
    """A Secret of the namespace whose entries are variables of the pods."""
    key_secret: str | None = None
    """The Secret of the namespace whose entry named like `key_env` holds the callers' keys."""
    startup_timeout_s: float = Field(default=300.0, ge=1, le=3600)
    """Seconds a pod has to be scheduled, pull the image, load the bundle and be ready."""
    drain_s: float = Field(default=10.0, ge=0, le=600)
    """Seconds a pod still answers after the Service, or the Gateway's route, has left it, until
    everybody knows."""

    splits: ClassVar[bool] = True
    needs_archive: ClassVar[bool] = True
    tells: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.key_env is None) != (self.key_secret is None):
            raise ValueError(
                "key_env and key_secret go together: where the keys are, here and there"
            )
        return self

    def render(self, release: Release, context: TargetContext) -> Manifest:
        for url in (release.archive_url, release.recording.profiles_url, release.recording.log_url):
            if url is not None and ("://" not in url or url.startswith("file:")):
                raise TargetError(
                    "pods reach no folder of this machine: set MLOPS_DATA_URL to a store that they "
                    f"reach as well, as s3://bucket/folder ({release.experiment} is in a folder)"
                )
        name, made = objects.render(self, release)
        naming = Naming(release.experiment)
        port = "" if self.service_port == 80 else f":{self.service_port}"
        scaled = self.autoscaling
        return {
            "experiment": release.experiment,
            "version": release.version,
            "bundle_digest": release.bundle_digest,
            "release": name,
            "name": naming.of(release.version, name),
            "namespace": self.namespace,
            "url": self.url or f"http://{naming.endpoint}.{self.namespace}.svc{port}",
            "replicas": [scaled.min, scaled.max] if scaled else [self.replicas, self.replicas],
            "startup_timeout_s": self.startup_timeout_s,
            "objects": made,
        }

    def apply(self, manifest: Manifest, bundle: Path, context: TargetContext) -> None:
        self.key(context)
        with self._site(manifest, context) as site:
            site.bring_up(manifest)

    def ask(
        self,
        experiment: str,
        version: int,
        records: Sequence[Mapping[str, Any]],
        context: TargetContext,
    ) -> Answer:
        key = self.key(context)
        with self._at(experiment, self.namespace, context) as site:
            return asking.ask(site.standing, version, records, key)

    def shift(self, manifest: Manifest, share: float, context: TargetContext) -> float:
        with self._site(manifest, context) as site:
            return site.shift(manifest, share)

    def settle(self, manifest: Manifest, context: TargetContext) -> Endpoint:
        with self._site(manifest, context) as site:
            site.settle(manifest)
            return _there(site)

    def rollback(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        with self._site(manifest, context) as site:
            site.roll_back(manifest)
            return site.observe()

    def measure(self, experiment: str, slower_than: float, context: TargetContext) -> Counts:
        with self._at(experiment, self.namespace, context) as site:
            texts = asking.metrics(site.standing)
        try:
            return {
                version: {
                    pod: exposition.read(text, slower_than=slower_than)
                    for pod, text in found.items()
                }
                for version, found in texts.items()
            }
        except ValueError as error:
            raise TargetError(f"{experiment} does not tell its metrics: {error}") from error

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        with self._at(experiment, self.namespace, context) as site:
            return site.observe()

    def serves(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        with self._site(manifest, context) as site:
            return site.observe() if site.serves(manifest) else None

    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        with self._at(experiment, self.namespace, context) as site:
            site.retire()
            return site.observe()

    def connection(self, context: TargetContext) -> Send:
        """Calls to the cluster.

        Raises:
            ClusterError: there is none.
        """
        return connect(context.variables, self.context)

    def _site(self, manifest: Manifest, context: TargetContext) -> AbstractContextManager[Site]:
        return self._at(manifest["experiment"], manifest["namespace"], context)

    @contextmanager
    def _at(self, experiment: str, namespace: str, context: TargetContext) -> Iterator[Site]:
        try:
            cluster = Cluster(self.connection(context), namespace, context.sleep)
            yield Site(cluster, Naming(experiment), context, drain_s=self.drain_s)
        except ClusterError as error:
            raise TargetError(f"{experiment} in namespace {namespace}: {error}") from error


def _there(site: Site) -> Endpoint:
    found = site.observe()
    if found is None:
        raise TargetError("the record of what serves is gone; somebody removed it meanwhile")
    return found
