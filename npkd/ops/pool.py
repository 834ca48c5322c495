"""Average and max pooling of images, and the mean of whole images."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from npkd.arguments import is_integer, require_arrays, require_axes, shown
from npkd.engine import memory, threads
from npkd.ops.contract import Op, Pair, pair, require_gradient
from npkd.ops.windows import Axis, axis_of, gather, scatter

Index = tuple[slice, ...]


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Pair,
    *,
    stride: Pair | tuple[()] | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Op:
    """The mean of each window.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)
        Ho = ⌊(H + 2·padding − kh) / stride⌋ + 1, with ceil_mode ⌈…⌉ as long as the last window
        starts on a cell or on the padding before; Wo likewise

    Arguments
        stride: by default, or as PyTorch's (), the window's size. padding: zeros on both sides, at
        most half a window

    Definition (window (u, v) starts at row u·s − p, column v·s − p; x is zero outside of the image)
        y[n,c,u,v] = Σ_i Σ_j x[n, c, u·s − p + i, v·s − p + j] / D[u,v]
        D[u,v] = divisor_override if given; else how many taps lie on the image or its padding
        (count_include_pad), or on the image alone
        Y = (R X Cᵀ) / D, along rows first and then along columns: R[u,h] and C[v,w] are 1 where
        window u or v has a tap on row h or column w, else 0

    Backward, given dy = ∂L/∂y (N, C, Ho, Wo)
        x[h,w] reaches L through every window with a tap on it:
        dx = Rᵀ (dy / D) C

    Raises ValueError if no window fits or if an argument is outside of its range.
    Source: the definition is that of torch.nn.functional.avg_pool2d.

    Example
        >>> y, backward = ops.avg_pool2d(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]), 2)
        >>> print(y.ravel(), backward(np.array([[[[4.0]]]])).ravel())
        [3.] [1. 1. 1. 1.]
    """
    rows, columns = _axes("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is None:
        divisor = _cells_of_windows(rows, columns, bool(count_include_pad)).astype(x.real.dtype)
    elif is_integer(divisor_override) and divisor_override != 0:
        divisor = np.array(divisor_override, x.real.dtype)
    else:
        raise ValueError(
            f"avg_pool2d: divisor_override is {shown(divisor_override)}, expected an integer, not 0"
        )
    shape = (*x.shape[:2], rows.output, columns.output)
    x_shape, dtype, make = x.shape, x.dtype, memory.layout_of(x)
    y = make(shape, dtype)
    parts = threads.parts(len(x), work=threads.MOVE * x.size)

    def forward(part: slice) -> None:
        for n in threads.cached(part, x[0].nbytes):
            sums = gather(columns, 3, gather(rows, 2, x[n]))  # R X Cᵀ
            np.divide(sums, divisor, out=y[n])

    threads.run(forward, parts)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("avg_pool2d", dy, shape, dtype)
        dx = make(x_shape, dtype)

        def part_of_backward(part: slice) -> None:
            for n in threads.cached(part, dx[0].nbytes):
                quotients = make(dy[n].shape, dtype)
                np.divide(dy[n], divisor, out=quotients)
                sums = make((*quotients.shape[:3], columns.size), dtype)
                scatter(columns, 3, quotients, sums)  # (dy / D) C
                scatter(rows, 2, sums, dx[n])  # Rᵀ (dy / D) C

        threads.run(part_of_backward, parts)
        return dx

    return y, backward


def max_pool2d(
    x: np.ndarray,
    kernel_size: Pair,
    *,
    stride: Pair | tuple[()] | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Op:
    """The largest cell of each window.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)
        Ho = ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1, with ceil_mode ⌈…⌉ as long as
        the last window starts on a cell or on the padding before; Wo likewise

    Arguments
        stride: by default, or as PyTorch's (), the window's size. padding: cells on both sides, at
        most half a window, which are never chosen

    Definition (window (u, v) starts at row u·s − p, column v·s − p)
        y[n,c,u,v] = max over i, j of x[n, c, u·s − p + i·d, v·s − p + j·d], cells of the image only

    Backward, given dy = ∂L/∂y (N, C, Ho, Wo)
        ∂y[u,v]/∂x is 1 at the cell chosen and 0 elsewhere, so every dy goes to its window's cell:
        dx[h,w] = Σ dy[u,v] over the windows whose choice is (h, w)

    Conventions: of equal cells the first in row-major order is chosen, also where all are −∞. Where
    a window holds NaN, its last NaN is chosen. Complex cells are compared by their real parts.
    Raises ValueError if no window fits, if a window holds no cell of the image (dilation can do
    that), or if an argument is outside of its range.
    Source: the definition is that of torch.nn.functional.max_pool2d.

    Example
        >>> y, backward = ops.max_pool2d(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]), 2)
        >>> print(y.ravel(), backward(np.array([[[[4.0]]]])).ravel())
        [6.] [0. 0. 0. 4.]
    """
    rows, columns = _axes("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    if not rows.cells().all() or not columns.cells().all():
        raise ValueError(
            f"max_pool2d: a window of {kernel_size} with dilation {dilation} and padding {padding} "
            f"holds no cell of images of {x.shape[2:]}"
        )
    shape = (*x.shape[:2], rows.output, columns.output)
    x_shape, dtype, make = x.shape, x.dtype, memory.layout_of(x)
    y = make(shape, dtype)
    taps, tiles = rows.kernel * columns.kernel, rows.tiles and columns.tiles
    choice = make(shape, np.int8 if taps < 128 else np.int32)  # the tap chosen, i·kw + j
    parts = threads.parts(len(x), work=threads.MOVE * x.size)

    def forward(part: slice) -> None:
        for n in threads.cached(part, x[0].nbytes):
            y[n], choice[n] = -np.inf, -1
            for tap, (windows, cells) in _taps(rows, columns):
                candidate, best = x[n][cells], y[n][windows]
                chosen = choice[n][windows]
                better = (candidate.real > best.real) | np.isnan(candidate) | (chosen < 0)
                if np.iscomplexobj(x):
                    best[...] = np.where(better, candidate, best)
                else:
                    np.maximum(best, candidate, out=best)
                np.maximum(
                    chosen, better * chosen.dtype.type(tap), out=chosen
                )  # later ones are larger

    threads.run(forward, parts)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("max_pool2d", dy, shape, dtype)
        dx = make(x_shape, dtype)

        def part_of_backward(part: slice) -> None:
            for n in threads.cached(part, dx[0].nbytes):
                finite = np.isfinite(dy[n]).all()  # then what is not chosen is 0 times a number
                if not tiles:
                    dx[n] = 0
                for tap, (windows, cells) in _taps(rows, columns):
                    chosen, share, into = choice[n][windows] == tap, dy[n][windows], dx[n][cells]
                    if tiles and finite:
                        np.multiply(share, chosen, out=into)
                    elif tiles:
                        into[...] = np.where(chosen, share, 0)
                    else:
                        into += share * chosen if finite else np.where(chosen, share, 0)

        threads.run(part_of_backward, parts)
        return dx

    return y, backward


def global_avg_pool2d(x: np.ndarray) -> Op:
    """The mean of each channel over the whole image.

    Shapes
        x (N, C, H, W)  →  y (N, C, 1, 1)

    Definition
        y[n,c,0,0] = Σ_h Σ_w x[n,c,h,w] / (H W)

    Backward, given dy = ∂L/∂y (N, C, 1, 1)
        ∂y[n,c]/∂x[n,c,h,w] = 1 / (H W) for every cell:
        dx[n,c,h,w] = dy[n,c,0,0] / (H W)

    Raises ValueError for images of no cells.
    Source: Lin, Chen, Yan 2014, "Network In Network"; torch.nn.functional.adaptive_avg_pool2d to
    the size 1.

    Example
        >>> y, backward = ops.global_avg_pool2d(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]))
        >>> print(y.ravel(), backward(np.array([[[[4.0]]]])).ravel())
        [3.] [1. 1. 1. 1.]
    """
    require_arrays("global_avg_pool2d", x=x)
    require_axes("global_avg_pool2d", "x", x, "N C H W")
    x_shape, dtype, make = x.shape, x.dtype, memory.layout_of(x)
    n, c, height, width = x_shape
    cells = height * width
    if not cells:
        raise ValueError(f"global_avg_pool2d: x has shape {x_shape}, expected images of some cells")
    shape = (n, c, 1, 1)
    y, ones = memory.empty(shape, dtype), np.ones(cells, dtype)
    parts = threads.parts(n, work=threads.MOVE * x.size)

    def forward(part: slice) -> None:
        images = memory.rows(x[part])
        if make is memory.channels_last:
            sums = ones @ images.reshape(-1, cells, c)
        else:
            sums = images.reshape(-1, c, cells) @ ones
        np.divide(sums.reshape(y[part].shape), cells, out=y[part])

    threads.run(forward, parts)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("global_avg_pool2d", dy, shape, dtype)
        dx = make(x_shape, dtype)

        def part_of_backward(part: slice) -> None:
            dx[part] = dy[part] / cells

        threads.run(part_of_backward, parts)
        return dx

    return y, backward


@lru_cache(maxsize=100)
def _cells_of_windows(rows: Axis, columns: Axis, padded: bool) -> np.ndarray:
    """How many taps of each window lie on the image, or on it and its padding."""
    cells = np.outer(rows.cells(padded), columns.cells(padded))
    return cells[:1, :1] if (cells == cells[0, 0]).all() else cells  # one number is quicker


def _taps(rows: Axis, columns: Axis) -> Iterator[tuple[int, tuple[Index, Index]]]:
    """Each tap i·kw + j in row-major order, with its windows and its cells as indices."""
    every = slice(None)
    for i, (windows_r, cells_r) in enumerate(rows.taps):
        for j, (windows_c, cells_c) in enumerate(columns.taps):
            windows, cells = (every, every, windows_r, windows_c), (every, every, cells_r, cells_c)
            yield i * columns.kernel + j, (windows, cells)


def _axes(
    op: str,
    x: np.ndarray,
    kernel_size: Pair,
    stride: Pair | tuple[()] | None,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Axis, Axis]:
    """The windows along rows and columns."""
    require_arrays(op, x=x)
    require_axes(op, "x", x, "N C H W")
    kernels = pair(op, "kernel_size", kernel_size, 1)
    if stride is None or (isinstance(stride, tuple | list) and not stride):
        stride = kernels
    strides = pair(op, "stride", stride, 1)
    paddings = pair(op, "padding", padding, 0)
    dilations = pair(op, "dilation", dilation, 1)
    if any(2 * p > k for p, k in zip(paddings, kernels, strict=True)):
        raise ValueError(
            f"{op}: padding is {padding}, expected at most half of the window {kernel_size}"
        )
    rows, columns = (
        axis_of(size, kernel, s, p, p, d, bool(ceil_mode))
        for size, kernel, s, p, d in zip(
            x.shape[2:], kernels, strides, paddings, dilations, strict=True
        )
    )
    if min(*x.shape[2:], rows.output, columns.output) < 1:
        raise ValueError(
            f"{op}: a window of {kernel_size} with dilation {dilation} does not fit into images of "
            f"{x.shape[2:]} padded by {padding}"
        )
    return rows, columns
