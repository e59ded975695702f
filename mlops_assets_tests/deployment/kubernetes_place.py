"""Where tests of the Kubernetes target deploy to: a namespace, a store its pods reach, bundles."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from mlops_assets.deployment import releases
from mlops_assets.deployment.targets.base import Release, TargetContext
from mlops_assets.deployment.targets.kubernetes import Kubernetes
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.deployment.deployer import Deployer
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.peers import s3 as s3_peer
from mlops_assets_tests.peers.kubernetes import Cluster

SECRET = "store"
ACCESS = Path(__file__).parents[2] / "deploy" / "k8s" / "base" / "access.yaml"
ACCOUNT = "mlops-runs"


@contextmanager
def store_for_pods(node: Cluster, image: str) -> Iterator[s3_peer.S3]:
    """An S3 at the address that the node's pods have for this machine, and nobody outside it."""
    with s3_peer.running(node.machine or _bridge(node, image)) as s3:
        s3.create_bucket("models")
        yield s3


def _bridge(node: Cluster, image: str) -> str:
    """The address of the bridge between the pods of the node, which is made with the first one."""
    with node.namespace("bridge", wait=False) as name:
        container = {"name": "pause", "image": image, "command": ["sleep", "60"]}
        node.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "first", "namespace": name},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            }
        )
        asked = ("get", "pod", "first", f"-n={name}", "-o=jsonpath={.status.podIP}")
        address: str = until(lambda: node.kubectl(*asked), 60)
    return f"{address.rpartition('.')[0]}.1"


@dataclass(kw_only=True)
class Place(Deployer):
    """One namespace, and whoever deploys there."""

    cluster: Cluster
    kubeconfig: Path
    """Of whoever deploys."""
    namespace: str
    store: s3_peer.S3 | None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def context(self) -> TargetContext:
        return TargetContext(
            state=self.root / "state",
            environment={"A_TOKEN": TargetContract.SECRET},
            variables={"KUBECONFIG": str(self.kubeconfig)},
            now=lambda: datetime.now(UTC),
            sleep=time.sleep,
        )

    def target(self, **more: Any) -> Kubernetes:
        given = {
            "kind": "kubernetes",
            "namespace": self.namespace,
            "cpu": "20m",
            "memory": "64Mi",
            "memory_limit": "512Mi",
            "replicas": 1,
            "drain_s": 2,
            "startup_timeout_s": 60,
            **self.settings,
        }
        return Kubernetes(**{**given, **more})

    def release(self, built: Built, version: int) -> Release:
        url = f"s3://models/bundles/{built.digest}.tar.gz"
        if self.store is not None:
            store = DataStore("s3://models", self.store.storage_options)
            url = releases.archive(store, releases.Fetched(version, built.folder, built.digest))
        return Release("churn", version, built.digest, url, Recording("s3://models/profiles", 3600))

    def names(
        self, kinds: str = "deployment,service,configmap,hpa,pdb,networkpolicy,sa"
    ) -> set[str]:
        """Everything of the endpoint, as `kind/name`."""
        asked = ("get", kinds, f"-n={self.namespace}", "-l=mlops/endpoint", "-o=name")
        return set(self.cluster.kubectl(*asked).split())


@contextmanager
def place(cluster: Cluster, root: Path, store: s3_peer.S3 | None, image: str) -> Iterator[Place]:
    # Pods that are played go only while they are.
    with cluster.namespace("churn", wait=store is None) as namespace:
        settings: dict[str, Any] = {"image": image}
        if store is not None:
            keys = {"AWS_ACCESS_KEY_ID": s3_peer.KEY, "AWS_SECRET_ACCESS_KEY": s3_peer.SECRET}
            cluster.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": SECRET, "namespace": namespace},
                    "stringData": keys,
                }
            )
            settings |= {
                "environment_secret": SECRET,
                "environment": {
                    "AWS_ENDPOINT_URL": store.endpoint,
                    "AWS_DEFAULT_REGION": s3_peer.REGION,
                },
            }
        yield Place(
            root=root,
            cluster=cluster,
            kubeconfig=_as_runs(cluster, namespace, root),
            namespace=namespace,
            store=store,
            settings=settings,
        )


def _as_runs(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """The kubeconfig of whoever may do in the namespace what runs may, and nothing else."""
    granted = [
        {**one, "metadata": {**one["metadata"], "namespace": namespace}}
        for one in yaml.safe_load_all(ACCESS.read_text(encoding="utf-8"))
        if one["metadata"]["name"] in (ACCOUNT, "mlops-deploy")
    ]
    cluster.apply(*granted)
    return cluster.kubeconfig_of(ACCOUNT, namespace, folder / "kubeconfig")
