"""What the gallery holds; building the documentation runs every script of it."""

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


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_draws_a_picture_and_says_something_after_it(path):
    code, drawn, after = path.read_text(encoding="utf-8").partition("plt.show()")
    assert drawn
    assert "# %%\n# " in code
    assert "# %%\n# " in after
