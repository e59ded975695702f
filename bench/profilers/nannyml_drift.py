"""NannyML's drift of each column: `nannyml_drift.py FILE`. Prints rows and seconds."""

import json
import sys
import time

import nannyml
import pandas as pd

REFERENCE = 50_000

began = time.perf_counter()
frame = pd.read_parquet(sys.argv[1])
words = [*frame.select_dtypes("object")]
calculator = nannyml.UnivariateDriftCalculator(
    column_names=[*frame],
    treat_as_categorical=words,
    continuous_methods=["jensen_shannon"],
    categorical_methods=["jensen_shannon"],
    chunk_number=10,
)
calculator.fit(frame.head(REFERENCE))
found = calculator.calculate(frame).to_df()
seconds = time.perf_counter() - began
print(json.dumps({"rows": len(frame), "seconds": seconds, "bytes": len(found.to_json())}))
