"""Numbers that carry their bound, and know where they come from.

Each operation on a `Traced` array takes the errors E of what it is given through its derivative,
without leaving out products of errors, and adds its own rounding:

    x + y    E_x + E_y,                          rounded once
    x · y    |x| E_y + |y| E_x + E_x E_y,        rounded once
    x / y    (E_x + |x/y| E_y) / (|y| − E_y),    three times, as x · (1/y) is usual
    Σ x      Σ E_x,                              n − 1 times for each of n terms, in any order

"rounded k times" adds γ_k of the largest absolute value that there may be. The gradient is what
automatic differentiation does, the same operations backwards, on the same numbers; closed forms
have no more roundings. Where a bound reaches a singular point (a denominator that may be 0) it is
infinite: nothing is promised there.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from npkd.validate.bounds.rounding import Arithmetic, Error, Rounded, sums_of_products

POWER = 16  # x^p, as exp(p log x) of twice the accuracy that the result has
DIVIDE = 3  # roundings of x · (1/y), and of y, where it is known to the reference only

Transposed = Callable[["Traced"], "Traced"]
_numbers = itertools.count()


@dataclass(eq=False)
class Traced:
    """An array, the bound of its error, and how gradients go on from it.

    value, error  float64, of one shape
    roundings     on the longest path to it
    sources       what it was made from, each with the map from dy to the gradient by it
    trained       whether there is a gradient by it
    number        counts up: what is made later has a higher one
    """

    arithmetic: Arithmetic
    value: np.ndarray
    error: np.ndarray
    roundings: int = 0
    sources: tuple[tuple["Traced", Transposed], ...] = ()
    trained: bool = False
    number: int = field(default_factory=lambda: next(_numbers))

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def size(self) -> np.ndarray:
        """The absolute value."""
        return np.abs(self.value)

    @property
    def most(self) -> np.ndarray:
        """The largest absolute value that a right computation may have."""
        return self.size + self.error

    @property
    def is_zero(self) -> np.ndarray:
        """Where it is 0, and for certain."""
        return (self.value == 0) & (self.error == 0)

    @property
    def scales(self) -> np.ndarray:
        """Where it is, for certain, 0 or a power of two, by which products do not round."""
        mantissa, _ = np.frexp(self.size)
        return (self.error == 0) & ((mantissa == 0) | (mantissa == 0.5))

    @property
    def fixed(self) -> "Traced":
        """The same numbers, with no gradient by them."""
        return Traced(self.arithmetic, self.value, self.error, self.roundings)

    @property
    def rounded(self) -> Rounded:
        return Rounded(self.value, self.error, roundings=self.roundings)

    # How others are made from it

    def _constant(self, x: "Traced | float | np.ndarray") -> "Traced":
        """A number: rounded once, unless the format has it."""
        return x if isinstance(x, Traced) else constant(self.arithmetic, x)

    def _made(
        self,
        value: np.ndarray,
        error: np.ndarray,
        gamma: Error,
        roundings: int,
        *sources: tuple["Traced", Transposed],
    ) -> "Traced":
        """A result: rounded by γ of itself; below the smallest number flushed to 0, or rounded.

        There, numbers are multiples of 2 u times the smallest.
        """
        stored, size = self.arithmetic.stored, np.abs(value)
        error = error + gamma * (size + error)
        flushed = np.minimum(size, stored.smallest) + stored.u * stored.smallest
        may_be = (size - error < stored.smallest) & (size + error > 0)
        error = error + np.where(may_be, flushed, 0)
        error = np.where((size + error > stored.largest) | np.isnan(error), np.inf, error)
        kept = tuple(one for one in sources if one[0].trained)
        return Traced(self.arithmetic, value, error, int(roundings), kept, bool(kept))

    def moved(
        self,
        move: Callable[[np.ndarray], np.ndarray],
        back: Callable[[np.ndarray], np.ndarray],
    ) -> "Traced":
        """Entries at other places; `back` is the transpose, which adds nothing up."""
        return Traced(
            self.arithmetic,
            move(self.value),
            move(self.error),
            self.roundings,
            ((self, lambda dy: dy.moved(back, move)),) if self.trained else (),
            self.trained,
        )

    def reshape(self, *shape: int) -> "Traced":
        return self.moved(lambda x: x.reshape(shape), lambda dy: dy.reshape(self.shape))

    def transpose(self, *axes: int) -> "Traced":
        back = tuple(np.argsort(axes))
        return self.moved(lambda x: x.transpose(axes), lambda dy: dy.transpose(back))

    @property
    def mT(self) -> "Traced":
        """The last two axes exchanged."""
        return self.moved(lambda x: np.swapaxes(x, -1, -2), lambda dy: np.swapaxes(dy, -1, -2))

    def __getitem__(self, index: Any) -> "Traced":
        """Entries, none of them twice."""

        def back(dy: np.ndarray) -> np.ndarray:
            dx = np.zeros(self.shape)
            dx[index] = dy
            return dx

        return self.moved(lambda x: x[index], back)

    def _summed_to(self, shape: tuple[int, ...]) -> "Traced":
        """The transpose of broadcasting."""
        if self.shape == shape:
            return self
        more = len(self.shape) - len(shape)
        ones = tuple(
            k
            for k, (n, m) in enumerate(zip(self.shape[more:], shape, strict=True), more)
            if m == 1 and n != 1
        )
        summed = self.sum((*range(more), *ones))
        return summed.reshape(*shape)

    def allowing(self, error: np.ndarray) -> "Traced":
        """The same, where another way to compute it is off by so much, if that is finite."""
        more = np.where(np.isfinite(error), np.fmax(self.error, error), self.error)
        return Traced(self.arithmetic, self.value, more, self.roundings, *self._same())

    def unknown(self) -> "Traced":
        """The same, with nothing promised."""
        more = np.full(self.shape, np.inf)
        return Traced(self.arithmetic, self.value, more, self.roundings, *self._same())

    def _same(self) -> tuple[tuple[tuple["Traced", Transposed], ...], bool]:
        """Sources of what is the same number again."""
        return ((self, lambda dy: dy),), self.trained

    # Arithmetic

    def __add__(self, other: "Traced | float | np.ndarray") -> "Traced":
        a, b = self, self._constant(other)
        return a._made(
            a.value + b.value,
            a.error + b.error,
            np.where(a.is_zero | b.is_zero, 0, a.arithmetic.gamma(1)),
            max(a.roundings, b.roundings) + 1,
            (a, lambda dy: dy._summed_to(a.shape)),
            (b, lambda dy: dy._summed_to(b.shape)),
        )

    def __neg__(self) -> "Traced":
        return self * -1.0

    def __sub__(self, other: "Traced | float | np.ndarray") -> "Traced":
        return self + -self._constant(other)

    def __mul__(self, other: "Traced | float | np.ndarray") -> "Traced":
        a, b = self, self._constant(other)
        error = a.size * b.error + b.size * a.error + a.error * b.error
        return a._made(
            np.where(a.is_zero | b.is_zero, 0, a.value * b.value),
            np.where(a.is_zero | b.is_zero, 0, error),
            np.where(a.scales | b.scales, 0, a.arithmetic.gamma(1)),
            a.roundings + b.roundings + 1,
            (a, lambda dy: (dy * b.fixed)._summed_to(a.shape)),
            (b, lambda dy: (dy * a.fixed)._summed_to(b.shape)),
        )

    def __radd__(self, other: float | np.ndarray) -> "Traced":
        return self + other

    def __rsub__(self, other: float | np.ndarray) -> "Traced":
        return -self + other

    def __rmul__(self, other: float | np.ndarray) -> "Traced":
        return self * other

    def __truediv__(self, other: "Traced | float | np.ndarray") -> "Traced":
        a, b = self, self._constant(other)
        quotient = a.value / b.value
        least = b.size - b.error
        error = (a.error + np.abs(quotient) * b.error) / np.where(least > 0, least, 0)
        y = a._made(
            np.where(a.is_zero, 0, quotient),
            np.where(a.is_zero & (least > 0), 0, error),
            np.where(b.scales, 0, a.arithmetic.gamma(DIVIDE)),
            a.roundings + b.roundings + DIVIDE,
        )
        by_a: Transposed = lambda dy: (dy / b.fixed)._summed_to(a.shape)  # noqa: E731
        by_b: Transposed = lambda dy: (-(dy * y.fixed) / b.fixed)._summed_to(b.shape)  # noqa: E731
        y.sources = tuple(one for one in ((a, by_a), (b, by_b)) if one[0].trained)
        y.trained = bool(y.sources)
        return y

    def over(self, other: "Traced") -> "Traced":
        """x / n, and 0, with no gradient, where n is 0 for certain."""
        none = np.where(other.is_zero, 1.0, 0.0)
        return self / (other + none) * (1 - none)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Traced":
        given = range(self.value.ndim) if axis is None else np.atleast_1d(axis)
        axes = tuple(int(k) % self.value.ndim for k in given)
        kept = tuple(1 if k in axes else n for k, n in enumerate(self.shape))
        n = math.prod(self.shape[k] for k in axes)
        value, error, most = (
            x.sum(axis=axes, keepdims=keepdims) for x in (self.value, self.error, self.most)
        )
        if n > 1:
            smallest = (n - 1) * self.arithmetic.summed.smallest
            error = error + self.arithmetic.gamma_of_sum(n - 1) * most
            error = error + np.where(most > 0, smallest, 0)
            error = np.where(most > self.arithmetic.stored.largest, np.inf, error)
        spread: Transposed = lambda dy: dy.reshape(*kept) * np.ones(self.shape)  # noqa: E731
        return self._made(value, error, 0.0, self.roundings + max(n - 1, 0), (self, spread))

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Traced":
        total = self.sum(axis, keepdims)
        return total / (self.value.size / max(1, total.value.size))

    def __matmul__(self, other: "Traced") -> "Traced":
        a, b = self, other
        n = a.shape[-1]
        (y,) = sums_of_products(a.arithmetic, lambda x, y: [x @ y], [a.rounded, b.rounded], [n])
        nothing = a.most @ b.most == 0  # a sum of zeros
        return a._made(
            y.value,
            np.where(nothing, 0, y.error),
            0.0,
            a.roundings + b.roundings + n,
            (a, lambda dy: dy @ b.fixed.mT),
            (b, lambda dy: a.fixed.mT @ dy),
        )

    # Functions

    def exp(self) -> "Traced":
        """e^(x ± E) is e^x times a factor between e^−E and e^E."""
        value = np.exp(self.value)
        k = self.arithmetic.of_exp
        gamma = self.arithmetic.gamma(k)
        y = self._made(value, value * np.expm1(self.error), gamma, self.roundings + k)
        return self._through(y, lambda dy: dy * y.fixed)

    def expm1(self) -> "Traced":
        """e^x − 1, which is off by what e^x is, but for rounding."""
        value, error = np.expm1(self.value), np.exp(self.value) * np.expm1(self.error)
        k = self.arithmetic.of_exp
        return self._made(value, error, self.arithmetic.gamma(k), self.roundings + k)

    def log(self) -> "Traced":
        """Off by what x − E is, at most, as the logarithm is concave."""
        value = np.log(self.value)
        share = self.error / self.value
        error = np.where(share < 1, -np.log1p(-np.minimum(share, 1)), np.inf)
        k = self.arithmetic.of_exp
        y = self._made(value, error, self.arithmetic.gamma(k), self.roundings + k)
        return self._through(y, lambda dy: dy / self.fixed)

    def sqrt(self) -> "Traced":
        """√x, of x that is not negative: a computed x below 0 is taken for 0.

        √x − √(x − E) is the farthest off, or, from E = x on, √(x + E) − √x. Backwards dy / 2√x.
        """
        value = np.sqrt(np.maximum(self.value, 0))
        below = np.sqrt(np.maximum(self.value - self.error, 0))
        above = np.sqrt(np.maximum(self.value + self.error, 0))
        error = np.maximum(value - below, above - value)
        y = self._made(value, error, self.arithmetic.gamma(2), self.roundings + 2)
        return self._through(y, lambda dy: (dy * 0.5).over(y.fixed))

    def abs(self) -> "Traced":
        """|x|, off by what x is. Its slope may be the other one where |x| is within its error."""
        y = self._made(self.size, self.error, 0.0, self.roundings)
        return self._through(y, lambda dy: dy * self._sign())

    def _sign(self) -> "Traced":
        sign = np.sign(self.value)
        unsure = (self.size <= self.error) & (self.error > 0)
        return Traced(self.arithmetic, sign, np.where(unsure, 1 + np.abs(sign), 0.0))

    def power(self, exponent: float) -> "Traced":
        """x^p: of any x for whole p ≥ 0, of x ≥ 0 for any p ≥ 0; backwards dy · (p x^(p − 1)).

        Off by (|x| + E)^p − |x|^p, or for p < 1 by |x|^p − (|x| − E)^p.
        """
        if exponent == 1:
            return self
        if exponent == 0:
            return self._constant(np.ones(self.shape))
        size, error = self.size, self.error
        above = (size + error) ** exponent - size**exponent
        below = size**exponent - np.maximum(size - error, 0) ** exponent
        roundings = max(POWER, math.ceil(exponent))
        gamma = self.arithmetic.gamma(roundings)
        value = self.value**exponent
        y = self._made(value, np.maximum(above, below), gamma, self.roundings + roundings)
        return self._through(y, lambda dy: dy * (self.fixed.power(exponent - 1) * exponent))

    def softplus(self) -> "Traced":
        """log(1 + e^x), whose slope 1 / (1 + e^−x) is at most 1.

        Computed as log1p(e^x), or as max(x, 0) + log1p(e^−|x|), which is close relative to itself.
        From 20 on PyTorch has x itself, e^−x less, and 1 for the slope.
        """
        x, arithmetic = self.value, self.arithmetic
        size = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
        slope = np.where(x > 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))
        left_out = np.where(x + self.error > 20, np.exp(-x), 0)
        of_exp = arithmetic.of_exp
        k = 2 * of_exp + 2
        y = self._made(size, self.error + left_out, arithmetic.gamma(k), self.roundings + k)
        by_factor = slope * np.expm1(self.error) + left_out
        sigmoid = self._made(slope, by_factor, arithmetic.gamma(of_exp + DIVIDE + 1), k).fixed
        return self._through(y, lambda dy: dy * sigmoid)

    def huber(self, delta: float) -> "Traced":
        """h(x) = ½x² where |x| ≤ δ, else δ (|x| − ½δ), with slope x held between −δ and δ.

        h moves by at most |x| + E, or δ, times E, and the slope by E; by δ's rounding h moves by at
        most |x| of it, and the slope by it. Branches that are taken for each other differ by no
        more, as value and slope agree at |x| = δ. Near, there are two products; far, a subtraction
        of what is smaller, and a product.
        """
        far = self._constant(delta)
        by_delta = float(far.error)
        held = np.clip(self.value, -delta, delta)
        near_size, far_size = 0.5 * self.most**2, delta * (self.most + 0.5 * delta)
        rounded = np.where(
            self.most < delta,
            near_size,
            np.where(self.size - self.error > delta + by_delta, far_size, near_size + far_size),
        )
        error = self.error * np.minimum(self.most, delta + by_delta) + by_delta * self.most
        value = held * (self.value - 0.5 * held)
        error = error + self.arithmetic.gamma(3) * rounded
        y = self._made(value, error, 0.0, self.roundings + 3)
        slope = Traced(
            self.arithmetic,
            held,
            self.error + np.where(self.most < delta, 0, by_delta),
            self.roundings,
        )
        return self._through(y, lambda dy: dy * slope)

    def _through(self, y: "Traced", transposed: Transposed) -> "Traced":
        """y, made from this number alone."""
        y.sources, y.trained = (((self, transposed),) if self.trained else ()), self.trained
        return y


def constant(arithmetic: Arithmetic, x: float | np.ndarray) -> Traced:
    """A number: rounded once, unless the format has it."""
    value = np.asarray(x, dtype=np.float64)
    is_in_format = arithmetic.stored.round(value) == value
    return Traced(arithmetic, value, np.where(is_in_format, 0, arithmetic.gamma(1) * np.abs(value)))


def leaf(arithmetic: Arithmetic, x: Rounded, trained: bool = False) -> Traced:
    """What is given: with its error, and flushed to 0 where it is below the smallest."""
    value = np.asarray(x.value, dtype=np.float64)
    size = np.abs(value)
    error = np.where(size < arithmetic.stored.smallest, size, 0) + x.total
    return Traced(arithmetic, value, error, x.roundings, trained=trained)


def _together(parts: Sequence[Traced]) -> Traced:
    """The sum of gradients that come to one number on several paths, in any order."""
    if len(parts) == 1:
        return parts[0]
    value, error, most = (
        np.sum(of, axis=0)
        for of in ([x.value for x in parts], [x.error for x in parts], [x.most for x in parts])
    )
    rounding = parts[0].arithmetic.gamma(len(parts) - 1) * most
    roundings = max(x.roundings for x in parts) + len(parts) - 1
    return parts[0]._made(value, error + rounding, 0.0, roundings)


def gradients(y: Traced, by: Sequence[Traced]) -> list[Traced]:
    """∂Σy/∂x for each x, from the last number back to the first."""
    reached, waiting = {y.number: y}, [y]
    while waiting:
        for source, _ in waiting.pop().sources:
            if source.number not in reached:
                reached[source.number] = source
                waiting.append(source)
    parts: dict[int, list[Traced]] = defaultdict(list)
    parts[y.number].append(y._constant(np.ones(y.shape)))
    for number in sorted(reached, reverse=True):
        if number not in parts or not reached[number].sources:
            continue
        dy = _together(parts.pop(number))
        for source, transposed in reached[number].sources:
            parts[source.number].append(transposed(dy))
    return [
        _together(parts[x.number]) if x.number in parts else x._constant(np.zeros(x.shape))
        for x in by
    ]


def summed(terms: Sequence[Traced]) -> Traced:
    """The sum of a few numbers, in any order."""
    y = _together(terms)
    sources: list[tuple[Traced, Transposed]] = [(x, lambda dy: dy) for x in terms if x.trained]
    return Traced(y.arithmetic, y.value, y.error, y.roundings, tuple(sources), bool(sources))


# Softmax


def _exponentials(x: Traced, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """z = x − max x; D, the most of |z|; S = Σ exp z; how much of S is lost to underflow."""
    z = x.value - x.value.max(axis=axis, keepdims=True)
    most = x.error.max(axis=axis, keepdims=True)
    exp = np.exp(z)
    tiny = np.where(exp * np.exp(2 * most) < 2 * x.arithmetic.stored.smallest, exp, 0)
    certain = np.isneginf(z) & (x.error == 0)  # masked: its exponential is 0, whoever computes it
    depth = np.where(certain, 0, np.abs(z)).max(axis=axis, keepdims=True) + 2 * most
    lost = 2 * tiny.sum(axis=axis, keepdims=True)
    return z, depth, exp.sum(axis=axis, keepdims=True), lost


def softmax(x: Traced, axis: int = -1) -> Traced:
    """y[i] = exp z[i] / S, S = Σ_j exp z[j], z = x − max x.

    Inputs off by e move y[i] by the factor exp e[i] / Σ_j y[j] exp e[j], which is between e^−m and
    e^m with m = E[i] + max E. z is rounded, by |z| u, which exp turns into |z| roundings. With
    exp's own X, numerator, denominator and division have
        k = (D + X) + (D + X) + DIVIDE,  D = max |z|,  and C − 1 additions for C entries.
    An exponential below the smallest number may be missing in S, which is 1 or more, and is rounded
    by the smallest times u itself.
    Backwards dx = y (dy − Σ dy y), with y as it was computed.
    """
    arithmetic, count = x.arithmetic, x.shape[axis]
    z, depth, s, lost = _exponentials(x, axis)
    value = np.exp(z) / s
    k = 2 * depth + 2 * arithmetic.of_exp + DIVIDE
    most = x.error.max(axis=axis, keepdims=True)
    of_sum = arithmetic.gamma_of_sum(max(1, count - 1))
    # Factors are multiplied: their logarithms add up.
    logarithm = np.log1p(arithmetic.gamma(k)) + np.log1p(of_sum) + x.error + most + lost
    relative = np.expm1(logarithm)
    smallest = arithmetic.stored.smallest
    error = value * relative + np.where(np.exp(z) < 2 * smallest, arithmetic.stored.u * smallest, 0)
    error = error if count > 1 else np.zeros_like(value)
    roundings = x.roundings + int(_largest(k)) + count
    y = x._made(value, error, 0.0, roundings)
    return x._through(y, lambda dy: softmax_backward(y.fixed, dy, axis))


def softmax_backward(y: Traced, dy: Traced, axis: int) -> Traced:
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax(x: Traced, axis: int = -1) -> Traced:
    """y[i] = z[i] − log S, S = Σ_j exp z[j], z = x − max x.

    Inputs off by e move y[i] by e[i] − log Σ_j exp(y[j] + e[j]), at most E[i] + max E. S has
    D + X roundings and C − 1 additions as in softmax, and log turns factors (1 + u) into terms of
    u. With z's own rounding, log's own error, and the subtraction's, of at most (|z| + log S) u,
        |error of y| ≤ γ_k,  k = |z| + (D + X + C − 1) + X log S + |z| + log S.
    Written as x − (max x + log S) that last sum is rounded once more, by its own size.
    Backwards dx = dy − exp y Σ dy; 2 more in k are for a softmax in place of exp y.
    """
    arithmetic, count = x.arithmetic, x.shape[axis]
    z, depth, s, lost = _exponentials(x, axis)
    most = x.error.max(axis=axis, keepdims=True)
    log_s = np.log(s)
    of_exp = arithmetic.of_exp
    k = 2 * (np.abs(z) + 2 * most) + depth + of_exp + 2 + (of_exp + 1) * (log_s + 2 * most)
    error = x.error + most + arithmetic.gamma(k) + arithmetic.gamma_of_sum(max(1, count - 1)) + lost
    error = error + arithmetic.gamma(1) * (np.abs(x.value.max(axis=axis, keepdims=True)) + log_s)
    error = error if count > 1 else np.zeros_like(z)
    y = x._made(z - log_s, error, 0.0, x.roundings + int(_largest(k)) + count)
    return x._through(y, lambda dy: log_softmax_backward(y.fixed, dy, axis))


def log_softmax_backward(y: Traced, dy: Traced, axis: int) -> Traced:
    return dy - y.exp() * dy.sum(axis, keepdims=True)


def log_sum_exp(x: Traced) -> Traced:
    """o = max x + log Σ exp z along the last axis, (B, 1).

    Off as log S is in `log_softmax`, and by the rounding of |o|; 2 D more are for those who have
    it as x[0] less its log softmax. Inputs move it by max E at most. Backwards dy · softmax(x).
    """
    arithmetic, count = x.arithmetic, x.shape[-1]
    _, depth, s, lost = _exponentials(x, -1)
    most, log_s = x.error.max(axis=-1, keepdims=True), np.log(s)
    value = x.value.max(axis=-1, keepdims=True) + log_s
    of_exp = arithmetic.of_exp
    k = 3 * depth + of_exp + 2 + (of_exp + 1) * (log_s + 2 * most)
    error = most + arithmetic.gamma(k) + arithmetic.gamma_of_sum(max(1, count - 1)) + lost
    if count == 1:
        error = most
    gamma = arithmetic.gamma(2) if count > 1 else 0.0
    o = x._made(value, error, gamma, x.roundings + int(_largest(k)) + count)
    return x._through(o, lambda dy: dy * softmax(x.fixed))


def _largest(k: np.ndarray) -> float:
    """For the count of roundings, which is a whole number."""
    return float(np.nan_to_num(np.minimum(np.max(k, initial=0), 1e9)))


# Activations


def sigmoid(x: Traced) -> Traced:
    """σ = 1 / (1 + e^−x), close relative to itself. Backwards dy · σ (1 − σ).

    Inputs off by E move it by a factor between e^−E and e^E, and by ¼ E at most.
    """
    value, k = expit(x.value), x.arithmetic.of_exp + DIVIDE + 1
    error = np.minimum(value * np.expm1(x.error), x.error / 4)
    y = x._made(value, error, x.arithmetic.gamma(k), x.roundings + k)
    own = y.fixed
    return x._through(y, lambda dy: dy * (own * (1.0 - own)))


def tanh(x: Traced) -> Traced:
    """Off by E times the steepest slope there is within E. Backwards dy · (1 − y²).

    That slope is also 4 e / (1 + e)², e = e^−2|x|, close relative to itself.
    """
    near, k = np.maximum(x.size - x.error, 0), x.arithmetic.of_exp
    error = x.error / np.square(np.cosh(near))
    y = x._made(np.tanh(x.value), error, x.arithmetic.gamma(k), x.roundings + k)
    slope = 1.0 - y.fixed * y.fixed
    slope = slope.allowing(x.arithmetic.gamma(k + DIVIDE + 3) * slope.value)
    return x._through(y, lambda dy: dy * slope)


def silu(x: Traced) -> Traced:
    """x σ(x). Backwards dy · (σ + x σ (1 − σ)), or dy · σ (1 + x (1 − σ))."""
    return _gated(x, sigmoid(x.fixed), lambda share: x.fixed * (share * (1.0 - share)))


def gelu(x: Traced, approximate: str = "none") -> Traced:
    """x Φ(x), or with Φ by tanh, x σ(2v), 2v = √(8/π) (x + 0.044715 x³).

    Φ = ½ (1 + erf(x/√2)) or ½ erfc(−x/√2), with φ for its slope; σ(2v) = ½ (1 + tanh v). The sums
    with 1 are off by a share of the larger one, and so not close relative to themselves.
    """
    of_exp, fixed = x.arithmetic.of_exp, x.fixed
    if approximate == "tanh":
        square = fixed * fixed
        v2 = (fixed + square * fixed * 0.044715) * math.sqrt(8 / math.pi)
        slope = (square * (3 * 0.044715) + 1.0) * math.sqrt(8 / math.pi)
        value, k = expit(v2.value), of_exp + DIVIDE + 1
        moved = np.minimum(value * np.expm1(v2.error), v2.error / 4)
        share = _beside_half(v2, value, moved, k)
        return _gated(x, share, lambda share: fixed * (share * (1.0 - share) * slope))
    density = (fixed * fixed * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
    near = np.maximum(x.size - x.error, 0)
    steepest = np.exp(-np.square(near) / 2) / math.sqrt(2 * math.pi)
    moved = (x.error + x.arithmetic.gamma(3) * x.most) * steepest  # x/√2 is rounded
    return _gated(x, _beside_half(x, ndtr(x.value), moved, of_exp + 3), lambda _: fixed * density)


def _beside_half(x: Traced, value: np.ndarray, moved: np.ndarray, k: int) -> Traced:
    """½ (1 + f), made from x: f is off by γ_k of itself, or the whole is."""
    off = x.arithmetic.gamma(k) * np.maximum(np.abs(value - 0.5), value)
    return x._made(value, moved + off, 0.0, x.roundings + k).fixed


def _gated(x: Traced, share: Traced, rest: Callable[[Traced], Traced]) -> Traced:
    """x times a share of it. Backwards dy times the share, and the rest of the slope.

    Where factors are taken out of the sum, or ½ last, there are up to three more roundings.
    """
    y, other = x.fixed * share, rest(share)
    slope, gamma = share + other, x.arithmetic.gamma(3)
    slope = slope._made(
        slope.value, slope.error + gamma * (share.most + other.most), 0.0, slope.roundings + 3
    )
    y = y._made(y.value, y.error, gamma, y.roundings + 3)
    return x._through(y, lambda dy: dy * slope)
