"""The code of the page about exporting, with servers where they can be started."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, leave_last_out
from skue.datasets import make_user_histories

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "exporting.md"


@pytest.fixture
def names():
    """Return the names that the first example of the page defines."""
    data = make_user_histories(n_users=200)
    histories, _ = leave_last_out(data.histories)
    encoder = DecayAverageUserEncoder(data.item_embeddings, decay=0.07).fit(histories)
    return {"histories": histories, "encoder": encoder, "items": encoder.item_embeddings_}


def run_section(title, names):
    """Run the code blocks of a section that are not doctests."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", text, flags=re.S | re.M).group(1)
    blocks = [b for b in re.findall(r"```python\n(.*?)```", section, flags=re.S) if ">>>" not in b]
    assert blocks
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)


def assert_found_as_recommended(names):
    ids, scores = names["encoder"].recommend(names["histories"][:20], k=10, exclude_seen=True)
    assert len(names["found"]) == 20
    for row, pairs in enumerate(names["found"]):
        assert [score for _, score in pairs] == pytest.approx(scores[row].tolist(), abs=1e-5)
        # Items whose scores differ by rounding only may change places.
        assert len({id for id, _ in pairs} & set(ids[row].tolist())) >= 9


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """Return the address of a PostgreSQL server with pgvector."""
    if "SKUE_PGVECTOR" in os.environ:
        yield os.environ["SKUE_PGVECTOR"]
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pgserver")
        server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


def test_postgres_finds_what_the_encoder_recommends(names, postgres):
    psycopg = pytest.importorskip("psycopg")
    pytest.importorskip("pgvector")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
    names["address"] = postgres
    run_section("PostgreSQL with pgvector", names)
    assert_found_as_recommended(names)
    exact, _ = names["encoder"].recommend(names["histories"][:20], k=10)
    approximate = [[id for id, _ in pairs] for pairs in names["approximate"]]
    shared = [np.isin(a, b).mean() for a, b in zip(approximate, exact, strict=True)]
    assert np.mean(shared) > 0.9
    names["connection"].close()


@pytest.mark.filterwarnings("ignore")
def test_qdrant_finds_what_the_encoder_recommends(names):
    pytest.importorskip("qdrant_client")
    run_section("Qdrant", names)
    assert_found_as_recommended(names)
