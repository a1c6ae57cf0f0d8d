"""Writes huge_scores.json: divergences of distributions some of whose log-scores are huge (mpmath 1.3).

python3 huge_scores.py > huge_scores.json
"""

import json
import struct

from mpmath import exp, inf, log, mp, mpf, sqrt

mp.dps = 1200  # exp(-1.8e308) takes 1,024 bits of exponent.

F32_MIN = struct.unpack("f", struct.pack("f", -3.4028234663852886e38))[0]
F64_MIN = -1.7976931348623157e308
PENALTIES = [-750.0, -1e5, -1e16, -1e30, F32_MIN, -1e300, F64_MIN]
PLAIN = [log(mpf(w)) for w in [0.1, 0.2, 0.3, 0.4]]


def with_penalty(scores, *places, penalty):
    return [penalty if i in places else float(score) for i, score in enumerate(scores)]


TARGET, POLICY = [0.3, 1.2, -0.7, 2.0], [float(x) for x in PLAIN]
CASES = []
for penalty in PENALTIES:
    CASES.append((with_penalty(TARGET, 2, penalty=penalty), POLICY))
    CASES.append((TARGET, with_penalty(POLICY, 1, penalty=penalty)))
    CASES.append((with_penalty(TARGET, 2, penalty=penalty), with_penalty(POLICY, 2, penalty=penalty)))
    CASES.append((with_penalty(TARGET, 0, 3, penalty=penalty), with_penalty(POLICY, 1, penalty=penalty)))
    # Supports that are disjoint but for the penalty.
    CASES.append((with_penalty(TARGET, 0, 1, penalty=penalty), with_penalty(POLICY, 2, 3, penalty=penalty)))
    # The penalty of one lies far below that of the other, and a constant belongs to all scores.
    CASES.append((with_penalty(TARGET, 2, penalty=penalty), with_penalty(POLICY, 2, penalty=-1e7)))
for offset, step in [(1e16, 2.0), (-1e16, 2.0), (-3e8, 0.5), (1e300, 0.0), (-1e300, 0.0)]:
    CASES.append(([offset, offset + step, offset + 2 * step], [0.0, 1.0, 0.5]))
    CASES.append(([0.0, 1.0, 0.5], [offset, offset - step, offset + step]))


def normalised(scores):
    largest = max(mpf(s) for s in scores)
    weights = [exp(mpf(s) - largest) for s in scores]
    return [w / sum(weights) for w in weights]


def alpha(a):
    a = mpf(a)
    return lambda u, v: (u ** (1 - a) * v**a - a * v - (1 - a) * u) / (a * (a - 1))


def skewed_kl(w):
    return lambda u, v: u * log(u / ((1 - mpf(w)) * u + mpf(w) * v))


def skewed_js(w):
    w = mpf(w)
    return lambda u, v: (1 - w) * u * log(u / ((1 - w) * u + w * v)) + w * v * log(v / ((1 - w) * u + w * v))


FAMILY = {
    "forward-kl": lambda u, v: u * log(u / v),
    "reverse-kl": lambda u, v: v * log(v / u),
    "tv": lambda u, v: abs(u - v) / 2,
    "js": skewed_js(0.5),
    "chi2-forward": lambda u, v: (u - v) ** 2 / v,
    "chi2-reverse": lambda u, v: (u - v) ** 2 / u,
    "hellinger": lambda u, v: (sqrt(u) - sqrt(v)) ** 2 / 2,
    "jeffreys": lambda u, v: (v - u) * log(v / u),
}
ORDERS = [-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 0.99, 1.0, 1.5, 2.0, 3.0]
KL = {0.0: FAMILY["forward-kl"], 1.0: FAMILY["reverse-kl"]}
FAMILY |= {f"alpha:{a!r}": KL.get(a) or alpha(a) for a in ORDERS}
FAMILY |= {f"skewed-kl:{w!r}": skewed_kl(w) for w in [0.1, 0.5, 0.9]}
FAMILY |= {f"skewed-js:{w!r}": skewed_js(w) for w in [0.1, 0.9]}
RENYI = [0.25, 0.5, 0.999, 1.5, 2.0]


def number(x):
    """A float, or "inf" where f64 has none."""
    return "inf" if x > mpf(-F64_MIN) or x == inf else float(x)


rows = []
for target, policy in CASES:
    p, pi = normalised(target), normalised(policy)
    family = {name: number(sum(f(u, v) for u, v in zip(p, pi))) for name, f in FAMILY.items()}
    renyi = {
        f"{a!r}": number(log(sum(u ** (1 - mpf(a)) * v ** mpf(a) for u, v in zip(p, pi))) / (mpf(a) - 1)) for a in RENYI
    }
    rows.append({"log_target": target, "log_policy": policy, "divergences": family, "renyi": renyi})
print(json.dumps(rows, indent=None, separators=(",", ":")))
