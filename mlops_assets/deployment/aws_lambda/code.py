"""What a function on AWS Lambda consists of: its code, its variables, and what is said of it."""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlops_assets.deployment.aws_lambda import package as lambda_package
from mlops_assets.deployment.targets.base import Manifest, TargetContext, TargetError
from mlops_assets.gateways.aws import CloudError, Service
from mlops_assets.serving.embedded import ENDPOINT

log = logging.getLogger("deployment")

KEYS = "MLOPS_KEYS"
"""The function's variable with the keys of its callers."""
RESERVED = re.compile(
    r"^(AWS_(REGION|DEFAULT_REGION|EXECUTION_ENV|ACCESS_KEY(_ID)?|SECRET_ACCESS_KEY|SESSION_TOKEN"
    r"|LAMBDA_.*)|LAMBDA_.*|_HANDLER|_X_AMZN_TRACE_ID|TZ)$"
)
"""Variables that Lambda sets itself, and refuses. What a function may do is said by its role."""


def fingerprint(manifest: Manifest) -> str:
    """Changes when the manifest does."""
    canonical = json.dumps(manifest, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def description(manifest: Manifest) -> str:
    """Of a published version, as `Published` reads it."""
    said = {
        "version": manifest["version"],
        "bundle": manifest["bundle_digest"],
        "manifest": fingerprint(manifest),
    }
    return json.dumps(said, separators=(",", ":"))


def settings(manifest: Manifest, variables: Mapping[str, str], when: str) -> dict[str, Any]:
    """The configuration of $LATEST.

    Args:
        variables: of the function.
        when: Lambda publishes nothing that it published before, be that gone since.
    """
    said = f"version {manifest['version']} of {manifest['experiment']}, sent at {when}"
    chosen: dict[str, Any] = {
        "Description": said,
        "Role": manifest["role"],
        "MemorySize": manifest["memory_mb"],
        "Timeout": manifest["timeout_s"],
        "Environment": {"Variables": dict(variables)},
    }
    if manifest["image"]:
        return {**chosen, "ImageConfig": {"Command": [lambda_package.HANDLER]}}
    return {**chosen, "Runtime": manifest["runtime"], "Handler": lambda_package.HANDLER}


def variables(manifest: Manifest, context: TargetContext) -> dict[str, str]:
    """What the function's environment holds, its secrets among it.

    Raises:
        TargetError: the environment of this process lacks one that is to be passed on.
    """
    passed = [*manifest["environment"], *([manifest["key_env"]] if manifest["key_env"] else [])]
    if absent := sorted(name for name in passed if not context.variables.get(name)):
        raise TargetError(f"the environment variable {', '.join(absent)} is not set here")
    found = {name: v for name, v in context.environment.items() if not RESERVED.match(name)}
    found |= {name: context.variables[name] for name in manifest["environment"]}
    if manifest["key_env"]:
        found[KEYS] = context.variables[manifest["key_env"]]
    return {
        **found,
        "MLOPS_VERSION": str(manifest["version"]),
        "MLOPS_BUNDLE_DIGEST": manifest["bundle_digest"],
        "MLOPS_RECORDING": json.dumps(manifest["recording"], sort_keys=True),
        # The version, each knows its own.
        "MLOPS_EMBEDDED_METRICS": json.dumps({ENDPOINT: manifest["function"]}),
    }


@contextmanager
def packed(
    manifest: Manifest, bundle: Path, context: TargetContext
) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The code as `Function.put` takes it, and the digest that Lambda has of it; there as long as
    the block lasts.

    Raises:
        PackageError: it cannot be built for that runtime.
        BundleError: the bundle is not intact.
        TargetError: it is too large to be sent without a bucket.
        CloudError: the bucket does not take it.
    """
    machine = manifest["architecture"]
    if manifest["image"]:
        yield _code("Image", machine, ImageUri=manifest["image"]), None
        return
    with TemporaryDirectory(prefix="mlops-lambda-") as folder:
        package = lambda_package.build(
            Path(folder) / "function.zip",
            bundle,
            where=lambda_package.platform_of(manifest["runtime"], machine),
            stores=stores(manifest["recording"]),
            extra=manifest["packages"],
        )
        if package.uploads_directly:
            content = package.path.read_bytes()
            yield _code("Zip", machine, ZipFile=content), package.sha256
            return
        if manifest["bucket"] is None:
            raise TargetError(
                f"the package has {package.size / 1e6:.0f} MB, and Lambda takes "
                f"{lambda_package.LARGEST_UPLOAD / 1e6:.0f} with a call: name a bucket for it"
            )
        with _in_bucket(manifest, package.path, context) as key:
            yield _code("Zip", machine, S3Bucket=manifest["bucket"], S3Key=key), package.sha256


def stores(recording: Mapping[str, Any]) -> list[str]:
    """Protocols of the URLs that recorded traffic goes to; of a path, an empty one."""
    urls = [recording["profiles_url"], recording["log_url"]]
    return sorted({url.partition("://")[0] if "://" in url else "" for url in urls if url})


def _code(kind: str, machine: str, **rest: Any) -> dict[str, Any]:
    return {"PackageType": kind, "Architectures": [machine], **rest}


@contextmanager
def _in_bucket(manifest: Manifest, path: Path, context: TargetContext) -> Iterator[str]:
    """The key of a zip while it is needed: Lambda keeps its own copy. One per function, so that
    what an interrupted deployment leaves is replaced by the next."""
    s3 = Service("s3", region=manifest["region"], variables=context.variables)
    of = {"Bucket": manifest["bucket"], "Key": f"functions/{manifest['function']}.zip"}
    s3.call("put_object", **of, Body=path.read_bytes())
    try:
        yield of["Key"]
    finally:
        try:
            s3.call("delete_object", **of)
        except CloudError as error:
            log.warning("%s stays in bucket %s: %s", of["Key"], of["Bucket"], error)
