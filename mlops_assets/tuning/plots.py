"""The pictures of a study: history, importances, parallel coordinates."""

from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.figures import BLUE, GREY, RED, new_figure
from mlops_assets.tuning.trials import Direction, FinishedTrial

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure


def figures(
    study: "optuna.Study", trials: tuple[FinishedTrial, ...], *, metric: str, direction: Direction
) -> dict[str, "Figure"]:
    """By name; importances and parallel coordinates need two complete trials and a parameter."""
    complete = [trial for trial in trials if trial.state == "complete"]
    found = {"history": _history(trials, metric, direction)}
    if len(complete) >= 2 and complete[0].parameters:
        found["importances"] = _importances(study)
        found["parallel_coordinates"] = _parallel(complete, metric, direction)
    return found


def interactive(study: "optuna.Study") -> str:
    """Optuna's own plots as one HTML page that needs no network."""
    from optuna import visualization

    plots = [visualization.plot_optimization_history(study)]
    if len(study.trials) >= 2 and study.best_trial.params:
        plots.append(visualization.plot_param_importances(study))
        plots.append(visualization.plot_parallel_coordinate(study))
    parts = [
        plot.to_html(full_html=False, include_plotlyjs=index == 0)
        for index, plot in enumerate(plots)
    ]
    body = "\n".join(parts)
    head = f"<meta charset='utf-8'><title>{study.study_name}</title>"
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"


def _history(trials: tuple[FinishedTrial, ...], metric: str, direction: Direction) -> "Figure":
    from itertools import accumulate

    figure = new_figure()
    (axis,) = figure.axes
    pruned = [t for t in trials if t.state == "pruned" and t.folds]
    axis.scatter(
        [t.slot for t in pruned],
        [sum(t.folds) / len(t.folds) for t in pruned],
        s=12,
        color=GREY,
        label="pruned",
    )
    complete = [(t.slot, t.score) for t in trials if t.score is not None]
    if complete:
        slots, scores = zip(*complete, strict=True)
        better = max if direction == "maximize" else min
        axis.scatter(slots, scores, s=16, color=BLUE, label="complete")
        axis.step(slots, list(accumulate(scores, better)), where="post", color=RED, label="best")
    axis.set(xlabel="trial", ylabel=metric, title="History")
    axis.legend(frameon=False)
    return figure


def _importances(study: "optuna.Study") -> "Figure":
    import optuna

    found = optuna.importance.get_param_importances(study)
    names = list(found)[::-1][-15:]
    figure = new_figure()
    (axis,) = figure.axes
    axis.barh(names, [found[name] for name in names], color=BLUE)
    axis.set(xlabel="importance for the score", title="Parameter importances")
    return figure


def _parallel(complete: list[FinishedTrial], metric: str, direction: Direction) -> "Figure":
    """One line per trial over the parameters, each scaled to its range; the best are darkest."""
    names = sorted({name for trial in complete for name in trial.parameters})
    ranked = sorted(complete, key=lambda t: t.score or 0.0, reverse=direction == "minimize")
    figure = new_figure()
    (axis,) = figure.axes
    columns = [_scaled([trial.parameters.get(name) for trial in ranked]) for name in names]
    columns.append(_scaled([trial.score for trial in ranked]))
    for index in range(len(ranked)):
        line = [column[index] for column in columns]
        best = index == len(ranked) - 1
        shade = 0.08 + 0.5 * (index + 1) / len(ranked)
        axis.plot(range(len(line)), line, color=RED if best else BLUE, alpha=1 if best else shade)
    axis.set_xticks(range(len(columns)), [*names, metric], rotation=30, ha="right")
    axis.set_yticks([0, 1], ["low", "high"])
    axis.set(title="Parallel coordinates (red: best)")
    return figure


def _scaled(values: list[Any]) -> list[float]:
    """Values as places between 0 and 1: ranks of distinct values; NaN where not searched."""

    def order_of(value: Any) -> tuple[bool, float, str]:
        number = isinstance(value, int | float)
        return not number, value if number else 0.0, str(value)

    order = sorted({value for value in values if value is not None}, key=order_of)
    places = {value: k / max(1, len(order) - 1) for k, value in enumerate(order)}
    return [places.get(value, float("nan")) for value in values]
