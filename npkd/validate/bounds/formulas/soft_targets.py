"""Formulas of the losses between probabilities."""

from __future__ import annotations

import math

from npkd.validate.bounds.formulas.steps import (
    factor,
    log_probabilities,
    probabilities,
    reduced,
    tempered,
)
from npkd.validate.bounds.formulas.words import Array, Formulas, Words


def kl(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    temperature: float,
    temperature_squared: bool,
    reduction: str,
    variant: str,
    skew: float,
) -> Array:
    """T² Σ p (log p − log q), or T² Σ (p log p − p log q) as PyTorch's kl_div has it."""
    s, t = tempered(student, temperature), tempered(teacher, temperature)
    log_q, log_p = (log_probabilities(words, z, max(0, way - 1)) for z in (s, t))
    if variant.startswith("reversed"):
        log_q, log_p, s, t = log_p, log_q, t, s
    if skew:
        log_q = _log_mixture(words, log_p, log_q, skew)
    if variant.endswith("unlogged"):
        log_q = probabilities(words, s, way)
        # Σ p q and Σ p log p do not cancel as logarithms do
        terms = words.exp(log_p) * (log_p - log_q)
    elif way == 0:
        terms = words.divergence(log_p, log_q)
    if way > 0:
        p = words.softmax(t)
        terms = p * words.log(p) - p * log_q
    return reduced(words, factor(words, temperature, temperature_squared) * terms, reduction)


def _log_mixture(words: Words, log_p: Array, log_q: Array, share: float) -> Array:
    """log(share · p + (1 − share) q)"""
    share = words.number(share)
    return words.log(share * words.exp(log_p) + (-share + 1.0) * words.exp(log_q))


def js(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    beta: float,
    temperature: float,
    temperature_squared: bool,
    reduction: str,
    variant: str,
) -> Array:
    """T² (β Σ p (log p − log m) + (1 − β) Σ q (log q − log m)), m = β p + (1 − β) q"""
    s, t = tempered(student, temperature), tempered(teacher, temperature)
    log_q, log_p = log_probabilities(words, s, way), log_probabilities(words, t, way)
    log_m = _log_mixture(words, log_p, log_q, beta if variant == "paper" else 1 - beta)
    share = words.number(beta)
    of_p, of_q = (words.divergence(log, log_m) for log in (log_p, log_q))
    terms = share * of_p + (-share + 1.0) * of_q
    return reduced(words, factor(words, temperature, temperature_squared) * terms, reduction)


def soft_cross_entropy(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    temperature: float,
    temperature_squared: bool,
    reduction: str,
) -> Array:
    """−T² Σ p log q"""
    s, t = tempered(student, temperature), tempered(teacher, temperature)
    terms = -(probabilities(words, t, way) * log_probabilities(words, s, way))
    return reduced(words, factor(words, temperature, temperature_squared) * terms, reduction)


def limit(words: Words, student: Array, teacher: Array, way: int, *, reduction: str) -> Array:
    """Σ (Δ − m)² / 2C, m = Σ_c Δ / C, or (Σ Δ² − (Σ_c Δ)² / C) / 2C."""
    delta, classes = student - teacher, student.shape[1]
    if way == 0:
        c = delta - words.mean(delta, -1, keepdims=True)
        return reduced(words, c * c / (2 * classes), reduction)
    total = words.sum(delta, -1, keepdims=True)
    kept = "none" if reduction == "none" else "sum"
    squares = reduced(words, delta * delta, kept)
    less = reduced(words, total * total / float(classes), kept)
    by = {"batchmean": student.shape[0], "elementmean": math.prod(student.shape)}
    return (squares - less) / float(2 * classes) / float(by.get(reduction, 1))


def dkd(
    words: Words,
    student: Array,
    teacher: Array,
    labels: Array,
    way: int,
    *,
    alpha: float,
    beta: float,
    temperature: float,
    temperature_squared: bool,
    reduction: str,
) -> Array:
    """T² (α TCKD + β NCKD): from logits, or, as mdistiller has TCKD, from sums of softmax."""
    count = student.shape[0]

    def taken_apart(z: Array) -> tuple[Array, Array]:
        """Logarithms of the shares of label and rest, and of the classes of the rest."""
        others = words.of_others(z, labels)
        if way == 0:
            own, rest = words.of_label(z, labels), words.log_sum_exp(others)
            two = words.log_softmax(words.concatenate([words.reshape(own, (count, 1)), rest], 1))
            return two, words.log_softmax(others)
        q = words.softmax(z)
        own, rest = (
            words.of_label(q, labels),
            words.sum(words.of_others(q, labels), -1, keepdims=True),
        )
        two = words.log(words.concatenate([words.reshape(own, (count, 1)), rest], 1))
        return two, words.log_softmax(others)

    two_s, rest_s = taken_apart(tempered(student, temperature))
    two_t, rest_t = taken_apart(tempered(teacher, temperature))

    def divergence(log_p: Array, log_q: Array) -> Array:
        if way == 0:
            return words.divergence(log_p, log_q)
        p = words.exp(log_p)
        return p * log_p - p * log_q

    by_two = reduced(words, divergence(two_t, two_s), reduction) * alpha
    by_rest = reduced(words, divergence(rest_t, rest_s), reduction) * beta
    return factor(words, temperature, temperature_squared) * (by_two + by_rest)


def dist(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    beta: float,
    gamma: float,
    temperature: float,
    temperature_squared: bool,
    epsilon: float,
) -> Array:
    """T² (β (1 − mean ρ over classes) + γ (1 − mean ρ over the batch)).

    ρ = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), or the product of x̃/‖x̃‖ and ỹ/‖ỹ‖, for ε corrected.
    """
    q, p = (words.softmax(tempered(z, temperature)) for z in (student, teacher))

    def correlation(x: Array, y: Array) -> Array:
        x, y = words.centred(x), words.centred(y)
        both = words.length(x) * words.length(y)
        if way == 0:
            return words.mean(words.over(words.sum(x * y, -1, keepdims=True), both, epsilon))
        rho = words.sum(words.unit(x) * words.unit(y), -1, keepdims=True)
        return words.mean(rho * words.over(both, both, epsilon) if epsilon else rho)

    inter = correlation(q, p)
    intra = correlation(words.transposed(q), words.transposed(p))
    value = (-inter + 1.0) * beta + (-intra + 1.0) * gamma
    return factor(words, temperature, temperature_squared) * value


def standardize(words: Words, logits: Array, way: int, *, ddof: int, epsilon: float) -> Array:
    """(x − m) / (ε + s), s = √(Σ (x − m)² / (C − ddof)); way 1: of Σ x² − m Σ x."""
    c = words.centred(logits)
    squares = words.sum(c * c, -1, keepdims=True)
    if way == 1:
        total = words.sum(logits, -1, keepdims=True)
        mean = total / float(logits.shape[1])
        squares = words.sum(logits * logits, -1, keepdims=True) - mean * total
    s = words.root(squares / float(logits.shape[1] - ddof))
    return words.over(c, s + epsilon)


FORMULAS: Formulas = {
    "kl": (kl, 3),
    "js": (js, 2),
    "soft_cross_entropy": (soft_cross_entropy, 2),
    "limit": (limit, 2),
    "dkd": (dkd, 2),
    "dist": (dist, 2),
    "standardize": (standardize, 1),
}
