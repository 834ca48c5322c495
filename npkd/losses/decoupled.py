"""Decoupled knowledge distillation: the label's class and the others, each with a weight."""

import numpy as np

from npkd.losses.arguments import (
    divisor_of,
    number,
    require_labels,
    require_logits,
    temperatures,
)
from npkd.losses.soft_targets import divergence
from npkd.ops import log_softmax


def dkd(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
) -> tuple[np.ndarray, np.ndarray]:
    """`kl` taken apart: the label's class against the rest, and the rest among themselves.

    Shapes
        student, teacher logits (B, C), C at least 2; labels (B,) integers from 0 to C − 1
        →  value (), or (B,) for "none"; gradient (B, C)

    Definition (l the label, z = student / T, likewise for the teacher; o = log Σ_{c≠l} exp z[c])
        TCKD = KL between softmax(z[l], o) of teacher and student, two classes: the label, the rest
        NCKD = KL between softmax(z[c], c ≠ l) of teacher and student, C − 1 classes
        loss_b = T² (α TCKD + β NCKD)
        "none": loss_b   "sum": Σ_b loss_b   "batchmean": Σ_b loss_b / B

    Gradient by the student
        KL's gradient by its logits is q − p. With b = softmax(z[l], o) and r = softmax over the
        rest, ∂o/∂z[c] = r[c] for c ≠ l, and z = student / T:
            at the label    T α (b_s[l] − b_t[l])
            at c ≠ l        T (α (b_s[rest] − b_t[rest]) r_s[c] + β (r_s[c] − r_t[c]))
        divided as the value is. Each row sums to 0.

    Conventions: with α = 1 and β = 1 − b_t[l], sample by sample, it is `kl`. With two classes the
    rest is one class, NCKD is 0, and what is left is α `kl`.

    Elsewhere: mdistiller leaves the label out by subtracting 1000 from its logit / T, which comes
    to the same unless logits / T are that far apart.

    Raises ValueError as `kl` and `cross_entropy` do, and for fewer than two classes.

    Source: Zhao, Cui, Song, Qiu and Liang 2022, "Decoupled Knowledge Distillation", equation 7.
    """
    require_logits("dkd", student, teacher, least=2)
    labels = require_labels("dkd", student, labels)
    t, factor = temperatures("dkd", temperature, temperature_squared)
    alpha, beta = number("dkd", "alpha", alpha), number("dkd", "beta", beta)
    divisor = divisor_of("dkd", reduction, batchmean=len(student), sum=1, none=1)
    is_label = np.arange(student.shape[1]) == labels[:, np.newaxis]  # (B, C)
    two_s, rest_s = _taken_apart(student / t, is_label)
    two_t, rest_t = _taken_apart(teacher / t, is_label)
    value = alpha * divergence(two_t, two_s) + beta * divergence(rest_t, rest_s)
    value = factor * value
    if reduction != "none":
        value = value.sum() / divisor

    by_two = alpha * (np.exp(two_s) - np.exp(two_t))  # (B, 2)
    r_s, r_t = np.exp(rest_s), np.exp(rest_t)  # (B, C − 1)
    gradient = np.empty_like(student)
    gradient[is_label] = by_two[:, 0]
    gradient[~is_label] = (by_two[:, 1:] * r_s + beta * (r_s - r_t)).ravel()
    return value, (factor / t / divisor) * gradient


def _taken_apart(z: np.ndarray, is_label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log softmax(z[l], o) (B, 2) and log softmax of the rest (B, C − 1)."""
    of_label = z[is_label]  # (B,)
    rest = z[~is_label].reshape(len(z), z.shape[1] - 1)  # (B, C − 1)
    log_r, _ = log_softmax(rest)
    o = rest[:, 0] - log_r[:, 0]  # log Σ exp
    log_two, _ = log_softmax(np.stack([of_label, o], axis=1))
    return log_two, log_r
