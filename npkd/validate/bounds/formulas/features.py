"""Formulas of the losses between maps of features."""

from __future__ import annotations

import math

from npkd.validate.bounds.formulas.steps import channels, flat, positions, reduced, regressed
from npkd.validate.bounds.formulas.words import Array, Formulas, Words


def hint(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    weight: Array | None = None,
    bias: Array | None = None,
    half: bool,
    reduction: str,
) -> Array:
    """Σ (weight · student + bias − teacher)²"""
    delta = regressed(words, student, weight, bias) - positions(words, teacher)
    return reduced(words, delta * delta * (0.5 if half else 1.0), reduction, student.shape[0])


def attention(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    power: float,
    reduction: str,
    variant: str,
    epsilon: float,
) -> Array:
    """Σ ‖Q − R‖², Q the map Σ_c |student|^p / C over its length plus ε; or Σ ‖Q − R‖."""

    def of(features: Array) -> Array:
        activity = words.mean(words.power(words.abs(features), power), 1)
        return words.unit(flat(words, activity), epsilon)

    delta = of(student) - of(teacher)
    return reduced(words, words.length(delta) if variant == "norm" else delta * delta, reduction)


def nst(
    words: Words, student: Array, teacher: Array, way: int, *, reduction: str, epsilon: float
) -> Array:
    """Σ k(s, s) / C² + Σ k(t, t) / D² − 2 Σ k(s, t) / CD, k(x, y) = (Σ x y)²"""
    s, t = (words.unit(channels(words, f), epsilon) for f in (student, teacher))

    def kernel(x: Array, y: Array) -> Array:
        product = words.matmul(x, words.transposed(y))
        kept = "none" if reduction == "none" else "sum"
        return reduced(words, product * product, kept) / float(x.shape[1] * y.shape[1])

    value = kernel(s, s) + kernel(t, t) - kernel(s, t) * 2.0
    return value / float(student.shape[0] if reduction == "batchmean" else 1)


def fsp(
    words: Words,
    first: Array,
    second: Array,
    teacher_first: Array,
    teacher_second: Array,
    way: int,
    *,
    weight_first: Array | None = None,
    weight_second: Array | None = None,
    reduction: str,
    variant: str,
) -> Array:
    """Σ (G − G')², G = Σ_i f[:, i] g[:, i] / (H W); or the sum of lengths of its columns."""

    def rows(x: Array, weight: Array | None) -> Array:
        """(B, H·W, C')"""
        y = regressed(words, x, weight)
        return words.reshape(y, (x.shape[0], math.prod(x.shape[2:]), y.shape[1]))

    def flow(f: Array, g: Array) -> Array:
        """(B, D', C')"""
        return words.matmul(words.transposed(g), f) / float(f.shape[1])

    own = flow(rows(first, weight_first), rows(second, weight_second))
    delta = own - flow(rows(teacher_first, None), rows(teacher_second, None))
    return reduced(words, words.length(delta) if variant == "norms" else delta * delta, reduction)


def vid(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    scale: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    epsilon: float,
    reduction: str,
    variant: str,
) -> Array:
    """Σ ½ ((μ − teacher)² / σ² + log σ²), σ² = log(1 + e^scale) + ε, at once or step by step."""
    variance = words.softplus(scale) if way == 0 else words.log(words.exp(scale) + 1.0)
    variance = variance + epsilon
    if variant == "fixed":
        variance = words.stop_gradient(variance)
    error = regressed(words, student, weight, bias) - positions(words, teacher)
    # The logarithm is of each channel, or of each entry
    terms = (error * error / variance + words.log(variance)) * 0.5
    return reduced(words, terms, reduction, student.shape[0])


FORMULAS: Formulas = {
    "hint": (hint, 1),
    "attention": (attention, 1),
    "nst": (nst, 1),
    "fsp": (fsp, 1),
    "vid": (vid, 2),
}
