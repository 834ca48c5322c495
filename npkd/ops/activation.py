"""ReLU, softmax and log-softmax."""

from functools import lru_cache

import numpy as np

from npkd.arguments import is_integer, require_arrays, shown
from npkd.engine import memory, threads
from npkd.ops.contract import Op, require_gradient


def relu(x: np.ndarray) -> Op:
    """The positive part of each entry, y = max(x, 0).

    Shapes
        x of any shape  →  y of the same

    Definition
        y = x where x > 0, else 0. Complex entries are decided on by their real part. NaN stays NaN.

    Backward, given dy = ∂L/∂y
        ∂y/∂x is 1 where x > 0 and 0 where x < 0:
        dx = dy · [x > 0]

    Convention: at the kink, relu'(0) = 0. NaN is seen on both ways: where x is NaN dx = dy, and an
    infinite or NaN dy gives NaN where x ≤ 0.

    Example
        >>> y, backward = ops.relu(np.array([-1.0, 2.0]))
        >>> print(y, backward(np.array([5.0, 5.0])))
        [0. 2.] [0. 5.]
    """
    require_arrays("relu", x=x)
    dtype = x.dtype
    make = memory.layout_of(x)
    y, positive = make(x.shape, dtype), make(x.shape, np.bool_)
    x_rows, y_rows, positive_rows = map(memory.rows, (x, y, positive))
    parts = threads.parts(len(x_rows), work=threads.MOVE * x.size)

    def forward(part: slice) -> None:
        for n in threads.cached(part, x_rows[:1].nbytes):
            positive_part(x_rows[n], out=y_rows[n])
            np.not_equal(y_rows[n], 0, out=positive_rows[n])  # NaN is not 0

    threads.run(forward, parts)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("relu", dy, positive.shape, dtype)
        dx = make(positive.shape, dtype)

        def part_of_backward(part: slice) -> None:
            images = part if dx.ndim else ...
            np.multiply(dy[images], positive[images], out=dx[images])

        threads.run(part_of_backward, parts)
        return dx

    return y, backward


def positive_part(x: np.ndarray, out: np.ndarray) -> None:
    """ReLU of rows; `out` may be x."""
    if np.iscomplexobj(x):
        out[...] = np.where(x.real <= 0, 0, x)
    else:
        np.maximum(x, _zeros(x.shape[1], x.dtype), out=out)  # quicker than with one zero


@lru_cache(maxsize=16)
def _zeros(size: int, dtype: np.dtype) -> np.ndarray:
    zeros = np.zeros(size, dtype)
    zeros.flags.writeable = False
    return zeros


@np.errstate(under="ignore")  # rounding, as in threads.run
def softmax(x: np.ndarray, axis: int = -1) -> Op:
    """Exponentials along an axis, divided by their sum.

    Shapes
        x of any shape of one axis or more  →  y of the same

    Definition (i, j along `axis`; the largest x is subtracted first, so that nothing overflows)
        y[i] = exp(x[i]) / Σ_j exp(x[j])

    Backward, given dy = ∂L/∂y
        ∂y[j]/∂x[i] = y[j] ([i = j] − y[i]), so
        dx[i] = Σ_j dy[j] y[j] ([i = j] − y[i]) = y[i] (dy[i] − Σ_j dy[j] y[j])

    Raises ValueError for an array of no axes or an axis that x has not.

    Example
        >>> y, backward = ops.softmax(np.log([1.0, 3.0]))
        >>> print(y.round(6), backward(np.array([1.0, 0.0])).round(6))
        [0.25 0.75] [ 0.1875 -0.1875]
    """
    require_arrays("softmax", x=x)
    p = np.exp(_less_maximum("softmax", x, axis))
    p /= p.sum(axis=axis, keepdims=True)

    @np.errstate(under="ignore")
    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("softmax", dy, p.shape, p.dtype)
        return p * (dy - (dy * p).sum(axis=axis, keepdims=True))

    return p.copy(), backward


@np.errstate(under="ignore")  # rounding, as in threads.run
def log_softmax(x: np.ndarray, axis: int = -1) -> Op:
    """The logarithm of softmax, without its rounding to zero.

    Shapes
        x of any shape of one axis or more  →  y of the same

    Definition (i, j along `axis`; the largest x is subtracted first, so that nothing overflows)
        y[i] = x[i] − log Σ_j exp(x[j])

    Backward, given dy = ∂L/∂y
        ∂y[j]/∂x[i] = [i = j] − softmax(x)[i], so
        dx[i] = dy[i] − softmax(x)[i] Σ_j dy[j],      softmax(x) = exp(y)

    Raises ValueError for an array of no axes or an axis that x has not.

    Example
        >>> y, backward = ops.log_softmax(np.log([1.0, 3.0]))
        >>> print(np.exp(y).round(6), backward(np.array([1.0, 0.0])).round(6))
        [0.25 0.75] [ 0.75 -0.75]
    """
    require_arrays("log_softmax", x=x)
    y = _less_maximum("log_softmax", x, axis)
    with np.errstate(divide="ignore"):  # along an axis of no entries there is nothing to subtract
        y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    p = np.exp(y)

    @np.errstate(under="ignore")
    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("log_softmax", dy, p.shape, p.dtype)
        return dy - p * dy.sum(axis=axis, keepdims=True)

    return y, backward


def _less_maximum(op: str, x: np.ndarray, axis: int) -> np.ndarray:
    """x minus its largest real part along the axis, a new array."""
    if not is_integer(axis) or not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{op}: axis is {shown(axis)}, expected an axis of x, which is {x.shape}")
    return x - x.real.max(axis=axis, keepdims=True, initial=-np.inf)
