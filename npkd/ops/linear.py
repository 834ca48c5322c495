"""Images as rows, and the affine map of rows."""

import math
from itertools import zip_longest

import numpy as np

from npkd.arguments import require_arrays, require_axes
from npkd.engine import memory, threads
from npkd.engine.products import multiply
from npkd.ops.contract import Op, require_gradient


def flatten(x: np.ndarray) -> Op:
    """Each image as one row, in the order channel, row, column.

    Shapes
        x (N, C, H, W), or (N, …) with any axes  →  y (N, C·H·W)

    Definition
        y[n, (c·H + h)·W + w] = x[n,c,h,w]

    Backward, given dy = ∂L/∂y
        dx[n,c,h,w] = dy[n, (c·H + h)·W + w]

    Nothing is computed: y and dx are views of x and dy where these are contiguous.
    Raises ValueError if x has no axes.

    Example
        >>> ops.flatten(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))[0]
        array([[1., 2., 3., 4.]])
    """
    require_arrays("flatten", x=x)
    if x.ndim == 0:
        raise ValueError("flatten: x has no axes, expected (N, …)")
    shape = (len(x), math.prod(x.shape[1:]))
    x_shape, dtype, make = x.shape, x.dtype, memory.layout_of(x)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("flatten", dy, shape, dtype)
        if make is memory.empty:
            return dy.reshape(x_shape)
        dx = make(x_shape, dtype)
        parts = threads.parts(len(dx), work=threads.MOVE * dx.size)
        threads.run(lambda n: memory.turned(dy[n].reshape(dx[n].shape), out=dx[n]), parts)
        return dx

    if make is memory.empty:
        return x.reshape(shape), backward
    y = memory.empty(x_shape, dtype)
    parts = threads.parts(len(x), work=threads.MOVE * x.size)

    def forward(n: slice) -> None:
        y[n] = x[n]

    threads.run(forward, parts)
    return y.reshape(shape), backward


ROWS_IN_A_READ = 20  # that a weight is multiplied with in the time that reading it takes


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> Op:
    """The affine map of each row, y = x wᵀ + b.

    Shapes
        x (N, I), w (O, I), b (O,) or None  →  y (N, O)

    Definition
        y[n,o] = Σ_i x[n,i] w[o,i] + b[o]

    Backward, given dy = ∂L/∂y (N, O)
        x[n,i] reaches L through every y[n,o], and ∂y[n,o]/∂x[n,i] = w[o,i]:
        dx[n,i] = Σ_o dy[n,o] w[o,i]      dx = dy w
        dw[o,i] = Σ_n dy[n,o] x[n,i]      dw = dyᵀ x
        db[o]   = Σ_n dy[n,o]             db = Σ_n dy

    Each product is cut along o, or for dx along i, so that no sum is split among threads.
    `backward(dy, need_dx=False)` gives (None, dw, db); db is None where b is.

    Raises ValueError if the inner sizes of x and w, or the outer sizes of w and b, differ, or if
    dtypes do.

    Example
        >>> y, backward = ops.linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
        >>> print(y, *backward(np.array([[1.0]])))
        [[11.]] [[3. 4.]] [[1. 2.]] None
    """
    require_arrays("linear", x=x, w=w, b=b, optional="b")
    _require_shapes(x, w, b)
    y = memory.empty((len(x), len(w)), x.dtype)
    work = w.size * (len(x) + ROWS_IN_A_READ)
    over_o = threads.parts(len(w), work, most=4)
    over_i = threads.parts(x.shape[1], work, most=4)

    def forward(o: slice) -> None:
        products = w[o].dot(x.T).T  # (N, o); `@` would keep other threads waiting if y is small
        if b is None:
            y[:, o] = products
        else:
            np.add(products, b[o], out=y[:, o])

    threads.run(forward, over_o)

    def backward(
        dy: np.ndarray, need_dx: bool = True
    ) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
        require_gradient("linear", dy, y.shape, x.dtype)
        dx = memory.empty(x.shape, x.dtype) if need_dx else None
        dw = memory.empty(w.shape, w.dtype)

        def part_of_backward(part: tuple[slice, slice]) -> None:
            o, i = part
            multiply(dy[:, o].T, x, out=dw[o])  # (o, I)
            if dx is not None:
                multiply(dy, w[:, i], out=dx[:, i])  # (N, i)

        threads.run(part_of_backward, list(zip_longest(over_o, over_i, fillvalue=slice(0, 0))))
        return dx, dw, None if b is None else dy.sum(axis=0)

    return y, backward


def _require_shapes(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> None:
    require_axes("linear", "x", x, "N I")
    require_axes("linear", "w", w, "O I")
    if x.shape[1] != w.shape[1]:
        raise ValueError(
            f"linear: x has {x.shape[1]} features but w is {w.shape} and takes {w.shape[1]}"
        )
    if b is not None and b.shape != (len(w),):
        raise ValueError(f"linear: b has shape {b.shape}, expected ({len(w)},) as w is {w.shape}")
