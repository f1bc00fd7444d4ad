"""What a recommendation of a second stage costs, step by step."""

from __future__ import annotations

import shutil
import tempfile
import time

import numpy as np
from scale import generated_log
from sklearn.frozen import FrozenEstimator

from skue import (
    DecayAverageUserEncoder,
    ItemEmbeddings,
    Retriever,
    TwoStageRecommender,
    UserVectorCache,
    export_index,
    open_index,
)
from skue.ranking import _two_stage
from skue.ranking._rankers import default_rankers

N_ITEMS, N_DIMS, N_EVENTS, N_ASKED = 12_000, 384, 400_000, 500


class Clock:
    """Adds up the seconds that calls of a function take."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments, **options):
        started = time.perf_counter()
        try:
            return self.function(*arguments, **options)
        finally:
            self.seconds += time.perf_counter() - started


def second_stage_costs():
    """Return p50 a person in milliseconds for each ranker, and the share of each step."""
    log = generated_log(N_EVENTS, n_items=N_ITEMS)
    vectors = np.random.default_rng(0).standard_normal((N_ITEMS, N_DIMS), dtype=np.float32)
    encoder = DecayAverageUserEncoder(ItemEmbeddings(vectors, log.item_ids)).fit(log)
    found = {}
    for name, ranker in default_rankers(np.random.RandomState(0)).items():
        model = TwoStageRecommender(FrozenEstimator(encoder), ranker, random_state=0).fit(log)
        folder = tempfile.mkdtemp()
        export_index(encoder, folder)
        serving = Retriever(UserVectorCache(encoder), open_index(folder), model)
        found[name] = _costs(serving, log)
        found[name]["recommend_ms"] = _alone(model, log)
        shutil.rmtree(folder)
    return found


def _costs(serving, log):
    users = np.arange(N_ASKED)
    serving.cache.warm(users, lambda ids: log[ids])
    # The steps of one request, timed where they are called.
    steps = {
        "vector": (serving.cache, "get"),
        "search": (serving.index, "search"),
        "candidates": (_two_stage, "candidates_of"),
        "features": (_two_stage, "feature_table"),
        "ranker": (_two_stage, "ranker_scores"),
    }
    clocks = {step: Clock(getattr(*place)) for step, place in steps.items()}
    before = {step: getattr(*place) for step, place in steps.items()}
    for step, place in steps.items():
        setattr(*place, clocks[step])
    seconds = []
    try:
        for user in users.tolist():
            started = time.perf_counter()
            serving.recommend([user], lambda ids: log[ids], k=10)
            seconds.append(time.perf_counter() - started)
    finally:
        for step, place in steps.items():
            setattr(*place, before[step])
    total = sum(seconds)
    shares = {step: clock.seconds / total for step, clock in clocks.items()}
    shares["histories and the rest"] = 1 - sum(shares.values())
    return {"p50_ms": 1e3 * float(np.median(seconds)), "shares": shares}


def _alone(model, log):
    seconds = []
    for user in range(N_ASKED):
        started = time.perf_counter()
        model.recommend(log[user : user + 1], k=10)
        seconds.append(time.perf_counter() - started)
    return 1e3 * float(np.median(seconds))
