"""How many digits the losses keep: values and gradients beside the same formulas in mpmath.

    python benchmarks/digits.py                            the table, for the npkd that is imported
    python -m benchmarks.digits --write                    and into benchmarks/results/digits.md
    PYTHONPATH=/another/npkd python benchmarks/digits.py   for another version of it

FORMULAS holds each loss as its textbook has it, in numbers of mpmath, taken apart by no thought of
rounding: with enough digits, cancellation costs nothing. Gradients are what automatic
differentiation (`Number`) makes of it. CASES holds inputs: ordinary ones, and those at which a
formula written down without care loses digits, finite values or signs. `errors` measures a loss on
a case in units of `tolerance`; tests/test_losses_digits.py wants them below 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from npkd import losses

# Numbers of many digits, which know their derivatives


class Number:
    """A number, and by which numbers and with which slopes it was made.

    Formulas also meet plain mpmath numbers: constants.
    """

    __slots__ = ("parents", "value")
    tape: list[Number] = []  # noqa: RUF012  in the order of their making
    least_angle = math.inf  # between two rows that `dist` compares

    def __init__(self, value: Any, *parents: tuple[Any, Any]) -> None:
        self.value = value
        self.parents = [(x, slope) for x, slope in parents if isinstance(x, Number)]
        Number.tape.append(self)

    def __add__(self, other: Any) -> Number:
        return Number(self.value + value(other), (self, 1), (other, 1))

    def __sub__(self, other: Any) -> Number:
        return Number(self.value - value(other), (self, 1), (other, -1))

    def __rsub__(self, other: Any) -> Number:
        return Number(value(other) - self.value, (self, -1))

    def __mul__(self, other: Any) -> Number:
        return Number(self.value * value(other), (self, value(other)), (other, self.value))

    def __truediv__(self, other: Any) -> Number:
        y = self.value / value(other)
        return Number(y, (self, 1 / mp.mpf(value(other))), (other, -y / value(other)))

    def __rtruediv__(self, other: Any) -> Number:
        y = value(other) / self.value
        return Number(y, (self, -y / self.value))

    def __pow__(self, power: Any) -> Number:
        slope = power * self.value ** (power - 1) if power != 1 else 1
        return Number(self.value**power, (self, slope))

    def __neg__(self) -> Number:
        return Number(-self.value, (self, -1))

    __radd__, __rmul__ = __add__, __mul__


def value(x: Any) -> Any:
    return x.value if isinstance(x, Number) else x


def gradient(y: Any, by: np.ndarray) -> np.ndarray:
    """∂y/∂by, an array of the shape of `by`."""
    slopes: dict[int, Any] = {id(y): mp.mpf(1)}
    for one in reversed(Number.tape):
        of_one = slopes.get(id(one), 0)
        if of_one != 0:
            for x, slope in one.parents:
                slopes[id(x)] = slopes.get(id(x), 0) + of_one * slope
    found = [slopes.get(id(x), mp.mpf(0)) for x in by.ravel()]
    return np.array(found, object).reshape(by.shape)


def elementwise(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: (
        np.vectorize(function, otypes=[object])(x) if isinstance(x, np.ndarray) else function(x)
    )


def _exp(x: Any) -> Any:
    y = mp.exp(value(x))
    return Number(y, (x, y)) if isinstance(x, Number) else y


def _log(x: Any) -> Any:
    if value(x) == 0:
        return -mp.inf
    y = mp.log(value(x))
    return Number(y, (x, 1 / value(x))) if isinstance(x, Number) else y


def _root(x: Any) -> Any:
    """√x, and without a slope at 0."""
    if value(x) == 0:
        return mp.mpf(0)
    y = mp.sqrt(value(x))
    return Number(y, (x, 1 / (2 * y))) if isinstance(x, Number) else y


def _absolute(x: Any) -> Any:
    return x * int(mp.sign(value(x)))


exp, log, root, absolute = map(elementwise, (_exp, _log, _root, _absolute))
values = elementwise(value)
constant = elementwise(lambda x: mp.mpf(float(x)))


# What formulas share


def log_sum_exp(row: np.ndarray) -> Any:
    """log Σ exp, with its slopes at once: softmax."""
    of_row = [value(x) for x in row]
    largest = max(of_row)
    terms = [mp.exp(x - largest) for x in of_row]
    total = mp.fsum(terms)
    y = largest + mp.log(total)
    if not any(isinstance(x, Number) for x in row):
        return y
    return Number(y, *((x, term / total) for x, term in zip(row, terms, strict=True)))


def log_softmax(z: np.ndarray) -> np.ndarray:
    return np.array([[x - of_row for x in row] for row in z for of_row in [log_sum_exp(row)]])


def divergence(log_p: np.ndarray, log_q: np.ndarray) -> Any:
    """Σ p (log p − log q) along the rows; p = 0 adds nothing."""
    return sum_of(product(exp(log_p), log_p - log_q), axis=1)


def product(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """p x, and 0 where p is."""
    return np.array(
        [mp.mpf(0) if value(a) == 0 else b * a for a, b in zip(p.ravel(), x.ravel(), strict=True)],
        object,
    ).reshape(p.shape)


def sum_of(x: np.ndarray, axis: Any = None) -> Any:
    return x.sum(axis=axis)


def unit(x: np.ndarray, epsilon: Any = 0) -> np.ndarray:
    """x / (‖x‖ + ε) along the last axis; 0 where x is."""
    n = root((x * x).sum(axis=-1, keepdims=True))
    by = np.array([1 if value(a) == 0 else a + epsilon for a in n.ravel()], object)
    return np.where(values(n) == 0, mp.mpf(0), x / by.reshape(n.shape))


def flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def channels(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:2], -1)


def huber_of(x: Any, delta: Any) -> Any:
    if abs(value(x)) <= delta:
        return x * x / 2
    return (_absolute(x) - delta / 2) * delta


def reduced(terms: Any, reduction: str, **entries: int) -> Any:
    """Σ terms, by the divisor that goes with the reduction; or the terms."""
    if reduction == "none":
        return terms
    return np.asarray(terms, object).sum() / entries.get(reduction, 1)


# The losses: student (numbers), teacher and labels (constants), options


def l2(s, t, k, *, reduction="batchmean", half=True, temperature=1.0, temperature_squared=False,
       variant="paper"):  # fmt: skip
    t_ = mp.mpf(temperature)
    s, t = s / t_, t / t_
    if variant != "paper":
        s, t = log_softmax(s), log_softmax(t)
        if variant == "probabilities":
            s, t = exp(s), exp(t)
    d = difference(s, t)
    terms = d * d * (mp.mpf(1) / 2 if half else 1) * (t_**2 if temperature_squared else 1)
    return reduced(terms, reduction, batchmean=len(s), elementmean=s.size)


def difference(s, t):
    """s − t; equal infinities do not differ."""
    found = [
        mp.mpf(0) if mp.isinf(value(a)) and value(a) == b else a - b
        for a, b in zip(s.ravel(), values(t).ravel(), strict=True)
    ]
    return np.array(found, object).reshape(s.shape)


def l1(s, t, k, *, reduction="batchmean"):
    return reduced(absolute(difference(s, t)), reduction, batchmean=len(s), elementmean=s.size)


def huber(s, t, k, *, delta=1.0, reduction="batchmean", variant="paper"):
    delta = mp.mpf(delta)
    terms = elementwise(lambda x: huber_of(x, delta))(difference(s, t))
    if variant == "smooth":
        terms = terms / delta
    return reduced(terms, reduction, batchmean=len(s), elementmean=s.size)


def cross_entropy(s, t, k, *, reduction="batchmean"):
    log_p = log_softmax(s)
    return reduced(-log_p[np.arange(len(s)), k], reduction, batchmean=len(s))


def mix(s, t, k, *, alpha):
    return cross_entropy(s, t, k) * (1 - mp.mpf(alpha)) + l2(s, t, k) * mp.mpf(alpha)


def log_mixture(log_p, log_q, share):
    """log(share · p + (1 − share) q)"""
    return log(exp(log_p) * share + exp(log_q) * (1 - share))


def kl(s, t, k, *, temperature=4.0, temperature_squared=True, reduction="batchmean",
       variant="paper", skew=0.0):  # fmt: skip
    t_ = mp.mpf(temperature)
    log_q, log_p = log_softmax(s / t_), log_softmax(t / t_)
    if skew and variant == "paper":
        log_q = log_mixture(log_p, log_q, mp.mpf(skew))
    elif skew:
        log_p = log_mixture(log_q, log_p, mp.mpf(skew))
    terms = {
        "paper": lambda: divergence(log_p, log_q),
        "reversed": lambda: divergence(log_q, log_p),
        "unlogged": lambda: product(exp(log_p), log_p - exp(log_q)).sum(axis=1),
        "reversed unlogged": lambda: product(exp(log_q), log_q - exp(log_p)).sum(axis=1),
    }[variant]()
    terms = terms * (t_**2 if temperature_squared else 1)
    return reduced(terms, reduction, batchmean=len(s), elementmean=s.size)


def js(s, t, k, *, beta=0.5, temperature=1.0, temperature_squared=True, reduction="batchmean",
       variant="paper"):  # fmt: skip
    t_, beta = mp.mpf(temperature), mp.mpf(beta)
    log_q, log_p = log_softmax(s / t_), log_softmax(t / t_)
    log_m = log_mixture(log_p, log_q, beta if variant == "paper" else 1 - beta)
    terms = divergence(log_p, log_m) * beta + divergence(log_q, log_m) * (1 - beta)
    terms = terms * (t_**2 if temperature_squared else 1)
    return reduced(terms, reduction, batchmean=len(s), elementmean=s.size)


def soft_cross_entropy(s, t, k, *, temperature=4.0, temperature_squared=True,
                       reduction="batchmean"):  # fmt: skip
    t_ = mp.mpf(temperature)
    terms = product(exp(log_softmax(t / t_)), -log_softmax(s / t_)).sum(axis=1)
    terms = terms * (t_**2 if temperature_squared else 1)
    return reduced(terms, reduction, batchmean=len(s), elementmean=s.size)


def limit(s, t, k, *, reduction="batchmean"):
    d = s - t
    c = d - (d.sum(axis=1) / s.shape[1])[:, np.newaxis]
    terms = (c * c).sum(axis=1) / (2 * s.shape[1])
    return reduced(terms, reduction, batchmean=len(s), elementmean=s.size)


def dkd(s, t, k, *, alpha=1.0, beta=8.0, temperature=4.0, temperature_squared=True,
        reduction="batchmean"):  # fmt: skip
    t_ = mp.mpf(temperature)
    is_label = np.arange(s.shape[1]) == k[:, np.newaxis]

    def taken_apart(z):
        rest = z[~is_label].reshape(len(z), -1)
        o = [log_sum_exp(row) for row in rest]
        two = np.array([[x, y] for x, y in zip(z[is_label], o, strict=True)], object)
        return log_softmax(two), log_softmax(rest)

    (two_s, rest_s), (two_t, rest_t) = taken_apart(s / t_), taken_apart(t / t_)
    terms = divergence(two_t, two_s) * mp.mpf(alpha) + divergence(rest_t, rest_s) * mp.mpf(beta)
    terms = terms * (t_**2 if temperature_squared else 1)
    return reduced(terms, reduction, batchmean=len(s))


def dist(s, t, k, *, beta=1.0, gamma=1.0, temperature=1.0, temperature_squared=True, epsilon=0.0):
    t_ = mp.mpf(temperature)
    q, p = exp(log_softmax(s / t_)), exp(log_softmax(t / t_))

    def correlation(x, y):
        x, y = x - x.sum() / len(x), y - y.sum() / len(y)
        by = _root((x * x).sum()) * _root((y * y).sum())
        # not exactly 0: the digits at hand are no more than these
        nothing = mp.mpf(10) ** (10 - mp.mp.dps)
        constant = any(max(abs(v) for v in values(c)) <= nothing * max(abs(v) for v in values(a))
                       for c, a in ((x, q_or_p[0]), (y, q_or_p[1])))  # fmt: skip
        if constant:
            return mp.mpf(0)
        angle = mp.sqrt(max(0, 2 - 2 * abs(value((x * y).sum() / by))))
        if angle > mp.mpf(10) ** (20 - mp.mp.dps // 2):
            Number.least_angle = min(Number.least_angle, float(angle))
        return (x * y).sum() / (by + mp.mpf(epsilon))

    total = mp.mpf(0)
    for weight, pairs in ((beta, zip(q, p, strict=True)), (gamma, zip(q.T, p.T, strict=True))):
        found = []
        for q_or_p in pairs:
            found.append(correlation(*q_or_p))
        total = total + (1 - sum(found) / len(found)) * mp.mpf(weight)
    return total * (t_**2 if temperature_squared else 1)


def hint(s, t, k, *, half=False, reduction="elementmean"):
    return l2(s, t, k, half=half, reduction=reduction)


def attention(s, t, k, *, power=2.0, reduction="elementmean", variant="squared", epsilon=0.0):
    def of(f):
        a = (absolute(f) ** (int(power) if power == int(power) else mp.mpf(power))).sum(axis=1)
        return unit(flat(a / f.shape[1]), mp.mpf(epsilon))

    d = of(s) - of(t)
    terms = (d * d).sum(axis=1)
    if variant == "norm":
        terms = root(terms)
    positions = s.shape[2] * s.shape[3]
    return reduced(terms, reduction, batchmean=len(s), elementmean=len(s) * positions)


def nst(s, t, k, *, reduction="batchmean", epsilon=0.0):
    terms = []
    for a, b in zip(channels(s), channels(t), strict=True):
        a, b = unit(a, mp.mpf(epsilon)), unit(b, mp.mpf(epsilon))
        of = [((x @ y.T) ** 2).sum() / (len(x) * len(y)) for x, y in ((a, a), (b, b), (a, b))]
        terms.append(of[0] + of[1] - of[2] * 2)
    return reduced(np.array(terms, object), reduction, batchmean=len(s))


def fsp(s, t, k, *, reduction="elementmean", variant="squared"):
    """Of the first and the last channels of one map."""
    half = s.shape[1] // 2

    def of(f):
        a, b = channels(f[:, :half]), channels(f[:, half:])
        return np.array([x @ y.T for x, y in zip(a, b, strict=True)]) / a.shape[2]

    d = of(s) - of(t)  # (B, C, D)
    terms = root((d * d).sum(axis=1)) if variant == "norms" else d * d
    return reduced(terms, reduction, batchmean=len(s), elementmean=terms.size)


def vid(s, t, k, *, epsilon=1e-5, reduction="elementmean", variant="paper"):
    """With the scales that `scales` gives."""
    variance = log(1 + exp(constant(scales(s.shape[1], float)))) + mp.mpf(epsilon)
    variance = variance.reshape(1, -1, *[1] * (s.ndim - 2))
    d = s - t
    terms = (d * d / variance + log(variance)) / 2
    return reduced(terms, reduction, batchmean=len(s), elementmean=s.size)


def similarity(s, t, k, *, reduction="elementmean", variant="paper"):
    def of(f):
        p = flat(f) @ flat(f).T
        if variant == "paper":
            return unit(p)
        total = absolute(p).sum(axis=1, keepdims=True)
        none = values(total) == 0
        return np.where(none, mp.mpf(0), p / np.where(none, 1, total))

    d = of(s) - of(t)
    return reduced(d * d, reduction, batchmean=len(s), elementmean=len(s) ** 2)


def rkd_distance(s, t, k, *, delta=1.0, reduction="elementmean"):
    def of(f):
        f = flat(f)
        d = root(((f[:, np.newaxis] - f) ** 2).sum(axis=-1))
        many = int(sum(v > 0 for v in values(d).ravel()))
        return d / (d.sum() / many) if many else d

    h = elementwise(lambda x: huber_of(x, mp.mpf(delta)))
    return reduced(h(of(s) - of(t)), reduction, batchmean=len(s), elementmean=len(s) ** 2)


def rkd_angle(s, t, k, *, delta=1.0, reduction="elementmean"):
    def of(f):
        f = flat(f)
        return np.array([e @ e.T for e in unit(f - f[:, np.newaxis])])

    h = elementwise(lambda x: huber_of(x, mp.mpf(delta)))
    return reduced(h(of(s) - of(t)), reduction, batchmean=len(s), elementmean=len(s) ** 3)


def pkt(s, t, k, *, epsilon=1e-7, reduction="elementmean"):
    def of(f):
        u = unit(flat(f), mp.mpf(epsilon))
        c = (u @ u.T + 1) / 2
        return c / c.sum(axis=1, keepdims=True)

    q, p, e = of(s), of(t), mp.mpf(epsilon)
    terms = product(p, log(p + e) - log(q + e))
    return reduced(terms, reduction, batchmean=len(s), elementmean=len(s) ** 2)


def cc(s, t, k, *, gamma=0.4, order=2, reduction="elementmean", variant="paper"):
    f, g = flat(s), flat(t)
    if variant == "consecutive":
        a, between = absolute(f - g), max(1, len(s) - 1)
        return reduced(a[:-1] * a[1:], reduction, batchmean=between, elementmean=between)

    def of(x):
        x = unit(x) if variant == "paper" else x
        c = x @ x.T
        if variant == "bilinear":
            return c
        g = 2 * mp.mpf(gamma)
        return sum(c**p * (mp.exp(-g) * g**p / math.factorial(p)) for p in range(1, order + 1))

    d = of(f) - of(g)
    total = (d * d).sum()
    if variant == "norm":
        total = _root(total)
    return reduced(total, reduction, batchmean=len(s), elementmean=len(s) ** 2)


def scales(many: int, dtype: Any) -> np.ndarray:
    """What `vid` gets for its variances."""
    return np.linspace(-1, 1, many).astype(np.float32).astype(dtype)


FORMULAS: dict[str, Callable[..., Any]] = {
    of.__name__: of
    for of in (
        l2,
        l1,
        huber,
        cross_entropy,
        mix,
        kl,
        js,
        soft_cross_entropy,
        limit,
        dkd,
        dist,
        hint,
        attention,
        nst,
        fsp,
        vid,
        similarity,
        rkd_distance,
        rkd_angle,
        pkt,
        cc,
    )
}


def by_npkd(name: str, s: np.ndarray, t: np.ndarray, k: np.ndarray, **options: Any) -> Any:
    """Value and gradient by the student, of npkd's loss."""
    loss = getattr(losses, name)
    if name == "cross_entropy":
        return loss(s, k, **options)
    if name in ("mix", "dkd"):
        return loss(s, t, k, **options)
    if name == "fsp":
        half = s.shape[1] // 2
        value, found = loss(s[:, :half], s[:, half:], t[:, :half], t[:, half:], **options)
        return value, np.concatenate(found, axis=1)
    if name == "vid":
        value, found = loss(s, t, scales(s.shape[1], s.dtype), **options)
        return value, found[0]
    return loss(s, t, **options)


