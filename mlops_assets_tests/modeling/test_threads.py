import subprocess
import sys

import sklearn.ensemble  # noqa: F401 - loads OpenMP
from threadpoolctl import threadpool_info, threadpool_limits

from mlops_assets.modeling.threads import PARALLEL_ROWS, threads_for


def openmp_threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "openmp"}


def test_few_rows_get_one_thread_and_only_inside():
    with threadpool_limits(limits=2):
        with threads_for(PARALLEL_ROWS - 1):
            assert openmp_threads() == {1}
        assert openmp_threads() == {2}


def test_many_rows_keep_the_threads_they_have():
    with threadpool_limits(limits=2), threads_for(PARALLEL_ROWS):
        assert openmp_threads() == {2}


LATER = """
from mlops_assets.modeling.threads import threads_for
with threads_for(1):
    pass
import sklearn.ensemble
from threadpoolctl import threadpool_info, threadpool_limits
threadpool_limits(limits=2)
with threads_for(1):
    print({each["num_threads"] for each in threadpool_info()})
print({each["num_threads"] for each in threadpool_info()})
"""


def test_libraries_that_are_loaded_later_are_held_to_it_too():
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["{1}", "{2}"]
