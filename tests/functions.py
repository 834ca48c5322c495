"""Functions with right backward passes, and faults to put into them, to try gradient checks on.

They are written here, not taken from npkd: what judges npkd is judged by something else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator], np.ndarray]


def normal(rng: np.random.Generator) -> np.ndarray:
    """Standard normal, (3, 4)."""
    return rng.standard_normal((3, 4))


def tied(rng: np.random.Generator) -> np.ndarray:
    """Multiples of ½, so that zeros and equal cells are many."""
    return np.round(2 * rng.standard_normal((3, 4))) / 2


def positive(rng: np.random.Generator) -> np.ndarray:
    """From ½ to 3."""
    return rng.uniform(0.5, 3, (3, 4))


@dataclass(frozen=True)
class Function:
    """A function that returns (y, backward) or (value, gradient), and where it is tried.

    methods: those that can judge it. power: what may remain unseen, if not the default.
    """

    name: str
    call: Callable[[np.ndarray], tuple[Any, Any]]
    draw: Draw = normal
    methods: tuple[str, ...] = ("complex", "central")
    power: float | None = None

    def __str__(self) -> str:
        return self.name


def elementwise(value: Callable, slope: Callable) -> Callable:
    """The op y = value(x) with dy slope(x)."""
    return lambda x: (value(x), lambda dy: dy * slope(x))


def softmax(x):
    e = np.exp(x - np.max(x.real, axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, lambda dy: p * (dy - (dy * p).sum(axis=1, keepdims=True))


def log_softmax(x):
    shifted = x - np.max(x.real, axis=1, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return y, lambda dy: dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


def cross_entropy(x):
    """The mean over rows of −log softmax at column 1."""
    y, backward = log_softmax(x)
    dy = np.zeros(x.shape)
    dy[:, 1] = -1 / len(x)
    return -y[:, 1].mean(), backward(dy)


def batch_norm(x):
    centred = x - x.mean(axis=0)
    r = 1 / np.sqrt((centred * centred).mean(axis=0) + 1e-5)
    y = centred * r
    return y, lambda dy: r * (dy - dy.mean(axis=0) - y * (dy * y).mean(axis=0))


def summed(op):
    """Σ of an op's value, as a loss: of softmax and batch norm it is constant."""

    def loss(x):
        y, backward = op(x)
        return y.sum(), backward(np.ones(y.shape))

    return loss


def max_pool(x):
    """The largest of each row's pairs, the first of equal ones, by the real part."""
    pairs = x.reshape(-1, 2)
    chosen = np.argmax(pairs.real, axis=1)
    rows = np.arange(len(pairs))

    def backward(dy):
        dx = np.zeros(pairs.shape, dy.dtype)
        dx[rows, chosen] = dy
        return dx.reshape(x.shape)

    return pairs[rows, chosen], backward


def huber(x):
    far = np.abs(x.real) > 1
    sign = np.sign(x.real)
    return np.where(far, sign * x - 0.5, x * x / 2).sum(), np.where(far, sign, x)


def matmul(x):
    w = np.sin(np.arange(20.0)).reshape(4, 5)
    return x @ w, lambda dy: dy @ w.T


def net(x):
    """Linear, ReLU, linear, tanh."""
    w, v = (np.sin(k * np.arange(20.0) + 1) for k in (1, 2))
    h = x @ w.reshape(4, 5)
    a = np.where(h.real > 0, h, 0)
    y = np.tanh(a @ v.reshape(5, 4))
    return y, lambda dy: ((dy * (1 - y * y)) @ v.reshape(5, 4).T * (h.real > 0)) @ w.reshape(4, 5).T


def length(x):
    """√(Σ x²), without abs."""
    n = np.sqrt((x * x).sum())
    return n, x / n


def convolution(x):
    """Of each row with three taps, valid."""
    w = np.array([0.5, -1.0, 2.0])

    def backward(dy):
        dx = np.zeros(x.shape, dy.dtype)
        for k in range(3):
            dx[:, k : k + 2] += dy * w[k]
        return dx

    return sum(w[k] * x[:, k : k + 2] for k in range(3)), backward


def in_single_precision(op):
    """An op that takes and gives float32, with its backward pass in double precision."""
    return lambda x: (op(x.astype(np.float32))[0], op(x)[1])


def in_half_precision(op):
    """The same in float16."""
    return lambda x: (op(x.astype(np.float16))[0], op(x)[1])