def by_formula(
    name: str, s: np.ndarray, t: np.ndarray, k: np.ndarray, digits: int, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The same at so many digits."""
    Number.tape.clear()
    Number.least_angle = math.inf
    with mp.workdps(digits):
        student = np.vectorize(lambda x: Number(mp.mpf(float(x))), otypes=[object])(s)
        y = np.asarray(FORMULAS[name](student, constant(t), k, **options), object)
        of_y = gradient(sum(y.ravel()), student)
        return values(y), of_y


# Inputs


class Input(NamedTuple):
    student: np.ndarray
    teacher: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Case:
    """A loss, its options, and inputs by name; those of float64 are made float32 for float32."""

    loss: str
    options: dict[str, Any]
    inputs: str

    def __str__(self) -> str:
        options = ", ".join(f"{name}={x}" for name, x in self.options.items())
        return f"{self.loss}({options}), {self.inputs}"


TEMPERATURES = (0.1, 1.0, 4.0, 100.0, 1e4, 1e6, 1e8)
LOGITS, FEATURES = (5, 10), (4, 4, 2, 3)


def _tempered(name: str, **options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, {"temperature": t, **options}) for t in TEMPERATURES)


ON_LOGITS = [
    ("l2", {}),
    ("l2", {"reduction": "none"}),
    *(_tempered("l2", variant="probabilities")),
    *(_tempered("l2", variant="log-probabilities")),
    ("l1", {}),
    ("huber", {}),
    ("huber", {"variant": "smooth", "delta": 0.5}),
    ("cross_entropy", {}),
    ("cross_entropy", {"reduction": "none"}),
    ("mix", {"alpha": 0.25}),
    *_tempered("kl"),
    ("kl", {"reduction": "none"}),
    ("kl", {"reduction": "elementmean", "temperature_squared": False}),
    *_tempered("kl", variant="reversed"),
    *_tempered("kl", variant="unlogged"),
    *_tempered("kl", variant="reversed unlogged"),
    *_tempered("kl", skew=0.1),
    *_tempered("kl", variant="reversed", skew=0.1),
    *_tempered("js"),
    *_tempered("js", beta=0.1),
    ("js", {"beta": 1e-4}),
    ("js", {"beta": 1e-12}),
    *_tempered("js", beta=0.9, variant="exchanged"),
    *_tempered("soft_cross_entropy"),
    ("limit", {}),
    *_tempered("dkd"),
    ("dkd", {"beta": 0.0}),
    *_tempered("dist"),
    ("dist", {"epsilon": 1e-8}),
]
ON_FEATURES = [
    ("l2", {}),
    ("hint", {}),
    ("hint", {"half": True, "reduction": "sum"}),
    ("attention", {}),
    ("attention", {"variant": "norm", "reduction": "batchmean"}),
    ("attention", {"power": 1.0}),
    ("attention", {"power": 3.0}),
    ("attention", {"epsilon": 1e-6}),
    ("nst", {}),
    ("nst", {"epsilon": 1e-6}),
    ("fsp", {}),
    ("fsp", {"variant": "norms"}),
    ("vid", {}),
    ("similarity", {}),
    ("similarity", {"variant": "l1"}),
    ("rkd_distance", {}),
    ("rkd_angle", {}),
    ("pkt", {}),
    ("pkt", {"epsilon": 0.0}),
    ("cc", {}),
    ("cc", {"variant": "bilinear"}),
    ("cc", {"variant": "norm"}),
    ("cc", {"variant": "consecutive"}),
]


@cache
def inputs(features: bool) -> dict[str, Input]:
    """Student, teacher and labels in float64, by what is special in them."""
    rng = np.random.default_rng(0)
    shape = FEATURES if features else LOGITS
    s, t = rng.standard_normal((2, *shape))
    k = rng.integers(shape[1], size=shape[0])
    found = {"normal": (s, t)}
    found |= {f"student = teacher + {e:g}": (t + e * s, t) for e in (1e-1, 1e-3, 1e-6)}
    found |= {"equal": (t, t), "zeros": (0 * s, 0 * t), "B = 1": (s[:1], t[:1])}
    found |= {"C = 1": (s[:, :1], t[:, :1]), "C = 2": (s[:, :2], t[:, :2])}
    found |= {f"times {a:g}": (a * s, a * t) for a in (1e-40, 20)}
    if features:
        found |= {f"times {a:g}": (a * s, a * t) for a in (1e-20, 1e-12, 1e12, 1e19, 1e20)}
        found |= {f"student times {a:g}": (a * s, t) for a in (1e-20, 1e20)}
        found["ReLU"] = (np.maximum(s, 0), np.maximum(t, 0))
        one = np.ones(shape)
        one[0], one[1] = 1e-20, 1e15
        found["samples of three sizes"] = (one * s, t)
        channel = np.ones(shape)
        channel[:, 0], channel[:, 1] = 1e-20, 1e15
        found["channels of three sizes"] = (channel * s, t)
        zero = np.ones(shape)
        zero[0] = 0
        found["a sample of zeros"] = (zero * s, t)
        found["two equal samples"] = (np.concatenate([s[1:2], s[1:]]), t)
        found["one position"] = (s[..., :1, :1], t[..., :1, :1])
        return {name: Input(*pair, k) for name, pair in found.items()}
    found |= {f"± {a:g}": (a * np.tanh(s), a * np.tanh(t)) for a in (50, 1000)}
    found |= {f"± {a:g}, near": (a * np.tanh(t) + 1e-3 * s, a * np.tanh(t)) for a in (20, 1000)}
    found |= {"offset 1000": (s + 1000, t + 1000), "student offset 100": (s + 100, t)}
    found["rows offset"] = (s + 100 * t[:, :1], t - 50 * s[:, :1])
    sure = np.zeros(shape)
    sure[np.arange(len(s)), k] = np.linspace(17, 60, len(s))
    found["sure of the label"] = (sure, sure[:, ::-1].copy())
    found["both sure"] = (sure, 1.1 * sure)
    found["both sure, near"] = (sure + 1e-3 * s, sure)
    away = np.zeros(shape)
    away[:, 3] = -30
    found["an improbable class"] = (s + away, t + away)
    found["a very improbable class"] = (s + 12 * away, t + 12 * away)
    found["an improbable class, others near"] = (t + 1e-4 * s + 1.5 * away, t + away)
    found["a class moved, others near"] = (t + 1e-4 * s - away, t + 2 * away)
    mask, other = np.zeros(shape), np.zeros(shape)
    mask[:, 3] = other[1:, 7] = -np.inf
    found["masked in both"] = (s + mask, t + mask)
    found["masked in both, near"] = (t + 1e-4 * s + mask, t + mask)
    found["masked in the teacher"] = (s, t + mask)
    found["masked in the student"] = (s + mask, t)
    found["masked, each another"] = (s + mask, t + other)
    alone = np.full(shape, -np.inf)
    alone[np.arange(len(s)), k] = 0
    found["all but one masked"] = (s, t + alone)
    mixed_s, mixed_t = s.copy(), t.copy()
    mixed_s[0], mixed_t[0] = sure[0], sure[0] + 0.01
    mixed_s[1] = mixed_t[1] + 1e-5 * s[1]
    mixed_s[2], mixed_t[2] = 100 * s[2], 100 * t[2]
    mixed_s[3, 4] = mixed_t[3, 4] = -np.inf
    found["rows of all kinds"] = (mixed_s, mixed_t)
    many = 2 * rng.standard_normal((2, 2, 1000))
    found["C = 1000"] = (many[0], many[1])
    found["C = 1000, near"] = (many[1] + 1e-3 * many[0], many[1])
    return {name: Input(a, b, k[: len(a)] % a.shape[1]) for name, (a, b) in found.items()}


def cases() -> Iterator[Case]:
    """Every loss with every input of its kind."""
    for features, table in ((False, ON_LOGITS), (True, ON_FEATURES)):
        for name, options in table:
            for what, (s, t, _) in inputs(features).items():
                if name == "dkd" and (s.shape[1] < 2 or what == "all but one masked"):
                    continue
                if s.shape[1] > 100 and (
                    name == "dist" or options.get("temperature", 1) not in (1, 1e6)
                ):
                    continue  # for time
                if what == "one position" and options.get("epsilon"):
                    continue  # the maps differ by ε alone, see `attention`
                if name == "fsp" and s.shape[1] < 2:
                    continue
                masked = not (np.isfinite(s).all() and np.isfinite(t).all())
                if masked and name in ("mix", "limit"):
                    continue
                yield Case(name, options, what if not features else f"features {what}")


# Losses whose numbers are quotients of sums before they are compared, each with its roundings
LOOSER = {"rkd_distance": 2.0, "cc": 2.0, "similarity": 2.0, "dist": 8.0}


def excused(case: Case, dtype: Any) -> str:
    """Why a case cannot keep the tolerance: what its loss's docstring says; "" if it can."""
    t = case.options.get("temperature", 4.0)
    if case.inputs == "times 1e-40" and dtype == np.float32 and (t > 4 or case.loss == "dist"):
        return "logits / T are below the smallest normal number"
    if (
        (
            case.options.get("variant") == "probabilities"
            or case.loss == "js"
            or "skew" in case.options
        )
        and t > 1e3
        and ("the student" in case.inputs or "each another" in case.inputs)
    ):
        return "probabilities of all classes but one are nearly equal, and so are their differences"
    if case.loss == "dist" and t == 0.1 and "a class moved" in case.inputs and dtype == np.float32:
        return "the other classes are e^−900 times as probable, and opposed in the two nets"
    return ""


def given(case: Case, dtype: Any) -> Input:
    """The inputs of a case in this dtype."""
    what = case.inputs.removeprefix("features ")
    s, t, k = inputs(case.inputs.startswith("features "))[what]
    with np.errstate(under="ignore"):
        return Input(s.astype(dtype), t.astype(dtype), k)


# Errors


SQUARES = {"l2", "huber", "limit", "kl", "js", "dkd", "dist", "hint", "attention", "nst", "fsp",
           "mix", "similarity", "rkd_distance", "rkd_angle", "pkt", "cc"}  # fmt: skip
SOFTENED = {"kl", "js", "soft_cross_entropy", "cross_entropy", "dkd", "dist", "mix"}


def gap_of(case: Case, x: Input) -> float:
    """The largest difference within a row of logits, divided by T."""
    t = case.options.get("temperature", {"kl": 4.0, "soft_cross_entropy": 4.0, "dkd": 4.0}.get(
        case.loss, 1.0))  # fmt: skip
    found = [0.0]
    for z in (x.student, x.teacher):
        finite = np.where(np.isfinite(z), z, np.nan).astype(np.float64)
        found.append(float(np.nanmax(np.nanmax(finite, axis=1) - np.nanmin(finite, axis=1))))
    return max(found) / t


def tolerance(case: Case, x: Input, of_value: bool, value: float) -> float:
    """What a loss may be off by, in units of its largest entry; u is half of the dtype's epsilon.

        8u + 4u · gap/T + 4u · κ,  2κ for values that are squares of differences

    gap is the largest difference within a row of logits, for losses of probabilities, of which the
    exponentially small ones are as uncertain as gap/T is. κ = (max|s| + max|t|) / max|d| is by how
    much student and teacher cancel, d = s − t, for losses that do not depend on what a row of them
    has in common less its mean (weighted by the teacher's probabilities). For `dist`, which
    compares directions, 1/κ is the least length of their differences, if that is less.
    """
    u = float(np.finfo(x.student.dtype).eps) / 2
    s, t = (np.where(np.isfinite(z), z, 0).astype(np.float64) for z in (x.student, x.teacher))
    d, compared = s - t, np.isfinite(x.student) & np.isfinite(x.teacher)
    softened = case.loss in SOFTENED or case.options.get("variant") in (
        "probabilities", "log-probabilities")  # fmt: skip
    if softened or case.loss == "limit":
        temperature = case.options.get("temperature", 1.0) if softened else 1e300
        z = np.where(np.isfinite(x.teacher), x.teacher, -np.inf).astype(np.float64)
        p = np.exp((z - z.max(axis=1, keepdims=True)) / temperature)
        d = d - (p * d).sum(axis=1, keepdims=True) / p.sum(axis=1, keepdims=True)
    d = np.where(compared, d, 0)
    largest = np.max(np.abs(d), initial=0)
    kappa = (np.abs(s).max() + np.abs(t).max()) / largest if largest else 1.0
    if case.loss == "dist":  # what cancels are directions, of every row and column
        kappa = max(kappa, Number.least_angle and 1 / Number.least_angle)
    tol = 8 * u + 4 * u * kappa * (2 if of_value and case.loss in SQUARES else 1)
    if softened:
        tol += 4 * u * gap_of(case, x)
    return float(tol) * LOOSER.get(case.loss, 2.0 if "unlogged" in str(case.options) else 1.0)


class Errors(NamedTuple):
    """Of a value or a gradient: in units of the tolerance, and relative to the largest entry."""

    in_tolerances: float
    relative: float


NONE = Errors(0.0, 0.0)


def error(found: np.ndarray, expected: np.ndarray, tol: float) -> Errors:
    """max|a − b| beside tol · max|b|; below the smallest normal, a rounding is a subnormal step."""
    found = np.asarray(found)
    least = np.finfo(found.dtype)
    b = np.asarray(expected, object).ravel()
    if any(mp.isnan(x) for x in b):
        return Errors(math.inf if np.isnan(found).any() else 0.0, 0.0)
    rounded = np.array([float(x) for x in b])
    with np.errstate(over="ignore"):
        beyond = ~np.isfinite(rounded.astype(found.dtype))
    a = found.ravel()
    if beyond.any():  # not to be represented: ±∞, or what rounding up to it leaves
        right = np.isinf(a[beyond]) & (np.sign(a[beyond]) == np.sign(rounded[beyond]))
        wrong = np.isnan(a).any() or not right.all()
        return Errors(math.inf if wrong else 0.0, math.inf if wrong else 0.0)
    if not np.isfinite(a).all():
        return Errors(math.inf, math.inf)
    largest = max((abs(x) for x in b), default=mp.mpf(0))
    off = max((abs(mp.mpf(float(x)) - y) for x, y in zip(a, b, strict=True)), default=mp.mpf(0))
    if off == 0:
        return Errors(0.0, 0.0)
    if largest == 0:
        return Errors(math.inf, math.inf)
    relative = float(min(off / largest, mp.mpf(10) ** 300))
    roundings = max(10, a.size, tol / float(least.eps))
    absolute = float(least.smallest_subnormal) * min(roundings, 1e6)
    if largest < least.smallest_normal * 8:
        return Errors(float(off) / (absolute + tol * float(largest)), min(relative, 1.0))
    return Errors(relative / tol, relative)


def expected(case: Case, x: Input) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient by formula."""
    digits = 360
    if not case.inputs.startswith("features "):
        digits += min(700, int(gap_of(case, x)))
    return by_formula(case.loss, *x, digits, **case.options)


def errors(case: Case, dtype: Any, x: Input | None = None) -> dict[str, Errors]:
    """Of "value" and "gradient", for the inputs of the case or for others."""
    x = given(case, dtype) if x is None else x
    of_value, of_gradient = by_npkd(case.loss, *x, **case.options)
    value, gradient = expected(case, x)
    about = float(np.max(np.abs(np.ravel(value)))) if np.size(value) else 0.0
    found = {"value": error(of_value, value, tolerance(case, x, True, about))}
    infinite = any(mp.isinf(v) or mp.isnan(v) for v in np.ravel(value))
    if infinite:  # a gradient may be infinite too, but is a number
        wrong = math.inf if np.isnan(of_gradient).any() else 0.0
        return found | {"gradient": Errors(wrong, wrong)}
    return found | {"gradient": error(of_gradient, gradient, tolerance(case, x, False, about))}


@dataclass
class Worst:
    """The worst error of a loss in a dtype, and where it was."""

    errors: Errors = NONE
    where: str = ""
    beyond: list[str] = field(default_factory=list)

    def meet(self, found: Errors, where: str) -> None:
        if found.in_tolerances > self.errors.in_tolerances or not self.where:
            self.errors, self.where = found, where
        if not found.in_tolerances <= 1:
            self.beyond.append(where)


def main() -> None:
    import sys
    import warnings

    import npkd

    warnings.simplefilter("ignore")
    print(f"npkd from {npkd.__path__[0]}; errors in units of the tolerance, relative, where")
    only = [name for name in sys.argv[1:] if name != "--write"]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for name in FORMULAS:
        if only and name not in only:
            continue
        for dtype in (np.float32, np.float64):
            worst = {"value": Worst(), "gradient": Worst()}
            count = 0
            for case in cases():
                if case.loss == name and not excused(case, dtype):
                    count += 1
                    for what, found in errors(case, dtype).items():
                        worst[what].meet(found, str(case))
                        if only and not found.in_tolerances <= 1:
                            print("  ", what, dtype.__name__, found, case)
            for what, one in worst.items():
                print(
                    f"{name:<20}{np.dtype(dtype).name:<9}{what:<9}{one.errors.in_tolerances:>10.3g}"
                    f"{one.errors.relative:>10.1e}  {len(one.beyond):>4} of {count}  {one.where}",
                    flush=True,
                )
                column = {f"{np.dtype(dtype).name} after": f"{one.errors.in_tolerances:.2f}"}
                rows[name, what] = rows.get((name, what), {}) | column
    if "--write" in sys.argv:
        from benchmarks import figures

        figures.fill("digits", 2, rows)
        if not only:
            figures.note("digits")


if __name__ == "__main__":
    main()
