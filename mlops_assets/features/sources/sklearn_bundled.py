"""The small datasets that come with scikit-learn: real data without a download."""

from typing import TYPE_CHECKING, Literal

from mlops_assets.features.sources.base import Source, SourceContext
from mlops_assets.features.sources.tables import deliver

if TYPE_CHECKING:
    import pandas as pd


class SklearnBundled(Source):
    """A dataset that comes with scikit-learn; the column to predict is called `target`."""

    kind: Literal["sklearn_bundled"]
    dataset: Literal["iris", "wine", "breast_cancer", "diabetes", "digits"]
    """`diabetes` is a regression; the others name their classes, for instance `malignant`."""

    def location(self, context: SourceContext) -> str:
        return f"sklearn.datasets.load_{self.dataset}"

    def called(self) -> tuple[str, ...]:
        return (self.dataset,)

    def read(self, context: SourceContext) -> "pd.DataFrame":
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{self.dataset}")(as_frame=True)
        frame: pd.DataFrame = bunch.frame
        if "target_names" in bunch:
            names = [str(name) for name in bunch.target_names]
            frame = frame.assign(target=[names[code] for code in frame["target"]])
        return deliver(frame, self.location(context))
