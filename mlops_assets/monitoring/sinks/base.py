"""The contract of a ticket sink: one file, one class, one `kind`. Knows nothing of Dagster."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from mlops_assets.experiment.spec import Spec
from mlops_assets.monitoring.tickets.findings import Notice, Severity

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""


class SinkDownError(Exception):
    """The sink takes nothing now: it does not answer, is overloaded, or does not know us. The
    message names the sink and what it answered, and holds no secret."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        """Seconds that it asks us to wait."""
        super().__init__(message)


class RefusedError(Exception):
    """The sink does not take this one telling; others it may take."""


@dataclass(frozen=True)
class SinkContext:
    """What a sink may know of its surroundings."""

    dagster_url: str
    """Where people open Dagster: tells one installation from another."""
    runbook_url: str
    """Where people read RUNBOOK.md."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables a sink may look up by a name in its YAML: where secrets stand instead of there."""
    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    timeout_s: float = 5.0
    """For a sink to connect, and between two parts of its answer."""

    def secret(self, variable: str, sink: str) -> str:
        """The value of a variable.

        Raises:
            SinkDownError: it is not set.
        """
        value = self.environment.get(variable, "").strip()
        if not value:
            raise SinkDownError(
                f"{sink}: the environment variable {variable} is not set where sensors run"
            )
        return value


class Sink(Spec):
    """One kind of ticket sink. Subclasses declare `kind: Literal["..."]` and their own fields."""

    # A refused value may be a secret in the wrong place: pydantic's message must not repeat it.
    model_config = ConfigDict(hide_input_in_errors=True)

    renews: ClassVar[timedelta | None] = None
    """After how long it has to be told again that a ticket is open; None when it keeps them."""

    at_least: Severity = "warning"
    """What it is told of: `critical`, `error`, `warning` or `info`, and worse."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Kind and destination, without secrets: sinks of the same name are the same."""

    @abstractmethod
    def send(self, notice: Notice, context: SinkContext, *, reference: str) -> str:
        """Tell it, once or again: whatever it lets us repeat changes nothing.

        Args:
            notice: all there is to tell.
            context: of the process.
            reference: what it called this ticket before; empty when it was never told.

        Returns:
            What it calls the ticket, where it needs to be told the next time.

        Raises:
            SinkDownError: it takes nothing now.
            RefusedError: it does not take this.
        """
