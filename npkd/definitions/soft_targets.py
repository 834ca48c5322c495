"""Losses between probabilities: the formulas as scalar loops."""

import math
from collections.abc import Iterator

import numpy as np

from npkd.definitions.steps import (
    Number,
    below,
    centred_by_mean,
    divergence,
    exp,
    expected,
    expm1,
    length_of,
    less,
    lesses,
    log_ratio,
    log_softened,
    product,
    unit,
)

__all__ = ["dist", "dkd", "js", "kl", "limit", "soft_cross_entropy", "standardize"]


def _compared(
    student: np.ndarray, teacher: np.ndarray, temperature: float
) -> Iterator[tuple[list, list, list, list, list]]:
    """q, log q, p, log p, and log q − log p, q and p the softmax of logits / T, by samples."""
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        log_q, log_p = log_softened(s, temperature), log_softened(t, temperature)
        u, _ = log_ratio([value / temperature for value in lesses(s, t)], log_q, log_p)
        yield exp(log_q), log_q, exp(log_p), log_p, u


def kl(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
    variant: str = "paper",
    skew: float = 0.0,
) -> Number | np.ndarray:
    """The Kullback-Leibler divergence of the teacher's and the student's softened probabilities.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with p = softmax(teacher / T), q = softmax(student / T)
        "none"         T² Σ_c p (log p − log q), without the T² unless `temperature_squared`;
                       with variant "reversed"  T² Σ_c q (log q − log p)
                       "unlogged"               T² Σ_c p (log p − q)
                       "reversed unlogged"      T² Σ_c q (log q − p)
                       where 0 log 0 is 0
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)

    The first two as Σ p φ(log q − log p), Σ q φ(log p − log q), φ(u) = exp u − 1 − u, which is the
    same since p and q both sum to 1. With `skew` from α p + (1 − α) q in the place of q, and
    reversed from α q + (1 − α) p in that of p.
    """
    batch, classes = student.shape
    factor = temperature**2 if temperature_squared else 1.0
    losses = []
    for q, log_q, p, log_p, u in _compared(student, teacher, temperature):
        total = {
            "paper": lambda: _from_mixture(p, q, u, skew),  # noqa: B023
            "reversed": lambda: _from_mixture(q, p, [-value for value in u], skew),  # noqa: B023
            "unlogged": lambda: expected(p, lesses(log_p, q)),  # noqa: B023
            "reversed unlogged": lambda: expected(q, lesses(log_q, p)),  # noqa: B023
        }[variant]()
        losses.append(factor * total)
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def _from_mixture(p: list, q: list, u: list, share: float) -> Number:
    """Σ_c p_c (log p_c − log m_c), m = share · p + (1 − share) q, from u_c = log q_c − log p_c."""
    if share == 0:
        return divergence(p, q, u)
    m = [share * one + (1 - share) * other for one, other in zip(p, q, strict=True)]
    ratio = [np.log1p((1 - share) * expm1(value)).item() for value in u]
    return divergence(p, m, ratio)


