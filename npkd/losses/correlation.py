"""DIST: what correlates with the teacher's probabilities is as good as they are."""

import numpy as np

from npkd.losses.arguments import in_range, not_negative, number, require_logits, temperatures
from npkd.losses.geometry import (
    centred,
    directions_apart,
    length,
    orthogonal,
    scale,
    sum_of_squares,
    unit,
)
from npkd.losses.softened import (
    apart,
    below,
    by_log_probabilities,
    difference,
    log_ratio,
    log_softened,
)


@in_range
def dist(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    temperature_squared: bool = True,
    epsilon: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """One minus Pearson's correlation, over the classes of a sample and the samples of a class.

    Shapes
        student, teacher logits (B, C), B at least 1  →  value (), gradient (B, C)

    Definition (q = softmax(student / T), p = softmax(teacher / T), along the classes)
        ρ(x, y) = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y
        inter = 1 − Σ_b ρ(q[b,:], p[b,:]) / B        over the classes
        intra = 1 − Σ_c ρ(q[:,c], p[:,c]) / C        over the batch
        value = T² (β inter + γ intra)

    Gradient by the student
        With u = x̃/‖x̃‖, v = ỹ/‖ỹ‖ (ε = 0): ρ = Σ u v, ∂ρ/∂x̃ = (v − ρ u) / ‖x̃‖, whose mean over x
        is 0 already, as those of u and v are; then back through the softmax, dz = q (dq − Σ q dq)/T

    Three things are computed otherwise, for their digits:
        1 − ρ = ½ ‖u − v‖² (ε = 0), as u and v are of length 1; and v − ρ u, which is what of v is
        across u, is that of v − u too, or of v + u: the shorter one is taken.
        ρ does not depend on the unit of x. That of a sample is its most probable class, that of a
        class the sample which it is most probable for, so that a class improbable everywhere has
        digits left, and a part in ρ; the gradient is by log q, q dq, which has no unit.
        At a high temperature probabilities are nearly equal. x̃ is that of x − 1, in its unit, which
        is e^a − 1 with a the difference of two logarithms: of two classes from their logits, of two
        samples by `log_ratio` from the first one.

    Conventions
        A constant vector has no correlation with anything: its ρ counts as 0 and passes no
        gradient, so it adds 1/B or 1/C to the loss even where student and teacher are equal. In a
        batch of one every class is constant, and intra is 1. A class at −∞ in all samples is
        constant too.

    Digits: ρ compares directions, each of which is a quotient of sums: there are 3 bits fewer than
    of `kl`, and where u and v nearly agree though the logits do not, as when the teacher's are the
    student's times a number, value and gradient have the digits that are left of u − v.

    Elsewhere
        The authors' code has ε = 1e-8, and at first had no temperature; the paper's appendix has no
        T². torchdistill has T² on both terms. All are the same at T = 1, but for ε.

    Raises ValueError as `kl` does.

    Source: Huang, You, Wang, Qian and Xu 2022, "Knowledge Distillation from A Stronger Teacher",
    equations 5 to 10.
    """
    require_logits("dist", student, teacher)
    if not len(student):
        raise ValueError("dist: an empty batch has no mean")
    t, factor = temperatures("dist", temperature, temperature_squared)
    beta, gamma = number("dist", "beta", beta), number("dist", "gamma", gamma)
    epsilon = not_negative("dist", "epsilon", epsilon)
    log_q, log_p = log_softened(student, t), log_softened(teacher, t)
    ratio, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)
    inter, by_inter, unit_of_inter = _one_less_correlation(
        below(student, t), below(teacher, t), ratio, log_q, log_p, epsilon
    )
    intra, by_intra, unit_of_intra = _one_less_correlation(
        _between_samples(student, log_q, t),
        _between_samples(teacher, log_p, t),
        ratio.T,
        log_q.T,
        log_p.T,
        epsilon,
    )
    value = factor * (beta * inter + gamma * intra)
    least = min(unit_of_inter.min(), unit_of_intra.min())
    by_log_q = beta * by_inter * (least / unit_of_inter)
    by_log_q += gamma * (by_intra * (least / unit_of_intra)).T
    return value, (factor / t) * (by_log_probabilities(np.exp(log_q), by_log_q) / least)


