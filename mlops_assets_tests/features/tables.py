"""A small table as a text file would deliver it, and the section that describes it."""

import pandas as pd

from mlops_assets.features.spec import FeaturesSpec

BINARY = "binary_classification"
ROWS = 200


def table(**columns: object) -> pd.DataFrame:
    """Two hundred customers; named columns replace or follow the usual ones."""
    usual = {
        "age": [str(20 + n % 50) for n in range(ROWS)],
        "charge": [f"{n % 17}.25" if n % 40 else " " for n in range(ROWS)],
        "plan": ["gold", "silver", "silver", "tin"] * (ROWS // 4),
        "active": ["true", "false"] * (ROWS // 2),
        "partner": ["Yes", "No", "No", "Yes"] * (ROWS // 4),
        "joined": [f"2024-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(ROWS)],
        "churn": ["No" if n // 5 % 4 else "Yes" for n in range(ROWS)],
    }
    return pd.DataFrame({**usual, **columns})


def features(**section: object) -> FeaturesSpec:
    source = {"kind": "csv", "path": "data.csv"}
    return FeaturesSpec.model_validate({"source": source, "target": "churn", **section})
