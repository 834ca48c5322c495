"""Larger images: upsampling by repetition or interpolation, and the pixel shuffle."""

from collections.abc import Iterator

import numpy as np

from npkd.arguments import positive_integer, require_arrays, require_axes, shown
from npkd.ops.contract import Op, require_gradient
from npkd.ops.windows import axis_of, gather


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
        y = np.ascontiguousarray(_interpolate(_interpolate(x, f, axis=2), f, axis=3))
    else:
        raise ValueError(f'upsample: mode is {shown(mode)}, expected "nearest" or "bilinear"')

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("upsample", dy, y.shape, x.dtype)
        if mode == "nearest":
            rows, columns = (axis_of(size * f, f, f, 0, 0, 1) for size in (height, width))
            return np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))
        return np.ascontiguousarray(
            _interpolate_adjoint(_interpolate_adjoint(dy, f, axis=3), f, axis=2)
        )

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


def _phases(factor: int) -> Iterator[tuple[int, int, float]]:
    """For each remainder r of u by the factor: r, by how much ⌊t⌋ + 1 lies beyond ⌊u/f⌋, and λ."""
    for r in range(factor):
        offset = (r + 0.5) / factor - 0.5  # t − ⌊u/f⌋, in (−½, ½)
        yield r, 0 if offset < 0 else 1, offset % 1.0


@np.errstate(under="ignore")  # rounding, as in threads.run
def _interpolate(x: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """Linear interpolation along one axis."""
    x = np.moveaxis(x, axis, 0)
    padded = np.concatenate([x[:1], x, x[-1:]])  # cells −1 … n, the edges repeated
    y = np.empty((len(x) * factor, *x.shape[1:]), x.dtype)
    for r, start, weight in _phases(factor):
        low, high = padded[start : start + len(x)], padded[start + 1 : start + 1 + len(x)]
        y[r::factor] = (1 - weight) * low + weight * high
    return np.moveaxis(y, 0, axis)


@np.errstate(under="ignore")  # rounding, as in threads.run
def _interpolate_adjoint(dy: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """The adjoint of `_interpolate`."""
    dy = np.moveaxis(dy, axis, 0)
    size = len(dy) // factor
    padded = np.zeros((size + 2, *dy.shape[1:]), dy.dtype)
    for r, start, weight in _phases(factor):
        padded[start : start + size] += (1 - weight) * dy[r::factor]
        padded[start + 1 : start + 1 + size] += weight * dy[r::factor]
    dx = padded[1:-1]
    dx[0] += padded[0]
    dx[-1] += padded[-1]
    return np.moveaxis(dx, 0, axis)
