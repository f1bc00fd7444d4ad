"""What people use instead: each peer learns from histories and scores the whole catalogue.

A peer has ``fit(histories)``, ``items`` (the catalogue) and ``scores(queries, **settings)``, where
the settings are those that need no new fit. The scores are a function of a range of people, or
vectors of people and items.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits

from skue import DecayAverageUserEncoder, ItemEmbeddings
from skue.items._catalogue import Catalogue
from skue.kernels._arrays import owners
from skue.kernels._ranking import Products
from skue.metrics._evaluation import checked_unit_rows
from skue.ranking._counts import ages_in_instants, liked_events


def interaction_matrix(items, histories, *, decay=0.0, repeat_exponent=1.0):
    """Return people × items: the sum of exp(-decay · age) over events, to the given power."""
    events = liked_events(items, histories)
    weights = np.exp(-decay * ages_in_instants(events)).astype(np.float32)
    shape = events.n_users, len(items)
    # A copy, because sum_duplicates sorts the rows in place.
    matrix = sp.csr_matrix((weights, events.rows.copy(), events.offsets), shape=shape)
    matrix.sum_duplicates()
    matrix.data **= repeat_exponent
    return matrix


class Encoder:
    """An encoder of skue: cosines of user vectors and item vectors."""

    tolerance = 1e-6

    def __init__(self, encoder):
        self.encoder = encoder

    def fit(self, histories):
        self.encoder.fit(histories)
        self.items = self.encoder.item_embeddings_
        return self

    def scores(self, queries, **parameters):
        encoder = self.encoder
        if parameters:
            encoder = encoder.__class__(self.items, **parameters).fit(queries[:1])
        vectors = checked_unit_rows(encoder.transform(queries))
        return Products(vectors, checked_unit_rows(self.items.vectors))


class ItemScorer:
    """An estimator of skue that scores all items, such as the two-stage recommender."""

    tolerance = 1e-9

    def __init__(self, estimator, *, exclude_seen):
        self.estimator, self.exclude_seen = estimator, exclude_seen

    def fit(self, histories):
        self.estimator.fit(histories)
        self.items = self.estimator.item_embeddings_
        return self

    def scores(self, queries):
        seen = self.estimator._seen(queries) if self.exclude_seen else None
        return self.estimator._scores(queries, seen)


class Linear:
    """Scores are linear in the weights of the query: query matrix × item-to-item weights."""

    tolerance = 1e-6

    def fit(self, histories):
        self.items = Catalogue(histories.vocabulary)
        exponent = self.repeat_exponent
        counts = interaction_matrix(self.items, histories, repeat_exponent=exponent)
        self._learn(counts)
        return self

    def scores(self, queries, **weighting):
        query = interaction_matrix(self.items, queries, **weighting)

        def score_block(start, stop):
            scores = query[start:stop] @ self.weights_
            return np.asarray(scores.todense() if sp.issparse(scores) else scores)

        return score_block


class ItemNeighbours(Linear):
    """Item-kNN of the package implicit, with the similarity "cosine", "tfidf" or "bm25"."""

    def __init__(self, similarity, n_neighbors):
        self.similarity, self.n_neighbors, self.repeat_exponent = similarity, n_neighbors, 0.0

    def _learn(self, counts):
        from implicit import nearest_neighbours

        classes = {"cosine": "CosineRecommender", "tfidf": "TFIDFRecommender"}
        name = classes.get(self.similarity, "BM25Recommender")
        model = getattr(nearest_neighbours, name)(K=self.n_neighbors)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # implicit converts its own matrices, and warns
            model.fit(counts.astype(np.float64), show_progress=False)
        self.weights_ = model.similarity.astype(np.float32)


class EASE(Linear):
    """Embarrassingly shallow autoencoders (H. Steck, WWW 2019), in closed form."""

    def __init__(self, regularization):
        self.regularization, self.repeat_exponent = regularization, 0.0

    def _learn(self, counts):
        gram = (counts.T @ counts).toarray(order="F")
        inverse = regularized_inverse(gram, self.regularization)
        self.weights_ = inverse / -np.diagonal(inverse)
        np.fill_diagonal(self.weights_, 0)


# With a smaller share of entries that are not zero, a sparse product is the faster one.
_FEW = 0.02


class SequentialLinear(Linear):
    """The linear map from the items so far to the next item (SLIT), in closed form.

    Rows of S are histories before an event, each event with the weight exp(-learned_decay · age),
    and rows of T the item of the event: B = (SᵀS + λI)⁻¹ SᵀT. As in SLIT, the decay of the query
    may be another one. Of TALE it has the single next item as the target, without weights by time
    intervals and the normalization by trends. Of each person, the 1,000 newest events are learned.

    M. Choi, J. Kim, J. Lee, H. Shim, J. Lee (2021). Session-aware linear item-item models for
    session-based recommendation. WWW. S. Park, M. Yoon, M. Choi, J. Lee (2025). Temporal linear
    item-item model for sequential recommendation. WSDM.
    """

    def __init__(self, regularization, learned_decay):
        self.regularization, self.learned_decay = regularization, learned_decay

    def fit(self, histories):
        self.items = Catalogue(histories.vocabulary)
        events = liked_events(self.items, histories)
        ages, n_items = ages_in_instants(events).astype(np.int64), len(self.items)
        gram = np.zeros((n_items, n_items), dtype=np.float32, order="F")
        followed = np.zeros((n_items, n_items), dtype=np.float32)
        for start, stop in itertools.pairwise(events.offsets):
            own = slice(max(start, stop - 1000), stop)
            rows, columns = np.unique(events.rows[own], return_inverse=True)
            if len(rows) == 0:
                continue
            taken = np.zeros((ages[own][0] + 1, len(rows)))  # instants × items
            np.add.at(taken, (ages[own][0] - ages[own], columns), 1)
            so_far = lfilter([1], [1, -np.exp(-self.learned_decay)], taken, axis=0)[:-1]
            n_next, table = taken[1:].sum(axis=1), np.ix_(rows, rows)
            gram[table] += (so_far.T * n_next) @ so_far
            followed[table] += so_far.T @ taken[1:]
        inverse = regularized_inverse(gram, self.regularization)
        if np.count_nonzero(followed) < _FEW * n_items**2:
            followed = sp.csr_array(followed)
        self.weights_ = np.ascontiguousarray((followed.T @ inverse).T)
        return self


def regularized_inverse(gram, regularization):
    """Return (gram + regularization · I)⁻¹ of a symmetric float32 matrix in column order."""
    gram[np.diag_indices_from(gram)] += np.float32(regularization)
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise ValueError("The matrix is singular; raise the regularization.")
    lower = np.tril(inverse)
    return lower + np.tril(lower, -1).T


class ALS:
    """Alternating least squares of implicit. A query is folded in by its events."""

    tolerance = 1e-6

    def __init__(self, factors, alpha, regularization, repeat_exponent=0.0):
        self.factors, self.alpha, self.regularization = factors, alpha, regularization
        self.repeat_exponent = repeat_exponent

    def fit(self, histories):
        from implicit.als import AlternatingLeastSquares

        self.items = Catalogue(histories.vocabulary)
        exponent = self.repeat_exponent
        counts = interaction_matrix(self.items, histories, repeat_exponent=exponent)
        with threadpool_limits(1, "blas"):
            self.model_ = AlternatingLeastSquares(
                factors=self.factors,
                alpha=self.alpha,
                regularization=self.regularization,
                random_state=0,
            )
            self.model_.fit(counts, show_progress=False)
        return self

    def scores(self, queries, **weighting):
        query = interaction_matrix(self.items, queries, **weighting)
        with threadpool_limits(1, "blas"):
            people = self.model_.recalculate_user(np.arange(len(queries)), query)
        people = np.atleast_2d(people).astype(np.float32)
        return lambda start, stop: people[start:stop] @ self.model_.item_factors.T


class BPR:
    """Bayesian personalised ranking of implicit. It knows only the people that it learned from."""

    tolerance = 1e-6

    def __init__(self, factors, iterations, regularization=0.01):
        self.factors, self.iterations, self.regularization = factors, iterations, regularization

    def fit(self, histories):
        from implicit.bpr import BayesianPersonalizedRanking

        self.items = Catalogue(histories.vocabulary)
        self.model_ = BayesianPersonalizedRanking(
            factors=self.factors,
            learning_rate=0.05,
            regularization=self.regularization,
            iterations=self.iterations,
            num_threads=1,  # several threads overwrite one another at random
            random_state=0,
        )
        counts = interaction_matrix(self.items, histories, repeat_exponent=0.0)
        self.model_.fit(counts, show_progress=False)
        self.rows_ = {user: row for row, user in enumerate(histories.user_ids.tolist())}
        return self

    def scores(self, queries):
        factors = self.model_.user_factors
        # The last factor is the bias of the item, which is all that a new person has.
        new = np.append(np.zeros(factors.shape[1] - 1), 1.0)
        rows = [self.rows_.get(user, len(factors)) for user in queries.user_ids.tolist()]
        people = np.vstack([factors, new]).astype(np.float32)[rows]
        return lambda start, stop: people[start:stop] @ self.model_.item_factors.T


class Prod2Vec:
    """Item vectors by gensim's word2vec (skip-gram) from the histories, and their average."""

    tolerance = 1e-6

    def __init__(self, window, epochs, ns_exponent, n_dims=128, age_unit="step"):
        self.window, self.epochs, self.ns_exponent = window, epochs, ns_exponent
        self.n_dims, self.age_unit = n_dims, age_unit

    def fit(self, histories):
        from gensim.models import Word2Vec

        ids = histories.vocabulary.ids
        words = [str(code) for code in range(len(ids))]
        sentences = [
            [words[code] for code in histories[u : u + 1].codes] for u in range(len(histories))
        ]
        model = Word2Vec(
            sentences,
            vector_size=self.n_dims,
            window=self.window,
            epochs=self.epochs,
            ns_exponent=self.ns_exponent,
            sg=1,
            min_count=1,
            workers=1,
            seed=0,
        )
        codes = np.array([int(word) for word in model.wv.index_to_key])
        self.items = ItemEmbeddings(model.wv.vectors, ids=ids[codes])
        return self

    def scores(self, queries, **parameters):
        average = DecayAverageUserEncoder(self.items, age_unit=self.age_unit, **parameters)
        vectors = average.fit(queries[:1]).transform(queries)
        return Products(checked_unit_rows(vectors), self.items.vectors)


