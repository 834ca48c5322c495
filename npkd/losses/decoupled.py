"""Decoupled knowledge distillation: the label's class and the others, each with a weight."""

import numpy as np

from npkd.losses.arguments import (
    divisor_of,
    in_range,
    number,
    require_labels,
    require_logits,
    temperatures,
)
from npkd.losses.softened import apart, difference, divergence, less, log_ratio, log_softened


@in_range
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

    As in `kl`, all differences come from those of logits: among the rest from d = (student −
    teacher) / T, which also gives o_s − o_t = log Σ_{c≠l} r_t[c] e^{d[c]}; between the label and
    the rest from d[l] and o_s − o_t.

    Conventions: with α = 1 and β = 1 − b_t[l], sample by sample, it is `kl`. With two classes the
    rest is one class, NCKD is 0, and what is left is α `kl`. Classes at −∞ count as in `kl`; if
    all of the rest is, in either net, NCKD counts as 0.

    Elsewhere: mdistiller leaves the label out by subtracting 1000 from its logit / T, which comes
    to the same unless logits / T are that far apart.

    A part of weight 0 counts nothing, even where it is ∞.

    Raises ValueError as `kl` and `cross_entropy` do, and for fewer than two classes.

    Source: Zhao, Cui, Song, Qiu and Liang 2022, "Decoupled Knowledge Distillation", equation 7.
    """
    require_logits("dkd", student, teacher, least=2)
    labels = require_labels("dkd", student, labels)
    t, factor = temperatures("dkd", temperature, temperature_squared)
    alpha, beta = number("dkd", "alpha", alpha), number("dkd", "beta", beta)
    divisor = divisor_of("dkd", reduction, batchmean=len(student), sum=1, none=1)
    is_label = np.arange(student.shape[1]) == labels[:, np.newaxis]  # (B, C)
    two_s, rest_s, o_s, none_s = _taken_apart(student, is_label, t)
    two_t, rest_t, o_t, none_t = _taken_apart(teacher, is_label, t)
    d = apart(student, teacher) / t
    d_rest = d[~is_label].reshape(rest_s.shape)
    u_rest, o_apart = log_ratio(d_rest, rest_s, rest_t)
    d_two = np.concatenate([d[is_label][:, np.newaxis], o_apart], axis=1)
    plain = np.concatenate([less(student, teacher)[is_label][:, np.newaxis] / t, less(o_s, o_t)], 1)
    u_two, _ = log_ratio(np.where(np.isfinite(o_apart), d_two, plain), two_s, two_t)
    (b_s, r_s), (b_t, r_t) = (np.exp(two_s), np.exp(rest_s)), (np.exp(two_t), np.exp(rest_t))
    times = t if temperature_squared else 1.0
    tckd, nckd = divergence(b_t, b_s, u_two, times), divergence(r_t, r_s, u_rest, times)
    no_rest = none_s | none_t  # (B, 1)
    value = alpha * np.where(alpha == 0, 0, tckd)  # 0 · ∞ is 0
    value += beta * np.where((beta == 0) | no_rest[:, 0], 0, nckd)
    if reduction != "none":
        value = value.sum() / divisor

    by_two = alpha * difference(b_t, b_s, u_two)  # (B, 2)
    by_rest = beta * np.where(no_rest, 0, difference(r_t, r_s, u_rest))  # (B, C − 1)
    gradient = np.empty_like(student)
    gradient[is_label] = by_two[:, 0]
    gradient[~is_label] = (by_two[:, 1:] * r_s + by_rest).ravel()
    return value, (factor / t / divisor) * gradient


def _taken_apart(z: np.ndarray, is_label: np.ndarray, t: float) -> tuple[np.ndarray, ...]:
    """log softmax(z[l], o) (B, 2), log softmax of the rest (B, C − 1), o, and if all is ruled out.

    With m the largest of the rest, o = m + log Σ e^{rest − m}.
    """
    rest = z[~is_label].reshape(len(z), z.shape[1] - 1)  # (B, C − 1)
    r = rest.real.argmax(axis=1)[:, np.newaxis]
    m = np.take_along_axis(rest, r, axis=1)
    none = np.isneginf(m.real)
    log_r = log_softened(np.where(none, 0, rest), t)
    more = -np.take_along_axis(log_r, r, axis=1)
    of_label = (z[is_label][:, np.newaxis] - np.where(none, 0, m)) / t
    two = np.concatenate([of_label, np.where(none, -np.inf, more)], axis=1)
    return log_softened(two), log_r, m / t + more, none
