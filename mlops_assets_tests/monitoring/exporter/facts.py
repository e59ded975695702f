"""Facts of one experiment, with something of everything."""

from mlops_assets.monitoring.exporter.facts import AssetMade, CheckSaid, Deployed, Ended, Facts

NOW = 1_764_000_000.0
DRIFT = CheckSaid(
    "churn", "serving_profile", "has_not_drifted", "warning", passed=False, at=NOW, value=0.31,
    threshold=0.15,
)  # fmt: skip
FACTS = Facts(
    experiments=("churn",),
    checks=(DRIFT,),
    assets=(AssetMade("churn", "serving_profile", NOW - 60, 10_800.0),),
    endpoints=(Deployed("churn", "local", 7, NOW - 3600, expected=True),),
    unfinished={("churn", "retrain"): NOW - 600},
    ended=(Ended("churn", "deploy", "success", NOW - 3600),),
    tickets={("churn", "warning"): 1},
    tickets_looked=NOW - 20,
)
