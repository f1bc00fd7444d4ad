"""The code of the page about shipping a model: MLflow logs, loads and scores one."""

import re
from pathlib import Path

import numpy as np
import pytest

from skue import DecayAverageUserEncoder
from skue.datasets import make_user_histories

mlflow = pytest.importorskip("mlflow", reason="needs mlflow-skinny, of the extra mlflow")
pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "user_guide" / "shipping.md"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Run the code for MLflow in an empty folder, and return its names."""
    data = make_user_histories(n_users=50, n_items=200)
    encoder = DecayAverageUserEncoder(data.item_embeddings).fit(data.histories)
    folder = tmp_path_factory.mktemp("shipping")
    names = {"encoder": encoder, "tracking_uri": (folder / "runs").as_uri()}
    (folder / "examples").symlink_to(ROOT / "examples")
    section = PAGE.read_text(encoding="utf-8").partition("## MLflow")[2]
    code = re.search(r"```python\n(.*?)```", section, re.S).group(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_a_logged_model_recommends_what_the_encoder_does(names):
    ids, scores = names["encoder"].recommend(names["table"]["items"].tolist(), k=5)
    found = names["recommended"]
    assert found["items"].tolist() == ids.tolist()
    np.testing.assert_allclose(found["scores"].tolist(), scores, atol=1e-6)


def test_the_signature_of_a_logged_model_refuses_another_table(names):
    inputs = names["loaded"].metadata.signature.inputs.to_dict()
    assert [column["name"] for column in inputs] == ["items"]
    with pytest.raises(mlflow.exceptions.MlflowException, match="items"):
        names["loaded"].predict(names["table"].rename(columns={"items": "films"}))


def test_the_run_names_the_encoder_and_its_space(names):
    run_id = names["model"].run_id
    ids = mlflow.artifacts.load_dict(f"runs:/{run_id}/ids.json")
    assert ids == {
        "encoder_id": names["encoder"].encoder_id_,
        "space_id": names["encoder"].space_id_,
    }