def half_precision_inside(op):
    """The same, with a value that is given in double precision."""
    return lambda x: (op(x.astype(np.float16))[0].astype(np.float64), op(x)[1])


def product_in_float32(x):
    y, backward = matmul(x)
    return y.astype(np.float32), backward


sine = elementwise(np.sin, np.cos)
tanh = elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2)
absolute = elementwise(np.abs, np.sign)
relu = elementwise(lambda x: np.where(x.real > 0, x, 0), lambda x: x.real > 0)
AFFINE = ("complex", "central", "affine", "linear")

FUNCTIONS = [
    Function("sin", sine),
    Function("exp", elementwise(np.exp, np.exp)),
    Function("tanh", tanh),
    Function("cube", elementwise(lambda x: x**3, lambda x: 3 * x**2)),
    Function("log", elementwise(np.log, lambda x: 1 / x), positive),
    Function("square root", elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), positive),
    Function("1 / x", elementwise(lambda x: 1 / x, lambda x: -1 / (x * x)), positive),
    Function(
        "logistic",
        elementwise(
            lambda x: 1 / (1 + np.exp(-x)),
            lambda x: 1 / (2 + np.exp(x) + np.exp(-x)),
        ),
    ),
    Function(
        "softplus",
        elementwise(lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
    ),
    Function("sin 100 x", elementwise(lambda x: np.sin(100 * x), lambda x: 100 * np.cos(100 * x))),
    Function("x + 1000", elementwise(lambda x: x + 1000, np.ones_like)),
    Function("softmax", softmax),
    Function("log softmax", log_softmax),
    Function("cross-entropy", cross_entropy),
    Function("batch norm", batch_norm),
    Function("half squares", lambda x: ((x * x).sum() / 2, x)),
    Function("log-sum-exp", lambda x: (np.log(np.exp(x).sum()), np.exp(x) / np.exp(x).sum())),
    Function("length", length),
    Function("ReLU", relu),
    Function("ReLU at ties", relu, tied, ("complex",)),
    Function("max-pool", max_pool),
    Function("max-pool at ties", max_pool, tied, ("complex",)),
    Function("Huber", huber),
    Function("a net", net),
    Function("matrix product", matmul, methods=AFFINE),
    Function("convolution", convolution, methods=AFFINE),
    Function("three times x", elementwise(lambda x: 3 * x, lambda x: 3), methods=AFFINE),
    Function("|x|", absolute, methods=("central",)),
    Function(
        "length by abs", lambda x: (np.linalg.norm(x), x / length(x)[0]), methods=("central",)
    ),
    Function("sin in float32", in_single_precision(sine), methods=("central",)),
    Function("net in float32", in_single_precision(net), methods=("central",)),
    Function("matrix product in float32", product_in_float32, methods=AFFINE[2:]),
]


# Faults: each takes the right gradient and gives a wrong one, of a random size


def _factor(g, rng):
    return g * (1 + rng.choice((-1, 1)) * 10 ** rng.uniform(-13, 1))


def _entry(g, rng):
    g = g.copy()
    g[tuple(rng.integers(n) for n in g.shape)] *= 1 + 10 ** rng.uniform(-13, 1)
    return g


def _added(g, rng):
    size = 10 ** rng.uniform(-13, 0)
    return g + size * np.random.default_rng(rng.integers(99)).standard_normal(g.shape)


def _dropped(g, rng):
    g = g.copy()
    g[rng.integers(len(g))] = 0
    return g


FAULTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "× 0": lambda g, rng: 0 * g,
    "× −1": lambda g, rng: -g,
    "× 3": lambda g, rng: 3 * g,
    "a factor": _factor,
    "one entry": _entry,
    "something added": _added,
    "a row dropped": _dropped,
    "rows in another order": lambda g, rng: np.roll(g, 1, axis=0),
    "columns reversed": lambda g, rng: g[:, ::-1],
    "in single precision": lambda g, rng: g.astype(np.float32).astype(np.float64),
}


def with_fault(call: Callable, fault: Callable, seed: int) -> Callable:
    """The function with this fault in its gradient, the same at every call."""

    def wrong(x):
        y, backward = call(x)
        if callable(backward):
            return y, lambda dy: fault(np.asarray(backward(dy)), np.random.default_rng(seed))
        return y, fault(np.asarray(backward), np.random.default_rng(seed))

    return wrong
