"""How many threads native code uses while a model is fitted or asked. Knows no model."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

PARALLEL_ROWS = 200_000
"""Rows from which several threads are worth what it costs to start and join them."""


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """OpenMP and BLAS on one thread inside, unless there are very many rows.

    A boosted model starts and joins its threads once per tree and step. Beside other processes
    that makes a fit of some thousand rows twenty times slower, and it never makes it much faster.
    Libraries loaded inside the block are not held to it: build the estimator before.

    Args:
        rows: that are fitted or scored at once.
    """
    with _libraries(len(sys.modules)).limit(limits=1 if rows < PARALLEL_ROWS else None):
        yield


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """Those with threads, found anew after imports alone: it takes longer than a prediction."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
