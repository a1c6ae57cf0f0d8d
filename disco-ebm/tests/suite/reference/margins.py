"""Iterative proportional fitting of three two-way margins, for `margins.rs`.

    python margins.py > margins.json          (needs numpy)

A table of 4 x 3 x 5 cells is scaled to the margins (row, column), (row, layer) and (column, layer) of another table, one
after the other, until nothing changes (Deming and Stephan 1940). Of the 12 + 20 + 15 indicators of the margins' cells, 12
follow from the others.
"""

import json

import numpy as np

rng = np.random.default_rng(4)
shape = (4, 3, 5)
base = rng.dirichlet(np.full(60, 2.0)).reshape(shape)
wanted = rng.dirichlet(np.full(60, 2.0)).reshape(shape)
fitted = base.copy()
for _ in range(20000):
    before = fitted
    for axis in range(3):
        fitted = fitted * np.expand_dims(wanted.sum(axis) / fitted.sum(axis), axis)
    if np.abs(fitted - before).max() < 1e-17:
        break
margins = [wanted.sum(axis).ravel().tolist() for axis in (2, 1, 0)]
print(json.dumps({"base": base.ravel().tolist(), "margins": margins, "fitted": fitted.ravel().tolist()}))