def _between_samples(z: np.ndarray, log_q: np.ndarray, t: float) -> np.ndarray:
    """log q[b,c] less the largest of its class, (C, B).

    From the sample that rules out the least; where even that one rules out a class, as it stands.
    """
    k = log_q.real.min(axis=1).argmax()
    one, of_one = np.broadcast_to(z[k], z.shape), np.broadcast_to(log_q[k], log_q.shape)
    a, _ = log_ratio(apart(z, one) / t, log_q, of_one)
    ruled_out = np.isneginf(of_one.real) & (log_q.real > -np.inf).any(axis=0)
    return below(np.where(ruled_out, log_q, a).T)


@np.errstate(invalid="ignore")  # in the branch that is not taken
def _one_less_correlation(
    a: np.ndarray,
    b: np.ndarray,
    ratio: np.ndarray,
    log_q: np.ndarray,
    log_p: np.ndarray,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1 − the mean of ρ over rows, its gradient by log q, and what that is to be divided by (N, 1).

    a is log q less the largest of its row, b likewise of log p; ratio is log q − log p. Units are
    those of a's largest, r, in both: x = e^a, y = e^{b − b[r]}; x − y = y (e^m − 1), m = ratio −
    ratio[r], from which `directions_apart` has u − v.

    As ρ has no unit, its gradient by log q adds up to 0.

    1 − κ ρ = κ (1 − ρ) + 1 − κ with κ = ‖x̃‖‖ỹ‖ / (‖x̃‖‖ỹ‖ + ε), which depends on x too:
    ∂κ/∂x̃ = κ (1 − κ) u / ‖x̃‖.
    """
    r, of_y = (of.real.argmax(axis=1)[:, np.newaxis] for of in (a, b))
    b_of_r = np.take_along_axis(b, r, axis=1)
    alike = b_of_r.real > -1  # otherwise y is large elsewhere, and has a unit of its own
    b, of_y = np.where(alike, b - b_of_r, b), np.where(alike, r, of_y)
    (x, no_x), (y, no_y) = centred(np.expm1(a)), centred(np.expm1(b))
    none = no_x | no_y
    w, of_w = scale(x, axis=1), scale(y, axis=1)  # another factor of the units, at a high T
    alike &= (w <= 2 * of_w) & (of_w <= 2 * w)
    of_w = np.where(alike, w, of_w)
    x, y = x / w, y / of_w
    (u, backward), (v, _) = unit(x), unit(y)
    of_r = np.take_along_axis(ratio, r, axis=1)
    less_is_lost = np.abs(a) + np.abs(b) < np.abs(ratio) + np.abs(of_r)
    m = np.where(less_is_lost, a - b, ratio - of_r)
    delta, _ = centred(difference(np.exp(b), np.exp(a), m) / w)
    if x.shape[1] == 2:  # of two numbers less their mean there is one direction, and its opposite
        alike[...] = False
    apart = np.where(alike, directions_apart(x, y, delta), u - v)
    opposed = (u * v).sum(axis=1, keepdims=True).real < 0
    across = np.where(opposed, -u - v, apart)
    half = sum_of_squares(across, 0.5)[:, np.newaxis]
    one_less = np.where(opposed, 2 - half, half)

    of_unit = np.take_along_axis(log_q, r, axis=1) + np.take_along_axis(log_p, of_y, axis=1)
    n, of_n = (np.where(none, 1, length(of)) for of in (x, y))
    lengths = n * of_n * np.exp(of_unit) * w * of_w
    less_kappa = epsilon / (lengths + epsilon) if epsilon else np.zeros_like(lengths)
    kappa = lengths / (lengths + epsilon) if epsilon else np.ones_like(lengths)
    value = np.where(none, 1, kappa * one_less + less_kappa)

    x = np.exp(a)
    rules = x.real > x.real.sum(axis=1, keepdims=True) / 2
    by_log = x * orthogonal(x, backward(across), rules)
    by_log = kappa * (by_log - (1 - one_less) * less_kappa * x * u / n)
    return value.mean(), np.where(none, 0, by_log) / len(x), w
