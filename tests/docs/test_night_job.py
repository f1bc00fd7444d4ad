"""The night job and the server of the user guide, with a real server and a real client."""

import importlib.util
import sqlite3
from contextlib import closing
from pathlib import Path

import joblib
import numpy as np
import pyarrow.parquet as pq
import pytest

from skue import Histories, open_index

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason=f"needs {package}, of the extra serve")
httpx = pytest.importorskip("httpx", reason="needs httpx, to ask the server")

ROOT = Path(__file__).parents[2]
N_USERS = 400


@pytest.fixture(scope="module")
def shop_day():
    spec = importlib.util.spec_from_file_location("shop_day", ROOT / "benchmarks/shop_day.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shop(shop_day, tmp_path_factory):
    """Return the folder of a shop after its first night."""
    folder = tmp_path_factory.mktemp("day") / "shop"
    shop_day.make_shop.main(folder, N_USERS, 150)
    shop_day.run_night(folder, shop_day.make_shop.DAYS[0])
    return folder


@pytest.fixture(scope="module")
def url(shop_day, shop):
    with shop_day.running_server(shop) as url:
        yield url


@pytest.fixture(scope="module")
def day(shop_day, shop, url):
    """Return what the clients saw while the server switched to a version, and back."""
    return shop_day.day_under_load(shop, url, N_USERS, seconds=0.5)


def test_no_request_fails_while_the_server_switches_and_rolls_back(day):
    print("p50 and p99 in milliseconds:", day["p50_ms"], day["p99_ms"])
    assert day["failed"] == 0
    assert len(day["versions"]) == 2
    assert min(day["versions"].values()) > 10
    assert day["status"].keys() <= {"cached", "fresh", "stale", "fallback"}
    assert day["status"]["cached"] > day["requests"] / 4


def encoder_of(shop):
    return joblib.load(shop / "encoders" / f"{open_index(shop / 'index').encoder_id}.joblib")


def test_the_server_answers_what_the_encoder_recommends(shop, url, day):
    with closing(sqlite3.connect(shop / "shop.db")) as database:
        events = "SELECT item, time FROM events WHERE user = 'u7' ORDER BY time"
        items, times = zip(*database.execute(events).fetchall(), strict=True)
    X = Histories.from_lists([list(items)], timestamps=[list(times)])
    ids, scores = encoder_of(shop).recommend(X, k=5)
    found = httpx.get(f"{url}/recommend/u7", params={"k": 5}).json()["items"]
    assert [one["item"] for one in found] == ids[0].tolist()
    assert [one["score"] for one in found] == pytest.approx(scores[0].tolist(), abs=1e-5)


def test_a_person_whom_nobody_knows_gets_recommendations(url):
    answer = httpx.get(f"{url}/recommend/nobody").json()
    assert answer["status"] == "fresh"
    assert len(answer["items"]) == 10


def test_an_event_counts_in_the_next_answer(url, day):
    def status():
        return httpx.get(f"{url}/recommend/u11").json()["status"]

    status()
    assert status() == "cached"
    assert httpx.post(f"{url}/events", json={"user": "u11", "item": "i3"}).status_code == 201
    assert status() == "fresh"


def test_the_counters_are_in_the_text_format_of_prometheus(url, day):
    from prometheus_client.parser import text_string_to_metric_families

    def samples():
        families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    before = samples()
    httpx.get(f"{url}/recommend/u12")
    after = samples()
    assert after["recommend_seconds_count",] == before["recommend_seconds_count",] + 1
    statuses = [value for name, value in after.items() if name[0] == "recommend_vectors_total"]
    assert sum(statuses) == after["recommend_seconds_count",]
    assert after["recommend_switches_total",] == 3  # the start, the switch and the roll-back
    assert after["recommend_failed_switches_total",] == 0
    assert after["vector_cache_hits_total",] > 0


def test_the_vectors_of_all_users_are_in_the_parquet_file(shop_day, shop, day):
    table = pq.read_table(shop / "vectors.parquet")
    vectors = np.stack(table["vector"].to_numpy())
    log = Histories.load(shop / "log" / f"{shop_day.make_shop.DAYS[1]}.npz")
    assert table["user"].to_pylist() == log.user_ids.tolist()
    encoder_id = table.schema.metadata[b"encoder_id"].decode()
    encoder = joblib.load(shop / "encoders" / f"{encoder_id}.joblib")
    np.testing.assert_array_equal(vectors, encoder.transform(log))


def test_a_night_that_is_repeated_or_missed_gives_the_same_log(shop_day, shop, tmp_path):
    first, second = shop_day.make_shop.DAYS
    (tmp_path / "log").mkdir()
    (tmp_path / "events").symlink_to(shop / "events")
    joined_log = shop_day.night_job.joined_log
    at_once = joined_log(tmp_path, second).to_frame()
    joined_log(tmp_path, first)
    for _ in range(2):
        again = joined_log(tmp_path, second).to_frame()
        assert (
            again.sort_values([*again])
            .reset_index(drop=True)
            .equals(at_once.sort_values([*at_once]).reset_index(drop=True))
        )
