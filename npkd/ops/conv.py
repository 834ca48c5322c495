"""Convolution of images."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from npkd.arguments import positive_integer, require_arrays, require_axes, shown
from npkd.engine import memory, threads
from npkd.ops.activation import positive_part
from npkd.ops.contract import Op, Pair, pair, require_gradient
from npkd.ops.windows import Depthwise, Windows, as_rows, axis_of

COPIED = 20  # multiply-adds in the time that one number of a patch is copied


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Op:
    """Convolution as the field has it: cross-correlation, with kernels that are not flipped.

    Shapes
        x (N, C, H, W), w (O, C/G, kh, kw), b (O,) or None  →  y (N, O, Ho, Wo)
        Ho = ⌊(H + top + bottom − dilation·(kh − 1) − 1) / stride⌋ + 1, and Wo likewise

    Arguments
        stride, dilation: sizes of at least 1. groups: G, of channels that see nothing of others.
        padding: zeros around the image. A size is put on both sides; "valid" is none; "same" is
        what keeps Ho = H and Wo = W, the odd cell at the bottom and right, stride 1 only.

    Definition (groups = 1, stride s, dilation d, padding p; x is zero outside of the image)
        y[n,o,u,v] = Σ_c Σ_i Σ_j w[o,c,i,j] x[n, c, u·s + i·d − p, v·s + j·d − p] + b[o]
        Y = X W + b, where row uv of X[uv,jic] is the patch under window (u, v) and W[jic,o] = w
        (`windows.Patches`). Groups of one input are summed tap by tap (`windows.Planes`).

    Backward, given dy = ∂L/∂y (N, O, Ho, Wo)
        w[o,c,i,j] meets x[…] once in every window of every image:
        dW[jic,o] = Σ_n Σ_uv X[uv,jic] dY[uv,o]     dw = Xᵀ dY
        db[o] = Σ_n Σ_uv dY[uv,o]
        x[n,c,h,·] meets w[o,c,i,·] in the window u with u·s = h + p − i·d, if there is one:
        dx[n,c,h,·] = Σ_o Σ_i Σ_j w[o,c,i,j] dy[n, o, (h + p − i·d)/s, ·], likewise along columns
        For s = 1 that is the full correlation: a convolution of dy, with w turned round, inputs and
        outputs exchanged, and padding d(k − 1) − p. For s > 1 it is one for the cells of each
        remainder by s, with the taps that meet these (`windows.Axis.adjoint`).

    `backward(dy, need_dx=False)` gives (None, dw, db), without the work for dx; db is None where b
    is. Scratch memory for any N, in each thread: patches of kh·C numbers (of kh·O for dx) for each
    cell under a row of windows, `windows.TILE_BYTES` in all or one row's; and for dw kw times that.

    Raises ValueError if the arrays' dtypes or shapes do not go together, if the kernel does not fit
    into the padded image, or if an argument is outside of its range.
    Source: the definition is that of torch.nn.functional.conv2d.

    Example
        >>> x, w = np.array([[[[1.0, 2.0, 5.0]]]]), np.array([[[[-1.0, 1.0]]]])
        >>> y, backward = ops.conv2d(x, w)
        >>> dx, dw, _ = backward(np.ones_like(y))
        >>> print(y.ravel(), dx.ravel(), dw.ravel())
        [1. 3.] [-1.  0.  1.] [3. 7.]
    """
    return convolve(x, w, b, stride, padding, dilation, groups)


def conv2d_relu(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **options: Any) -> Op:
    """`conv2d` and `relu` in turn, to the same bits: ReLU is taken of a tile while it is at hand.

    y = max(conv2d(x, w, b), 0); in the backward pass dy · [y > 0] takes the place of dy.
    """
    return convolve(x, w, b, **options, with_relu=True)


def convolve(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    with_relu: bool = False,
    finish: Callable[[int], Callable[[np.ndarray], None]] | None = None,
) -> Op:
    """`conv2d` and `conv2d_relu`. finish: of Wo, what is done to rows of y, (Wo, O) each, in place.

    Matrices have an axis g of groups and one q of columns of windows before their own.
    """
    require_arrays("conv2d", x=x, w=w, b=b, optional="b")
    _require_shapes(x, w, b, groups)
    windows = _windows(
        x.shape[2:],
        w.shape[2:],
        pair("conv2d", "stride", stride, 1),
        padding if isinstance(padding, str) else pair("conv2d", "padding", padding, 0),
        pair("conv2d", "dilation", dilation, 1),
        groups,
        depthwise=w.shape[1] == 1 < groups,
    )
    (n, inputs), outputs, kh = x.shape[:2], len(w), w.shape[2]
    shape = (n, outputs, windows.rows.output, windows.columns.output)
    y = memory.channels_last(shape, x.dtype)
    positive = memory.channels_last(shape, np.bool_) if with_relu else None
    W = windows.kernels(w)
    bias = None if b is None else np.full((shape[3], outputs), b).ravel()  # of `as_rows`
    finished = finish(shape[3]) if finish else None
    work = n * shape[2] * shape[3] * (w.size + COPIED * (inputs * kh + outputs))

    def forward(part: tuple[slice, slice]) -> None:
        for tile, X, Y in windows.matrices(x, y, part):
            windows.multiply(X, W, out=Y)  # Y = X W + b
            values = as_rows(y[tile])
            if bias is not None:
                values += bias
            if finished is not None:
                finished(values)
            if positive is not None:
                positive_part(values, out=values)
                np.not_equal(values, 0, out=as_rows(positive[tile]))  # NaN is not 0

    if n == 1:  # rows of the one image are shared out
        of_image = threads.parts(windows.rows.output, work)
        threads.run(forward, [(slice(0, 1), rows) for rows in of_image])
    else:
        threads.run(forward, [(images, windows.all_rows) for images in threads.parts(n, work)])

    def backward(
        dy: np.ndarray, need_dx: bool = True
    ) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
        require_gradient("conv2d", dy, shape, x.dtype)
        dx = memory.channels_last(x.shape, x.dtype) if need_dx else None
        adjoint = windows.adjoint(w) if need_dx else []

        def part_of_backward(part: slice) -> tuple[np.ndarray, np.ndarray]:
            dW, db = np.zeros_like(W), np.zeros(outputs, x.dtype)
            for images in windows.images(part, inputs, dy):
                dz = dy[images]
                if positive is not None:
                    dz = memory.channels_last(dz.shape, dz.dtype)
                    np.multiply(dy[images], positive[images], out=dz)
                elif memory.layout_of(dz) is not memory.channels_last:
                    dz = memory.turned(dz)
                # joined wherever there are more outputs, so that products are within kw patches
                for _, X, dY in windows.matrices(x[images], dz, small=0):
                    dW += windows.products(X, dY)  # dW = Xᵀ dY
                db += as_rows(dz).sum(axis=0).reshape(-1, outputs).sum(axis=0)
                if dx is not None:
                    _full_correlation(dz, adjoint, dx[images])
            return dW, db

        partial_sums = threads.run(part_of_backward, threads.parts(n, 2 * work))
        dW = sum((dW for dW, _ in partial_sums), start=np.zeros_like(W))
        db = sum((db for _, db in partial_sums), start=np.zeros(outputs, x.dtype))
        return dx, windows.weight(dW, w.shape), None if b is None else db

    return y, backward


def _full_correlation(
    dy: np.ndarray, adjoint: list[tuple[Any, Windows, np.ndarray]], dx: np.ndarray
) -> None:
    """dx from dy (both channels last) by the convolutions of `Windows.adjoint`."""
    if sum(dx[cells].size for cells, _, _ in adjoint) < dx.size:
        dx[...] = 0  # there are cells under no tap
    for cells, windows, W in adjoint:
        for _, dY, dX in windows.matrices(dy, dx[cells]):
            windows.multiply(dY, W, out=dX)  # dX = dY W, W turned round


@lru_cache(maxsize=1000)
def _windows(
    image: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int] | str,
    dilations: tuple[int, int],
    groups: int,
    depthwise: bool,
) -> Windows:
    """The windows that these arguments ask for."""
    if not isinstance(padding, str):
        before = after = list(padding)
    elif padding == "valid":
        before = after = [0, 0]
    elif padding != "same":
        raise ValueError(f'conv2d: padding is {shown(padding)}, expected "same", "valid" or sizes')
    elif strides != (1, 1):
        raise ValueError(f'conv2d: padding "same" takes stride 1 only, got stride {strides}')
    else:
        totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        before, after = [t // 2 for t in totals], [t - t // 2 for t in totals]
    rows, columns = (
        axis_of(*axis)
        for axis in zip(image, kernel, strides, before, after, dilations, strict=True)
    )
    if rows.output < 1 or columns.output < 1:
        raise ValueError(
            f"conv2d: a kernel of {kernel} with dilation {dilations} does not fit into images of "
            f"{image} padded by {tuple(before)} and {tuple(after)}"
        )
    return (Depthwise if depthwise else Windows)(rows, columns, groups)


def _require_shapes(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, groups: int) -> None:
    require_axes("conv2d", "x", x, "N C H W")
    require_axes("conv2d", "w", w, "O C/groups kh kw")
    positive_integer("conv2d", "groups", groups)
    if 0 in w.shape or x.shape[1] != groups * w.shape[1] or len(w) % groups:
        raise ValueError(
            f"conv2d: x has {x.shape[1]} channels and w is {w.shape} with groups={groups}, "
            f"expected w of (a multiple of {groups}, {x.shape[1]}/{groups}, kh, kw)"
        )
    if b is not None and b.shape != (len(w),):
        raise ValueError(f"conv2d: b has shape {b.shape}, expected ({len(w)},) as w is {w.shape}")
