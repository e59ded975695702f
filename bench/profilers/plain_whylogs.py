"""`why.log` of a frame: `plain_whylogs.py FILE`. Prints rows and seconds."""

import json
import os
import sys
import time

os.environ["WHYLOGS_NO_ANALYTICS"] = "1"

import numpy as np
import pandas as pd

if not hasattr(np, "unicode_"):  # whylogs 1.6.4 uses a name that numpy 2 removed
    np.unicode_ = np.str_

import whylogs as why

began = time.perf_counter()
frame = pd.read_parquet(sys.argv[1])
size = len(why.log(pandas=frame).view().serialize())
seconds = time.perf_counter() - began
print(json.dumps({"rows": len(frame), "seconds": seconds, "bytes": size}))
