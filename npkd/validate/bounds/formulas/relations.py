"""Formulas of the losses between relations of samples."""

from __future__ import annotations

import math

import numpy as np

from npkd.validate.bounds.formulas.steps import flat, reduced
from npkd.validate.bounds.formulas.words import Array, Formulas, Words


def similarity(
    words: Words, student: Array, teacher: Array, way: int, *, reduction: str, variant: str
) -> Array:
    """Σ (G − G')², G the products of samples, rows divided by their length, or by Σ |·|."""

    def of(features: Array) -> Array:
        f = flat(words, features)
        p = words.matmul(f, words.transposed(f))
        if variant == "paper":
            return words.unit(p)
        return words.over(p, words.sum(words.abs(p), -1, keepdims=True))

    delta = of(student) - of(teacher)
    return reduced(words, delta * delta, reduction)


def rkd_distance(
    words: Words, student: Array, teacher: Array, way: int, *, delta: float, reduction: str
) -> Array:
    """Σ h(ψ − ψ'), ψ = d / mean of d above 0, d[i,j] = ‖f[i] − f[j]‖; or d² from products."""

    def of(features: Array) -> Array:
        f = flat(words, features)
        b = f.shape[0]
        if way == 0:
            v = words.differences(f)
            squares = words.sum(v * v, -1)
        else:
            own = words.sum(f * f, -1)
            both = words.reshape(own, (b, 1)) + words.reshape(own, (1, b))
            products = words.matmul(f, words.transposed(f))
            squares = (both - products * 2.0) * words.array(1 - np.eye(b))
        d = words.root(squares)
        return words.over(d, words.mean_above_0(d))

    return reduced(words, words.huber(of(student) - of(teacher), delta), reduction)


def rkd_angle(
    words: Words, student: Array, teacher: Array, way: int, *, delta: float, reduction: str
) -> Array:
    """Σ h(ψ − ψ'), ψ[i,j,k] = Σ_d e[i,j,d] e[i,k,d], e[i,j] the direction from i to j"""

    def of(features: Array) -> Array:
        e = words.unit(words.differences(flat(words, features)))
        return words.matmul(e, words.transposed(e))

    return reduced(words, words.huber(of(student) - of(teacher), delta), reduction)


def pkt(
    words: Words, student: Array, teacher: Array, way: int, *, epsilon: float, reduction: str
) -> Array:
    """Σ p log((p + ε) / (q + ε)), q[i] = s[i] / Σ s[i], s = (cosines + 1) / 2"""

    def of(features: Array) -> Array:
        u = words.unit(flat(words, features), epsilon)
        s = (words.matmul(u, words.transposed(u)) + 1.0) * 0.5
        return s / words.sum(s, -1, keepdims=True)

    q, p = of(student), of(teacher)
    return reduced(words, p * words.log((p + epsilon) / (q + epsilon)), reduction)


def cc(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    gamma: float,
    order: int,
    reduction: str,
    variant: str,
) -> Array:
    """Σ (K − K')², K = Σ_p e^−2γ (2γ)^p / p! · c^p, c the products of samples of length 1.

    The weights may have been computed in the same arithmetic: e^−2γ is one exponential, of 2γ
    roundings more, (2γ)^p has twice p, and p! as many as p.
    """
    s, t = flat(words, student), flat(words, teacher)
    count = s.shape[0]
    if variant == "consecutive":
        a = words.abs(s - t)
        between = 1 if reduction == "sum" else max(1, count - 1)
        return reduced(words, a[:-1] * a[1:], "sum") / float(between)

    def kernel(f: Array) -> Array:
        f = words.unit(f) if variant == "paper" else f
        c = words.matmul(f, words.transposed(f))
        if variant == "bilinear":
            return c
        terms = []
        for p in range(order + 1):
            weight = math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p)
            term = words.number(weight, exponentials=1, roundings=2 * gamma + 3 * p + 2)
            terms.append(words.power(c, p) * term)
        return words.added(terms)

    delta = kernel(s) - kernel(t)
    if variant == "norm":
        by = {"batchmean": count, "elementmean": count**2}.get(reduction, 1)
        return words.root(words.sum(delta * delta)) / float(by)
    return reduced(words, delta * delta, reduction)


FORMULAS: Formulas = {
    "similarity": (similarity, 1),
    "rkd_distance": (rkd_distance, 2),
    "rkd_angle": (rkd_angle, 1),
    "pkt": (pkt, 1),
    "cc": (cc, 1),
}
