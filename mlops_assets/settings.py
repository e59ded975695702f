"""The only reader of the environment: where things are kept, and which servers are used."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

Executor = Literal["in_process", "kubernetes"]
RUNBOOK_URL = "https://github.com/mlops-assets/mlops_assets/blob/main/RUNBOOK.md"
SECRET_CHARACTERS = 16
"""A secret has that many at least."""


class SettingsError(Exception):
    """A variable of the environment has a value that is not allowed."""


@dataclass(frozen=True)
class Settings:
    """Everything that differs between a laptop and production, apart from the `deployment:`
    section of an experiment. Every default works on a bare machine."""

    root: Path
    """The project: the folder that holds `configs/` and `workspace.yaml`."""
    configs: Path
    """Folder of the experiments (`MLOPS_CONFIGS`)."""
    home: Path
    """Folder for all local state (`MLOPS_HOME`)."""
    dagster_home: Path
    """Folder of Dagster's instance: its runs, events and `dagster.yaml` (`DAGSTER_HOME`)."""
    data_url: str
    """Snapshots, training sets, profiles: a folder or an fsspec URL (`MLOPS_DATA_URL`)."""
    tracking_uri: str
    """MLflow store or server (`MLFLOW_TRACKING_URI`)."""
    artifacts_url: str
    """Where a local MLflow store keeps artifacts (`MLOPS_ARTIFACTS_URL`)."""
    study_url: str
    """Optuna storage: a journal folder, or an SQLAlchemy URL (`MLOPS_STUDY_URL`)."""
    storage_options: dict[str, object]
    """fsspec settings for `s3://` paths, from `MLOPS_S3_ENDPOINT_URL`; keys come from the
    environment of boto3."""
    environment: Mapping[str, str] = field(repr=False)
    """The whole environment, for sources whose YAML names a variable with a secret."""
    dagster_url: str
    """Where people open the Dagster UI, for links (`MLOPS_DAGSTER_URL`)."""
    mlflow_url: str
    """Where people open the MLflow UI, for links (`MLOPS_MLFLOW_URL`)."""
    runbook_url: str
    """Where people read RUNBOOK.md, for links of tickets (`MLOPS_RUNBOOK_URL`)."""
    user: str
    """Who trains, approves and rolls back (`MLOPS_USER`); by default the user of the system."""
    executor: Executor
    """Where the steps of a run work: one after the other in its own process, or each in a pod of
    its own (`MLOPS_EXECUTOR`)."""
    webhook_secret: str = field(repr=False)
    """Shared with the MLflow server, whose webhooks then wake the registry sensor; empty without
    them (`MLOPS_WEBHOOK_SECRET`)."""


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings the environment asks for."""
    env = os.environ if environment is None else environment
    root = Path(env.get("MLOPS_ROOT") or Path.cwd()).resolve()
    home = Path(env.get("MLOPS_HOME") or root / ".mlops").resolve()
    tracking = env.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
    endpoint = env.get("MLOPS_S3_ENDPOINT_URL")
    served = tracking.startswith(("http://", "https://"))
    return Settings(
        root=root,
        configs=Path(env.get("MLOPS_CONFIGS") or root / "configs").resolve(),
        home=home,
        dagster_home=Path(env.get("DAGSTER_HOME") or root / ".dagster").resolve(),
        data_url=env.get("MLOPS_DATA_URL") or str(home / "data"),
        tracking_uri=tracking,
        artifacts_url=env.get("MLOPS_ARTIFACTS_URL") or str(home / "mlartifacts"),
        study_url=env.get("MLOPS_STUDY_URL") or str(home / "studies"),
        storage_options={"endpoint_url": endpoint} if endpoint else {},
        environment=dict(env),
        dagster_url=env.get("MLOPS_DAGSTER_URL") or "http://127.0.0.1:3000",
        mlflow_url=env.get("MLOPS_MLFLOW_URL") or (tracking if served else "http://127.0.0.1:5000"),
        runbook_url=env.get("MLOPS_RUNBOOK_URL") or RUNBOOK_URL,
        user=(env.get("MLOPS_USER") or "").strip() or _system_user(),
        executor=_executor(env.get("MLOPS_EXECUTOR") or "in_process"),
        webhook_secret=_secret(env.get("MLOPS_WEBHOOK_SECRET") or ""),
    )


def _system_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # In a container the number may have no name.
        return f"user {os.getuid()}"


def _executor(asked: str) -> Executor:
    if asked not in get_args(Executor):
        raise SettingsError(
            f"MLOPS_EXECUTOR is {asked!r}; allowed: {', '.join(get_args(Executor))}"
        )
    return cast(Executor, asked)


def _secret(asked: str) -> str:
    if asked and len(asked) < SECRET_CHARACTERS:
        raise SettingsError(
            f"MLOPS_WEBHOOK_SECRET has {len(asked)} characters; at least {SECRET_CHARACTERS} are "
            "wanted, best of a random text"
        )
    return asked
