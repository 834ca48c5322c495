"""The words in which formulas are written.

An adapter must define the first words, those of its array namespace. The others have defaults that
are built from these; override one where the framework has its own function. The tape, whose numbers
carry bounds, overrides those that compare numbers: so formulas say `over`, `root`, `huber`, … and
use neither `where` nor `max` themselves.

Arrays add, subtract, multiply and divide, with each other and with numbers on either side, but for
a number divided by an array; they have a `shape`, and slices like x[:, 1:]. The defaults ask for
more: `>`, `>=`, `<`, `<=`, `==` (entry by entry), `&`, `%`, `**`, unary −, and, for images that are
augmented and rows that are looked up, indexing by arrays of integers.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any
Formulas = dict[str, tuple[Callable[..., Array], int]]  # and in how many ways each is written


class Words:
    """The words over one kind of arrays.

    array(x)            constant numbers, given as NumPy's
    floating(x)         integers as floating-point numbers
    exp(x), log(x), sqrt(x)
    abs(x)              |x|, whose slope at 0 is 0
    where(condition, x, y)     x and y may be numbers
    sum(x, axis=None, keepdims=False)     over one axis, several, or all
    max(x, axis, keepdims=False)
    matmul(x, y)        the product of the last two axes
    reshape(x, shape), permute(x, axes), concatenate(parts, axis)     one size may be −1
    stop_gradient(x)    the same numbers, taken for constants; also of integers and truth values
    """

    array: Any
    floating: Any
    exp: Any
    log: Any
    sqrt: Any
    abs: Any
    where: Any
    sum: Any
    max: Any
    matmul: Any
    reshape: Any
    permute: Any
    concatenate: Any
    stop_gradient: Any

    # Made of these

    def number(self, x: Any, *, exponentials: int = 0, roundings: float = 0) -> Any:
        """A constant; the bounds allow for so many exponentials and roundings in computing it."""
        return x

    def transposed(self, x: Array) -> Array:
        """The last two axes exchanged."""
        axes = list(range(len(x.shape)))
        return self.permute(x, [*axes[:-2], axes[-1], axes[-2]])

    def mean(self, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
        total = self.sum(x, axis, keepdims=keepdims)
        return total / float(math.prod(x.shape) / (math.prod(total.shape) or 1))

    def added(self, terms: Sequence[Array]) -> Array:
        """The sum of a few arrays, in any order."""
        return functools.reduce(operator.add, terms)

    def power(self, x: Array, exponent: float) -> Array:
        return x**exponent

    def over(self, x: Array, n: Array, epsilon: float = 0.0) -> Array:
        """x / (n + ε). Where n is 0: 0, and no gradient. n must not be negative."""
        some = n > 0
        return self.where(some, x / self.where(some, n + epsilon, 1.0), 0.0)

    def root(self, x: Array) -> Array:
        """√x, with no gradient where x is 0."""
        some = x > 0
        return self.where(some, self.sqrt(self.where(some, x, 1.0)), 0.0)

    def length(self, x: Array) -> Array:
        """‖x‖ along the last axis, kept."""
        return self.root(self.sum(x * x, -1, keepdims=True))

    def unit(self, x: Array, epsilon: float = 0.0) -> Array:
        """x / (‖x‖ + ε) along the last axis; 0 where x is."""
        return self.over(x, self.length(x), epsilon)

    def centred(self, x: Array) -> Array:
        """Rows less their means."""
        return x - self.mean(x, -1, keepdims=True)

    def differences(self, x: Array) -> Array:
        """v[i,j] = x[j] − x[i] of rows (B, D): (B, B, D)."""
        b, d = x.shape
        return self.reshape(x, (1, b, d)) - self.reshape(x, (b, 1, d))

    def mean_above_0(self, d: Array) -> Array:
        """The mean of the positive entries, none may be negative; 0 if there are none."""
        count = self.sum(self.where(d > 0, 1.0, 0.0))
        return self.sum(d) / self.where(count > 0, count, 1.0)

    def huber(self, x: Array, delta: float) -> Array:
        """½x² where |x| ≤ δ, else δ (|x| − ½δ)."""
        size = self.abs(x)
        return self.where(size <= delta, 0.5 * x * x, delta * (size - 0.5 * delta))

    def softplus(self, x: Array) -> Array:
        """log(1 + e^x)"""
        return self.where(x > 0, x, 0.0) + self.log(1.0 + self.exp(-self.abs(x)))

    def softmax(self, z: Array, axis: int = -1) -> Array:
        e = self.exp(z - self.stop_gradient(self.max(z, axis, keepdims=True)))
        return e / self.sum(e, axis, keepdims=True)

    def log_softmax(self, z: Array, axis: int = -1) -> Array:
        y = z - self.stop_gradient(self.max(z, axis, keepdims=True))
        return y - self.log(self.sum(self.exp(y), axis, keepdims=True))

    def log_sum_exp(self, z: Array) -> Array:
        """log Σ exp z along the last axis, kept."""
        most = self.stop_gradient(self.max(z, -1, keepdims=True))
        return most + self.log(self.sum(self.exp(z - most), -1, keepdims=True))

    def divergence(self, log_p: Array, log_q: Array) -> Array:
        """p (log p − log q), entry by entry."""
        return self.exp(log_p) * (log_p - log_q)

    # Of labels

    def is_label(self, labels: Array, classes: int) -> Array:
        """Whether each class is the sample's: (B, C)."""
        return self.reshape(labels, (labels.shape[0], 1)) == self.array(np.arange(classes))

    def of_label(self, z: Array, labels: Array) -> Array:
        """z[b, l_b], (B,)."""
        return self.sum(self.where(self.is_label(labels, z.shape[1]), z, 0.0), 1)

    def of_others(self, z: Array, labels: Array) -> Array:
        """The classes but the label's, in order: (B, C − 1)."""
        behind = self.array(np.arange(z.shape[1] - 1)) >= self.reshape(labels, (z.shape[0], 1))
        return self.where(behind, z[:, 1:], z[:, :-1])
