"""Formulas of the losses that measure how far numbers are apart, entry by entry."""

from __future__ import annotations

from npkd.validate.bounds.formulas.steps import (
    factor,
    log_probabilities,
    probabilities,
    reduced,
    tempered,
)
from npkd.validate.bounds.formulas.words import Array, Formulas, Words


def l2(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    reduction: str,
    half: bool,
    temperature: float,
    temperature_squared: bool,
    variant: str,
) -> Array:
    """½ Σ Δ², Δ = (student − teacher) / T, or student/T − teacher/T."""
    if variant == "paper" and way == 0:
        delta = tempered(student - teacher, temperature)
    else:
        s, t = tempered(student, temperature), tempered(teacher, temperature)
        if variant == "probabilities":
            s, t = probabilities(words, s, way), probabilities(words, t, way)
        if variant == "log-probabilities":
            s, t = log_probabilities(words, s, way), log_probabilities(words, t, way)
        delta = s - t
    terms = delta * delta * (0.5 if half else 1.0)
    terms = factor(words, temperature, temperature_squared) * terms
    return reduced(words, terms, reduction, apart=True)


def l1(words: Words, student: Array, teacher: Array, way: int, *, reduction: str) -> Array:
    """Σ |Δ|"""
    return reduced(words, words.abs(student - teacher), reduction, apart=True)


def huber(
    words: Words,
    student: Array,
    teacher: Array,
    way: int,
    *,
    delta: float,
    reduction: str,
    variant: str,
) -> Array:
    """Σ h(Δ), or Σ h(Δ) / δ."""
    terms = words.huber(student - teacher, delta)
    return reduced(words, terms / delta if variant == "smooth" else terms, reduction, apart=True)


FORMULAS: Formulas = {"l2": (l2, 2), "l1": (l1, 1), "huber": (huber, 1)}
