#!/usr/bin/env python3
"""Bounds that the tests of crates/stats hold its confidence sequences to, from PyPI's ville, which shares no code with them.

    python docs/check_sequences.py            compares with what is stored; ends with 1 where something differs
    python docs/check_sequences.py --write    stores them anew, in crates/stats/tests/sequences.txt

Needs numpy, scipy and ville==0.1.0. The normal mixture is ville's GaussianMixtureCS, AsymptoticCS and MSPRT, the beta-binomial mixture
its BernoulliCS. Its BettingCS bets otherwise than a mixture of constant bets: the tests only ask that both agree and are about as wide.
"""
import os
import sys

import numpy as np
from ville import AsymptoticCS, BernoulliCS, BettingCS, GaussianMixtureCS, MSPRT

STORED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "crates/stats/tests/sequences.txt")
LOOKS = [1, 7, 40, 200, 1000, 3000]


def lines():
    draw = np.random.default_rng(20261126)
    for sigma, alpha, t_opt in [(1.0, 0.05, 500), (0.3, 0.01, 60), (2.5, 0.0125, 2000)]:
        cs = GaussianMixtureCS(sigma=sigma, alpha=alpha, t_opt=t_opt, intersect=False).fit(draw.normal(0.2, sigma, 3000))
        tau = sigma**2 / np.sqrt(cs.rho_)
        for t in LOOKS:
            yield f"normal {float(sigma / np.sqrt(t))!r} {float(tau)!r} {alpha!r}", [cs.upper_[t - 1] - cs.estimate_[t - 1]]
    x = draw.exponential(0.02, 3000)
    cs = AsymptoticCS(alpha=0.05, t_opt=300, min_samples=2).fit(x)
    for t in LOOKS[2:]:
        sd = np.std(x[:t], ddof=1)
        yield f"normal {float(sd / np.sqrt(t))!r} {float(sd / np.sqrt(cs.rho_))!r} 0.05", [cs.upper_[t - 1] - cs.estimate_[t - 1]]
    # Where the wealth is 1/alpha, the sequence at that alpha just reaches the hypothesis.
    x = draw.normal(0.3, 1.0, 1000)
    test = MSPRT(theta0=0.0, sigma=1.0, tau=0.25).fit(x)
    for t in LOOKS[3:5]:
        yield f"normal {float(1 / np.sqrt(t))!r} 0.25 {float(np.exp(-test.log_e_values_[t - 1]))!r}", [abs(np.mean(x[:t]))]
    for p, prior, alpha in [(0.3, (1.0, 1.0), 0.05), (0.005, (0.5, 20.0), 0.05), (0.02, (0.5, 20.0), 0.00625)]:
        x = (draw.random(3000) < p).astype(float)
        cs = BernoulliCS(alpha=alpha, prior=prior, intersect=False).fit(x)
        for t in LOOKS:
            name = f"proportion {int(x[:t].sum())} {t} {prior[0]!r} {prior[1]!r} {alpha!r}"
            yield name, [cs.lower_[t - 1], cs.upper_[t - 1]]
    # Values that can be drawn again: the fractional parts of multiples of the golden ratio, to a power that skews them.
    for power in (1.0, 0.05, 12.0):
        x = np.round(((np.arange(1, 2001) * 0.6180339887498949) % 1.0) ** power * 65536) / 65536
        cs = BettingCS(alpha=0.05, intersect=False).fit(x)
        for t in (100, 500, 2000):
            yield f"betting {power!r} {t}", [cs.lower_[t - 1], cs.upper_[t - 1]]


def close(a, b):
    try:
        return abs(float(a) - float(b)) <= 1e-6 * max(abs(float(b)), 1e-3)
    except ValueError:
        return False


def main():
    text = "".join(f"{name} = {' '.join(repr(float(v)) for v in values)}\n" for name, values in lines())
    if "--write" in sys.argv[1:]:
        with open(STORED, "w") as file:
            file.write(text)
        return 0
    with open(STORED) as file:
        stored = file.read()
    # Another scipy may differ in last digits.
    words = list(zip(stored.split(), text.split()))
    if stored.count("\n") != text.count("\n") or not all(a == b or close(a, b) for a, b in words):
        print("the stored bounds are not those of ville; --write stores them anew", file=sys.stderr)
        return 1
    print(f"{text.count(chr(10))} bounds are those of ville")
    return 0


if __name__ == "__main__":
    sys.exit(main())
