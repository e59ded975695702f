"""What a bundle costs: the time that one row takes, and bytes."""

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from mlops_assets.gateways.records import Footprint
from mlops_assets.modeling.scoring import Opened, records
from mlops_assets.modeling.threads import threads_for

if TYPE_CHECKING:
    import pandas as pd

_ASKED = 200
_WARM_UP = 10


def footprint(
    model: Opened, rows: "pd.DataFrame", *, clock: Callable[[], float] = time.perf_counter
) -> Footprint:
    """Median milliseconds of scoring one of `rows`, in this process and on one thread, and the
    bundle's size.

    The median of 200 rows after ten that are not counted: neither the first calls of a runtime nor
    another process that takes the processor for a moment count.
    """
    scorer = model.scorer
    requests = [
        {name: [value] for name, value in record.items()}
        for record in records(rows.head(_ASKED), scorer.manifest.schema)
    ]
    seconds = []
    with threads_for(1):
        for request in requests[:_WARM_UP]:
            scorer.score(request)
        for k in range(_ASKED):
            started = clock()
            scorer.score(requests[k % len(requests)])
            seconds.append(clock() - started)
    size = sum(path.stat().st_size for path in scorer.folder.rglob("*") if path.is_file())
    return Footprint(latency_ms=1000 * median(seconds), bundle_mb=size / 1e6)
