"""Losses that regress: the formulas as scalar loops."""

import numpy as np

from npkd.definitions.steps import (
    Number,
    absolute,
    between,
    exp,
    huber_of,
    less,
    lesses,
    log_ratio,
    log_softened,
)

__all__ = ["huber", "l1", "l2"]


def l2(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "batchmean",
    half: bool = True,
    temperature: float = 1.0,
    temperature_squared: bool = False,
    variant: str = "paper",
) -> Number | np.ndarray:
    """Half the squared difference, ½ (student − teacher)².

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = f(student / T) − f(teacher / T) along the last axis, where f is nothing,
    or with variant "probabilities" softmax, with "log-probabilities" log softmax, both from the
    differences of logits as in `kl`; where both are the same infinity Δ = 0
        "none"         ½ T² Δ² for each entry; without the ½ unless `half`, and without the T²
                       unless `temperature_squared`
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    factor = (0.5 if half else 1.0) * (temperature**2 if temperature_squared else 1.0)
    losses = []
    for index in np.ndindex(student.shape[:-1]):
        s, t = student[index].tolist(), teacher[index].tolist()
        deltas = [value / temperature for value in lesses(s, t)]
        if variant != "paper":
            log_q, log_p = log_softened(s, temperature), log_softened(t, temperature)
            deltas, _ = log_ratio(deltas, log_q, log_p)
            if variant == "probabilities":
                deltas = between(exp(log_p), exp(log_q), deltas)
        losses += [factor * delta * delta for delta in deltas]
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def l1(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """The absolute difference |student − teacher|.

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = student − teacher
        "none"         |Δ| for each entry
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    losses = []
    for index in np.ndindex(student.shape):
        losses.append(absolute(less(student.item(*index), teacher.item(*index))))
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def huber(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    delta: float = 1.0,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> Number | np.ndarray:
    """Half the square of a small difference, and its absolute value, shifted, of a large one.

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = student − teacher
        "none"         h(Δ) for each entry: ½ Δ² where |Δ| ≤ δ, else δ (|Δ| − ½ δ);
                       with variant "smooth" h(Δ) / δ
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    losses = []
    for index in np.ndindex(student.shape):
        h = huber_of(less(student.item(*index), teacher.item(*index)), delta)
        losses.append(h / delta if variant == "smooth" else h)
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor
