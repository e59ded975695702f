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