def js(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> Number | np.ndarray:
    """The generalised Jensen-Shannon divergence of the two nets' softened probabilities.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with p = softmax(teacher / T), q = softmax(student / T), m = β p + (1 − β) q
        "none"         T² (β Σ_c p (log p − log m) + (1 − β) Σ_c q (log q − log m)), without the T²
                       unless `temperature_squared`; with variant "exchanged" m = (1 − β) p + β q
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    factor = temperature**2 if temperature_squared else 1.0
    share = beta if variant == "paper" else 1 - beta
    losses = []
    for q, _, p, _, u in _compared(student, teacher, temperature):
        of_p = _from_mixture(p, q, u, share)
        of_q = _from_mixture(q, p, [-value for value in u], 1 - share)
        losses.append(factor * (beta * of_p + (1 - beta) * of_q))
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def soft_cross_entropy(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
) -> Number | np.ndarray:
    """The cross-entropy of the student with the teacher's softened probabilities.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with p = softmax(teacher / T), q = softmax(student / T)
        "none"         −T² Σ_c p log q, without the T² unless `temperature_squared`; 0 log 0 is 0
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    factor = temperature**2 if temperature_squared else 1.0
    losses = [
        -factor * expected(p, log_q)
        for _, log_q, p, _, _ in _compared(student, teacher, temperature)
    ]
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def limit(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """Half the variance, over the classes, of the difference of logits.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with Δ = student − teacher
        "none"         Σ_c (Δ[b,c] − Σ_k Δ[b,k] / C)² / 2C
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    losses = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        centred = centred_by_mean(lesses(s, t))
        losses.append(product(centred, centred) / (2 * classes))
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


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
) -> Number | np.ndarray:
    """The divergence of the label's class from the rest, and that of the rest, each weighted.

    Shapes
        student, teacher (B, C), labels (B,) integers in 0 … C−1  →  a number; "none" an array (B,)

    Definition, with z = student / T, l the label, o = log Σ_{c≠l} exp z[c], likewise the teacher
        TCKD = Σ p (log p − log q) over two classes, p, q = softmax(z[l], o) of teacher, student
        NCKD = Σ p (log p − log q) over the classes c ≠ l, p, q = softmax(z[c], c ≠ l) likewise
        "none"       T² (α TCKD + β NCKD), without the T² unless `temperature_squared`
        "sum"        the sum of these over b
        "batchmean"  their sum / B
    both by the differences of logits as in `kl`, with o_s − o_t = log Σ_{c≠l} p exp d, d the
    difference and p the teacher's probabilities among the rest. NCKD is 0 where, in either net, all
    of the rest is at −∞
    """
    factor = temperature**2 if temperature_squared else 1.0
    losses = []
    for b, label in enumerate(labels.tolist()):
        two_s, rest_s, o_s = _taken_apart(student[b].tolist(), label, temperature)
        two_t, rest_t, o_t = _taken_apart(teacher[b].tolist(), label, temperature)
        d = [value / temperature for value in lesses(student[b].tolist(), teacher[b].tolist())]
        d_label, d_rest = d[label], d[:label] + d[label + 1 :]
        u_rest, between = log_ratio(d_rest, rest_s, rest_t)
        between = between if np.isfinite(between) else less(o_s, o_t)
        u_two, _ = log_ratio([d_label, between], two_s, two_t)
        tckd = divergence(exp(two_t), exp(two_s), u_two)
        nckd: Number = 0.0
        if -math.inf not in (o_s.real, o_t.real):
            nckd = divergence(exp(rest_t), exp(rest_s), u_rest)
        losses.append(factor * (_weighted(alpha, tckd) + _weighted(beta, nckd)))
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": len(student)}[reduction]
    return sum(losses) / divisor


def _taken_apart(z: list, label: int, temperature: float) -> tuple[list, list, Number]:
    """log softmax(z_l / T, o), log softmax of the rest, and o = log Σ_{c≠l} exp(z_c / T).

    With m the largest of the rest, o = m / T + log Σ_{c≠l} exp((z_c − m) / T).
    """
    rest = [value for c, value in enumerate(z) if c != label]
    r = max(range(len(rest)), key=lambda c: rest[c].real)
    m = rest[r]
    if m.real == -math.inf:
        return [0.0, -math.inf], log_softened([0.0 for _ in rest]), -math.inf
    log_rest = log_softened(rest, temperature)
    more = -log_rest[r]
    return log_softened([(z[label] - m) / temperature, more]), log_rest, m / temperature + more


def _weighted(weight: float, x: Number) -> Number:
    """The product, and 0 where the weight is, whatever x is."""
    return 0.0 if weight == 0 else weight * x


def _one_less_correlation(a: list, b: list, log_q: list, log_p: list, epsilon: float) -> Number:
    """1 − ρ, ρ = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y; 1 where one is constant.

    a is log q less the largest of them, b is log p less the largest: x = exp a and y = exp b are q
    and p, each in a unit, and x̃ is that of exp a − 1. The unit of y is where x is the largest, if
    that is large in y too. With u = x̃/‖x̃‖, v = ỹ/‖ỹ‖ and κ = ‖x̃‖‖ỹ‖ /
    (‖x̃‖‖ỹ‖ + ε), 1 − ρ = 1 − κ Σ u v = κ ½ Σ (u − v)² + 1 − κ.
    """
    r = of_y = max(range(len(a)), key=lambda k: a[k].real)
    if b[r].real > -1:
        b = [value - b[r] for value in b]
    else:
        of_y = max(range(len(b)), key=lambda k: b[k].real)
    x, y = (centred_by_mean([expm1(value) for value in of]) for of in (a, b))
    if not any(value.real for value in x) or not any(value.real for value in y):
        return 1.0
    u, v = unit(x), unit(y)
    sign = -1 if product(u, v).real < 0 else 1
    half = sum((sign * u[k] - v[k]) ** 2 for k in range(len(u))) / 2
    one_less = half if sign > 0 else 2 - half
    if epsilon == 0:
        return one_less
    lengths = length_of(x) * length_of(y) * np.exp(log_q[r] + log_p[of_y]).item()
    return (lengths * one_less + epsilon) / (lengths + epsilon)


def _between_samples(logits: list, log_q: list, temperature: float) -> list:
    """log q[b][c] less the largest of its class, by class.

    From the differences to the sample that rules out the least; a class that even that one rules
    out as it stands.
    """
    k = max(range(len(logits)), key=lambda b: min(value.real for value in log_q[b]))
    ratios = []
    for z, of_z in zip(logits, log_q, strict=True):
        d = [value / temperature for value in lesses(z, logits[k])]
        ratios.append(log_ratio(d, of_z, log_q[k])[0])
    by_class = []
    for c in range(len(log_q[0])):
        of_class = [line[c] for line in log_q]
        ruled_out = log_q[k][c].real == -math.inf != max(value.real for value in of_class)
        by_class.append(below(of_class if ruled_out else [line[c] for line in ratios]))
    return by_class


def dist(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    temperature_squared: bool = True,
    epsilon: float = 0.0,
) -> Number:
    """One minus the correlation of probabilities, over classes and over samples.

    Shapes
        student, teacher (B, C)  →  a number

    Definition, with q = softmax(student / T), p = softmax(teacher / T)
        ρ(x, y) = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y; 0 for a constant
        inter = 1 − Σ_b ρ(q[b,:], p[b,:]) / B
        intra = 1 − Σ_c ρ(q[:,c], p[:,c]) / C
        T² (β inter + γ intra), without the T² unless `temperature_squared`
    """
    batch, classes = student.shape
    s, t = student.tolist(), teacher.tolist()
    log_q, log_p = ([log_softened(line, temperature) for line in of] for of in (s, t))
    factor = temperature**2 if temperature_squared else 1.0
    inter: Number = 0.0
    for b in range(batch):
        x, y = below(s[b], temperature), below(t[b], temperature)
        inter += _one_less_correlation(x, y, log_q[b], log_p[b], epsilon) / batch
    x_of = _between_samples(s, log_q, temperature)
    y_of = _between_samples(t, log_p, temperature)
    intra: Number = 0.0
    for c in range(classes):
        q_of, p_of = ([line[c] for line in of] for of in (log_q, log_p))
        intra += _one_less_correlation(x_of[c], y_of[c], q_of, p_of, epsilon) / classes
    return factor * (beta * inter + gamma * intra)


def standardize(logits: np.ndarray, *, ddof: int = 0, epsilon: float = 1e-7) -> np.ndarray:
    """Logits less their mean, divided by their standard deviation, for each sample.

    Shapes
        logits (B, C)  →  y (B, C)

    Definition, with m[b] = Σ_c x[b,c] / C
        s[b] = √(Σ_c (x[b,c] − m[b])² / (C − ddof))
        y[b,c] = (x[b,c] − m[b]) / (ε + s[b]), or 0 where s[b] is 0
    """
    batch, classes = logits.shape
    y = np.empty_like(logits)
    for b in range(batch):
        centred = centred_by_mean(logits[b].tolist())
        s = np.sqrt(product(centred, centred) / (classes - ddof)).item()
        for c in range(classes):
            y[b, c] = 0.0 if s == 0 else centred[c] / (epsilon + s)
    return y
