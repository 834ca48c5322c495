"""ReLU, softmax and log-softmax."""

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
    y = memory.empty(x.shape, x.dtype)
    x_rows, y_rows = np.atleast_1d(x, y)
    parts = threads.parts(len(x_rows), work=threads.MOVE * x.size)
    zeros = np.zeros_like(x_rows[:1])  # NumPy takes three times as long for one number

    def forward(part: slice) -> None:
        if np.iscomplexobj(x):
            y_rows[part] = np.where(x_rows[part].real <= 0, 0, x_rows[part])
        else:
            np.maximum(x_rows[part], zeros, out=y_rows[part])

    threads.run(forward, parts)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("relu", dy, x.shape, x.dtype)
        dx = memory.empty(x.shape, x.dtype)
        dy_rows, dx_rows = np.atleast_1d(dy, dx)

        def part_of_backward(part: slice) -> None:
            np.multiply(dy_rows[part], ~(x_rows[part].real <= 0), out=dx_rows[part])

        threads.run(part_of_backward, parts)
        return dx

    return y, backward


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