class UPCF:
    """Popularity among similar people, by their newest baskets (G. Faggioli et al., UMAP 2020)."""

    tolerance = 1e-6

    def __init__(self, n_recent, asymmetry=0.25):
        self.n_recent, self.asymmetry = n_recent, asymmetry

    def fit(self, histories):
        self.items = Catalogue(histories.vocabulary)
        self.taken_ = interaction_matrix(self.items, histories, repeat_exponent=0.0)
        self.recent_ = recent_shares(self.items, histories, self.n_recent)
        return self

    def scores(self, queries, locality):
        taken = interaction_matrix(self.items, queries, repeat_exponent=0.0)
        own = recent_shares(self.items, queries, self.n_recent)
        sizes = np.diff(self.taken_.indptr)

        def score_block(start, stop):
            block = taken[start:stop]
            shared = (block @ self.taken_.T).tocoo()
            scale = np.diff(block.indptr)[shared.row] ** self.asymmetry
            scale = scale * sizes[shared.col] ** (1 - self.asymmetry)
            similar = sp.csr_matrix(
                ((shared.data / scale) ** locality, (shared.row, shared.col)), shape=shared.shape
            )
            return (similar @ self.recent_ + own[start:stop]).toarray()

        return score_block


def recent_shares(items, histories, n_recent):
    """Return people × items: the share of the newest baskets of a person that have the item."""
    people, ages, rows = baskets(items, histories)
    n_baskets = np.zeros(len(histories))
    np.maximum.at(n_baskets, people, ages + 1)
    recent = ages < n_recent
    people, rows = people[recent], rows[recent]
    shares = 1 / np.minimum(n_baskets, n_recent)[people]
    return sp.csr_matrix((shares, (people, rows)), shape=(len(histories), len(items)))


