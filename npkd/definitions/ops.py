"""Operations: the formulas as scalar loops."""

import math
from collections.abc import Callable

import numpy as np

from npkd.definitions.steps import (
    Number,
)

__all__ = [
    "add",
    "avg_pool2d",
    "batch_norm",
    "batch_statistics",
    "concat",
    "conv2d",
    "dropout",
    "flatten",
    "gelu",
    "global_avg_pool2d",
    "linear",
    "log_softmax",
    "max_pool2d",
    "pixel_shuffle",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
    "upsample",
]

Size = int | tuple[int] | tuple[int, int]


# Geometry: what one output cell sees


def _pair(size: Size | str) -> list:
    """[height, width] of a size given as one value for both or as a pair."""
    return np.broadcast_to(size, 2).tolist()


def _before_and_after(padding: int | str, kernel: int, dilation: int) -> tuple[int, int]:
    """Cells added on the two sides of an axis; "same" puts the odd one after."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = dilation * (kernel - 1)
        return total // 2, total - total // 2
    return int(padding), int(padding)


def _output_size(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    ceil_mode: bool = False,
) -> int:
    """Number of windows along an axis of `size` cells padded by (before, after).

    The first window starts at the first padded cell and each next one `stride` further:
        ⌊(before + size + after − dilation (kernel − 1) − 1) / stride⌋ + 1
    With `ceil_mode` it is ⌈·⌉, so that a last window may stick out at the end, but only if it
    starts inside the image or the padding before it.
    """
    before, after = padding
    steps = (before + size + after - dilation * (kernel - 1) - 1) / stride
    if not ceil_mode:
        return math.floor(steps) + 1
    count = math.ceil(steps) + 1
    return count if (count - 1) * stride < before + size else count - 1


def _cells(start: int, kernel: int, dilation: int, size: int) -> list[int]:
    """The cells start + dilation u, 0 ≤ u < kernel, that lie inside an axis of `size` cells."""
    window = [start + dilation * u for u in range(kernel)]
    return [cell for cell in window if 0 <= cell < size]


def _zero_padded(x: np.ndarray, n: int, c: int, p: int, q: int) -> Number:
    """x[n,c,p,q], or 0 outside the image."""
    height, width = x.shape[2:]
    return x.item(n, c, p, q) if 0 <= p < height and 0 <= q < width else 0.0


# Ops


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlation of images with kernels (the kernel is not flipped).

    Shapes
        x (N, C, H, W), w (O, C/groups, kh, kw), b (O,) or None  →  y (N, O, Ho, Wo)

    Definition, with x = 0 outside the image
        y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] x[n, first + c, p, q]
        first = (C/groups) ⌊o / (O/groups)⌋, the first input channel of o's group
        p = i sh − top + u dh,  q = j sw − left + v dw, for strides s and dilations d

    `padding` is a size, "valid" (none) or "same" (Ho = H, Wo = W; at stride 1 only).
    """
    (sh, sw), (dh, dw), (pad_h, pad_w) = _pair(stride), _pair(dilation), _pair(padding)
    images, _, height, width = x.shape
    outputs, channels, kh, kw = w.shape
    top, bottom = _before_and_after(pad_h, kh, dh)
    left, right = _before_and_after(pad_w, kw, dw)
    rows = _output_size(height, kh, sh, (top, bottom), dh)
    columns = _output_size(width, kw, sw, (left, right), dw)
    y = np.empty((images, outputs, rows, columns), x.dtype)
    for n, o, i, j in np.ndindex(y.shape):
        first = channels * (o // (outputs // groups))
        total = 0.0 if b is None else b.item(o)
        for c, u, v in np.ndindex(channels, kh, kw):
            p, q = i * sh - top + u * dh, j * sw - left + v * dw
            total += w.item(o, c, u, v) * _zero_padded(x, n, first + c, p, q)
        y[n, o, i, j] = total
    return y


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Size,
    *,
    stride: Size | tuple[()] | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The mean of each window of an image.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)

    Definition
        y[n,c,i,j] = (1/divisor) Σ x[n,c,p,q] over the cells (p, q) of window (i, j) in the image

    The divisor is `divisor_override` if given; else the number of the window's cells in the
    padded image, or with `count_include_pad=False` in the image. Cells by which a window sticks
    out of the padded image under `ceil_mode` are never counted. `stride=None` is `kernel_size`.
    """
    (kh, kw), (ph, pw) = _pair(kernel_size), _pair(padding)
    sh, sw = _pair(stride or kernel_size)  # not given, or ()
    images, channels, height, width = x.shape
    rows = _output_size(height, kh, sh, (ph, ph), 1, ceil_mode)
    columns = _output_size(width, kw, sw, (pw, pw), 1, ceil_mode)
    y = np.empty((images, channels, rows, columns), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        ps = _cells(i * sh - ph, kh, 1, height)
        qs = _cells(j * sw - pw, kw, 1, width)
        if divisor_override is not None:
            divisor = divisor_override
        elif count_include_pad:  # the same windows, in the coordinates of the padded image
            padded_ps = _cells(i * sh, kh, 1, height + 2 * ph)
            padded_qs = _cells(j * sw, kw, 1, width + 2 * pw)
            divisor = len(padded_ps) * len(padded_qs)
        else:
            divisor = len(ps) * len(qs)
        y[n, c, i, j] = sum(x.item(n, c, p, q) for p in ps for q in qs) / divisor
    return y


def max_pool2d(
    x: np.ndarray,
    kernel_size: Size,
    *,
    stride: Size | tuple[()] | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The largest value of each window of an image, by the real part.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)

    Definition
        y[n,c,i,j] = max x[n,c,p,q] over the cells (p, q) of window (i, j) in the image

    Conventions: padding is never chosen, since only cells in the image compete; a tie goes to
    the first cell in row-major order (values differ there only if complex); a NaN wins over
    any number. `stride=None` is `kernel_size`.
    """
    (kh, kw), (ph, pw), (dh, dw) = _pair(kernel_size), _pair(padding), _pair(dilation)
    sh, sw = _pair(stride or kernel_size)  # not given, or ()
    images, channels, height, width = x.shape
    rows = _output_size(height, kh, sh, (ph, ph), dh, ceil_mode)
    columns = _output_size(width, kw, sw, (pw, pw), dw, ceil_mode)
    y = np.empty((images, channels, rows, columns), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        ps = _cells(i * sh - ph, kh, dh, height)
        qs = _cells(j * sw - pw, kw, dw, width)
        window = [x.item(n, c, p, q) for p in ps for q in qs]
        y[n, c, i, j] = max(window, key=lambda value: (value != value, value.real))
    return y


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """The affine map of each row.

    Shapes
        x (N, I), w (O, I), b (O,) or None  →  y (N, O)

    Definition
        y[n,o] = b[o] + Σ_i w[o,i] x[n,i]
    """
    y = np.empty((len(x), len(w)), x.dtype)
    for n, o in np.ndindex(y.shape):
        total = 0.0 if b is None else b.item(o)
        for i in range(w.shape[1]):
            total += w.item(o, i) * x.item(n, i)
        y[n, o] = total
    return y


def relu(x: np.ndarray) -> np.ndarray:
    """The positive part of each entry, by its real part.

    Shapes
        x, any shape  →  y, the same

    Definition
        y = 0 where Re x ≤ 0, else x; so NaN stays NaN
    """
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x.item(*index)
        y[index] = 0.0 if value.real <= 0 else value
    return y


def flatten(x: np.ndarray) -> np.ndarray:
    """Each image as one row, in row-major order.

    Shapes
        x (N, C, H, W)  →  y (N, C H W); the axes after the first may be of any number

    Definition
        y[n,k] = x[n,c,p,q] with k = (c H + p) W + q
    """
    y = np.empty((len(x), math.prod(x.shape[1:])), x.dtype)
    for n in range(len(x)):
        for k, index in enumerate(np.ndindex(x.shape[1:])):
            y[n, k] = x[n].item(*index)
    return y


def _shifted(line: list) -> list:
    """The entries x_k − max_l Re x_l: their softmax is the same, and exp cannot overflow."""
    largest = max(value.real for value in line)
    return [value - largest for value in line]


def _softmax(line: list) -> list:
    """The quotient exp x_k / Σ_l exp x_l for each entry of one line."""
    exponentials = [np.exp(value).item() for value in _shifted(line)]
    return [value / sum(exponentials) for value in exponentials]


def _log_softmax(line: list) -> list:
    """The difference x_k − log Σ_l exp x_l for each entry of one line."""
    shifted = _shifted(line)
    log_sum = np.log(sum(np.exp(value).item() for value in shifted)).item()
    return [value - log_sum for value in shifted]


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The logarithm of the softmax along one axis.

    Shapes
        x, any shape  →  y, the same

    Definition, for each line of entries x_k along the axis
        y_k = x_k − log Σ_l exp x_l
    """
    y = np.empty_like(x)
    lines, y_lines = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)  # views
    for index in np.ndindex(lines.shape[:-1]):
        y_lines[index] = _log_softmax(lines[index].tolist())
    return y


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The softmax along one axis.

    Shapes
        x, any shape  →  y, the same

    Definition, for each line of entries x_k along the axis
        y_k = exp x_k / Σ_l exp x_l
    """
    y = np.empty_like(x)
    lines, y_lines = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)  # views
    for index in np.ndindex(lines.shape[:-1]):
        y_lines[index] = _softmax(lines[index].tolist())
    return y


