"""The formula of the cross-entropy with labels."""

import numpy as np

from npkd.validate.bounds.formulas.steps import log_probabilities, reduced
from npkd.validate.bounds.formulas.words import Array, Formulas, Words


def cross_entropy(
    words: Words,
    logits: Array,
    labels: Array,
    way: int,
    *,
    reduction: str,
    axis: int = -1,
    double_softmax: bool = False,
    swapped: bool = False,
) -> Array:
    """−Σ_b log softmax(logits[b])[l_b]; swapped: −Σ logits log softmax(one-hot labels)."""
    if double_softmax:
        logits = words.softmax(logits)
    if swapped:
        one_hot = words.number(np.eye(logits.shape[1])[labels])
        return reduced(words, -(logits * log_probabilities(words, one_hot, way, axis)), reduction)
    log_p = log_probabilities(words, logits, way, axis)
    return reduced(words, -words.of_label(log_p, labels), reduction, apart=True)


FORMULAS: Formulas = {"cross_entropy": (cross_entropy, 2)}
