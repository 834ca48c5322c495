"""Losses to labels: the formulas as scalar loops."""

from collections.abc import Callable

import numpy as np

from npkd.definitions.regression import l2
from npkd.definitions.steps import Number, log_softened

__all__ = ["cross_entropy", "mix"]


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """The negative log-likelihood of the labels under softmax(logits).

    Shapes
        logits (B, C), labels (B,) integers in 0 … C−1  →  a number; with "none" an array (B,)

    Definition
        "none"       ℓ[n] = −log softmax(logits[n])[labels[n]], which is log(1 + Σ_k exp(z_k − z_l))
                     over the classes k other than the label l, where z_l is the largest logit
        "sum"        Σ_n ℓ[n]
        "batchmean"  Σ_n ℓ[n] / B
    """
    losses = [-log_softened(logits[n].tolist())[labels.item(n)] for n in range(len(logits))]
    if reduction == "none":
        return np.array(losses, logits.dtype)
    divisor = {"sum": 1, "batchmean": len(logits)}[reduction]
    return sum(losses) / divisor


def mix(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float,
    soft: Callable[[np.ndarray, np.ndarray], Number | np.ndarray] = l2,
    hard: Callable[[np.ndarray, np.ndarray], Number | np.ndarray] = cross_entropy,
) -> Number | np.ndarray:
    """The labels' loss and the teacher's, in shares of 1 − alpha and alpha.

    Shapes
        student, teacher (B, C), labels (B,) integers in 0 … C−1  →  a number

    Definition, both losses the mean over the batch
        (1 − alpha) hard(student, labels) + alpha soft(student, teacher)
    """
    return (1 - alpha) * hard(student, labels) + alpha * soft(student, teacher)
