"""A study in a process of its own, to be killed. Arguments: store, log, n_trials, seconds."""

import signal
import sys
from pathlib import Path

from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.tuning.study import StudyInterrupted, run
from mlops_assets_tests.tuning.objectives import Bowl, spec


def main() -> None:
    # Whoever runs the tests may ignore signals, and children inherit that.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    url, log, n_trials, seconds = sys.argv[1:]
    try:
        run(
            Bowl(seconds=float(seconds), log=Path(log)),
            spec(n_trials=int(n_trials), workers=3),
            study_name="bowl",
            store=StudyStore(url),
            direction="minimize",
            folds=3,
            on_trial=lambda trial, progress: print(progress.finished, flush=True),
        )
    except StudyInterrupted as interruption:
        print(f"interrupted: {interruption}", flush=True)
        raise SystemExit(130) from interruption


if __name__ == "__main__":
    main()
