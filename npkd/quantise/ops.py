"""Operations on eight-bit integers, as ONNX has them; `npkd.definitions.quantised` in fast.

Sums of products of integers are exact in float32 as long as none can reach 2²⁴: then each number
that comes up is an integer that float32 has, whatever the order. With |w| ≤ 127 and 0 ≤ q ≤ 255
that is so for sums of up to 518 products. Longer ones are cut, and their parts added in float64,
which is exact up to 2⁵³. So the fast convolutions of floats are those of integers too.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npkd import ops
from npkd.arguments import shown
from npkd.ops.contract import Pair
from npkd.ops.conv import convolve

LEAST, MOST = 0, 255  # of uint8
EXACT = 2**24  # float32 has all integers up to here
WIDEST = 2**31  # a sum has to stay below, as int32


class Scale(NamedTuple):
    """What an integer q of 0 to 255 stands for: s (q − z).

    Example
        >>> Scale.of(0.0, 5.1)  # a range that begins at 0 takes all 256 integers
        Scale(scale=np.float32(0.02), zero_point=0)
    """

    scale: np.float32
    zero_point: int = 0

    @classmethod
    def of(cls, least: float, most: float) -> "Scale":
        """That of numbers in this range: from 0 on, or if some are negative on both sides of 0."""
        if least >= 0:  # of what may have either sign, say a least one below 0
            return cls(np.float32(max(most, TINY) / MOST))
        return cls(np.float32(max(-least, most, TINY) / (MOST // 2)), MOST // 2 + 1)

    def rounded_up(self, bits: int) -> "Scale":
        """One a little wider, of so many bits: with 8 by less than 1 in 128, with 1 a power of two.

        Of 16 − n bits or fewer all s q are exact in float32, and so are sums of up to 2ⁿ of them,
        in whatever order a framework takes them.
        """
        mantissa, exponent = np.frexp(self.scale)
        steps = 2**bits
        rounded = np.ldexp(np.ceil(mantissa * steps) / steps, exponent)
        return self._replace(scale=np.float32(rounded))


TINY = 1e-30  # the range of numbers that are all 0


def quantize_linear(x: np.ndarray, of: Scale) -> np.ndarray:
    """The integers that stand for numbers.

    Shapes
        x of any shape, float32  →  q of the same, uint8

    Definition
        q = round(x / s) + z, held between 0 and 255; halves to even

    Example
        >>> quantize_linear(np.float32([-1, 0.5, 1.5, 300]), Scale(np.float32(1.0)))
        array([  0,   0,   2, 255], dtype=uint8)
    """
    return rounded(x, of).astype(np.uint8)


def rounded(x: np.ndarray, of: Scale) -> np.ndarray:
    """`quantize_linear`, whose integers are held as float32."""
    return _hold(np.asarray(x / of.scale), of.zero_point)


def dequantize_linear(q: np.ndarray, of: Scale) -> np.ndarray:
    """The numbers that integers stand for, s (q − z), float32; q is uint8, or float32.

    Example
        >>> dequantize_linear(np.uint8([0, 128, 255]), Scale(np.float32(0.5), 128))
        array([-64. ,   0. ,  63.5], dtype=float32)
    """
    if of.zero_point:
        q = np.subtract(q, of.zero_point, dtype=np.float32)
    return np.multiply(q, of.scale, dtype=np.float32)


def qlinear_conv(
    x: np.ndarray,
    x_of: Scale,
    w: np.ndarray,
    w_scale: np.ndarray,
    y_of: Scale,
    b: np.ndarray | None = None,
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """A convolution of integers, whose sums are exact and then rounded to eight bits.

    Shapes
        x (N, C, H, W) uint8, w (O, C/groups, kh, kw) int8, w_scale (O,) float32, b (O,) int32 or
        None  →  y (N, O, Ho, Wo) uint8

    Definition (z the zero points; outside of the image x − z_x is 0)
        a[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] (x[n, c, …] − z_x), an integer, as in `ops.conv2d`
        y[n,o,i,j] = round(float32(a) · (s_x s_w[o] / s_y)) + z_y, held between 0 and 255
    where the factor is float32, from its left to its right, and halves are rounded to even

    A ReLU behind it costs nothing: where z_y is 0, what is below 0 is held at 0.

    Raises ValueError as `ops.conv2d` does, for other dtypes, and where a sum might leave int32.
    Source: ONNX's operator QLinearConv, version 10.

    Example
        >>> one = Scale(np.float32(1.0))
        >>> x, w = np.uint8([[[[3, 4]]]]), np.int8([[[[1, -2]]], [[[2, 1]]]])
        >>> qlinear_conv(x, one, w, np.float32([1, 0.25]), one).ravel()  # 3 − 8, and 10 / 4
        array([0, 2], dtype=uint8)
    """
    _require_dtype("x", x, np.uint8)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    product = Product(x_of, w, w_scale, y_of, b, **options)
    return product(x).astype(np.uint8)


def qlinear(
    x: np.ndarray,
    x_of: Scale,
    w: np.ndarray,
    w_scale: np.ndarray,
    y_of: Scale,
    b: np.ndarray | None = None,
) -> np.ndarray:
    """`ops.linear` of integers: `qlinear_conv` of images of one cell.

    Shapes
        x (N, I) uint8, w (O, I) int8, w_scale (O,), b (O,) int32 or None  →  y (N, O) uint8

    Example
        >>> one = Scale(np.float32(1.0))
        >>> qlinear(np.uint8([[3, 4]]), one, np.int8([[1, 2]]), np.float32([1]), one)
        array([[11]], dtype=uint8)
    """
    _require_dtype("x", x, np.uint8)
    return Product(x_of, w, w_scale, y_of, b)(x).astype(np.uint8)


class Product:
    """`qlinear_conv` with all but x, prepared once for many: `Product(x_of, w, …)(x)`.

    w: (O, C/groups, kh, kw), or (O, I) for `qlinear`.
    """

    def __init__(
        self,
        x_of: Scale,
        w: np.ndarray,
        w_scale: np.ndarray,
        y_of: Scale,
        b: np.ndarray | None = None,
        **options: Any,
    ):
        _require_dtype("w", w, np.int8)
        if b is not None:
            _require_dtype("b", b, np.int32)
        self.factor = x_of.scale * w_scale.astype(np.float32) / y_of.scale
        self.x_zero, self.y_zero, self.options = x_of.zero_point, y_of.zero_point, options
        bias = np.zeros(len(w)) if b is None else b.astype(np.float64)
        added = np.abs(bias).max(initial=0)
        largest = max(self.x_zero, MOST - self.x_zero) * int(
            max(w.max(initial=0), -w.min(initial=0).astype(int))
        )
        per_channel = largest * math.prod(w.shape[2:])
        whole = per_channel * w.shape[1] + added
        if whole >= WIDEST:
            raise ValueError(
                f"qlinear_conv: a sum of {shown(w[0].size)} products may leave the range of int32"
            )
        self.dtype: Any = np.float32
        self.parts = [slice(None)]  # of the channels, each of which has sums that are exact
        self.is_cut = False
        if whole >= EXACT:
            step = (EXACT - 1) // max(per_channel, 1)
            if step and options.get("groups", 1) == 1:
                self.parts = [slice(n, n + step) for n in range(0, w.shape[1], step)]
                self.is_cut = True  # also if there is one part, and a large bias
            else:
                self.dtype = np.float64
        self.w = [np.ascontiguousarray(w[:, part], dtype=self.dtype) for part in self.parts]
        self.bias = bias if self.is_cut else bias.astype(self.dtype)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """y for x, whose integers are uint8, or held as float32, as those of y are."""
        if self.x_zero:
            x = np.subtract(x, self.x_zero, dtype=self.dtype)
        x = x.astype(self.dtype, copy=False)
        if self.is_cut:
            total = self.bias.reshape(-1, *[1] * (x.ndim - 2))
            for part, w in zip(self.parts, self.w, strict=True):
                total = total + self._sums(np.ascontiguousarray(x[:, part]), w, None)
            return self._rounded(total.astype(np.float32))
        if x.ndim == 4 and self.dtype == np.float32:  # rounded while a tile is at hand
            return convolve(x, self.w[0], self.bias, **self.options, finish=self._of_rows)[0]
        return self._rounded(self._sums(x, self.w[0], self.bias).astype(np.float32, copy=False))

    def _sums(self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
        if x.ndim == 2:
            return ops.linear(x, w, b)[0]
        return ops.conv2d(x, w, b, **self.options)[0]

    def _rounded(self, a: np.ndarray) -> np.ndarray:
        """Sums (N, O, …) times the factor of their channel, rounded; a itself is written to."""
        a *= self.factor.reshape(-1, *[1] * (a.ndim - 2))
        return _hold(a, self.y_zero)

    def _of_rows(self, columns: int) -> Callable[[np.ndarray], None]:
        """The same for rows of so many cells, each with its channels; see `conv.convolve`."""
        factor = np.full((columns, len(self.factor)), self.factor).ravel()

        def of_rows(a: np.ndarray) -> None:
            a *= factor
            _hold(a, self.y_zero)

        return of_rows


def _require_dtype(name: str, array: np.ndarray, dtype: Any) -> None:
    if array.dtype != dtype:
        raise ValueError(f"qlinear_conv: {name} is {array.dtype}, expected {np.dtype(dtype)}")


def _hold(y: np.ndarray, zero_point: int) -> np.ndarray:
    """Rounded, halves to even, and held between 0 and 255; y itself is written to."""
    np.rint(y, out=y)
    if zero_point:
        y += np.float32(zero_point)
    return np.clip(y, LEAST, MOST, out=y)
