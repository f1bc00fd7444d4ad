"""The example of the page "Past one machine", on a real cluster."""

import sys
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_parts_become_vectors_on_a_cluster_whose_worker_is_killed(monkeypatch, tmp_path):
    import cloudpickle

    from skue.items import _pair_counts

    monkeypatch.syspath_prepend(BENCHMARKS)
    import cluster

    # The workers do not see this folder.
    cloudpickle.register_pickle_by_value(cluster)
    monkeypatch.setattr(_pair_counts, "CHUNK_EVENTS", 2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cluster.run(20_000, tmp_path, max_iter=1)
    sys.modules.pop("cluster")
    assert found["n_users"] == 1000
    assert found["n_parts"] == cluster.N_PARTS > found["parts_written_before_the_kill"] > 0
    assert found["killed_worker_is_gone"]
    assert found["same_item_vectors"]
    assert found["same_users"]
    assert found["largest_difference"] == 0
