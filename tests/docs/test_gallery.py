"""Every script of the gallery runs and draws something."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("plot_*.py"))


def test_the_gallery_holds_what_the_documentation_promises():
    promised = {
        "plot_choose_decay",
        "plot_cold_start",
        "plot_column_transformer",
        "plot_content_items",
        "plot_drift_mix",
        "plot_grid_search",
        "plot_online_update_and_index",
        "plot_user_map",
    }
    assert promised <= {path.stem for path in EXAMPLES}


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_draws_a_picture(path, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("agg")
    try:
        runpy.run_path(str(path))
        assert plt.get_fignums()
        assert all(plt.figure(number).axes for number in plt.get_fignums())
    finally:
        plt.close("all")
