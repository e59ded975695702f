"""The alias of a function on AWS Lambda, which stands between its versions and callers.

What is stable stands in the alias's description: the truth is on AWS, not on this machine.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mlops_assets.deployment.lambda_function import ABSENT, ALIAS, EXISTS, Function, Published
from mlops_assets.deployment.targets.base import Manifest, TargetError, Traffic
from mlops_assets.gateways.records import Endpoint


@dataclass(frozen=True)
class Record:
    """What the alias remembers."""

    stable: str = ""
    """Lambda's number; empty before the first was settled."""
    fingerprint: str = ""
    previous: int | None = None
    since: str = ""
    stopped: bool = False

    def written(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


class Alias:
    """Who gets what callers ask of one function."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._name = function.name
        self._aws = function.services["lambda"]
        self._cloudwatch = function.services["cloudwatch"]

    def route(self, published: Published, share: float, manifest: Manifest) -> None:
        """Give a version this share of what callers ask."""
        record = self._record()
        if record is None:
            self._aws.call(
                "create_alias",
                FunctionName=self._name,
                Name=ALIAS,
                FunctionVersion=published.number,
                Description=Record().written(),
            )
        elif record.stable in ("", published.number) or record.stopped or share >= 1:
            self._point(published.number, {})
        else:
            self._point(record.stable, {published.number: share} if share > 0 else {})
        if share > 0:
            self._open(manifest)

    def settle(self, published: Published, manifest: Manifest, now: datetime) -> None:
        """Make a version that has all of the traffic the stable one."""
        record = self._record() or Record()
        versions = {one.number: one for one in self._function.versions()}
        before = versions.get(record.stable)
        if record.stable != published.number or record.stopped:
            record = Record(
                stable=published.number,
                fingerprint=published.fingerprint,
                previous=before.version if before and before != published else record.previous,
                since=now.isoformat(timespec="seconds"),
            )
        self._point(published.number, {}, record)
        self._open(manifest)
        kept = {published.number, *([before.number] if before else [])}
        for number in versions.keys() - kept:
            self._function.delete(number)
        if before is not None and before != published:
            self._function.unprovision(before.number)

    def give_back(self, mark: Published) -> None:
        """All of the traffic to the stable version again; the one of this mark is removed."""
        record = self._record()
        if record is not None and record.fingerprint == mark.fingerprint:
            return
        if record is not None and record.stable:
            self._point(record.stable, {})
            if record.stopped:
                self._close()
        elif record is not None:
            self._aws.found(
                "delete_function_url_config", ABSENT, FunctionName=self._name, Qualifier=ALIAS
            )
            self._aws.found("delete_alias", ABSENT, FunctionName=self._name, Name=ALIAS)
        for one in self._function.versions():
            if one.fingerprint == mark.fingerprint:
                self._function.delete(one.number)
        if (record is None or not record.stable) and not self._function.versions():
            self._aws.found("delete_function", ABSENT, FunctionName=self._name)

    def is_settled(self, mark: Published) -> bool:
        """Whether this version alone has the traffic, and callers reach it."""
        alias, record = self._alias(), self._record()
        configuration = self._function.configuration(ALIAS)
        return (
            alias is not None
            and record is not None
            and record.fingerprint == mark.fingerprint
            and not record.stopped
            and alias["FunctionVersion"] == record.stable
            and not _weights(alias)
            and configuration is not None
            and configuration.get("State", "Active") == "Active"
            and bool(self._url())
        )

    def stop(self) -> None:
        """Answer nobody any more."""
        record = self._record()
        if record is None or not record.stable or record.stopped:
            return
        self._close()
        self._point(record.stable, {}, replace(record, stopped=True))

    def observe(self) -> Endpoint | None:
        """What callers get now."""
        alias, record = self._alias(), self._record()
        if alias is None or record is None:
            return None
        by_number = {one.number: one for one in self._function.versions()}
        now = by_number.get(alias["FunctionVersion"])
        configuration = self._function.configuration(ALIAS) or {}
        failed = configuration.get("State") == "Failed"
        weights = {n: w for n, w in _weights(alias).items() if n in by_number}
        traffic = {str(by_number[n].version): float(w) for n, w in weights.items()}
        if now is not None and traffic:
            traffic = {str(now.version): 1 - sum(traffic.values()), **traffic}
        return Endpoint(
            experiment=self._function.experiment,
            target="aws_lambda",
            url=self._url(),
            version=now.version if now else 0,
            bundle_digest=now.digest if now else "",
            since=record.since,
            previous_version=record.previous,
            state="stopped" if record.stopped else ("failed" if failed or now is None else "live"),
            detail=configuration.get("StateReason", "") if failed else "",
            traffic=traffic,
        )

    def measure(self, slower_than: float, now: datetime) -> dict[int, Traffic]:
        """What CloudWatch counts of each version behind the alias, since the newest was published.

        It says nothing of predictions, and tells with a delay of a minute or two.
        """
        versions = self._function.versions() if self._alias() else []
        if not versions:
            return {}
        since = max(datetime.fromisoformat(one.published) for one in versions)
        hours = (now - since) > timedelta(hours=24)
        start = since.replace(minute=0, second=0, microsecond=0)

        def counted(one: Published, metric: str, **statistic: Any) -> float:
            answer = self._cloudwatch.call(
                "get_metric_statistics",
                Namespace="AWS/Lambda",
                MetricName=metric,
                Dimensions=[
                    {"Name": "FunctionName", "Value": self._name},
                    {"Name": "Resource", "Value": f"{self._name}:{ALIAS}"},
                    {"Name": "ExecutedVersion", "Value": one.number},
                ],
                StartTime=start,
                EndTime=now + timedelta(minutes=1),
                Period=3600 if hours else 60,
                **statistic,
            )
            points = answer["Datapoints"]
            values = [
                p.get("Sum", 0) + sum(p.get("ExtendedStatistics", {}).values()) for p in points
            ]
            return float(sum(values))

        slow = {"ExtendedStatistics": [f"TC({slower_than * 1000:g}:)"]}
        found = {}
        for one in versions:
            found[one.version] = Traffic(
                requests=int(counted(one, "Invocations", Statistics=["Sum"])),
                errors=int(counted(one, "Errors", Statistics=["Sum"])),
                slow=int(counted(one, "Duration", **slow)),
                rows=0,
                predictions={},
            )
        return found

    def _alias(self) -> dict[str, Any] | None:
        return self._aws.found("get_alias", ABSENT, FunctionName=self._name, Name=ALIAS)

    def _record(self) -> Record | None:
        alias = self._alias()
        if alias is None:
            return None
        try:
            return Record(**json.loads(alias.get("Description") or "{}"))
        except (ValueError, TypeError) as error:
            raise TargetError(
                f"the description of the alias {ALIAS} of {self._name} was changed by hand: {error}"
            ) from error

    def _point(
        self, number: str, weights: Mapping[str, float], record: Record | None = None
    ) -> None:
        described = {} if record is None else {"Description": record.written()}
        self._aws.call(
            "update_alias",
            FunctionName=self._name,
            Name=ALIAS,
            FunctionVersion=number,
            RoutingConfig={"AdditionalVersionWeights": dict(weights)},
            **described,
        )

    def _open(self, manifest: Manifest) -> None:
        """Callers reach the alias by its URL, as many at a time as the YAML says."""
        if (limit := manifest["reserved_concurrency"]) is not None:
            self._aws.call(
                "put_function_concurrency",
                FunctionName=self._name,
                ReservedConcurrentExecutions=limit,
            )
        else:
            self._aws.call("delete_function_concurrency", FunctionName=self._name)
        asked = {"FunctionName": self._name, "Qualifier": ALIAS}
        kind = "NONE" if manifest["callers"] == "public" else "AWS_IAM"
        found = self._aws.found("get_function_url_config", ABSENT, **asked)
        if found is None:
            self._aws.found("create_function_url_config", EXISTS, AuthType=kind, **asked)
        elif found["AuthType"] != kind:
            self._aws.call("update_function_url_config", AuthType=kind, **asked)
        if kind == "NONE":
            self._permit("url", {"FunctionUrlAuthType": "NONE"}, "lambda:InvokeFunctionUrl")
            self._permit("invoke", {"InvokedViaFunctionUrl": True}, "lambda:InvokeFunction")

    def _permit(self, name: str, condition: Mapping[str, Any], action: str) -> None:
        self._aws.found(
            "add_permission",
            EXISTS,
            FunctionName=self._name,
            Qualifier=ALIAS,
            StatementId=f"public-{name}",
            Action=action,
            Principal="*",
            **condition,
        )

    def _close(self) -> None:
        self._aws.call(
            "put_function_concurrency", FunctionName=self._name, ReservedConcurrentExecutions=0
        )

    def _url(self) -> str:
        found = self._aws.found(
            "get_function_url_config", ABSENT, FunctionName=self._name, Qualifier=ALIAS
        )
        return str(found["FunctionUrl"]).rstrip("/") if found else ""


def _weights(alias: Mapping[str, Any]) -> dict[str, float]:
    return dict((alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})
