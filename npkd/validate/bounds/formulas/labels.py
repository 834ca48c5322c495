"""The formula of the cross-entropy with labels."""

from __future__ import annotations

from npkd.validate.bounds.formulas.steps import log_probabilities, reduced
from npkd.validate.bounds.formulas.words import Array, Formulas, Words


def cross_entropy(
    words: Words,
    logits: Array,
    labels: Array,
    way: int,
    *,
    reduction: str,
) -> Array:
    """−Σ_b log softmax(logits[b])[l_b]"""
    log_p = log_probabilities(words, logits, way)
    return reduced(words, -words.of_label(log_p, labels), reduction, apart=True)


FORMULAS: Formulas = {"cross_entropy": (cross_entropy, 2)}
