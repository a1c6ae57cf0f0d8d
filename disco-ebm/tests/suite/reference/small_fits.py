"""Small maximum-entropy problems with their solutions, for `small_fits.rs`.

    python small_fits.py SEED COUNT > small_fits.json          (needs numpy and mpmath)

Two to six outcomes have base log-weights from 0 to -700 and one to three features; targets lie anywhere inside the hull,
down to 1e-9 of its edge. One feature is solved by bisection of its mean, which grows with the coefficient. Several are
solved by Newton's method along a path of bases `beta ln a`, from the uniform one (beta = 0) to the one asked for (beta =
1), with a predictor and steps that are halved until Newton converges. Both compute with 450 digits, more than exp(-700)
has zeros, and every solution is accepted only if its moments agree with the targets to 1e-40: the dual is convex, so that
nothing else can be the answer. In "sampled" problems each outcome has a number of samples from a proposal near the
solution, and the answer is that for these very samples.
"""

import json
import sys

import numpy as np
from mpmath import mp, mpf, matrix, lu_solve, exp, log

mp.dps = 450


def weights(log_weights, values, coefficients):
    scores = [w + sum(c * v for c, v in zip(coefficients, row)) for w, row in zip(log_weights, values)]
    largest = max(scores)
    terms = [exp(score - largest) for score in scores]
    total = sum(terms)
    return [term / total for term in terms]


def mean(probabilities, column):
    return sum(p * v for p, v in zip(probabilities, column))


def bisect(log_weights, values, target):
    column = [row[0] for row in values]
    low, high = mpf(-1), mpf(1)
    while mean(weights(log_weights, values, [low]), column) > target:
        low *= 2
    while mean(weights(log_weights, values, [high]), column) < target:
        high *= 2
    for _ in range(1000):
        middle = (low + high) / 2
        if mean(weights(log_weights, values, [middle]), column) < target:
            low = middle
        else:
            high = middle
        if high - low < mpf(10) ** -60:
            break
    return [(low + high) / 2]


def derivatives(log_weights, values, targets, coefficients):
    d = len(targets)
    p = weights(log_weights, values, coefficients)
    means = [mean(p, [row[i] for row in values]) for i in range(d)]
    centred = [[row[i] - means[i] for i in range(d)] for row in values]
    hessian = matrix(d, d)
    for i in range(d):
        for j in range(i + 1):
            hessian[i, j] = hessian[j, i] = sum(q * c[i] * c[j] for q, c in zip(p, centred))
    return p, [m - t for m, t in zip(means, targets)], hessian, centred


def newton(log_weights, values, targets, coefficients):
    """The solution near `coefficients`, or None if Newton's method leads away."""
    last = None
    for _ in range(40):
        _, gradient, hessian, _ = derivatives(log_weights, values, targets, coefficients)
        step = lu_solve(hessian, -matrix(gradient))
        size = max(abs(s) for s in step)
        if size < mpf(10) ** -60:
            return coefficients
        if size > 50 or (last is not None and size > 4 * last):
            return None
        last = size
        coefficients = [c + s for c, s in zip(coefficients, step)]
    return None


