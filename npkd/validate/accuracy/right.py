"""What is right: functions in float64, in forms that keep their digits, and how far off they are.

`tests/test_accuracy.py` holds each beside mpmath with 50 digits: they are off by no more than is
said here, in ulp of float32, so that errors in tables are wrong by no more than that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special

Arrays = Mapping[str, np.ndarray]
OFF_OF_FUNCTIONS = 1e-5  # ulp; gelu's far tail has 1e-6, all others less than 1e-7
OFF_OF_SOFTMAX = 1e-6
OFF_OF_LOSSES = 1e-5
OFF_OF_SUMS = 1e-5  # of up to 16,384 products, which are exact in float64


@dataclass(frozen=True)
class Function:
    """A function of one number.

    op       what a framework is asked for
    right    what is right, in float64; None where an op of npkd's has it
    options  of the op
    limits   its range, where results beyond would be a fault
    """

    op: str
    right: Callable[[np.ndarray], np.ndarray]
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[float, float] = (-np.inf, np.inf)


def gated(gate: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """x · gate(x), and −0 at −∞, which x · gate(x) tends to."""

    def y(x: np.ndarray) -> np.ndarray:
        return np.where(np.isneginf(x), -0.0, x * gate(x))

    return y


def share_by_tanh(x: np.ndarray) -> np.ndarray:
    """½ (1 + tanh v) = σ(2v), v = √(2/π) (x + 0.044715 x³)."""
    return special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)"""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS: dict[str, Function] = {
    "exp": Function("exp", np.exp, limits=(0, np.inf)),
    "log": Function("log", np.log),
    "sqrt": Function("sqrt", np.sqrt, limits=(0, np.inf)),
    "sigmoid": Function("sigmoid", special.expit, limits=(0, 1)),
    "tanh": Function("tanh", np.tanh, limits=(-1, 1)),
    "silu": Function("silu", gated(special.expit)),
    "gelu": Function("gelu", gated(special.ndtr), {"approximate": "none"}),
    "gelu tanh": Function("gelu", gated(share_by_tanh), {"approximate": "tanh"}),
    "softplus": Function("softplus", softplus, limits=(0, np.inf)),
    "relu": Function("relu", lambda x: np.maximum(x, 0), limits=(0, np.inf)),
    "relu6": Function("relu6", lambda x: np.clip(x, 0, 6), limits=(0, 6)),
}


def softmax(z: np.ndarray) -> np.ndarray:
    """e^(z − max) / Σ e^(z − max), of rows."""
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def log_softmax(z: np.ndarray) -> np.ndarray:
    """(z − max) − log(1 + Σ e^(z − max) but for the largest itself), of rows."""
    below = z - np.max(z, axis=-1, keepdims=True)
    e = np.exp(below)
    np.put_along_axis(e, np.argmax(below, axis=-1, keepdims=True), 0.0, axis=-1)
    return below - np.log1p(np.sum(e, axis=-1, keepdims=True))
