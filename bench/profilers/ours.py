"""The platform's profile of a Parquet file: `ours.py FILE WORKERS`. Prints rows and seconds."""

import json
import sys
import time
from datetime import UTC, datetime
from functools import partial

# What is otherwise imported when it is first needed: the others have their imports behind them too.
import joblib  # noqa: F401
import pandas  # noqa: F401
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq
import whylogs_sketching  # noqa: F401

from mlops_assets.gateways.table_files import TableFiles
from mlops_assets.modeling import profiling
from mlops_assets.serving.schema import Column, InputSchema


def main():
    path, workers = sys.argv[1], int(sys.argv[2])
    files = TableFiles(path, {})
    (file,) = files.found()
    began = time.perf_counter()
    parts = profiling.parts_of(files, file)
    read = partial(profiling.rows_of, files=files, schema=_schema(path))
    begun = profiling.Begun(datetime.now(UTC), {})
    profile, refused = profiling.profiled(parts, read, begun, workers=workers)
    size = len(profile.serialize())
    seconds = time.perf_counter() - began
    if refused:
        raise SystemExit(f"not read: {refused}")
    print(json.dumps({"rows": profile.rows, "seconds": seconds, "bytes": size}))


def _schema(path):
    return InputSchema(
        tuple(
            Column(field.name, "categorical" if pa.types.is_string(field.type) else "numeric")
            for field in pq.read_schema(path)
        )
    )


if __name__ == "__main__":
    main()
