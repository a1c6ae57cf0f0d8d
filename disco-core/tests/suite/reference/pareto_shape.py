"""Pareto k-hat of weights with known tails, by arviz-stats 0.8.0 (`pip install arviz-stats`).

The weights are the quantiles w_i = (1 - (i + 1/2) / n)^(-k), i = 0 .. n-1, of a Pareto distribution
of shape k, so that no random numbers have to be stored. n is chosen such that the length of the tail,
3 sqrt(n), is a whole number. Run: `python pareto_shape.py > pareto_shape.json`.
"""

import json

import numpy as np
from arviz_stats.base import array_stats

CASES = [(100, 0.5), (400, 0.25), (900, 0.1), (900, 0.7), (10_000, 0.4), (10_000, 1.5)]
# Tails so heavy that one weight is all of the sum.
CASES += [(100, 5.0), (400, 2.0), (400, 40.0), (900, 3.0), (900, 10.0), (900, 60.0), (10_000, 5.0), (10_000, 40.0)]

rows = []
for n, k in CASES:
    log_weights = -k * np.log1p(-(np.arange(n) + 0.5) / n)
    # It smooths the weights of leave-one-out, which are the negatives of what it is given.
    _, khat = array_stats.psislw(-log_weights)
    rows.append({"n": n, "k": k, "khat": float(khat)})
print(json.dumps(rows, indent=1))
