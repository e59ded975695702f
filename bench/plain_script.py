"""What one would write without the platform: `python bench/plain_script.py data.csv replay.json`.

pandas, scikit-learn, Optuna and joblib alone. `replay.json` names the target, the held-out rows,
the folds and the trials of a pipeline's run, so that both fit the same models on the same rows;
the last line printed is what was reached, as JSON.
"""

import json
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()

import numpy as np  # noqa: E402
import optuna  # noqa: E402
import pandas as pd  # noqa: E402
from joblib import Parallel, delayed  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.calibration import _SigmoidCalibration  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: E402
from sklearn.metrics import precision_recall_curve, roc_auc_score  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import OrdinalEncoder  # noqa: E402

IMPORTED = time.perf_counter()


def read(path, replay):
    """Features of the types the model takes, and the label as 0 and 1."""
    raw = pd.read_csv(path)
    label = (raw[replay["target"]] == replay["positive"]).to_numpy(float)
    features = raw[replay["numeric"] + replay["categorical"]].copy()
    for name in replay["numeric"]:
        features[name] = pd.to_numeric(raw[name], errors="coerce").astype(float)
    for name in replay["categorical"]:
        features[name] = raw[name].astype(object).where(raw[name].notna(), None)
    return features[replay["columns"]], label


def build(replay, parameters):
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
    )
    columns = ColumnTransformer(
        [
            ("numeric", "passthrough", replay["numeric"]),
            ("categorical", encoder, replay["categorical"]),
        ],
        verbose_feature_names_out=False,
    )
    fixed = {"random_state": replay["seed"], **replay["fixed"]}
    return Pipeline([("c", columns), ("m", HistGradientBoostingClassifier(**fixed, **parameters))])


def score(number, model, features, label, fold, folds):
    """The trial's number, and its score on as many folds as it was given."""
    scores = []
    for held_out in range(folds):
        inside = fold != held_out
        fitted = clone(model).fit(features[inside], label[inside])
        answer = fitted.predict_proba(features[~inside])[:, 1]
        scores.append(roc_auc_score(label[~inside], answer))
    return number, scores


def tune(replay, features, label, fold):
    """The study after its trials ran on two processes, as many folds each as in the replay."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=replay["seed"])
    )
    space = {
        name: optuna.distributions.json_to_distribution(text)
        for name, text in replay["space"].items()
    }
    for trial in replay["trials"]:
        study.enqueue_trial(trial["parameters"])
    asked = {}

    def jobs():
        for entry in replay["trials"]:
            trial = study.ask(space)
            asked[trial.number] = trial
            model = build(replay, trial.params)
            yield delayed(score)(trial.number, model, features, label, fold, entry["folds"])

    run = Parallel(n_jobs=replay["workers"], return_as="generator_unordered")
    for number, scores in run(jobs()):
        if len(scores) == replay["folds"]:
            study.tell(asked[number], float(np.mean(scores)))
        else:
            study.tell(asked[number], state=optuna.trial.TrialState.PRUNED)
    return study


def finish(replay, parameters, train, test):
    """Final model, calibrated on out-of-fold scores; threshold of the best F1; test AUC."""
    features, label, fold = train
    model = build(replay, parameters)
    final = clone(model).fit(features, label)
    scores = np.empty(len(label))
    for held_out in range(replay["folds"]):
        inside = fold != held_out
        part = clone(model).fit(features[inside], label[inside])
        scores[~inside] = part.decision_function(features[~inside])
    sigmoid = _SigmoidCalibration().fit(scores, label)
    precision, recall, thresholds = precision_recall_curve(label, sigmoid.predict(scores))
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    threshold = thresholds[np.nanargmax(f1[:-1])]
    answer = sigmoid.predict(final.decision_function(test[0]))
    return answer, float(threshold)


def interval(label, answer, resamples, seed):
    generator = np.random.default_rng(seed)
    sides = [np.flatnonzero(label == value) for value in (0, 1)]
    values = []
    for _ in range(resamples):
        rows = np.concatenate([generator.choice(side, len(side)) for side in sides])
        values.append(roc_auc_score(label[rows], answer[rows]))
    return [float(value) for value in np.quantile(values, [0.025, 0.975])]


def main():
    path, replay = sys.argv[1:]
    replay = json.loads(Path(replay).read_text(encoding="utf-8"))
    features, label = read(path, replay)
    fold = np.array(replay["fold"])  # -1: held out for the test
    inside = fold >= 0
    train = features[inside].reset_index(drop=True), label[inside], fold[inside]
    test = features[~inside].reset_index(drop=True), label[~inside]
    ready = time.perf_counter()
    study = tune(replay, *train)
    tuned = time.perf_counter()
    answer, threshold = finish(replay, study.best_params, train, test)
    fitted = time.perf_counter()
    auc = roc_auc_score(test[1], answer)
    low, high = interval(test[1], answer, replay["resamples"], replay["seed"])
    done = time.perf_counter()
    reached = {"cv": study.best_value, "test": auc, "interval": [low, high], "threshold": threshold}
    seconds = {
        "imports": IMPORTED - STARTED,
        "read": ready - IMPORTED,
        "tuning": tuned - ready,
        "final fit": fitted - tuned,
        "bootstrap": done - fitted,
    }
    print(json.dumps({"reached": reached, "seconds": seconds}))


if __name__ == "__main__":
    main()
