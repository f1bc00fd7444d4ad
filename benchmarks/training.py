"""Training: an epoch of the two-tower encoder, compared with the same loop in PyTorch.

``python benchmarks/training.py`` prints the times of both. Their batches, event dropout and
negatives come from the same code and the same random numbers, so their losses must agree.

Trained items mean two pairs of towers, as when the items are learned from the log. skue trains
each pair in a thread of its own. PyTorch trains one pair after the other, each with all threads.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import torch
from _timing import medians, side_by_side, speed_ratio
from torch.nn import functional

from skue import Histories, ItemEmbeddings, TwoTowerUserEncoder
from skue.datasets import make_user_histories
from skue.encoders._events import known_events
from skue.encoders.two_tower._examples import Targets, sequences_of, target_events
from skue.encoders.two_tower._model import start_of_dense, start_of_pooling
from skue.encoders.two_tower._trainer import _AVERAGING, Trainer
from skue.kernels._threads import spread

_TINY = 1e-12
warnings.filterwarnings("ignore", message="index_reduce")


class TorchTrainer(Trainer):
    """The trainer of skue with PyTorch for the forward pass, gradients and optimiser."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tensors = {
            name: torch.from_numpy(value.copy()) for name, value in self.parameters.items()
        }
        self.by_row = {"items", "gate"} & set(self.tensors) if self.settings.sampled else set()
        self.moments = {
            name: (torch.zeros_like(value), torch.zeros_like(value))
            for name, value in self.tensors.items()
            if name in self.by_row
        }
        dense = [name for name in self.tensors if name not in self.by_row | self.fixed]
        for name in dense:
            self.tensors[name].requires_grad_()
        decays = [self.tensors[n] for n in dense if n == "linear" or n.startswith("weight")]
        others = [self.tensors[n] for n in dense if not (n == "linear" or n.startswith("weight"))]
        self.torch_optimiser = torch.optim.AdamW(
            [
                {"params": decays, "weight_decay": self.settings.alpha},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.settings.learning_rate,
            fused=True,
        )
        self.dense = [self.tensors[name] for name in dense]
        self.smooth = [value.detach().clone() for value in self.dense]
        self.frozen = torch.from_numpy(self.item_vectors.copy())
        self.n_steps = 0

    def _step(self, events: np.ndarray) -> float:
        settings, parameters = self.settings, dict(self.tensors)
        batch, targets, negatives = self._draw(events)
        table = parameters["items"] if settings.learn_items else self.frozen
        rows, leaves = None, {}
        if negatives is not None:
            rows, candidates, log_expected = negatives
            index = torch.from_numpy(rows)
            for name in self.by_row:
                leaves[name] = self.tensors[name][index].requires_grad_()
            parameters |= leaves
            table = leaves["items"] if settings.learn_items else self.frozen[index]
        vectors = functional.normalize(table, dim=1) if settings.learn_items else table
        channels = self._channels(batch, parameters, vectors)
        users = self._head(channels, parameters)
        scale = torch.exp(-parameters["log_temperature"])
        if rows is None:
            loss = functional.cross_entropy(
                (users * scale) @ vectors.T,
                torch.from_numpy(targets).long(),
                label_smoothing=settings.label_smoothing,
            )
        else:
            correction = torch.from_numpy(log_expected).float()
            named = torch.from_numpy(rows[candidates])
            scores = (users * scale) @ functional.embedding(torch.from_numpy(candidates), vectors).T
            every = torch.arange(len(users))
            own = scores[every, every]
            scores = scores - correction
            scores = scores.masked_fill(named[None, :] == named[: len(users), None], -torch.inf)
            scores = scores.index_put((every, every), own)
            loss = functional.cross_entropy(scores, every)
        self.torch_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.torch_optimiser.param_groups:
            group["lr"] = self.optimizer.learning_rate
        self.torch_optimiser.step()
        self._update_rows(leaves, None if rows is None else torch.from_numpy(rows))
        self.n_steps += 1
        self.optimizer.n_steps += 1  # The pace of the learning rate goes by it.
        share = min(_AVERAGING, self.n_steps / (self.n_steps + 10))
        with torch.no_grad():
            self.tensors["decay"].clamp_(min=0)
            self.tensors["log_temperature"].clamp_(np.log(0.02), 0.0)
            torch._foreach_lerp_(self.smooth, self.dense, 1 - share)
        return float(loss.detach())

    def _update_rows(self, leaves: dict[str, torch.Tensor], rows: Any) -> None:
        """Take one step of Adam on the rows of the batch (AdamW has no sparse form)."""
        with torch.no_grad():
            step = self.n_steps + 1
            size = self.optimizer.learning_rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for name, leaf in leaves.items():
                mean, square = (moment[rows] for moment in self.moments[name])
                mean.lerp_(leaf.grad, 0.1)
                square.mul_(0.999).addcmul_(leaf.grad, leaf.grad, value=0.001)
                self.moments[name][0][rows], self.moments[name][1][rows] = mean, square
                self.tensors[name][rows] = leaf - size * mean / (square.sqrt() + 1e-8)

    def _channels(
        self, batch: Any, parameters: dict[str, torch.Tensor], vectors: torch.Tensor
    ) -> torch.Tensor:
        present = torch.from_numpy(batch.present)
        ages = torch.from_numpy(batch.ages)
        rows = torch.from_numpy(batch.rows).long()
        shown = functional.embedding(rows, vectors)
        count = present.sum(dim=1)
        total = (present[:, None, :].float() @ shown)[:, 0]
        support = ((shown @ total[:, :, None])[:, :, 0] - 1) / (count - 1).clamp(min=1)[:, None]
        support = support * (present & (count > 1)[:, None])
        logits = -parameters["decay"][:, None] * ages[:, None, :]
        # Log sums over a user's events of the same item, by a scatter.
        events = torch.from_numpy(batch.by_item)
        opens = torch.zeros(len(events), dtype=torch.int64)
        opens[torch.from_numpy(batch.item_starts[1:])] = 1
        group = torch.cumsum(opens, 0)
        flat = logits.transpose(1, 2).reshape(-1, len(parameters["decay"]))[events]
        sums = torch.zeros(len(batch.item_starts), flat.shape[1])
        largest = torch.full_like(sums, -torch.inf).index_reduce_(0, group, flat.detach(), "amax")
        sums = sums.index_add(0, group, torch.exp(flat - largest[group]))
        log_sums = torch.zeros(rows.numel(), flat.shape[1]).index_copy(
            0, events, (largest + torch.log(sums))[group]
        )
        log_sums = log_sums.reshape(*rows.shape, -1).transpose(1, 2)
        logits = logits + parameters["support"][:, None] * support[:, None, :]
        logits = logits + parameters["gate"][rows][:, None, :]
        logits = logits - parameters["repeat"][:, None] * log_sums
        logits = logits.masked_fill(~present[:, None, :], -torch.inf)
        weights = torch.exp(logits - logits.detach().amax(dim=2, keepdim=True))
        return functional.normalize(weights @ shown, dim=2, eps=_TINY)

    def _head(self, channels: torch.Tensor, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        users = torch.einsum("j,ujd->ud", torch.softmax(parameters["mix"], 0), channels)
        inputs = channels.reshape(len(channels), -1)
        kept = self._dropout(len(channels), channels.shape[2])
        if kept is not None:
            inputs = inputs * torch.from_numpy(kept)
        users = users + inputs @ parameters["linear"]
        hidden = torch.relu(inputs @ parameters["weight0"] + parameters["bias0"])
        users = users + hidden @ parameters["weight1"] + parameters["bias1"]
        return functional.normalize(users, dim=1, eps=_TINY)


def trainers(
    kind: str, *, n_users: int, n_items: int, n_dims: int, learn_items: bool
) -> tuple[list[Trainer], list[TorchTrainer]]:
    """Return the trainers of both, with the same start values and the same random numbers."""
    data = make_user_histories(n_users=n_users, n_items=1500, random_state=0)
    rng = np.random.default_rng(0)
    # Each generated item becomes several, which share its events at random.
    copies = -(-n_items // 1500)
    codes = data.histories.codes + 1500 * rng.integers(0, copies, len(data.histories.codes))
    vectors = rng.normal(size=(1500 * copies, n_dims)).astype(np.float32)
    items = ItemEmbeddings(vectors)
    log = Histories(codes, data.histories.offsets, np.arange(1500 * copies))
    encoder = TwoTowerUserEncoder(
        items,
        item_tower="trained" if learn_items else "frozen",
        negatives="sampled" if kind == "sampled" else "all",
    )
    encoder.item_tower_, encoder.negatives_ = encoder._item_tower(), encoder.negatives
    settings = encoder._settings((128,), encoder.decays)
    sequences = sequences_of(known_events(items, log, None))
    targets = Targets(sequences, target_events(sequences))

    def pair_of_towers(trainer: type, seed: int) -> Any:
        start = start_of_pooling(np.asarray(settings.decays, dtype=np.float32), 0.5, len(items))
        start["mix"] = np.zeros(len(settings.decays), dtype=np.float32)
        dense = np.random.default_rng(1)
        start |= start_of_dense(len(settings.decays), n_dims, settings.hidden_layer_sizes, dense)
        rng = np.random.default_rng(seed)
        return trainer(targets, items.vectors, start, settings, rng)

    seeds = (2, 3) if learn_items else (2,)
    ours, theirs = ([pair_of_towers(kind, s) for s in seeds] for kind in (Trainer, TorchTrainer))
    return ours, theirs


def measure(kind: str, *, rounds: int = 5, **sizes: Any) -> dict[str, Any]:
    """Return the seconds of an epoch of both, and their ratio; check that the losses agree."""
    ours, theirs = trainers(kind, **sizes)
    epochs = {
        "skue": lambda: spread(Trainer.epoch, ours),
        "PyTorch": lambda: [trainer.epoch() for trainer in theirs],
    }
    losses = [epoch() for epoch in epochs.values()]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)
    seconds = side_by_side(epochs, rounds=rounds)
    return {
        "seconds": medians(seconds),
        "losses of the first epoch": losses,
        "ratios": {"skue / PyTorch": speed_ratio(seconds, "skue", "PyTorch")},
    }


_SIZES = {"n_users": 200, "n_dims": 128}
# Full softmax over 12,000 items, trained; sampled over 99,000.
SETTINGS: dict[str, dict[str, Any]] = {
    "full softmax, trained items": {
        "kind": "full",
        "n_items": 12_000,
        "learn_items": True,
        **_SIZES,
    },
    "full softmax, frozen items": {
        "kind": "full",
        "n_items": 12_000,
        "learn_items": False,
        **_SIZES,
    },
    "sampled softmax, trained items": {
        "kind": "sampled",
        "n_items": 99_000,
        "learn_items": True,
        **_SIZES,
    },
}


if __name__ == "__main__":
    print(json.dumps({name: measure(**setting) for name, setting in SETTINGS.items()}, indent=1))
