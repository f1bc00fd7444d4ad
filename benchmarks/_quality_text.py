"""The text of the page that quality.py writes."""

HEAD = """\
# How well encoders find what comes next

![Recall@10 on amazon-beauty](../_static/quality.svg)

On reviews, where nobody takes an item twice, `TwoTowerUserEncoder()` with its defaults finds more
than every published model that reads only the ids, and clearly more than the best average. In a
shop where people buy the same things again, an average or a two-tower encoder alone is below
ranking by own frequency: use {doc}`two_stage`. {doc}`which_encoder` turns the figures into a
decision.

- [What the columns mean](#what-the-columns-mean)
- [Logs](#logs): amazon-beauty, with published figures beside ours, and online-retail
- [Beside what people use instead](#beside-what-people-use-instead): item-kNN, ALS, EASE and others
- [Generated worlds](#generated-worlds): tastes that move, slowly and fast
- [Ablations](#ablations): what each part of the two-tower encoder adds

## What the columns mean

R@10, R@20, recall@k
: The share of held-out items among the first k of the whole catalogue: hits / min(k, held out),
  averaged over people. Higher is better.

N@10
: NDCG, which also counts how far up the item is: one held-out item at rank p gives 1 / log2(p + 1).

validation, test
: Each person's last event (with times, the last instant) is the test target, and the one before it
  is the validation target. Everything, item vectors included, is learned from the rest. Settings
  are chosen on validation; the test target is ranked once.

fit, s
: Seconds of one fit on the machine named below the table. For the best average, of the whole
  search.

median (range)
: Several seeds of the two-tower encoder.

less ...
: The difference, paired by person, with a 95 % bootstrap interval. If it contains 0, both may be
  equal.

The *best average* is the best of 72 decays and repeat exponents, and of 128 or 256 dimensions, on
validation. The two-tower encoder has its defaults: one set for all logs and tables.
"""
ABOUT_PUBLISHED = """\
### Published figures beside ours

All with the same protocol on the same reviews: leave-one-out, the whole catalogue, items of the
history left out, no sampled negatives. *As reported* is the one figure that the source has.

{table}
A *best of a grid on test* is the highest of many test scores: the best of 88 runs would be above
the median even if all settings were equally good. Ours is one set of defaults, chosen without the
test targets.
"""
ABOUT_PEERS = """\
## Beside what people use instead

The same split and evaluation for everybody; each is tuned on validation inside the command, and
the test targets are ranked once. *R@10 less ...* is the difference from the best method that is
not skue's. Times are CPU seconds of all threads: *fit* is one fit with the chosen settings, *µs a
person* is from the history to its first ten items.

### Peers on amazon-beauty

<!-- table: peers benchmarks/peers-amazon-beauty.json -->
<!-- end -->

### Peers on online-retail

<!-- table: peers benchmarks/peers-online-retail.json -->
<!-- end -->

`python benchmarks/peers.py LOG --json FILE`, then
`python docs/measured_tables.py`.
"""
ABOUT_WORLDS = """\
## Generated worlds

The item vectors are given and frozen ({func}`skue.datasets.make_user_histories`). Encoders learn
from the first 21 events of some people. For other people, they predict the 21st event from the 20
before it. After the 16th event, tastes move by 0.4 of their own size ("steady") or by their full
size ("fast"). In "fast-shared", they move after the 17th event by twice their size, and people
with the same taste move in the same direction, for example from prams to toys. An average cannot
learn this. The best average is the best of 72 decays and repeat exponents on the people learned
from.
"""
ABOUT_ABLATIONS = """\
## Ablations

The two-tower encoder with one part left out or changed. The names are those of `--only`.
"""
