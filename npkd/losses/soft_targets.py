"""Losses that measure how far the student's class probabilities are from the teacher's."""

from functools import partial

import numpy as np

from npkd.losses.arguments import choice, divisor_of, in_range, require_logits, temperatures
from npkd.losses.geometry import centred, sum_of_squares
from npkd.losses.softened import (
    apart,
    below,
    by_logits,
    difference,
    divergence,
    log_ratio,
    log_softened,
    of_infinite,
    steps,
)


@in_range
def kl(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> tuple[np.ndarray, np.ndarray]:
    """The Kullback-Leibler divergence of softened probabilities, Hinton's distillation loss.

    Shapes
        student, teacher logits (B, C)  →  value (), or (B,) for "none"; gradient (B, C)

    Definition (p = softmax(teacher / T), q = softmax(student / T), along the classes)
        loss_b = T² Σ_c p[b,c] (log p[b,c] − log q[b,c])
        "none": loss_b   "sum": Σ_b loss_b   "batchmean": Σ_b loss_b / B   "elementmean": … / (B·C)

    computed from u = log q − log p, for which (student − teacher) / T has the digits where the two
    are near, as T² Σ_c p φ(u) with φ(u) = e^u − 1 − u: the same, since p and q both sum to 1, but
    no term is negative and none cancels. See `npkd.losses.softened` for both.

    Gradient by the student
        ∂ log q[c] / ∂z[j] = ([c = j] − q[j]) / T, and Σ p = 1, so
        ∂loss_b/∂z[j] = −T² Σ_c p[c] ([c = j] − q[j]) / T = T (q[j] − p[j]), divided as the value is
        and q − p = p (e^u − 1), which keeps its digits where q is near p

    Conventions
        T² keeps the gradient of a size when T grows; temperature_squared=False leaves it out.
        variant="reversed" exchanges the two: Σ q (log q − log p), with gradient
        T q[j] (r[j] − Σ_c q[c] r[c]), r = log q − log p. variant="unlogged" is what comes of
        probabilities given as if they were their logarithms, Σ p (log p − q), r = −p, and "reversed
        unlogged" of both, Σ q (log q − p), r = log q − p: mistakes, offered to be recognised, with
        a bit fewer in the gradient than the other two.
        Logits / T below the smallest normal number lose digits by the division.
        A class at −∞ is ruled out: a term with p = 0 counts 0 · log 0 = 0, so that it adds nothing
        if the teacher alone rules it out, and the loss is ∞ if the student alone does.

    Elsewhere
        KLDivLoss by default averages over all entries: "elementmean", C times too small. Without
        T² the loss is T² times too small. See `conventions`.

    Raises ValueError for shapes, dtypes, T ≤ 0, another reduction or variant, and for an empty
    batch under a mean.

    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """
    require_logits("kl", student, teacher)
    t, factor = temperatures("kl", temperature, temperature_squared)
    choice("kl", "variant", variant, "paper", "reversed", "unlogged", "reversed unlogged")
    divisor = divisor_of(
        "kl", reduction, batchmean=len(student), sum=1, elementmean=student.size, none=1
    )
    log_p, log_q = log_softened(teacher, t), log_softened(student, t)
    p, q = np.exp(log_p), np.exp(log_q)
    if variant.endswith("unlogged"):
        # r but for a number of each row, from the differences between its classes
        of_p = steps(p, teacher, q, t)
        if variant == "unlogged":
            value, r = factor * expected(p, log_p - q), -of_p
        else:
            value, r = factor * expected(q, log_q - p), below(student, t) - of_p
        gradient = of_infinite(partial(by_logits, q), r)
    else:
        r = apart(student, teacher) / t  # too
        u, _ = log_ratio(r, log_q, log_p)
        times = t if temperature_squared else 1.0
        if variant == "reversed":
            value = divergence(q, p, -u, times)
            gradient = of_infinite(partial(by_logits, q), r)
        else:
            value, gradient = divergence(p, q, u, times), difference(p, q, u)
    if reduction != "none":
        value = value.sum() / divisor
    return value, (factor / t / divisor) * gradient


@in_range
def soft_cross_entropy(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
) -> tuple[np.ndarray, np.ndarray]:
    """The cross-entropy with the teacher's softened probabilities for labels.

    Shapes
        student, teacher logits (B, C)  →  value (), or (B,) for "none"; gradient (B, C)

    Definition (p = softmax(teacher / T), q = softmax(student / T), along the classes)
        loss_b = −T² Σ_c p[b,c] log q[b,c];   reduced as in `kl`

    Gradient by the student
        that of `kl`, T (q − p): the two losses differ by T² Σ p log p, the teacher's entropy, which
        does not depend on the student. So this loss is not 0 where student and teacher are equal.

    Conventions: a class at −∞ as in `kl`.

    Elsewhere: written as Σ p (log p − log q) from probabilities, it is NaN where a p underflows to
    0; here the logarithm comes first. TextBrewer's kd_ce_loss has no T².

    Raises ValueError as `kl` does.

    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """
    require_logits("soft_cross_entropy", student, teacher)
    t, factor = temperatures("soft_cross_entropy", temperature, temperature_squared)
    divisor = divisor_of(
        "soft_cross_entropy",
        reduction,
        batchmean=len(student),
        sum=1,
        elementmean=student.size,
        none=1,
    )
    log_p, log_q = log_softened(teacher, t), log_softened(student, t)
    p, q = np.exp(log_p), np.exp(log_q)
    u, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)
    value = -factor * expected(p, log_q)
    if reduction != "none":
        value = value.sum() / divisor
    return value, (factor / t / divisor) * difference(p, q, u)


@in_range
def limit(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> tuple[np.ndarray, np.ndarray]:
    """What T² · KL becomes as the temperature grows: L2 between logits less their mean.

    Shapes
        student, teacher logits (B, C)  →  value (), or (B,) for "none"; gradient (B, C)

    Definition (Δ = student − teacher, m[b] = Σ_c Δ[b,c] / C)
        loss_b = (‖Δ_b‖² − (Σ_c Δ[b,c])² / C) / 2C = Σ_c (Δ[b,c] − m[b])² / 2C;   reduced as in `kl`

    Derivation
        For T → ∞, q[c] = (1 + (z[c] − mean z) / T) / C + O(1/T²) and p likewise, so the gradient of
        T² KL, T (q − p), tends to (Δ − m) / C, and with it the loss, which is 0 where Δ − m is.

    Gradient by the student
        (Δ[b,c] − m[b]) / C, divided as the value is; its rows sum to 0

    Conventions: a class at −∞ in both nets counts Δ = 0; in one, the loss is ∞.

    Raises ValueError as `kl` does.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", 2.1,
    there for logits of mean 0.
    """
    require_logits("limit", student, teacher)
    divisor = divisor_of(
        "limit", reduction, batchmean=len(student), sum=1, elementmean=student.size, none=1
    )
    classes = student.shape[1]
    delta = of_infinite(lambda of: centred(of)[0], apart(student, teacher))
    value = sum_of_squares(delta, 0.5 / classes)
    if reduction != "none":
        value = value.sum() / divisor
    return value, delta / (classes * divisor)


def expected(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Σ p x along the last axis, where p = 0 adds nothing whatever x is."""
    return (p * np.where(p == 0, 0, x)).sum(axis=-1)
