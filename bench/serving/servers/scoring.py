"""The model as a function of rows: what every server that is written here has in common."""

import joblib
import pandas as pd


class Model:
    """A fitted pipeline that takes rows as lists, in the order it was trained with."""

    def __init__(self, path):
        self._pipeline = joblib.load(path)
        self._columns = list(self._pipeline.feature_names_in_)

    def probabilities(self, rows):
        """Of the positive class, one per row."""
        table = pd.DataFrame(rows, columns=self._columns)
        return self._pipeline.predict_proba(table)[:, 1].tolist()
