"""Amazon SageMaker: one endpoint per experiment, one production variant per version."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mlops_assets.deployment.sagemaker import metrics, requests
from mlops_assets.deployment.sagemaker.account import INTERVAL, Account, weights_of
from mlops_assets.deployment.sagemaker.spec import Capture, Serverless
from mlops_assets.deployment.sagemaker.standing import Standing, Wanted
from mlops_assets.deployment.targets.base import (
    Counts,
    HarmError,
    LostError,
    Manifest,
    Release,
    Target,
    TargetContext,
    TargetError,
)
from mlops_assets.gateways.aws import CloudError, Patience
from mlops_assets.gateways.captures import Captures
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.wait import wait_until
from mlops_assets.serving import client
from mlops_assets.serving.client import Answer

PATIENCE = 1800
"""Seconds that SageMaker may take for an endpoint beside the start of its containers."""

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Alarm = Annotated[str, Field(min_length=1, max_length=255)]


class SageMaker(Target):
    """An endpoint of Amazon SageMaker, which lets in whom IAM allows."""

    kind: Literal["sagemaker"]
    """`sagemaker`."""
    role: str = Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S{1,512}$")
    """ARN of the role that SageMaker takes: it reads the archive and the image, and its containers
    write profiles and predictions."""
    image: str = Field(pattern=r"^\S{1,255}$")
    """The serving image on ECR, best by digest."""
    region: str | None = Field(default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """AWS region; by default that of the environment."""
    instance_type: str = Field(default="ml.m5.large", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")
    """Of the instances."""
    instances: int = Field(default=1, ge=1, le=100)
    """Instances of each version that is there."""
    serverless: Serverless | None = None
    """Instead of instances. A new version then gets all of the traffic at once."""
    canary_percent: int | None = Field(default=None, ge=1, le=50)
    """Let AWS itself move the traffic, this much of it first and then the rest, instead of
    `rollout.steps`. Needs two instances or more."""
    alarms: tuple[Alarm, ...] = Field(default=(), max_length=10)
    """CloudWatch alarms that take the traffic back from a new version."""
    bake_s: int = Field(default=300, ge=0, le=3600)
    """Seconds that the alarms are watched after the traffic moved."""
    capture: Capture | None = None
    """Keep requests and answers as SageMaker does; by default not."""
    subnets: tuple[str, ...] = Field(default=(), max_length=16)
    """Subnets of a VPC for the containers; needs `security_groups`."""
    security_groups: tuple[str, ...] = Field(default=(), max_length=5)
    """Security groups of the containers; needs `subnets`."""
    environment: tuple[Variable, ...] = Field(default=(), max_length=50)
    """Names of environment variables whose values are passed on to the containers."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes per container that answer; each holds the model in memory."""
    startup_timeout_s: int = Field(default=300, ge=60, le=3600)
    """Seconds a container has to load and pass its self-test."""

    needs_archive: ClassVar[bool] = True
    counts_probes: ClassVar[bool] = True

    @property
    def splits(self) -> bool:  # type: ignore[override]
        """Serverless endpoints have one variant only."""
        return self.serverless is None and self.canary_percent is None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.key_env is not None:
            raise ValueError("key_env: SageMaker lets in whom IAM allows; leave it out")
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups go together")
        if self.serverless is not None:
            instead = {"instance_type", "instances"} & self.model_fields_set
            lacks = [name for name in ("capture", "subnets") if getattr(self, name)]
            if wrong := [*sorted(instead), *lacks]:
                raise ValueError(f"a serverless endpoint has no {', '.join(wrong)}")
        elif self.canary_percent is not None and self.instances < 2:
            raise ValueError("canary_percent: one instance cannot be divided; take two or more")
        return self

    def render(self, release: Release, context: TargetContext) -> Manifest:
        if not release.archive_url.startswith("s3://"):
            raise TargetError(
                f"SageMaker fetches the model from S3, not from {release.archive_url!r}: set "
                "MLOPS_DATA_URL to an s3:// URL"
            )
        settings = self.model_dump(mode="json", exclude={"kind", "key_env"})
        manifest = {
            "experiment": release.experiment,
            "version": release.version,
            "bundle_digest": release.bundle_digest,
            "archive_url": release.archive_url,
            "recording": json.loads(json.dumps(asdict(release.recording))),
            **settings,
        }
        if len(requests.recording(manifest)) > requests.LONGEST_VALUE:
            raise TargetError(
                "a variable of SageMaker holds 1024 characters, which is too little for "
                "monitoring.prediction_log: name fewer columns"
            )
        return manifest

    def unguarded(self) -> Self:
        # What an update with alarms has begun may still be waited for.
        patience = self.startup_timeout_s + 2 * self.bake_s
        changed = {"alarms": (), "bake_s": 0, "startup_timeout_s": patience}
        return self.model_copy(update=changed)

    def apply(self, manifest: Manifest, bundle: Path, context: TargetContext) -> None:
        """Beside the stable version without traffic; where AWS moves the traffic itself, on an
        endpoint of its own."""
        experiment = manifest["experiment"]
        with self._there(experiment, context) as there:
            if absent := [n for n in manifest["environment"] if not context.variables.get(n)]:
                raise TargetError(f"{', '.join(absent)} is not set where deployments run")
            there.heed_kind(serverless=manifest["serverless"] is not None)
            if there.has_failed:
                there.stop()  # it can only go
                there = Standing.look(there.account, experiment, waits=True)
            wanted = self._wanted(manifest, there, context)
            wanted.make_model()
            if there.main is None:
                tags = requests.owner(there.experiment)
                there.account.create(there.name, wanted.make_alone(), tags)
            elif there.stable is None or wanted.is_current:
                there.account.move(there.name, wanted.make_alone())
            elif self.splits:
                there.account.move(there.name, wanted.make_beside())
            else:
                there.bring_aside(wanted.make_alone())

    def ask(
        self,
        experiment: str,
        version: int,
        records: Sequence[Mapping[str, Any]],
        context: TargetContext,
    ) -> Answer:
        with self._there(experiment, context, waits=False) as there:
            place = there.place_of(version)
            if place is None:
                raise TargetError(f"version {version} of {experiment} is not on SageMaker")
            return there.account.ask(*place, client.body(records).encode())

    def shift(self, manifest: Manifest, share: float, context: TargetContext) -> float:
        with self._there(manifest["experiment"], context) as there:
            wanted = self._wanted(manifest, there, context)
            if there.main is None:
                raise TargetError(f"there is no endpoint {there.name}")
            if there.stable is None or wanted.is_stable:
                return 1.0
            if self.splits and there.current == wanted.beside:
                self._weigh(there, wanted.weights(share), context, bakes=share == 1)
                return share
            if share > 0:
                guard = requests.guarded(self.canary_percent, self.alarms, self.bake_s)
                same = list(there.shares) == [requests.ALONE]  # AWS guards no other update
                there.account.move(there.name, wanted.alone, guard if same else None)
            else:
                there.account.move(there.name, there.stable_config)
            return 1.0 if share > 0 else 0.0

    def settle(self, manifest: Manifest, context: TargetContext) -> Endpoint:
        with self._there(manifest["experiment"], context) as there:
            wanted = self._wanted(manifest, there, context)
            if there.main is None or there.has_failed:
                raise LostError(f"there is no endpoint {there.name} to settle")
            wanted.make_model()
            there.account.move(there.name, wanted.make_alone())
            wanted.settle(context.now())
            there.clear(keep=wanted.alone)
            there.forget_stopped()
        found = self.observe(manifest["experiment"], context)
        if found is None:
            raise TargetError(f"{there.name} went away while it was settled")
        return found

    def rollback(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        with self._there(manifest["experiment"], context) as there:
            wanted = self._wanted(manifest, there, context)
            if there.stable is None or there.main is None or there.has_failed:
                there.stop()
            elif not wanted.is_stable:
                if there.current == wanted.beside:
                    there.account.weigh(there.name, wanted.weights(0.0))
                there.account.move(there.name, there.stable_config)
                there.clear(keep=there.stable_config)
        return self.observe(manifest["experiment"], context)

    def measure(self, experiment: str, slower_than: float, context: TargetContext) -> Counts:
        with self._there(experiment, context, waits=False) as there:
            if there.main is None or (config := there.account.config(there.current)) is None:
                return {}
            if there.current != there.stable_config:
                self._heed_alarms(there)
            found = metrics.measured(
                there.account.cloudwatch,
                there.name,
                {one["VariantName"]: one["ModelName"] for one in config["ProductionVariants"]},
                since=config["CreationTime"],
                now=context.now(),
                slower_than=slower_than,
            )
            versions = {name: there.version_of(name) for name in found}
            return {v: {name: found[name]} for name, v in versions.items() if v is not None}

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        with self._there(experiment, context, waits=False) as there:
            return there.endpoint()

    def serves(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        with self._there(manifest["experiment"], context, waits=False) as there:
            if there.main is None or there.main["EndpointStatus"] != "InService":
                return None
            wanted = self._wanted(manifest, there, context)
            if not (wanted.is_stable and there.current == there.stable_config == wanted.alone):
                return None
            # It would serve without its model, and could not start another instance.
            return there.endpoint() if there.account.has_model(wanted.alone) else None

    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        with self._there(experiment, context) as there:
            there.stop()
        return self.observe(experiment, context)

    def captures(self, experiment: str) -> Captures | None:
        if self.capture is None:
            return None
        return self.capture.of(requests.base(experiment))

    @contextmanager
    def _there(
        self, experiment: str, context: TargetContext, *, waits: bool = True
    ) -> Iterator[Standing]:
        """How things stand; what AWS refuses is a `TargetError`."""
        timeout = self.startup_timeout_s + PATIENCE + 2 * self.bake_s
        patience = Patience(timeout, INTERVAL, context.now, context.sleep)
        account = Account(self.region, context.variables, patience)
        try:
            yield Standing.look(account, experiment, waits=waits)
        except CloudError as error:
            raise TargetError(str(error)) from error

    def _wanted(self, manifest: Manifest, there: Standing, context: TargetContext) -> Wanted:
        values = {name: context.variables.get(name, "") for name in manifest["environment"]}
        return Wanted(manifest, there, values)

    def _weigh(
        self, there: Standing, weights: Mapping[str, float], context: TargetContext, *, bakes: bool
    ) -> None:
        """Divide the traffic; as it was, when an alarm goes off."""
        self._heed_alarms(there)
        there.account.weigh(there.name, weights)
        if not self.alarms or not bakes:
            return
        try:
            wait_until(
                lambda: self._heed_alarms(there),
                timeout=self.bake_s,
                interval=INTERVAL,
                clock=lambda: context.now().timestamp(),
                sleep=context.sleep,
            )
        except TimeoutError:
            return  # all quiet
        except TargetError:
            there.account.weigh(there.name, weights_of(there.main or {}))
            raise

    def _heed_alarms(self, there: Standing) -> None:
        if on := metrics.alarming(there.account.cloudwatch, self.alarms):
            raise HarmError(f"CloudWatch alarms are on: {', '.join(on)}")