def follow(log_weights, values, targets):
    d = len(targets)
    flat = [mpf(0)] * len(log_weights)
    # The uniform base: full Newton steps from 0, halved while the value of the dual does not fall.
    coefficients = [mpf(0)] * d
    def dual(c):
        scores = [sum(a * v for a, v in zip(c, row)) for row in values]
        largest = max(scores)
        return largest + log(sum(exp(s - largest) for s in scores)) - sum(a * t for a, t in zip(c, targets))
    for _ in range(300):
        _, gradient, hessian, _ = derivatives(flat, values, targets, coefficients)
        step = lu_solve(hessian, -matrix(gradient))
        if max(abs(s) for s in step) < mpf(10) ** -60:
            break
        length = mpf(1)
        while dual([c + length * s for c, s in zip(coefficients, step)]) > dual(coefficients):
            length /= 2
            if length < mpf(10) ** -40:
                break
        coefficients = [c + length * s for c, s in zip(coefficients, step)]
    beta, stride = mpf(0), mpf(1) / 64
    while beta < 1:
        tilted = [beta * w for w in log_weights]
        p, _, hessian, centred = derivatives(tilted, values, targets, coefficients)
        base = mean(p, log_weights)
        slope = matrix([sum(q * c[i] * (w - base) for q, c, w in zip(p, centred, log_weights)) for i in range(d)])
        predictor = lu_solve(hessian, -slope)
        while True:
            stride = min(stride, 1 - beta)
            start = [c + stride * s for c, s in zip(coefficients, predictor)]
            found = newton([(beta + stride) * w for w in log_weights], values, targets, start)
            if found is not None:
                break
            stride /= 2
            if stride < mpf(2) ** -40:
                return None
        beta, coefficients, stride = beta + stride, found, stride * 2
    return coefficients


def values_of(rng, outcomes, d):
    kind = rng.integers(3)
    if kind == 0:
        return np.round(rng.normal(size=(outcomes, d)), 3)
    if kind == 1:
        return rng.integers(0, 5, (outcomes, d)).astype(float)
    return rng.integers(0, 2, (outcomes, d)).astype(float)


def solve(log_weights, values, targets):
    exact = [mpf(w) for w in log_weights], [[mpf(v) for v in row] for row in values], [mpf(t) for t in targets]
    found = bisect(exact[0], exact[1], exact[2][0]) if len(targets) == 1 else follow(*exact)
    if found is None:
        return None
    p, gradient, hessian, _ = derivatives(*exact, found)
    if max(abs(g) for g in gradient) > mpf(10) ** -40:
        return None
    ranges = [max(column) - min(column) for column in zip(*values)]
    scaled = [[float(hessian[i, j]) / ranges[i] / ranges[j] for j in range(len(targets))] for i in range(len(targets))]
    return found, [float(q) for q in p], np.linalg.eigvalsh(np.array(scaled))[0]


def problem(rng, index):
    while True:
        d = int(rng.integers(1, 4))
        outcomes = int(rng.integers(d + 1, 7))
        values = values_of(rng, outcomes, d)
        if np.linalg.matrix_rank(values - values.mean(axis=0)) < d:
            continue
        base = np.round(-rng.uniform(0, 700, outcomes) * (rng.random(outcomes) < 0.8), 2)
        base = np.round(base - base.max(), 2)
        inside = rng.dirichlet(np.full(outcomes, rng.choice([1.0, 0.2])))
        inside = np.maximum(inside, 10.0 ** -rng.uniform(1, 9))
        targets = (inside / inside.sum()) @ values
        solved = solve(base.tolist(), values.tolist(), targets.tolist())
        if solved is None:
            continue
        case = {"base": base.tolist(), "values": values.tolist(), "targets": targets.tolist()}
        if index % 5 == 4:
            proposal = 0.8 * np.array(solved[1]) + 0.2 / outcomes
            counts = rng.multinomial(400, proposal)
            if (counts == 0).any():
                continue
            logs = np.round(np.log(proposal), 6)
            sampled = [float(mpf(b) - mpf(q) + log(int(n))) for b, q, n in zip(base, logs, counts)]
            solved = solve(sampled, values.tolist(), targets.tolist())
            if solved is None:
                continue
            case |= {"proposal": logs.tolist(), "counts": counts.tolist()}
        coefficients, probabilities, curvature = solved
        case["probabilities"] = [float(f"{p:.11g}") for p in probabilities]
        # Where the dual is curved enough for f64 to resolve the coefficients.
        if curvature > 1e-4:
            case["coefficients"] = [float(f"{float(c):.12g}") for c in coefficients]
        return case


rng = np.random.default_rng(int(sys.argv[1]))
cases = [problem(rng, index) for index in range(int(sys.argv[2]))]
print("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]")
