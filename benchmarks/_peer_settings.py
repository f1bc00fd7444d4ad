"""The contenders of peers.py, and the settings that are tried for each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from _peers import (
    ALS,
    BPR,
    EASE,
    TIFUKNN,
    UPCF,
    Encoder,
    ItemNeighbours,
    ItemScorer,
    Prod2Vec,
    SequentialLinear,
)
from _quality_parts import REPEAT_EXPONENTS

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    OwnFrequencyRanker,
    PopularityRanker,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
)

DECAYS = (0.0, 0.2, 0.5, 1.0)
# They have a dense matrix of items × items.
DENSE = ("EASE", "sequential linear (SLIT)")
MOST_ITEMS_OF_DENSE = 20_000
# A dense matrix of people × people, a block of people at a time.
MOST_PEOPLE_COMPARED = 50_000
# The search of their settings takes too long on a longer log.
SLOW = ("ALS (implicit)", "BPR (implicit)", "prod2vec (gensim)", "skue, average, searched")
MOST_EVENTS_OF_SLOW = 500_000


def grid(**values):
    """Return all combinations of the values as dicts."""
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


@dataclass
class Contender:
    """How to make a peer, the settings to fit, and the settings that need no new fit."""

    name: str
    make: object
    to_fit: list = field(default_factory=lambda: [{}])
    to_query: list = field(default_factory=lambda: [{}])
    is_skue: bool = False


def contenders(split):
    """Return every contender, the simplest first."""
    unit = "step" if split.by == "event" else "instant"
    seen = split.exclude_seen
    weighting = grid(decay=DECAYS)
    if not seen:
        weighting = [{"repeat_exponent": 0.0}, *grid(decay=DECAYS, repeat_exponent=(0.5, 1.0))]
    averages = grid(decay=(*DECAYS, 2.0), repeat_exponent=(1.0,) if seen else REPEAT_EXPONENTS)
    counts = (0.0,) if seen else (0.0, 0.5)

    def counting(name, ranker):
        return Contender(name, lambda: ItemScorer(ranker, exclude_seen=seen))

    return [
        counting("popularity", PopularityRanker()),
        counting("own frequency", OwnFrequencyRanker(beta=0.5)),
        counting("own count + β × popularity", OwnFrequencyRanker()),
        Contender(
            "item-kNN (implicit)",
            ItemNeighbours,
            grid(similarity=("cosine", "tfidf", "bm25"), n_neighbors=(20, 100)),
            weighting,
        ),
        Contender(
            "ALS (implicit)",
            ALS,
            grid(
                factors=(64, 256), alpha=(1, 10), regularization=(0.1, 10), repeat_exponent=counts
            ),
            weighting,
        ),
        Contender("BPR (implicit)", BPR, grid(factors=(64, 128), iterations=(100, 300))),
        Contender("EASE", EASE, grid(regularization=(100, 300, 1000)), weighting),
        Contender(
            "sequential linear (SLIT)",
            SequentialLinear,
            grid(regularization=(10, 100, 1000, 10_000), learned_decay=(0.1, 0.2, 0.5)),
            grid(decay=(*DECAYS, 2.0)),
        ),
        counting("transitions", TransitionItemRanker()),
        Contender("UP-CF", UPCF, grid(n_recent=(5, 25, 100)), grid(locality=(1, 5, 10, 25))),
        Contender(
            "TIFU-KNN",
            TIFUKNN,
            grid(within_decay=(0.9, 1.0), group_decay=(0.7, 0.9)),
            grid(n_neighbors=(100, 300, 900), own_share=(0.3, 0.5, 0.7, 0.9)),
        ),
        Contender(
            "prod2vec (gensim)",
            lambda **chosen: Prod2Vec(**chosen, age_unit=unit),
            grid(window=(3, 10), epochs=(50,), ns_exponent=(0.75, -0.5)),
            averages,
        ),
        Contender(
            "skue, average, searched",
            lambda n_dims: Encoder(
                DecayAverageUserEncoder(CooccurrenceItemEmbedder(n_dims=n_dims), age_unit=unit)
            ),
            grid(n_dims=(128, 256)),
            [{"age_unit": unit, **chosen} for chosen in averages],
            is_skue=True,
        ),
        Contender(
            "skue, two-tower",
            lambda: Encoder(TwoTowerUserEncoder(random_state=0)),
            is_skue=True,
        ),
        Contender(
            "skue, two-stage",
            lambda: ItemScorer(TwoStageRecommender(random_state=0), exclude_seen=seen),
            is_skue=True,
        ),
    ]


def reason_to_leave_out(name, split):
    """Return why a contender cannot be measured on this log, or None."""
    if name.startswith("own") and split.exclude_seen:
        return "the log has no repeats"
    if name in ("UP-CF", "TIFU-KNN"):
        if split.by != "instant":
            return "the log has no times"
        if len(split.train) > MOST_PEOPLE_COMPARED:
            return f"more than {MOST_PEOPLE_COMPARED:,} people"
    if name in SLOW and len(split.train.codes) > MOST_EVENTS_OF_SLOW:
        return f"more than {MOST_EVENTS_OF_SLOW:,} events"
    if name in DENSE and len(split.train.vocabulary) > MOST_ITEMS_OF_DENSE:
        return f"more than {MOST_ITEMS_OF_DENSE:,} items"
    return None