def _neighbours(i: int, factor: int, size: int) -> list[tuple[int, float]]:
    """The two input cells, with their weights, between which output cell i lies (bilinear).

    Cells are unit squares, and an output cell is 1/factor of one, so its centre lies at
        t = (i + ½) / factor − ½, held to 0 ≤ t ≤ size − 1
    in units where input cell p is centred at p. Cell ⌊t⌋ weighs 1 − (t − ⌊t⌋), the next one the
    rest; at the last cell, where the next would be outside, the rest is 0 and it stands in.
    """
    t = min(max((i + 0.5) / factor - 0.5, 0.0), size - 1.0)
    p = math.floor(t)
    return [(p, 1 - (t - p)), (min(p + 1, size - 1), t - p)]


def upsample(x: np.ndarray, factor: int, mode: str = "nearest") -> np.ndarray:
    """An image `factor` times as high and wide.

    Shapes
        x (N, C, H, W)  →  y (N, C, H factor, W factor)

    Definition
        "nearest"   y[n,c,i,j] = x[n, c, ⌊i / factor⌋, ⌊j / factor⌋]
        "bilinear"  y[n,c,i,j] = Σ_{p,q} weight(p) weight(q) x[n,c,p,q] over the 2×2 input cells
                    around the centre of output cell (i, j) (align_corners=False)
    """
    images, channels, height, width = x.shape
    y = np.empty((images, channels, height * factor, width * factor), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        if mode == "nearest":
            y[n, c, i, j] = x.item(n, c, i // factor, j // factor)
        else:
            y[n, c, i, j] = sum(
                weight_p * weight_q * x.item(n, c, p, q)
                for p, weight_p in _neighbours(i, factor, height)
                for q, weight_q in _neighbours(j, factor, width)
            )
    return y


def batch_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the variance of each channel, over the images and all their cells.

    Shapes
        x (N, C) or (N, C, H, W)  →  mean (C,), variance (C,)

    Definition, over the m = N H W entries x_k of channel c
        mean[c] = Σ_k x_k / m
        variance[c] = Σ_k (x_k − mean[c])² / m
    """
    mean, variance = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for c in range(x.shape[1]):
        channel = x[:, c].ravel().tolist()
        of_c = sum(channel) / len(channel)
        mean[c] = of_c
        variance[c] = sum((value - of_c) ** 2 for value in channel) / len(channel)
    return mean, variance


def batch_norm(
    x: np.ndarray,
    w: np.ndarray | None = None,
    b: np.ndarray | None = None,
    mean: np.ndarray | None = None,
    variance: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
) -> np.ndarray:
    """Each channel less its mean, by its deviation; by `batch_statistics` where none are given.

    Shapes
        x (N, C) or (N, C, H, W), w, b, mean, variance (C,) or None  →  y as x

    Definition
        y[n,c,i,j] = b[c] + w[c] (x[n,c,i,j] − mean[c]) / √(variance[c] + ε)
    """
    if mean is None or variance is None:
        mean, variance = batch_statistics(x)
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        c = index[1]
        deviation = np.sqrt(variance.item(c) + epsilon).item()
        scale, shift = 1.0 if w is None else w.item(c), 0.0 if b is None else b.item(c)
        y[index] = shift + scale * (x.item(*index) - mean.item(c)) / deviation
    return y


def pixel_shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """Groups of factor² channels laid out as factor × factor blocks of pixels.

    Shapes
        x (N, C factor², H, W)  →  y (N, C, H factor, W factor)

    Definition
        y[n,c,i,j] = x[n, channel, ⌊i / factor⌋, ⌊j / factor⌋]
        channel = c factor² + (i mod factor) factor + (j mod factor)

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network", 2016, in PyTorch's order of channels.
    """
    images, channels, height, width = x.shape
    y = np.empty((images, channels // factor**2, height * factor, width * factor), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        channel = c * factor**2 + (i % factor) * factor + (j % factor)
        y[n, c, i, j] = x.item(n, channel, i // factor, j // factor)
    return y


def global_avg_pool2d(x: np.ndarray) -> np.ndarray:
    """The mean of each channel over the whole image.

    Shapes
        x (N, C, H, W)  →  y (N, C, 1, 1)

    Definition
        y[n,c,0,0] = (1/(H W)) Σ_{p,q} x[n,c,p,q]
    """
    images, channels, height, width = x.shape
    y = np.empty((images, channels, 1, 1), x.dtype)
    for n, c in np.ndindex(images, channels):
        y[n, c, 0, 0] = sum(x[n, c].ravel().tolist()) / (height * width)
    return y


def relu6(x: np.ndarray) -> np.ndarray:
    """Each entry held between 0 and 6, by its real part.

    Shapes
        x, any shape  →  y, the same

    Definition
        y = 0 where Re x ≤ 0, 6 where Re x ≥ 6, else x; so NaN stays NaN
    """

    def held(value: Number) -> Number:
        return 0.0 if value.real <= 0 else 6.0 if value.real >= 6 else value

    return _of_entries(held, x)


def _of_entries(function: Callable[[Number], Number], x: np.ndarray) -> np.ndarray:
    """The array of function(x[i])."""
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        y[index] = function(x.item(*index))
    return y


def _sigmoid(value: Number) -> Number:
    """1 / (1 + exp(−x)), or exp x / (1 + exp x) where Re x < 0: exp cannot overflow."""
    if value.real < 0:
        return np.exp(value).item() / (1 + np.exp(value).item())
    return 1 / (1 + np.exp(-value).item())


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function of each entry.

    Shapes
        x, any shape  →  y, the same

    Definition
        y = 1 / (1 + exp(−x))
    """
    return _of_entries(_sigmoid, x)


def tanh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent of each entry.

    Shapes
        x, any shape  →  y, the same

    Definition
        y = (exp x − exp(−x)) / (exp x + exp(−x)) = 2 / (1 + exp(−2 x)) − 1
    """
    return _of_entries(lambda value: 2 * _sigmoid(2 * value) - 1, x)


def silu(x: np.ndarray) -> np.ndarray:
    """Each entry times its logistic function.

    Shapes
        x, any shape  →  y, the same

    Definition
        y = x / (1 + exp(−x))
    """
    return _of_entries(lambda value: value * _sigmoid(value), x)


def _normal(value: Number) -> Number:
    """The standard normal distribution Φ, the integral of φ(x) = exp(−x²/2) / √(2π) from −∞ on.

    |Re x| < 1     ½ + Σ_k x (−x²/2)^k / (k! (2k + 1)) / √(2π), k ≥ 0
    Re x ≤ −1      φ(x) / (t + 1/(t + 2/(t + 3/(t + ⋯)))), t = −x
    Re x ≥ 1       1 − Φ(−x)

    Source: Abramowitz, Stegun 1964, "Handbook of Mathematical Functions", 26.2.10 and 26.2.14.
    """
    if value.real >= 1:
        return 1 - _normal(-value)
    if value.real > -1:
        term = total = value
        for k in range(1, 60 + int(abs(value) ** 2)):
            term *= -value * value / (2 * k)
            total += term / (2 * k + 1)
        return 0.5 + total / math.sqrt(2 * math.pi)
    density = np.exp(-value * value / 2).item() / math.sqrt(2 * math.pi)
    fraction = -value
    for k in range(300, 0, -1):
        fraction = -value + k / fraction
    return density / fraction


def gelu(x: np.ndarray, approximate: str = "none") -> np.ndarray:
    """Each entry times the standard normal distribution at it.

    Shapes
        x, any shape  →  y, the same

    Definition
        "none"  y = x Φ(x)
        "tanh"  y = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))
    """

    def by_tanh(value: Number) -> Number:  # ½ (1 + tanh v) = 1 / (1 + exp(−2 v))
        return value * _sigmoid(2 * math.sqrt(2 / math.pi) * (value + 0.044715 * value**3))

    if approximate == "tanh":
        return _of_entries(by_tanh, x)
    return _of_entries(lambda value: value * _normal(value), x)


def dropout(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each entry times that of a mask, which is 0 or 1 / (1 − p).

    Shapes
        x, any shape, mask, the same  →  y, the same

    Definition
        y[i] = x[i] mask[i]
    """
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        y[index] = x.item(*index) * mask.item(*index)
    return y


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum of two arrays.

    Shapes
        a, any shape, b, the same  →  y, the same

    Definition
        y[i] = a[i] + b[i]
    """
    y = np.empty_like(a)
    for index in np.ndindex(a.shape):
        y[index] = a.item(*index) + b.item(*index)
    return y


def concat(*xs: np.ndarray, axis: int = 1) -> np.ndarray:
    """Arrays one behind the other along an axis.

    Shapes
        x₁ (N, C₁, …), x₂ (N, C₂, …), …  →  y (N, C₁ + C₂ + …, …), for axis 1

    Definition, k counting along the axis
        y[k] = x₁[k] where k < C₁, else x₂[k − C₁] where k − C₁ < C₂, and so on
    """
    lines = [np.moveaxis(x, axis, 0) for x in xs]  # views
    y = np.empty((sum(map(len, lines)), *lines[0].shape[1:]), xs[0].dtype)
    for first, *index in np.ndindex(y.shape):
        k = first
        for line in lines:
            if 0 <= k < len(line):
                y[first, *index] = line.item(k, *index)
            k -= len(line)
    return np.moveaxis(y, 0, axis)


# Losses


# Rows of logits as probabilities, and how far two of them are apart


# Optimiser
