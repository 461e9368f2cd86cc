#!/usr/bin/env python3
"""Values that the tests of crates/stats hold its metrics and tests to, from implementations of others.

    python docs/check_metrics.py            compares with what is stored; ends with 1 where something differs
    python docs/check_metrics.py --write    stores them anew, in crates/stats/tests/expected.txt

Needs numpy, scipy, scikit-learn (metrics), statsmodels (McNemar, Wilson) and MLstatkit (DeLong's test). DeLong's
variance is found by its definition over all pairs as well. The samples are drawn by the same generator as in crates/stats/tests/published.rs.
"""
import os
import sys

import numpy as np
from MLstatkit import Delong_test
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

EXPECTED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "crates/stats/tests/expected.txt")
CLASSES = 4


class Random:
    """SplitMix64, as in crates/stats/src/random.rs."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    def below(self, n):
        return (self.next() * n) >> 64


def draw(n, seed):
    """Labels, and the scores of two models: whole numbers over their sum, with many ties from sample to sample and none in a row."""
    random = Random(seed)
    labels, tables = [], ([], [])
    for _ in range(n):
        label = min(random.below(CLASSES), random.below(CLASSES))
        labels.append(label)
        for table in tables:
            row = [4 * random.below(6) + c + (8 * random.below(3) if c == label else 0) for c in range(CLASSES)]
            table.append([(v + 1) / (sum(row) + CLASSES) for v in row])
    return np.array(labels), np.array(tables[0]), np.array(tables[1])


def delong_variance(scores, positive):
    """By the definition of DeLong et al. 1988, for several models at once."""
    kernel = [(s[positive][:, None] > s[~positive]) + 0.5 * (s[positive][:, None] == s[~positive]) for s in scores]
    v10 = np.cov([k.mean(axis=1) for k in kernel])
    v01 = np.cov([k.mean(axis=0) for k in kernel])
    return v10 / positive.sum() + v01 / (~positive).sum()


def shares(lost, won, n, level):
    """Jeffreys' limits of both shares (scipy's beta distribution), put together as Newcombe 1998 does with Wilson's in his method 10."""
    tail = (1 - level) / 2
    (p, q), limits = (lost / n, won / n), []
    for k in (lost, won):
        low, high = stats.beta.ppf([tail, 1 - tail], k + 0.5, n - k + 0.5)
        limits.append((low if k else 0.0, high if k < n else 1.0))
    (p_low, p_high), (q_low, q_high) = limits
    correlation = -np.sqrt(p * q / ((1 - p) * (1 - q)))

    def width(a, b):
        return np.sqrt(a * a + b * b - 2 * correlation * a * b)

    return p - q - width(p - p_low, q_high - q), p - q + width(p_high - p, q - q_low)


def values():
    labels, scores, others = draw(400, 11)
    predicted, before = scores.argmax(axis=1), others.argmax(axis=1)
    yield "accuracy", metrics.accuracy_score(labels, predicted)
    yield "balanced", metrics.balanced_accuracy_score(labels, predicted)
    for c in range(CLASSES):
        of_class = {"labels": [c], "average": "macro"}
        yield f"recall {c}", metrics.recall_score(labels, predicted, **of_class)
        yield f"precision {c}", metrics.precision_score(labels, predicted, **of_class)
        yield f"f1 {c}", metrics.f1_score(labels, predicted, **of_class)
    for average in ("macro", "micro", "weighted"):
        yield f"f1 {average}", metrics.f1_score(labels, predicted, average=average)
    for weights in (None, "linear", "quadratic"):
        yield f"kappa {weights}", metrics.cohen_kappa_score(labels, predicted, weights=weights)
    for k in (2, 3):
        yield f"top {k}", metrics.top_k_accuracy_score(labels, scores, k=k)
    yield "auc", metrics.roc_auc_score(labels == 1, scores[:, 1])
    yield "auc ovr", metrics.roc_auc_score(labels, scores, multi_class="ovr")
    yield "mae", metrics.mean_absolute_error(others[:, 0], scores[:, 0])
    yield "rmse", metrics.root_mean_squared_error(others[:, 0], scores[:, 0])
    noise, signal = np.square(scores - others).sum(), np.square(others).sum()
    yield "sqnr", 10 * np.log10(signal / noise)
    yield "relative error", np.sqrt(noise / signal)
    yield "cosine", (scores * others).sum() / np.sqrt(np.square(scores).sum() * signal)
    # The zero-division cases: a class that is predicted and does not occur, and the reverse.
    odd = [0, 0, 1, 1, 3], [0, 2, 1, 0, 0]
    yield "odd balanced", metrics.recall_score(*odd, average="macro", labels=[0, 1, 3])
    yield "odd f1 macro", metrics.f1_score(*odd, average="macro", zero_division=0)
    yield "odd f1 weighted", metrics.f1_score(*odd, average="weighted", zero_division=0)

    positive = labels == 1
    covariance = delong_variance([others[:, 1], scores[:, 1]], positive)
    yield "delong variance", covariance[1, 1]
    yield "delong paired variance", covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    z, p = Delong_test(positive.astype(int), others[:, 1], scores[:, 1])[:2]
    yield "delong z", abs(z)
    yield "delong p", p

    lost = int(((before == labels) & (predicted != labels)).sum())
    won = int(((before != labels) & (predicted == labels)).sum())
    yield "lost", lost
    yield "won", won
    for b, c in ((lost, won), (7, 1), (3, 3), (0, 12)):
        exact = mcnemar([[0, b], [c, 0]], exact=True).pvalue
        yield f"mcnemar exact {b} {c}", exact
        point = stats.binom.pmf(min(b, c), b + c, 0.5)
        yield f"mcnemar mid-p {b} {c}", 1 - point / 2 if b == c else exact - point
    for b, c, n, level in ((lost, won, 400, 0.95), (7, 1, 21, 0.95), (28, 25, 618, 0.9), (40, 20, 160, 0.95), (5, 0, 50, 0.95)):
        for side, value in zip(("low", "high"), shares(b, c, n, level)):
            yield f"shares {side} {b} {c} {n} {level}", value
    for k, n in ((81, 263), (15, 148), (0, 20), (1, 29)):
        for side, value in zip(("low", "high"), proportion_confint(k, n, 0.05, "wilson")):
            yield f"wilson {side} {k} {n}", value


def main():
    found = [(name, float(value)) for name, value in values()]
    if "--write" in sys.argv[1:]:
        with open(EXPECTED, "w", encoding="utf-8") as file:
            file.writelines(f"{name} = {value!r}\n" for name, value in found)
        return
    with open(EXPECTED, encoding="utf-8") as file:
        stored = dict(line.rsplit(" = ", 1) for line in file)
    wrong = [name for name, value in found if abs(float(stored.pop(name, "nan")) - value) > 1e-9 or value != value]
    for name in [*wrong, *stored]:
        print(f"{name} differs from what is stored")
    print(f"{len(found)} values, {len(wrong) + len(stored)} differ")
    sys.exit(bool(wrong or stored))


if __name__ == "__main__":
    main()
