"""Where paths of a network meet: the sum of two arrays, and arrays one behind the other."""

from itertools import accumulate

import numpy as np

from npkd.arguments import is_integer, require_arrays, shown
from npkd.engine import memory, threads
from npkd.ops.contract import Op, require_gradient
from npkd.ops.pointwise import by_slices


def add(a: np.ndarray, b: np.ndarray) -> Op:
    """The sum of two arrays, y = a + b: where a residual path meets the other one.

    Shapes
        a of any shape, b the same  →  y the same

    Definition
        y = a + b

    Backward, given dy = ∂L/∂y
        ∂y/∂a = ∂y/∂b = 1:
        da = dy,      db = dy

    da and db are copies, so that one may be written to and neither the other nor dy changes.
    Raises ValueError if the shapes differ: nothing is broadcast.

    Example
        >>> y, backward = ops.add(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
        >>> print(y, *backward(np.array([1.0, -1.0])))
        [4. 7.] [ 1. -1.] [ 1. -1.]
    """
    require_arrays("add", a=a, b=b)
    if a.shape != b.shape:
        raise ValueError(f"add: a has shape {a.shape} and b {b.shape}, expected the same")
    of_a, of_b = memory.layout_of(a), memory.layout_of(b)
    if of_a is not of_b and of_b is memory.channels_last:
        a, b = b, a
    (y,) = by_slices(np.add if of_a is of_b else _plus_turned, a, b)
    shape, dtype = y.shape, y.dtype

    def backward(dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        require_gradient("add", dy, shape, dtype)
        (da,), (db,) = by_slices(np.positive, dy), by_slices(np.positive, dy)
        return da, db

    return y, backward


def concat(*xs: np.ndarray, axis: int = 1) -> Op:
    """Arrays one behind the other along an axis, that of the channels by default.

    Shapes
        x₁ (N, C₁, …), x₂ (N, C₂, …), …  →  y (N, C₁ + C₂ + …, …), for axis 1

    Definition (along `axis`, all other axes as they are; s_k = C₁ + … + C_{k−1})
        y[s_k + c] = x_k[c],  0 ≤ c < C_k

    Backward, given dy = ∂L/∂y
        x_k[c] is y[s_k + c] and nothing else, so each array has its piece of dy:
        dx_k[c] = dy[s_k + c]      a tuple of them, one for each array

    Raises ValueError for no array, for shapes that differ along another axis, and for an axis that
    they have not.

    Example
        >>> y, backward = ops.concat(np.ones((1, 1)), np.full((1, 2), 3.0))
        >>> print(y, *backward(np.array([[5.0, 6.0, 7.0]])))
        [[1. 3. 3.]] [[5.]] [[6. 7.]]
    """
    require_arrays("concat", "", **{f"x{k}": x for k, x in enumerate(xs, 1)})
    shapes = [x.shape for x in xs]
    if not xs:
        raise ValueError("concat: no arrays are given, expected one or more")
    if not is_integer(axis) or not -xs[0].ndim <= axis < xs[0].ndim:
        raise ValueError(f"concat: axis is {shown(axis)}, expected an axis of x1, {shapes[0]}")
    axis = int(axis) % xs[0].ndim
    for k, shape in enumerate(shapes, 1):
        if _without(shape, axis) != _without(shapes[0], axis):
            raise ValueError(
                f"concat: x1 has shape {shapes[0]} and x{k} {shape}, "
                f"expected the same but for axis {axis}"
            )
    layouts = [memory.layout_of(x) for x in xs]
    make = memory.channels_last if memory.channels_last in layouts else memory.empty
    ends = list(accumulate(shape[axis] for shape in shapes))
    whole = (*shapes[0][:axis], ends[-1], *shapes[0][axis + 1 :])
    pieces = [
        (*(slice(None),) * axis, slice(end - shape[axis], end))
        for shape, end in zip(shapes, ends, strict=True)
    ]
    dtype = xs[0].dtype
    y = make(whole, dtype)
    for x, of_x, piece in zip(xs, layouts, pieces, strict=True):
        _copy(x, y[piece], turn=make is memory.channels_last and of_x is not make)

    def backward(dy: np.ndarray) -> tuple[np.ndarray, ...]:
        require_gradient("concat", dy, whole, dtype)
        gradients, of_dy = [], memory.layout_of(dy)
        for shape, of_x, piece in zip(shapes, layouts, pieces, strict=True):
            dx = of_x(shape, dtype)
            _copy(dy[piece], dx, turn=of_x is memory.channels_last and of_dy is not of_x)
            gradients.append(dx)
        return tuple(gradients)

    return y, backward


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """How many axes there are, and the sizes of the others."""
    return (len(shape), *shape[:axis], *shape[axis + 1 :])


def _plus_turned(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    """y = a + b, where the channels are last in a and y alone."""
    np.add(a, memory.turned(b, out=y), out=y)


def _copy(x: np.ndarray, into: np.ndarray, turn: bool) -> None:
    """x into other memory; turn: where the channels are last, and in x they are not."""
    parts = threads.parts(len(x), work=threads.MOVE * x.size)

    def work(part: slice) -> None:
        if turn:
            memory.turned(x[part], out=into[part])
        else:
            into[part] = x[part]

    threads.run(work, parts)
