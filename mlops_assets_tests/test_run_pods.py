"""An experiment trained in pods: a run by the launcher for Kubernetes, its steps by its executor.

The instance is the one of `deploy/k8s`, changed only where this machine differs from a cluster in
production: pods use the machine's network and its Python, by mounts, for there is no registry. With
the name of an image in PLATFORM_IMAGE, that `make platform-image` built, its own Python is used.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.peers import postgres, s3
from mlops_assets_tests.peers.containers import BASE, Containers
from mlops_assets_tests.peers.kubernetes import Cluster
from mlops_assets_tests.peers.postgres import Postgres

pytestmark = [pytest.mark.cluster, pytest.mark.peer]

ROOT = Path(__file__).parent.parent
INSTANCE = ROOT / "deploy" / "k8s" / "base" / "config" / "dagster.yaml"
IMAGE = os.environ.get("PLATFORM_IMAGE", "")
MOUNTED = () if IMAGE else (ROOT, sys.prefix, sys.base_prefix)
FOLDERS = sorted({str(Path(folder).resolve()) for folder in MOUNTED})
PATIENCE = 420


def instance(cluster: Cluster, namespace: str, database: int, folder: Path) -> dict[str, Any]:
    """Dagster's instance as operators get it, on this machine."""
    content: dict[str, Any] = yaml.safe_load(INSTANCE.read_text())
    content["storage"]["postgres"]["postgres_db"]["port"] = database
    # The daemon, which there is none of here, would take runs from the queue.
    content.pop("concurrency")
    content["run_coordinator"] = {
        "module": "dagster._core.run_coordinator",
        "class": "DefaultRunCoordinator",
    }
    config = content["run_launcher"]["config"]
    config |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.kubeconfig),
        "dagster_home": str(folder / "home"),
        "image_pull_policy": "Never",
        "service_account_name": "default",
    }
    pods = config["run_k8s_config"]
    mounted = [*FOLDERS, str(folder), str(cluster.kubeconfig.parent)]
    pods["pod_spec_config"] |= {
        "host_network": True,
        "security_context": {"run_as_user": os.getuid()},
        "volumes": [
            {"name": "scratch", "empty_dir": {}},
            *(
                {"name": f"machine-{index}", "host_path": {"path": path}}
                for index, path in enumerate(mounted)
            ),
        ],
    }
    pods["container_config"]["volume_mounts"] = [
        {"name": "scratch", "mount_path": "/tmp"},
        *({"name": f"machine-{index}", "mount_path": path} for index, path in enumerate(mounted)),
    ]
    pods["container_config"]["resources"] = {"requests": {"cpu": "10m", "memory": "64Mi"}}
    return content


def test_a_run_and_its_steps_are_pods_and_end_with_a_registered_version(
    node: Cluster,
    containers: Containers,
    postgresql: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if node.importer[0] == "kind":
        pytest.skip("pods of kind do not see the files of this machine")
    folder = tmp_path_factory.mktemp("pods")
    node.load(containers.save(IMAGE or BASE, folder / "image.tar"))
    with s3.running() as store, node.namespace("runs") as namespace:
        store.create_bucket("pods")
        for name in ("dagster", "mlflow", "optuna"):
            url = postgresql.create(name).replace("postgresql://", "postgresql+psycopg2://")
        server = url.removesuffix("optuna")
        variables = {
            "MLOPS_ROOT": str(folder),
            "MLOPS_HOME": "/tmp/mlops",
            "MLOPS_EXECUTOR": "kubernetes",
            "MLOPS_NAMESPACE": namespace,
            "MLOPS_PLATFORM_IMAGE": IMAGE or f"docker.io/library/{BASE}",
            "MLOPS_IMAGE_PULL_POLICY": "Never",
            "MLOPS_DATA_URL": "s3://pods/data",
            "MLOPS_S3_ENDPOINT_URL": store.endpoint,
            "MLFLOW_S3_ENDPOINT_URL": store.endpoint,
            "MLFLOW_TRACKING_URI": f"{server}mlflow",
            "MLOPS_ARTIFACTS_URL": "s3://pods/mlflow",
            "MLOPS_STUDY_URL": f"{server}optuna",
            "MLOPS_POSTGRES_HOST": "127.0.0.1",
            "MLOPS_POSTGRES_USER": postgres.USER,
            "AWS_DEFAULT_REGION": s3.REGION,
            "DAGSTER_HOME": str(folder / "home"),
        }
        secrets = {
            "MLOPS_POSTGRES_PASSWORD": postgres.PASSWORD,
            "postgresql-password": postgres.PASSWORD,
            "AWS_ACCESS_KEY_ID": s3.KEY,
            "AWS_SECRET_ACCESS_KEY": s3.SECRET,
        }
        path = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        own = {} if IMAGE else {"PYTHONPATH": str(ROOT), "PATH": path}
        content = yaml.safe_dump(instance(node, namespace, postgresql.port, folder))
        (folder / "home").mkdir()
        (folder / "home" / "dagster.yaml").write_text(content)
        node.apply(
            config_map("mlops-dagster", {"dagster.yaml": content}, namespace),
            config_map("mlops-settings", {**variables, **own}, namespace),
            {**config_map("mlops-secrets", {}, namespace), "kind": "Secret", "stringData": secrets},
        )
        project = Project(folder, tuple({**variables, **secrets}.items()))
        project.write(CHURN)
        launched = subprocess.run(
            [
                *(sys.executable, "-m", "dagster", "job", "launch", "-j", "churn__retrain"),
                *("-m", "mlops_assets.definitions"),
            ],
            cwd=folder,
            env={**project.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert launched.returncode == 0, launched.stderr[-2000:]
        jobs = client.BatchV1Api(node.api)
        ended = awaited(jobs, node, namespace)
        steps = {job.metadata.labels.get("dagster/op") for job in ended} - {None}
        assert {job.status.succeeded for job in ended} == {1}
        assert "churn__trained_model" in steps
        assert len(steps) == 9, steps  # eight assets, and the gates before registration
        (version,) = project.registry.client.search_model_versions("name = 'churn'")
        assert "mlops.bundle_digest" in version.tags


def config_map(name: str, data: dict[str, str], namespace: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def awaited(jobs: Any, cluster: Cluster, namespace: str) -> list[Any]:
    """All Jobs of the namespace, once each has ended; a step's may be told after the run's own."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = jobs.list_namespaced_job(namespace).items
        runs = [job for job in found if job.metadata.name.startswith("dagster-run")]
        if runs and all(job.status.succeeded or job.status.failed for job in found):
            logs = cluster.kubectl("logs", f"job/{runs[0].metadata.name}", f"-n={namespace}")
            assert "RUN_SUCCESS" in logs, logs[-3000:] + standing(cluster, namespace)
            return list(found)
        time.sleep(1)
    raise AssertionError(f"not within {PATIENCE} s:\n{standing(cluster, namespace)}")


def standing(cluster: Cluster, namespace: str) -> str:
    return cluster.kubectl("describe", "pods", f"-n={namespace}")[-3000:]