def baskets(items, histories):
    """Return the person, the age in baskets and the item of everything bought, once a basket."""
    events = liked_events(items, histories)
    people, ages = owners(events.offsets), ages_in_instants(events)
    return np.unique(np.column_stack([people, ages, events.rows]).astype(np.int64), axis=0).T


class TIFUKNN:
    """Decayed baskets of a person and of the nearest people (H. Hu et al., SIGIR 2020)."""

    tolerance = 1e-6

    def __init__(self, within_decay=0.9, group_decay=0.7, group_size=7):
        self.within_decay, self.group_decay = within_decay, group_decay
        self.group_size = group_size

    def fit(self, histories):
        self.items = Catalogue(histories.vocabulary)
        self.people_ = self.vectors(histories)
        self.user_ids_ = histories.user_ids
        return self

    def vectors(self, histories):
        """Return the mean over groups, newest first, of the decayed mean of their baskets."""
        people, ages, rows = baskets(self.items, histories)
        n_baskets = np.zeros(len(histories), dtype=np.int64)
        np.maximum.at(n_baskets, people, ages + 1)
        groups, places = ages // self.group_size, ages % self.group_size
        n_groups = -(-n_baskets[people] // self.group_size)
        sizes = np.minimum(n_baskets[people] - groups * self.group_size, self.group_size)
        weights = self.within_decay**places / sizes * self.group_decay**groups / n_groups
        shape = len(histories), len(self.items)
        return sp.csr_matrix((weights.astype(np.float32), (people, rows)), shape=shape)

    def scores(self, queries, n_neighbors, own_share):
        own = self.vectors(queries)
        squares = np.asarray(self.people_.multiply(self.people_).sum(axis=1)).ravel()
        n_neighbors = min(n_neighbors, self.people_.shape[0] - 1)

        def score_block(start, stop):
            # The square of the distance, less the part that is the same for all neighbours.
            far = squares - 2 * (own[start:stop] @ self.people_.T).toarray()
            far[queries.user_ids[start:stop, None] == self.user_ids_] = np.inf
            nearest = np.argpartition(far, n_neighbors - 1, axis=1)[:, :n_neighbors]
            rows = np.repeat(np.arange(stop - start), n_neighbors)
            means = sp.csr_matrix(
                (np.full(nearest.size, 1 / n_neighbors), (rows, nearest.ravel())), shape=far.shape
            )
            mixed = own_share * own[start:stop] + (1 - own_share) * (means @ self.people_)
            return mixed.toarray()

        return score_block
