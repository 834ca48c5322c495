"""Operations on eight-bit integers, in ONNX's semantics: the formulas as scalar loops.

A number x stands for itself as an integer q of 0 to 255 by a scale s and a zero point z: x is about
s (q − z). Where a formula says float32, each product and quotient in it is rounded to that.
"""

import numpy as np

from npkd.definitions.ops import Size, _before_and_after, _output_size, _pair

__all__ = ["dequantize_linear", "qlinear_conv", "quantize_linear"]

LEAST, MOST = 0, 255


def quantize_linear(x: np.ndarray, scale: float, zero_point: int = 0) -> np.ndarray:
    """The integers that stand for numbers.

    Shapes
        x of any shape, float32  →  q of the same, uint8

    Definition
        q = round(x / s) + z, held between 0 and 255; the quotient in float32, halves to even

    Source: ONNX's operator QuantizeLinear, version 13.
    """
    q = np.empty(x.shape, np.uint8)
    for index in np.ndindex(x.shape):
        q[index] = _held(round(float(np.float32(x[index]) / np.float32(scale))) + zero_point)
    return q


def dequantize_linear(q: np.ndarray, scale: float, zero_point: int = 0) -> np.ndarray:
    """The numbers that integers stand for.

    Shapes
        q of any shape, uint8  →  x of the same, float32

    Definition
        x = s (q − z), in float32

    Source: ONNX's operator DequantizeLinear, version 13.
    """
    x = np.empty(q.shape, np.float32)
    for index in np.ndindex(q.shape):
        x[index] = np.float32(q.item(index) - zero_point) * np.float32(scale)
    return x


def qlinear_conv(
    x: np.ndarray,
    x_scale: float,
    x_zero_point: int,
    w: np.ndarray,
    w_scale: np.ndarray,
    y_scale: float,
    y_zero_point: int,
    b: np.ndarray | None = None,
    *,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlation of integers, whose sums are exact and then rounded to eight bits.

    Shapes
        x (N, C, H, W) uint8, w (O, C/groups, kh, kw) int8, w_scale (O,) float32, b (O,) int32 or
        None  →  y (N, O, Ho, Wo) uint8

    Definition (z the zero points; of w it is 0; outside of the image x is x_zero_point)
        a[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] (x[n, first + c, p, q] − z_x), an integer
        y[n,o,i,j] = round(float32(a) · (s_x s_w[o] / s_y)) + z_y, held between 0 and 255
    with first, p and q as in `conv2d`, all products and quotients in float32, halves to even

    Source: ONNX's operator QLinearConv, version 10, which leaves open in what order the scales are
    multiplied; so does ONNX Runtime.
    """
    (sh, sw), (pad_h, pad_w), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    images, _, height, width = x.shape
    outputs, channels, kh, kw = w.shape
    top, left = _before_and_after(pad_h, kh, dh), _before_and_after(pad_w, kw, dw)
    rows = _output_size(height, kh, sh, top, dh)
    columns = _output_size(width, kw, sw, left, dw)
    y = np.empty((images, outputs, rows, columns), np.uint8)
    for n, o, i, j in np.ndindex(y.shape):
        first = channels * (o // (outputs // groups))
        total = 0 if b is None else b.item(o)
        for c, u, v in np.ndindex(channels, kh, kw):
            p, q = i * sh - top[0] + u * dh, j * sw - left[0] + v * dw
            if 0 <= p < height and 0 <= q < width:
                total += w.item(o, c, u, v) * (x.item(n, first + c, p, q) - x_zero_point)
        factor = np.float32(x_scale) * np.float32(w_scale[o]) / np.float32(y_scale)
        y[n, o, i, j] = _held(round(float(np.float32(total) * factor)) + y_zero_point)
    return y


def _held(number: int) -> int:
    """Between the least and the largest integer of eight bits."""
    return max(LEAST, min(MOST, number))
