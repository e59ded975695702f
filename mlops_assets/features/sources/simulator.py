"""The demo's data: subscribers of a telecom company, one row per customer and month.

Invented, but shaped like the real thing: correlated columns, a season, gaps, and labels that
become known late. The same seed gives the same table everywhere.
"""

from datetime import date
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from mlops_assets.features.sources.base import Source, SourceContext
from mlops_assets.features.sources.tables import deliver

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Columns = dict[str, np.ndarray]

CONTRACTS = ("month-to-month", "one-year", "two-year")
PAYMENTS = ("bank transfer", "credit card", "electronic check", "mailed check")
REGIONS = ("north", "east", "south", "west")
JOINING_SHARE = 0.055
"""New customers per month, as a share of the customers at the start."""


class Simulator(Source):
    """Invented churn data: one row per customer and month, until the customer leaves.

    `month` is the event time, `label_known_at` the label time, `customer_id` the entity, and
    `churned` ("yes" or "no": the customer leaves within the month that follows) the target, which
    is missing while not known yet.
    """

    kind: Literal["simulator"]
    customers: int = Field(default=1500, ge=50, le=200_000)
    """Customers in the first month."""
    months: int = Field(default=18, ge=2, le=240)
    """Months simulated."""
    start: date = date(2025, 1, 1)
    """The first month: the first day of one."""
    seed: int = Field(default=0, ge=0)
    """Another seed, another company."""
    drift: float = Field(default=0.0, ge=0.0, le=5.0)
    """How far the last quarter of the months departs from the months before: at 1.0 prices are 25 %
    higher, support tickets twice as many, and usage is 20 % lower."""
    label_delay_days: int = Field(default=35, ge=0, le=3650)
    """Days from `month` until the label is known."""
    missing_fraction: float = Field(default=0.03, ge=0.0, le=0.9)
    """Share of the cells of `usage_gb` and of `days_since_last_login` that are missing."""

    @field_validator("start")
    @classmethod
    def _check_start(cls, value: date) -> date:
        if value.day != 1:
            raise ValueError(f"the first day of a month is needed, for instance {value:%Y-%m}-01")
        return value

    def location(self, context: SourceContext) -> str:
        return f"simulator, seed {self.seed}, {self.months} months from {self.start}"

    def reads(self, context: SourceContext) -> tuple[str, ...]:
        return (f"{self.location(context)}, {self.fingerprint()}",)

    def read(self, context: SourceContext) -> "pd.DataFrame":
        import numpy as np
        import pandas as pd

        first = np.datetime64(self.start, "M")
        active = _join(self._generator(0, 0), self.customers, first_id=0, settled=True)
        joined = self.customers
        months: list[Columns] = []
        for month in range(self.months):
            if month > 0:
                rng = self._generator(1, month)
                count = int(rng.poisson(JOINING_SHARE * self.customers))
                new = _join(rng, count, first_id=joined, settled=False)
                active = {name: np.concatenate([active[name], new[name]]) for name in active}
                joined += count
            rng = self._generator(2, month)
            season = int((first + month).astype(int) % 12)
            rows = _observe(rng, active, season, self._drift_in(month))
            leaves = rng.random(len(active["number"])) < _hazard(rows, active["loyalty"], season)
            rows |= {"month": np.full(len(leaves), first + month), "leaves": leaves}
            months.append(self._with_gaps(rng, rows))
            active = {name: values[~leaves] for name, values in active.items()}
            active["tenure"] = active["tenure"] + 1
        table = {name: np.concatenate([rows[name] for rows in months]) for name in months[0]}
        return deliver(self._finish(pd.DataFrame(table)), self.location(context))

    def _generator(self, purpose: int, month: int) -> "np.random.Generator":
        """Randomness of its own for every month: more months leave the earlier ones alone."""
        import numpy as np

        return np.random.default_rng([self.seed, purpose, month])

    def _drift_in(self, month: int) -> float:
        return self.drift if month >= self.months - max(1, self.months // 4) else 0.0

    def _with_gaps(self, rng: "np.random.Generator", rows: "Columns") -> "Columns":
        import numpy as np

        gaps = {
            name: np.where(rng.random(len(rows[name])) < self.missing_fraction, np.nan, rows[name])
            for name in ("usage_gb", "days_since_last_login")
        }
        return {**rows, **gaps}

    def _finish(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Readable values, and labels only where they are known when the simulation ends."""
        import numpy as np
        import pandas as pd

        month = table.pop("month").astype("datetime64[ns]")
        known_at = month + pd.Timedelta(days=self.label_delay_days)
        end = pd.Timestamp(self.start) + pd.DateOffset(months=self.months)
        leaves = table.pop("leaves")
        labels = np.where(leaves, "yes", "no").astype(object)
        labels[known_at > end] = None
        number = table.pop("number")
        table.insert(0, "customer_id", [f"C{value:07d}" for value in number])
        table.insert(1, "month", month)
        table.insert(2, "label_known_at", known_at)
        for name, words in (
            ("contract", CONTRACTS),
            ("payment_method", PAYMENTS),
            ("region", REGIONS),
        ):
            table[name] = np.array(words, dtype=object)[table[name]]
        return table.assign(churned=labels)


def _join(rng: "np.random.Generator", count: int, *, first_id: int, settled: bool) -> "Columns":
    """What stays with a customer: plan, habits, and a loyalty that no column shows."""
    import numpy as np

    thrift = rng.standard_normal(count)
    contract = np.searchsorted([0.55, 0.80], rng.random(count))
    tenure = np.floor(rng.exponential(22.0, count) * (1 + 0.6 * contract)) if settled else 0.0
    has_addon = rng.random(count) < 1 / (1 + np.exp(0.4 + 0.8 * thrift))
    price = 62 - 14 * thrift - 5 * contract + 12 * has_addon + 7 * rng.standard_normal(count)
    return {
        "number": np.arange(first_id + 1, first_id + count + 1),
        "contract": contract,
        "payment_method": rng.choice(len(PAYMENTS), count, p=[0.26, 0.27, 0.28, 0.19]),
        "region": rng.choice(len(REGIONS), count, p=[0.3, 0.25, 0.25, 0.2]),
        "price": np.clip(price, 15, 140),
        "has_addon": has_addon,
        "discount": rng.choice([0, 5, 10, 20], count, p=[0.62, 0.16, 0.14, 0.08]),
        "tenure": np.broadcast_to(tenure, count).astype(float).clip(0, 140),
        "appetite": np.exp(3.4 - 0.25 * thrift + 0.5 * rng.standard_normal(count)),
        "trouble": np.exp(-0.7 + 0.6 * rng.standard_normal(count)),
        "loyalty": rng.standard_normal(count),
    }


def _observe(rng: "np.random.Generator", active: "Columns", season: int, drift: float) -> "Columns":
    """The month of every active customer, as the columns show it."""
    import numpy as np

    count = len(active["number"])
    mood = rng.standard_normal(count)
    winter = np.cos(2 * np.pi * season / 12)
    usage = active["appetite"] * np.exp(
        0.2 * winter - 0.35 * mood + 0.2 * rng.standard_normal(count)
    )
    tickets = rng.poisson(active["trouble"] * np.exp(0.45 * mood) * (1 + drift))
    billed = active["price"] * (1 - active["discount"] / 100) * (1 + 0.25 * drift)
    manual = np.isin(active["payment_method"], (2, 3))
    late = rng.binomial(3, np.where(manual, 0.22, 0.06))
    idle = rng.exponential(4.0 * np.exp(0.8 * mood))
    return {
        "number": active["number"],
        "contract": active["contract"],
        "payment_method": active["payment_method"],
        "region": active["region"],
        "monthly_charges": np.round(billed, 2),
        "tenure_months": active["tenure"].astype(np.int64),
        "usage_gb": np.round(usage * max(0.1, 1 - 0.2 * drift), 1),
        "support_tickets": tickets,
        "late_payments": late,
        "days_since_last_login": np.minimum(np.floor(idle), 90.0),
        "discount": active["discount"],
        "has_addon": active["has_addon"],
    }


def _hazard(rows: "Columns", loyalty: "np.ndarray", season: int) -> "np.ndarray":
    """Probability that a customer leaves within the month that follows."""
    import numpy as np

    monthly = rows["contract"] == 0
    young = np.exp(-rows["tenure_months"] / 8)
    dear = np.maximum(0, rows["monthly_charges"] - 70) / 15
    idle = np.log1p(rows["days_since_last_login"])
    tickets = np.minimum(rows["support_tickets"], 5)
    logit = (
        -5.95
        + np.array([1.6, 0.2, -0.7])[rows["contract"]]
        + 1.3 * young * monthly
        + 0.55 * dear * (1 + monthly)
        + 0.55 * tickets
        + 0.5 * (tickets >= 3) * young
        + 0.55 * idle
        + 0.6 * rows["late_payments"]
        - 0.5 * rows["has_addon"]
        - 0.03 * rows["discount"]
        + np.where(rows["usage_gb"] < 15, 0.8, 0.0)
        + np.array([0.0, 0.1, -0.1, 0.3])[rows["region"]]
        + 0.3 * np.cos(2 * np.pi * (season - 8) / 12)
        - 0.9 * loyalty
    )
    hazard: np.ndarray = 1 / (1 + np.exp(-logit))
    return hazard
