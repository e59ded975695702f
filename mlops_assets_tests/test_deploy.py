"""What is written for operators in `deploy/` is what a cluster and an account would take."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from mlops_assets import settings
from mlops_assets.commands.webhooks import leave
from mlops_assets.registry import waking
from mlops_assets_tests.peers import postgres

DEPLOY = Path(__file__).parent.parent / "deploy"
PACKAGE = DEPLOY.parent / "mlops_assets"
BASE = DEPLOY / "k8s" / "base"
EKS_VERSIONS = ("1.32", "1.35")
"""An older one and a current one."""
LOOKS = {"cloudwatch:DescribeAlarms", "ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}
"""Actions that AWS lets nobody restrict to a resource; a statement on all resources holds one."""


@pytest.fixture(scope="module", params=["base", "overlays/eks", "overlays/trial"])
def objects(request, tmp_path_factory) -> list[dict[str, Any]]:
    """Every object of a kustomization, as kubectl builds it."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    tree = tmp_path_factory.mktemp("k8s") / "k8s"
    shutil.copytree(DEPLOY / "k8s", tree)
    shutil.copy(
        tree / "overlays" / "eks" / "secrets.example.env", tree / "overlays" / "eks" / "secrets.env"
    )
    done = subprocess.run(
        ["kubectl", "kustomize", str(tree / request.param)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for found in objects:
        if found["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield found["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def test_a_current_cluster_takes_every_object(objects) -> None:
    import kubernetes_validate

    assert len(objects) > 20
    for found in objects:
        for version in EKS_VERSIONS:
            kubernetes_validate.validate(found, version, strict=True)


def test_pods_may_do_nothing_they_do_not_need(objects) -> None:
    seen = list(pods(objects))
    assert len(seen) >= 4
    for pod in seen:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]
            if container["image"].startswith("postgres"):
                continue
            assert context["readOnlyRootFilesystem"]
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_no_role_names_everything(objects) -> None:
    roles = [found for found in objects if found["kind"] in ("Role", "ClusterRole")]
    assert {role["metadata"]["name"] for role in roles} == {"mlops-launch", "mlops-deploy"}
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert "secrets" not in rule["resources"]


def test_pods_of_runs_and_steps_can_start_the_platforms_image() -> None:
    """Dagster gives them arguments alone, of which the first is the program."""
    recipe = (DEPLOY / "docker" / "platform.Dockerfile").read_text(encoding="utf-8")
    assert "ENTRYPOINT" not in recipe
    instance = yaml.safe_load((BASE / "config" / "dagster.yaml").read_text(encoding="utf-8"))
    assert "command" not in instance["run_launcher"]["config"]["run_k8s_config"]["container_config"]


def test_what_pods_refer_to_is_there(objects) -> None:
    there = {(found["kind"], found["metadata"]["name"]) for found in objects}
    there |= {("Secret", "mlops-secrets")}
    for pod in pods(objects):
        account = pod.get("serviceAccountName")
        assert account is None or ("ServiceAccount", account) in there
        for container in containers(pod):
            for source in container.get("envFrom", ()):
                for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                    if key in source:
                        assert (kind, source[key]["name"]) in there
        for volume in pod.get("volumes", ()):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there


def test_services_and_policies_select_pods_that_exist(objects) -> None:
    labels = [
        found["spec"]["template"]["metadata"]["labels"]
        for found in objects
        if found["kind"] in ("Deployment", "StatefulSet")
    ]

    def selects(selector: dict[str, str]) -> bool:
        return any(selector.items() <= found.items() for found in labels)

    for found in objects:
        if found["kind"] == "Service":
            assert selects(found["spec"]["selector"]), found["metadata"]["name"]
        elif found["kind"] == "NetworkPolicy":
            assert selects(found["spec"]["podSelector"]["matchLabels"]), found["metadata"]["name"]
        elif found["kind"] == "PodDisruptionBudget" and found["metadata"]["name"] != "runs":
            assert selects(found["spec"]["selector"]["matchLabels"])


def test_the_settings_are_ones_the_platform_reads() -> None:
    given = dict(
        line.split("=", 1)
        for line in (BASE / "config" / "settings.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    chosen = settings.load(given)
    assert chosen.executor == "kubernetes"
    assert chosen.data_url == "s3://change-me/data"
    assert chosen.tracking_uri == "http://mlflow:5000"


@pytest.mark.peer
def test_dagster_takes_its_instance_and_keeps_runs_in_postgresql(
    tmp_path, monkeypatch, postgresql
) -> None:
    """With the launcher left out, which would ask the cluster it runs in for credentials."""
    import dagster as dg
    from dagster._config import process_config
    from dagster_k8s import K8sRunLauncher

    content = yaml.safe_load((BASE / "config" / "dagster.yaml").read_text())
    for name in ("MLOPS_NAMESPACE", "MLOPS_PLATFORM_IMAGE", "MLOPS_IMAGE_PULL_POLICY"):
        monkeypatch.setenv(name, "IfNotPresent")
    launcher = content.pop("run_launcher")
    assert process_config(K8sRunLauncher.config_type(), launcher["config"]).errors is None
    postgresql.create("dagster")
    content["storage"]["postgres"]["postgres_db"]["port"] = postgresql.port
    monkeypatch.setenv("MLOPS_POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("MLOPS_POSTGRES_USER", postgres.USER)
    monkeypatch.setenv("MLOPS_POSTGRES_PASSWORD", postgres.PASSWORD)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(content))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert "postgres" in type(instance.run_storage).__module__
        assert instance.get_runs() == []
        leave(instance, "from another host")
        with dg.DagsterInstance.from_config(str(tmp_path)) as daemon:
            marks = daemon.daemon_cursor_storage.get_cursor_values({waking.KEY})
        assert marks == {waking.KEY: "from another host"}


def test_webserver_and_daemon_find_the_code_location() -> None:
    content = yaml.safe_load((BASE / "config" / "workspace.yaml").read_text())
    (entry,) = content["load_from"]
    server = entry["grpc_server"]
    services = list(yaml.safe_load_all((BASE / "code-location.yaml").read_text()))
    (service,) = [found for found in services if found["kind"] == "Service"]
    assert server["host"] == service["metadata"]["name"]
    assert server["port"] == service["spec"]["ports"][0]["port"]
    local = yaml.safe_load((DEPLOY.parent / "workspace.yaml").read_text())
    assert server["location_name"] == local["load_from"][0]["python_module"]["location_name"]


def test_helm_values_name_what_kustomize_makes() -> None:
    values = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    kustomized = yaml.safe_load((BASE / "config" / "dagster.yaml").read_text())["run_launcher"]
    assert [one["name"] for one in launcher["envConfigMaps"]] == (
        kustomized["config"]["env_config_maps"]
    )
    assert [one["name"] for one in launcher["envSecrets"]] == kustomized["config"]["env_secrets"]
    account = launcher["runK8sConfig"]["podSpecConfig"]["serviceAccountName"]
    assert account == kustomized["config"]["service_account_name"]


def policy_documents() -> dict[str, Any]:
    """By name, as a parser of the language reads them."""
    import hcl2

    documents: dict[str, Any] = {}
    for path in sorted((DEPLOY / "aws").glob("*.tf")):
        with path.open() as file:
            content = hcl2.load(file)
        for block in content.get("data", ()):
            for kind, found in block.items():
                if kind.strip('"') == "aws_iam_policy_document":
                    documents |= {name.strip('"'): document for name, document in found.items()}
    return documents


def asked_for(service: str, place: str) -> set[str]:
    """Actions behind the operations of a service that are named in this part of the package."""
    client = boto3.client(service, region_name="eu-west-1")
    operations = client.meta.method_to_api_mapping
    found = PACKAGE / place
    said = {
        node.value
        for path in ([found] if found.is_file() else found.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    prefix = service.removesuffix("-runtime")
    return {f"{prefix}:{operations[name]}" for name in said & operations.keys()}


def test_the_platform_may_do_what_its_targets_do_and_no_more() -> None:
    asked = {
        *asked_for("lambda", "deployment/aws_lambda"),
        *asked_for("sagemaker", "deployment/sagemaker"),
        *asked_for("sagemaker-runtime", "deployment/sagemaker"),
        *asked_for("cloudwatch", "deployment/sagemaker"),
        *asked_for("cloudwatch", "gateways/cloudwatch.py"),
        *asked_for("ecr", "gateways/images.py"),
    }
    # The action of an operation has another name, and tags are given when a function is made.
    asked = asked - {"lambda:Invoke"} | {"lambda:InvokeFunction", "lambda:TagResource"}
    allowed = {
        action.strip('"')
        for statement in policy_documents()["platform"]["statement"]
        for action in statement["actions"]
    }
    assert len(asked) > 30
    services = ("lambda:", "sagemaker:", "cloudwatch:", "ecr:")
    assert {one for one in allowed if one.startswith(services)} == asked


def test_terraform_is_well_formed_and_gives_no_right_on_everything() -> None:
    """Whether AWS's provider takes it was not seen here."""
    names = {path.stem for path in (DEPLOY / "aws").glob("*.tf")}
    documents = policy_documents()
    assert names == {"main", "roles", "alarms", "variables", "outputs"}
    assert len(documents) >= 8
    for name, document in documents.items():
        for statement in document.get("statement", ()):
            actions = {action.strip('"') for action in statement["actions"]}
            if statement.get("effect", "").strip('"') == "Deny":
                continue
            assert not [action for action in actions if "*" in action], name
            resources = [str(found).strip('"') for found in statement.get("resources", ())]
            if "*" in resources:
                assert actions & LOOKS, f"{name}: {actions} on everything"
