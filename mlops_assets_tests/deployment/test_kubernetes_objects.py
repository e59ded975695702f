"""What the Kubernetes target renders: valid on a current cluster, restricted, and consistent.

`MANIFEST_WRITE=1 pytest mlops_assets_tests/deployment/test_kubernetes_objects.py` writes
deploy/k8s/model-serving.yaml again.
"""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from mlops_assets.deployment.kubernetes import objects
from mlops_assets.deployment.kubernetes.objects import Naming
from mlops_assets.deployment.targets.base import Release, TargetContext, TargetError
from mlops_assets.deployment.targets.kubernetes import Autoscaling, Kubernetes
from mlops_assets.serving.recording import Recording

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "deploy" / "k8s" / "model-serving.yaml"
HEAD = """\
# The objects of one version of an endpoint, as the target `kubernetes` makes them: the same code
# wrote this file. To try it by hand, put your image and bundle in, and apply it.
"""
VERSIONS = ("1.28", "1.35")
RELEASE = Release(
    "churn_risk",
    7,
    "5667ea" + "0" * 58,
    "s3://models/bundles/5667ea.tar.gz",
    Recording("s3://models/churn_risk/profiles/7/kubernetes", 3600),
)
CONTEXT = TargetContext(
    Path("state"), {"A": "secret"}, {}, lambda: datetime.now(UTC), lambda _: None
)
PLAIN = {"kind": "kubernetes", "image": "registry.example/mlops-serving:0.1.0"}
FULL = {
    **PLAIN,
    "autoscaling": {"min": 3, "max": 9, "target_cpu_percent": 60},
    "cpu_limit": "2",
    "memory_limit": "1Gi",
    "gateway": "public",
    "hostnames": ["churn.example"],
    "service_type": "LoadBalancer",
    "service_annotations": {"service.beta.kubernetes.io/aws-load-balancer-internal": "true"},
    "service_account_annotations": {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/mlops-endpoint"
    },
    "node_selector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "serving", "operator": "Exists", "effect": "NoSchedule"}],
    "environment": {"AWS_DEFAULT_REGION": "eu-central-1"},
    "environment_secret": "churn-store",
    "key_env": "CHURN_KEYS",
    "key_secret": "churn-keys",
}


def rendered(release: Release = RELEASE, **settings: Any) -> dict[str, Any]:
    return Kubernetes(**{**PLAIN, **settings}).render(release, CONTEXT)


