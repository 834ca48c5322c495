"""Pointwise ops keep their digits: against the same formulas in mpmath."""

import numpy as np
import pytest

from npkd import ops

mpmath = pytest.importorskip("mpmath")


def sigmoid_of(x):
    return 1 / (1 + mpmath.exp(-x))


def twice_v(x):
    return mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)


def slope_of_v(x):
    return mpmath.sqrt(8 / mpmath.pi) * (1 + 3 * mpmath.mpf("0.044715") * x**2)


# The value, and the slope as terms whose sum it is; and how many units each may be off, at x.
IN_NUMBERS_OF_ANY_LENGTH = {
    "sigmoid": (
        ops.sigmoid,
        sigmoid_of,
        lambda x: [sigmoid_of(x), -(sigmoid_of(x) ** 2)],
        lambda x: 5,
    ),
    "tanh": (
        ops.tanh,
        lambda x: mpmath.tanh(x),
        lambda x: [1, -(mpmath.tanh(x) ** 2)],
        lambda x: 5,
    ),
    "silu": (
        ops.silu,
        lambda x: x * sigmoid_of(x),
        lambda x: [sigmoid_of(x), x * sigmoid_of(x) * sigmoid_of(-x)],
        lambda x: 5 + max(0, min(x, 40)),
    ),
    "gelu": (
        ops.gelu,
        lambda x: x * mpmath.ncdf(x),
        lambda x: [mpmath.ncdf(x), x * mpmath.npdf(x)],
        lambda x: 5 + x**2,
    ),
    "gelu by tanh": (
        lambda x: ops.gelu(x, "tanh"),
        lambda x: x * sigmoid_of(twice_v(x)),
        lambda x: [
            sigmoid_of(twice_v(x)),
            x * slope_of_v(x) * sigmoid_of(twice_v(x)) * sigmoid_of(-twice_v(x)),
        ],
        lambda x: 10 + 4 * abs(twice_v(x)),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", IN_NUMBERS_OF_ANY_LENGTH)
def test_values_and_slopes_keep_their_digits_far_out(name, dtype):
    """Relative to themselves, and slopes to their terms, down to the smallest normal number."""
    op, value, terms, units = IN_NUMBERS_OF_ANY_LENGTH[name]
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    x = np.concatenate([scale * rng.standard_normal(60) for scale in (0.1, 1, 10, 100)])
    x = np.append(x, [0.0, -0.0, 1000.0, -1000.0]).astype(dtype)
    with np.errstate(all="raise", under="ignore"):
        y, backward = op(x)
        slope = backward(np.ones_like(x))
    with mpmath.workdps(40):
        for exactly, found, of_slope in zip(x.tolist(), y.tolist(), slope.tolist(), strict=True):
            at, off = mpmath.mpf(exactly), units(exactly) * float(info.eps)
            expected, parts = value(at), terms(at)
            smallest = float(info.smallest_normal) * max(1, abs(exactly))
            assert abs(found - expected) <= off * abs(expected) + smallest
            assert abs(of_slope - sum(parts)) <= off * sum(map(abs, parts)) + smallest
