"""What tests share: random cases, the value by definition, closeness, a network as a function."""

import numpy as np
from hypothesis import strategies as st

from npkd import definitions
from npkd.cases import CASES, Case

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw: st.DrawFn, op: str) -> Case:
    return CASES[op](lambda low, high: draw(st.integers(low, high)))


def define(case: Case, *values: np.ndarray) -> np.ndarray:
    """The value of the case by its definition."""
    return getattr(definitions, case.op)(*values, **case.options)


def image(rows: list) -> np.ndarray:
    """One image of one channel, (1, 1, H, W)."""
    return np.array(rows)[np.newaxis, np.newaxis]


def assert_close(a, b):
    """max|a − b| ≤ 1e-12 max|b|, shapes equal."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    error, largest = np.max(np.abs(a - b), initial=0), np.max(np.abs(b), initial=0)
    assert error <= 1e-12 * largest, f"{a} is not close to {b}: off by {error}"


def as_function_of_everything(net):
    """The network as `function(x, *params)`, for the complex step."""

    def function(x, *params):
        other = net.astype(x.dtype)
        other.load(dict(zip(net.params, params, strict=True)))
        y, backward = other(x)

        def backward_by_all(dy):
            dx, grads = backward(dy)
            return dx, *(grads[name] for name in net.params)

        return y, backward_by_all

    return function
