"""Writes generators.json: generators and derivatives of the family to 17 digits (mpmath 1.3).

python3 generators.py > generators.json
"""

import json

from mpmath import exp, log, mp, mpf, sqrt

mp.dps = 1400  # (t^a - a t - (1 - a)) at t = exp(700), a = 1 + 1e-9 and l = 1e-12 cancels hundreds of digits.

LOG_RATIOS = sorted(
    sign * size
    for size in [1e-12, 1e-6, 1e-3, 0.1, 0.49, 0.51, 0.99, 1.01, 3.0, 10.0, 30.0, 100.0, 350.0, 699.0, 700.0]
    for sign in (-1, 1)
)
ORDERS = [-3.0, -1.0, -1e-6, -1e-12, 1e-9, 0.25, 0.499, 0.5, 0.75, 1 - 1e-9, 1 + 1e-6, 2.0, 5.0]
WEIGHTS = [1e-6, 0.1, 0.5, 0.9, 1 - 1e-6]


def alpha(a):
    a = mpf(a)
    return (
        lambda l, t: (t**a - a * t - (1 - a)) / (a * (a - 1)),
        lambda l, t: (t ** (a - 1) - 1) / (a - 1),
    )


def skewed_kl(w):
    w = mpf(w)
    return (
        lambda l, t: w * (t - 1) - log(1 - w + w * t),
        lambda l, t: -w / (1 - w + w * t),
    )


def skewed_js(w):
    w = mpf(w)

    def generator(l, t):
        m = 1 - w + w * t
        return -(1 - w) * log(m) + w * t * (l - log(m))

    return generator, lambda l, t: w * (l - log(1 - w + w * t))


FAMILY = {
    "forward-kl": (lambda l, t: t - 1 - l, lambda l, t: -1 / t),
    "reverse-kl": (lambda l, t: t * l - t + 1, lambda l, t: l + 1),
    "tv": (lambda l, t: abs(1 - t) / 2, lambda l, t: mpf(1 if l > 0 else -1) / 2),
    "js": skewed_js(0.5),
    "chi2-forward": (lambda l, t: t + 1 / t - 2, lambda l, t: -1 / t**2),
    "chi2-reverse": (lambda l, t: (t - 1) ** 2, lambda l, t: 2 * (t - 1)),
    "hellinger": (lambda l, t: (sqrt(t) - 1) ** 2 / 2, lambda l, t: (1 - 1 / sqrt(t)) / 2),
    "jeffreys": (lambda l, t: (t - 1) * l, lambda l, t: l + 1 - 1 / t),
    "alpha:0": (lambda l, t: t - 1 - l, lambda l, t: 1 - 1 / t),
    "alpha:1": (lambda l, t: t * l - t + 1, lambda l, t: l),
}
FAMILY |= {f"alpha:{order!r}": alpha(order) for order in ORDERS}
FAMILY |= {f"skewed-kl:{weight!r}": skewed_kl(weight) for weight in WEIGHTS}
FAMILY |= {f"skewed-js:{weight!r}": skewed_js(weight) for weight in WEIGHTS}


def column(function, log_ratios):
    return [mp.nstr(function(mpf(l), exp(mpf(l))), 20) for l in log_ratios]


rows = {}
for name, (generator, derivative) in FAMILY.items():
    rows[name] = {
        # Logarithms reach beyond f64.
        "log_generator": [float(v) for v in column(lambda l, t: log(generator(l, t)), LOG_RATIOS)],
        "log_abs_derivative": [float(v) for v in column(lambda l, t: log(abs(derivative(l, t))), LOG_RATIOS)],
        "derivative_sign": [1 if derivative(mpf(l), exp(mpf(l))) > 0 else -1 for l in LOG_RATIOS],
    }
print(json.dumps({"log_ratios": LOG_RATIOS, "family": rows}, indent=None, separators=(",", ":")))