def by_kind(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The last one of each kind."""
    return {one["kind"]: one for one in manifest["objects"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("settings", [PLAIN, FULL, {**PLAIN, "host_network": True}])
def test_a_current_cluster_takes_every_object(settings, version) -> None:
    import kubernetes_validate

    known = [
        one
        for one in rendered(**settings)["objects"]
        if one["kind"] not in ("ServiceMonitor", "HTTPRoute")
    ]
    assert len(known) >= 6
    for one in known:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("settings", [PLAIN, FULL])
def test_pods_are_restricted(settings) -> None:
    made = by_kind(rendered(**settings))
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = pod["securityContext"]
    assert security["runAsNonRoot"]
    assert security["runAsUser"] == 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]
    assert not made["ServiceAccount"]["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    assert container["resources"]["limits"]["memory"]
    (stop,) = [int(one) for one in container["lifecycle"]["preStop"]["exec"]["command"][1:]]
    assert pod["terminationGracePeriodSeconds"] >= stop + 75
    probes = {key: value["httpGet"]["path"] for key, value in container.items() if "Probe" in key}
    assert probes == {
        "startupProbe": "/v2/health/ready",
        "readinessProbe": "/v2/health/ready",
        "livenessProbe": "/v2/health/live",
    }


def test_selectors_match_the_pods_of_this_release_and_of_no_other() -> None:
    made, other = by_kind(rendered(**FULL)), by_kind(rendered(**{**FULL, "cpu": "1"}))
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    strangers = other["Deployment"]["spec"]["template"]["metadata"]["labels"]
    spread = made["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    selectors = [
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in spread),
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= strangers.items()
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == made["ServiceAccount"]["metadata"]["name"]
    (container,) = pod["containers"]
    assert container["envFrom"][0]["configMapRef"]["name"] == made["ConfigMap"]["metadata"]["name"]
    scaled = made["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert scaled["name"] == made["Deployment"]["metadata"]["name"]
    port = made["Service"]["spec"]["ports"][0]
    assert port["targetPort"] == container["ports"][0]["name"]
    monitor = made["ServiceMonitor"]["spec"]
    assert (
        monitor["selector"]["matchLabels"].items() <= made["Service"]["metadata"]["labels"].items()
    )
    (scraped,) = monitor["endpoints"]
    labelled = {each["targetLabel"]: each.get("replacement") for each in scraped["relabelings"]}
    assert labelled == {"experiment": None, "target": "kubernetes", "job": "mlops-endpoints"}
    (backend,) = made["HTTPRoute"]["spec"]["rules"][0]["backendRefs"]
    assert backend["name"] == made["Service"]["metadata"]["name"]


def test_the_serving_image_is_told_what_to_serve() -> None:
    manifest = rendered()
    data = by_kind(manifest)["ConfigMap"]["data"]
    assert data["MLOPS_BUNDLE"] == RELEASE.archive_url
    assert data["MLOPS_BUNDLE_DIGEST"] == RELEASE.bundle_digest
    assert data["MLOPS_VERSION"] == "7"
    assert Recording.from_json(json.loads(data["MLOPS_RECORDING"])) == RELEASE.recording
    assert manifest["url"] == "http://churn-risk.mlops.svc"
    assert rendered(service_port=8000)["url"] == "http://churn-risk.mlops.svc:8000"


def test_each_change_makes_another_release_and_nothing_else_does() -> None:
    names = {
        rendered(**more)["release"]
        for more in ({}, {"cpu": "1"}, {"workers": 2}, {"environment": {"A": "b"}}, {"port": 9000})
    }
    names.add(rendered(replace(RELEASE, bundle_digest="1" * 64))["release"])
    assert len(names) == 6
    assert rendered(startup_timeout_s=300)["release"] == rendered()["release"]
    assert rendered()["objects"] == rendered(cpu="500m")["objects"]


@pytest.mark.parametrize(
    "name", ["a", "churn_risk", "trailing_", "x" * 63, "a" * 32 + "_" + "b" * 20]
)
def test_names_are_taken_by_kubernetes(name) -> None:
    naming = Naming(name)
    for found in (naming.endpoint, naming.account, naming.record, naming.of(123456, "0" * 8)):
        assert len(found) <= 63
        assert found[0].isalpha()
        assert found[-1].isalnum()
        assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert Naming("x" * 62).endpoint != naming.endpoint


def test_versions_on_one_node_lie_side_by_side() -> None:
    one, two = (
        by_kind(rendered(replace(RELEASE, version=version), host_network=True))
        for version in (7, 8)
    )
    ports = [
        made["Deployment"]["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
        for made in (one, two)
    ]
    assert ports == [8087, 8088]
    assert one["ConfigMap"]["data"]["MLOPS_PORT"] == "8087"


def test_weights_of_a_route() -> None:
    route = by_kind(rendered(**FULL))["HTTPRoute"]
    (rule,) = objects.weighed(route, {"new": 10, "old": 90})["spec"]["rules"]
    assert [(one["name"], one["weight"], one["port"]) for one in rule["backendRefs"]] == [
        ("new", 10, 80),
        ("old", 90, 80),
    ]


def test_folders_of_this_machine_are_refused() -> None:
    for release in (
        replace(RELEASE, archive_url="data/bundle.tar.gz"),
        replace(RELEASE, recording=Recording("file:///data/profiles", 3600)),
    ):
        with pytest.raises(TargetError, match="MLOPS_DATA_URL"):
            rendered(release)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu": "much"},
        {"memory": "512"},
        {"namespace": "Not_A_Name"},
        {"key_env": "CHURN_KEYS"},
        {"autoscaling": {"min": 4, "max": 2}},
        {"replicas": 0},
        {"environment": {"NOT-A-NAME": "x"}},
    ],
)
def test_what_no_cluster_would_take_is_refused_in_the_yaml(wrong) -> None:
    with pytest.raises(ValidationError):
        Kubernetes(**{**PLAIN, **wrong})


def test_autoscaling_leaves_the_number_of_pods_to_it() -> None:
    scaled = Autoscaling(min=2, max=5)
    manifest = rendered(autoscaling=scaled.model_dump())
    assert "replicas" not in by_kind(manifest)["Deployment"]["spec"]
    assert manifest["replicas"] == [2, 5]


def test_the_manifest_in_the_repository_is_what_is_rendered() -> None:
    made = by_kind(rendered())
    made["Deployment"]["spec"] = {"replicas": 2, **made["Deployment"]["spec"]}
    kept = [one for one in made.values() if one["kind"] != "ServiceMonitor"]
    text = HEAD + "---\n".join(
        # Copies, which YAML does not abbreviate.
        yaml.safe_dump(json.loads(json.dumps(one)), sort_keys=False)
        for one in kept
    )
    if os.environ.get("MANIFEST_WRITE"):
        EXAMPLE.write_text(text)
    assert EXAMPLE.read_text() == text, (
        "deploy/k8s/model-serving.yaml is stale: MANIFEST_WRITE=1 .venv/bin/pytest "
        "mlops_assets_tests/deployment/test_kubernetes_objects.py"
    )
