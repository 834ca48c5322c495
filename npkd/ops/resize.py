"""Larger images: upsampling by repetition or interpolation, and the pixel shuffle."""

from functools import lru_cache

import numpy as np

from npkd.arguments import positive_integer, require_arrays, require_axes, shown
from npkd.engine import memory, threads
from npkd.ops.contract import Op, require_gradient
from npkd.ops.windows import axis_of, gather

Band = tuple[slice, slice, np.ndarray]
BAND = 32  # rows of a matrix that are multiplied at a time


def upsample(x: np.ndarray, factor: int, mode: str = "nearest") -> Op:
    """Images `factor` times as high and wide.

    Shapes
        x (N, C, H, W)  →  y (N, C, f·H, f·W)

    Definition, "nearest"
        y[n,c,u,v] = x[n, c, ⌊u/f⌋, ⌊v/f⌋]

    Definition, "bilinear" (align_corners=False), along rows and then along columns the same
        The centre of cell u of y lies at t = (u + ½)/f − ½ in the cells of x:
        y[u] = (1 − λ) x[⌊t⌋] + λ x[⌊t⌋ + 1],  λ = t − ⌊t⌋, cells beyond an edge being the edge's

    Backward, given dy = ∂L/∂y (N, C, f·H, f·W)
        Both are linear, so dx is the adjoint: every dy[u,v] goes to the cells that y[u,v] was made
        of, with the same weights. For "nearest" that is the sum over each block of f×f.

        "bilinear" is Y = R X Cᵀ and dX = Rᵀ dY C, R and C the interpolation along rows and along
        columns, in bands: where a cell is infinite, those up to BAND from it may be NaN (0 · ∞).

    Raises ValueError if x is no batch of images, factor no positive integer, or mode another.
    Source: the definitions are those of torch.nn.functional.interpolate.

    Example
        >>> y, backward = ops.upsample(np.array([[[[1.0, 2.0]]]]), 2)
        >>> print(y[0, 0, 0], backward(y).ravel())
        [1. 1. 2. 2.] [4. 8.]
    """
    require_arrays("upsample", x=x)
    require_axes("upsample", "x", x, "N C H W")
    f = positive_integer("upsample", "factor", factor)
    n, c, height, width = x.shape
    if mode == "nearest":
        y = np.empty((n, c, height * f, width * f), x.dtype)
        y.reshape(n, c, height, f, width, f)[...] = x[:, :, :, None, :, None]
    elif mode == "bilinear":
        if 0 in x.shape[2:]:
            raise ValueError(f"upsample: x of shape {x.shape} has no cells to interpolate")
        R, C = (_bands(size, f, x.dtype.str) for size in (height, width))
        y = _between(R, x, C)  # R X Cᵀ
    else:
        raise ValueError(f'upsample: mode is {shown(mode)}, expected "nearest" or "bilinear"')

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("upsample", dy, y.shape, x.dtype)
        if mode == "nearest":
            rows, columns = (axis_of(size * f, f, f, 0, 0, 1) for size in (height, width))
            return np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))
        R_t, C_t = (_bands(size, f, dy.dtype.str, adjoint=True) for size in (height, width))
        return _between(R_t, dy, C_t)  # Rᵀ dY C

    return y, backward


def pixel_shuffle(x: np.ndarray, factor: int) -> Op:
    """Channels moved into space: each group of f² channels becomes blocks of f×f cells.

    Shapes
        x (N, C·f², H, W)  →  y (N, C, f·H, f·W)

    Definition
        y[n, c, h·f + i, w·f + j] = x[n, c·f² + i·f + j, h, w]

    Backward, given dy = ∂L/∂y
        Every cell of x is one cell of y:  dx[n, c·f² + i·f + j, h, w] = dy[n, c, h·f + i, w·f + j]

    Raises ValueError if x is no batch of images, or if its channels are no multiple of f².
    Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network"; the order of channels is torch.nn.PixelShuffle's.

    Example
        >>> ops.pixel_shuffle(np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1), 2)[0].tolist()
        [[[[1.0, 2.0], [3.0, 4.0]]]]
    """
    require_arrays("pixel_shuffle", x=x)
    require_axes("pixel_shuffle", "x", x, "N C H W")
    f = positive_integer("pixel_shuffle", "factor", factor)
    n, channels, height, width = x.shape
    if channels % f**2:
        raise ValueError(f"pixel_shuffle: x has {channels} channels, expected a multiple of {f}²")
    c = channels // f**2
    y = np.empty((n, c, height * f, width * f), x.dtype)
    blocks = x.reshape(n, c, f, f, height, width)
    y.reshape(n, c, height, f, width, f)[...] = blocks.transpose(0, 1, 4, 2, 5, 3)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("pixel_shuffle", dy, y.shape, x.dtype)
        dx = np.empty(x.shape, x.dtype)
        blocks = dy.reshape(n, c, height, f, width, f).transpose(0, 1, 3, 5, 2, 4)
        dx.reshape(n, c, f, f, height, width)[...] = blocks
        return dx

    return y, backward


@lru_cache(maxsize=100)
def _bands(size: int, factor: int, dtype: str, adjoint: bool = False) -> list[Band]:
    """The matrix (factor·size, size) of interpolation along one axis, or its transpose, in bands.

    It is zero but near its diagonal: (outputs, inputs, all that there is of M[outputs]).
    """
    u = np.arange(factor * size)
    t = np.clip((u + 0.5) / factor - 0.5, 0, size - 1)  # beyond an edge lies the edge's cell
    low = t.astype(int)
    matrix = np.zeros((len(u), size))
    matrix[u, np.minimum(low + 1, size - 1)] = t - low
    matrix[u, low] += 1 - (t - low)
    if adjoint:
        matrix = matrix.T
    bands = []
    for outputs in threads.slices(slice(0, len(matrix)), BAND):
        reached = np.flatnonzero(matrix[outputs].any(axis=0))
        inputs = slice(reached[0], reached[-1] + 1)
        bands.append((outputs, inputs, matrix[outputs, inputs].astype(dtype)))
    return bands


def _between(rows: list[Band], x: np.ndarray, columns: list[Band]) -> np.ndarray:
    """M_rows X M_columnsᵀ for every channel X of every image: a new array."""
    height, width = (bands[-1][0].stop for bands in (rows, columns))
    x_maps = x.reshape(-1, *x.shape[2:])
    y_maps = memory.empty((len(x_maps), height, width), x.dtype)
    work = BAND * width * (x_maps[:, :, 0].size + len(x_maps) * height)

    def of_part(part: slice) -> None:
        for some in threads.cached(part, y_maps[:1].nbytes):
            wide = np.empty((*x_maps[some].shape[:2], width), x.dtype)
            for outputs, inputs, matrix in columns:
                np.matmul(x_maps[some, :, inputs], matrix.T, out=wide[:, :, outputs])
            for outputs, inputs, matrix in rows:
                np.matmul(matrix, wide[:, inputs], out=y_maps[some, outputs])

    threads.run(of_part, threads.parts(len(x_maps), work))
    return y_maps.reshape(*x.shape[:2], height, width)
