#!/usr/bin/env bash
# run_training.sh CONFIG [options of `mlops run`]: one experiment from its data to the live
# endpoint. Builds .venv first where there is none.
set -euo pipefail

if (($# == 0)); then
    echo "usage: scripts/run_training.sh configs/churn-experiment.yaml [--trials N] [--no-deploy]" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
make --no-print-directory -C "$root" install
MLOPS_ROOT=$root exec "$root/.venv/bin/mlops" run "$@"
