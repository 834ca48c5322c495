"""The losses' textbook formulas, with how far rounding may take their values and gradients.

    results = loss(ARITHMETICS["float32"], "kl", {"student": exact(y), "teacher": exact(t)}, {})
    results["value"].value, results["value"].error, results["gradient"].error

A formula is evaluated once, in numbers that carry their bound and know where they come from
(`traced`), and the gradient is what automatic differentiation makes of it.

Several ways of writing a formula are textbook (log softmax or the logarithm of softmax; distances
from differences or from products). Every one is evaluated, and the bound is the largest of theirs.

What comes back as value is npkd.losses' own, in float64; its error is in the bounds, by `gamma`.
Only of the wrong programs that npkd.losses has not (see WRONG) it is the tape's.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npkd import losses
from npkd.validate.bounds.rounding import EXP, Arithmetic, Rounded
from npkd.validate.bounds.traced import (
    Traced,
    gradients,
    leaf,
    log_softmax,
    log_sum_exp,
    softmax,
    summed,
)

# Arguments that no loss has: faults are "the same operation with other options".
WRONG = {
    "axis": "softmax along this axis, 0: over the batch",
    "double_softmax": "the student's probabilities are taken for logits",
    "swapped": "prediction and target exchanged: Σ −student log softmax(one-hot labels) for "
    "cross_entropy, Σ −q log p for soft_cross_entropy, and `reversed` for kl",
    "sign": "what the gradient is multiplied by",
    "divisor": "what value and gradient are divided by in place of what the reduction says",
    "detached": "the gradient is 0",
}
NO_OPTIONS: Mapping[str, Any] = {}


def _stacked(a: Traced, b: Traced) -> Traced:
    """Columns (B, 1) side by side: (B, 2)."""
    left, right = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    return a * left + b * right


# What formulas share


def _reduced(
    terms: Traced, reduction: str, divisor: int | None = None, *, apart: bool = False
) -> Traced:
    """One number out of terms (B, …), all added up in any order; or one for each sample.

    apart: "none" keeps entries.
    """
    divisors = {"none": 1, "sum": 1, "batchmean": len(terms.value), "elementmean": terms.value.size}
    by = divisors[reduction] if divisor is None else divisor
    if reduction != "none":
        total = terms.sum()
    else:
        total = terms if apart else terms.sum(tuple(range(1, terms.value.ndim)))
    return total / float(by)


def _log_probabilities(z: Traced, way: int, axis: int = -1) -> Traced:
    """log softmax, or the logarithm of softmax."""
    return log_softmax(z, axis) if way == 0 else softmax(z, axis).log()


def _probabilities(z: Traced, way: int, axis: int = -1) -> Traced:
    """The exponential of log softmax, or softmax."""
    return log_softmax(z, axis).exp() if way == 0 else softmax(z, axis)


def _tempered(x: Traced, temperature: float) -> Traced:
    return x / temperature if temperature != 1 else x


def _factor(x: Traced, temperature: float, squared: bool) -> Traced:
    """T², or 1, which rounds as T does and once more."""
    t = x._constant(temperature if squared else 1.0)
    return t * t


def _divergence(log_p: Traced, log_q: Traced) -> Traced:
    """p (log p − log q), entry by entry; or as p φ(u), u = log q − log p, which npkd has.

    φ(u) = e^u − 1 − u, and from u = 1 on p φ(u) = q − p − p u. Those terms are others, but their
    sum is the same, and where p and q are functions of logits its gradient is.
    """
    p = log_p.exp()
    terms = p * (log_p - log_q)
    p, u, q = p.fixed, (log_q - log_p).fixed, log_q.fixed.exp()
    near, far = p * (u.expm1() - u), q - p - p * u
    error = np.where(
        u.value < 1 - u.error,
        near.error,
        np.where(u.value > 1 + u.error, far.error, np.maximum(near.error, far.error)),
    )
    # φ's terms are larger where q is: what their sum's additions round is counted as well.
    n = terms.value.size
    size = np.where(u.value <= 1, near.most, far.most)
    return terms.allowing(error + terms.arithmetic.gamma_of_sum(n) * size)


def _centred(x: Traced) -> Traced:
    """Rows less their means; rows whose variation is within rounding may be taken for constant."""
    n = x.shape[-1]
    if n == 1:
        return x._constant(np.zeros(x.shape))
    c = x - x.mean(-1, keepdims=True)
    varies, largest = (np.max(of, axis=-1, keepdims=True) for of in (c.size - c.error, x.most))
    constant = varies <= 2 * n * x.arithmetic.stored.u * largest
    return c.allowing(c.error + np.where(constant, c.size, 0))


def _length(x: Traced) -> Traced:
    """‖x‖ along the last axis, kept."""
    return (x * x).sum(-1, keepdims=True).sqrt()


def _unit(x: Traced, epsilon: float = 0.0) -> Traced:
    """x / (‖x‖ + ε) along the last axis; 0 where x is."""
    n = _length(x)
    return x.over(n + epsilon * np.where(n.is_zero, 0, 1))


def _flat(x: Traced) -> Traced:
    """(B, …) as rows."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _channels(x: Traced) -> Traced:
    """(B, C, H, W) as (B, C, H·W)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _positions(x: Traced) -> Traced:
    """(B, C, …) as rows (B·…, C), one for each position."""
    rows = x.transpose(0, *range(2, x.value.ndim), 1)
    return rows.reshape(x.value.size // max(1, x.shape[1]), x.shape[1])


def _regressed(x: Traced, weight: Traced | None, bias: Traced | None = None) -> Traced:
    """Rows (B·…, O): weight · x + bias at every position, or x as it is."""
    rows = _positions(x)
    if weight is None:
        return rows
    y = rows @ weight.mT
    return y if bias is None else y + bias


def _differences(x: Traced) -> Traced:
    """v[i,j] = x[j] − x[i], (B, B, D); of a sample to itself 0, whatever its error."""
    b, d = x.shape
    apart = 1 - np.eye(b)[:, :, np.newaxis]
    return (x.reshape(1, b, d) - x.reshape(b, 1, d)) * apart


# Formulas of the losses on outputs


def _l2(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    reduction: str,
    half: bool,
    temperature: float,
    temperature_squared: bool,
    variant: str,
    axis: int = -1,
    double_softmax: bool = False,
    swapped: bool = False,
    divisor: int | None = None,
) -> Traced:
    """½ Σ Δ², Δ = (student − teacher) / T, or student/T − teacher/T."""
    if double_softmax:
        student = softmax(student)
    if variant == "paper" and way == 0:
        delta = _tempered(student - teacher, temperature)
    else:
        s, t = _tempered(student, temperature), _tempered(teacher, temperature)
        if variant == "probabilities":
            s, t = _probabilities(s, way, axis), _probabilities(t, way, axis)
        if variant == "log-probabilities":
            s, t = _log_probabilities(s, way, axis), _log_probabilities(t, way, axis)
        delta = s - t
    terms = delta * delta * (0.5 if half else 1.0)
    terms = _factor(terms, temperature, temperature_squared) * terms
    return _reduced(terms, reduction, divisor, apart=True)


def _l1(student: Traced, teacher: Traced, way: int, *, reduction: str, **wrong: Any) -> Traced:
    """Σ |Δ|"""
    return _reduced((student - teacher).abs(), reduction, apart=True, **wrong)


def _huber(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    delta: float,
    reduction: str,
    variant: str,
    **wrong: Any,
) -> Traced:
    """Σ h(Δ), or Σ h(Δ) / δ."""
    terms = (student - teacher).huber(delta)
    return _reduced(terms / delta if variant == "smooth" else terms, reduction, apart=True, **wrong)


def _kl(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    temperature: float,
    temperature_squared: bool,
    reduction: str,
    variant: str,
    axis: int = -1,
    double_softmax: bool = False,
    swapped: bool = False,
    divisor: int | None = None,
) -> Traced:
    """T² Σ p (log p − log q), or T² Σ (p log p − p log q) as PyTorch's kl_div has it."""
    if double_softmax:
        student = softmax(student)
    if swapped:
        variant = {"paper": "reversed", "unlogged": "reversed unlogged"}.get(variant, variant)
    s, t = _tempered(student, temperature), _tempered(teacher, temperature)
    log_q, log_p = (_log_probabilities(z, max(0, way - 1), axis) for z in (s, t))
    if variant.startswith("reversed"):
        log_q, log_p, s, t = log_p, log_q, t, s
    if variant.endswith("unlogged"):
        log_q = _probabilities(s, way, axis)
        # Σ p q and Σ p log p do not cancel as logarithms do: no φ
        terms = log_p.exp() * (log_p - log_q)
    elif way == 0:
        terms = _divergence(log_p, log_q)
    if way > 0:
        p = softmax(t, axis)
        terms = p * p.log() - p * log_q
    return _reduced(_factor(terms, temperature, temperature_squared) * terms, reduction, divisor)


def _soft_cross_entropy(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    temperature: float,
    temperature_squared: bool,
    reduction: str,
    axis: int = -1,
    double_softmax: bool = False,
    swapped: bool = False,
    divisor: int | None = None,
) -> Traced:
    """−T² Σ p log q"""
    if double_softmax:
        student = softmax(student)
    s, t = _tempered(student, temperature), _tempered(teacher, temperature)
    if swapped:
        s, t = t, s
    terms = -(_probabilities(t, way, axis) * _log_probabilities(s, way, axis))
    return _reduced(_factor(terms, temperature, temperature_squared) * terms, reduction, divisor)


def _cross_entropy(
    logits: Traced,
    labels: np.ndarray,
    way: int,
    *,
    reduction: str,
    axis: int = -1,
    double_softmax: bool = False,
    swapped: bool = False,
    divisor: int | None = None,
) -> Traced:
    """−Σ_b log softmax(logits[b])[l_b]; swapped: −Σ logits log softmax(one-hot labels)."""
    if double_softmax:
        logits = softmax(logits)
    rows = np.arange(len(labels))
    if swapped:
        one_hot = np.zeros(logits.shape)
        one_hot[rows, labels] = 1
        log_p = _log_probabilities(logits._constant(one_hot), way, axis)
        return _reduced(-(logits * log_p), reduction, divisor)
    log_p = _log_probabilities(logits, way, axis)
    return _reduced(-log_p[rows, labels], reduction, divisor, apart=True)


def _limit(student: Traced, teacher: Traced, way: int, *, reduction: str, **wrong: Any) -> Traced:
    """Σ (Δ − m)² / 2C, m = Σ_c Δ / C, or (Σ Δ² − (Σ_c Δ)² / C) / 2C."""
    delta, classes = student - teacher, student.shape[1]
    if way == 0:
        c = delta - delta.mean(-1, keepdims=True)
        terms = c * c / (2 * classes)
        return _reduced(terms, reduction, **wrong)
    total = delta.sum(-1, keepdims=True)
    squares = _reduced(delta * delta, reduction, 1)
    less = _reduced(total * total / float(classes), reduction, 1)
    value = (squares - less) / float(2 * classes)
    divisors = {"batchmean": len(delta.value), "elementmean": delta.value.size}
    return value / float(wrong.get("divisor") or divisors.get(reduction, 1))


def _dkd(
    student: Traced,
    teacher: Traced,
    labels: np.ndarray,
    way: int,
    *,
    alpha: float,
    beta: float,
    temperature: float,
    temperature_squared: bool,
    reduction: str,
    divisor: int | None = None,
) -> Traced:
    """T² (α TCKD + β NCKD): from logits, or, as mdistiller has TCKD, from sums of softmax."""
    count, classes = student.shape
    is_label = np.arange(classes) == np.asarray(labels)[:, np.newaxis]

    def taken_apart(z: Traced) -> tuple[Traced, Traced]:
        rest = z[~is_label].reshape(count, classes - 1)
        if way == 0:
            two = _stacked(z[is_label].reshape(count, 1), log_sum_exp(rest))
            return log_softmax(two), log_softmax(rest)
        q = softmax(z)
        of_rest = q[~is_label].reshape(count, classes - 1).sum(-1, keepdims=True)
        two = _stacked(q[is_label].reshape(count, 1), of_rest)
        return two.log(), log_softmax(rest)

    two_s, rest_s = taken_apart(_tempered(student, temperature))
    two_t, rest_t = taken_apart(_tempered(teacher, temperature))

    def divergence(log_p: Traced, log_q: Traced) -> Traced:
        if way == 0:
            return _divergence(log_p, log_q)
        p = log_p.exp()
        return p * log_p - p * log_q

    by_two = _reduced(divergence(two_t, two_s), reduction, divisor) * alpha
    by_rest = _reduced(divergence(rest_t, rest_s), reduction, divisor) * beta
    value = by_two + by_rest
    return _factor(value, temperature, temperature_squared) * value


def _dist(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    beta: float,
    gamma: float,
    temperature: float,
    temperature_squared: bool,
    epsilon: float,
) -> Traced:
    """T² (β (1 − mean ρ over classes) + γ (1 − mean ρ over the batch)).

    ρ = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), or the product of x̃/‖x̃‖ and ỹ/‖ỹ‖, for ε corrected.
    """
    q, p = (softmax(_tempered(z, temperature)) for z in (student, teacher))

    def correlation(x: Traced, y: Traced) -> Traced:
        x, y = _centred(x), _centred(y)
        both = _length(x) * _length(y)
        by = both + epsilon * np.where(both.is_zero, 0, 1)
        if way == 0:
            return (x * y).sum(-1, keepdims=True).over(by).mean()
        rho = (_unit(x) * _unit(y)).sum(-1, keepdims=True)
        return (rho * both.over(by) if epsilon else rho).mean()

    inter, intra = correlation(q, p), correlation(q.mT, p.mT)
    value = (-inter + 1.0) * beta + (-intra + 1.0) * gamma
    return _factor(value, temperature, temperature_squared) * value


def _mix(
    student: Traced,
    teacher: Traced,
    labels: np.ndarray,
    way: tuple[int, int],
    *,
    alpha: float,
    soft: str,
    soft_options: Mapping[str, Any],
    hard_options: Mapping[str, Any],
) -> Traced:
    """(1 − α) cross_entropy + α soft"""
    of_hard: dict[str, Any] = {"logits": student, "labels": labels}
    hard = _value("cross_entropy", of_hard, hard_options, way[0])
    given: dict[str, Any] = {"student": student, "teacher": teacher}
    if "labels" in inspect.signature(getattr(losses, soft)).parameters:
        given |= {"labels": labels}
    of_soft = _value(soft, given, soft_options, way[1])
    share = student._constant(alpha)
    return (-share + 1.0) * hard + share * of_soft


def _standardize(logits: Traced, way: int, *, ddof: int, epsilon: float) -> Traced:
    """(x − m) / (ε + s), s = √(Σ (x − m)² / (C − ddof))"""
    c = _centred(logits)
    s = ((c * c).sum(-1, keepdims=True) / float(logits.shape[1] - ddof)).sqrt()
    return c.over(s + epsilon)


# Formulas of the losses on features and relations


def _hint(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    weight: Traced | None = None,
    bias: Traced | None = None,
    half: bool,
    reduction: str,
    divisor: int | None = None,
) -> Traced:
    """Σ (weight · student + bias − teacher)²"""
    delta = _regressed(student, weight, bias) - _positions(teacher)
    terms = delta * delta * (0.5 if half else 1.0)
    batch = len(student.value) if reduction == "batchmean" else None
    return _reduced(terms, reduction, divisor or batch)


def _attention(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    power: float,
    reduction: str,
    variant: str,
    epsilon: float,
    divisor: int | None = None,
) -> Traced:
    """Σ ‖Q − R‖², Q the map Σ_c |student|^p / C over its length plus ε; or Σ ‖Q − R‖."""

    def of(features: Traced) -> Traced:
        return _unit(_flat(features.abs().power(power).mean(1)), epsilon)

    delta = of(student) - of(teacher)
    if variant == "norm":
        return _reduced(_length(delta), reduction, divisor)
    return _reduced(delta * delta, reduction, divisor)


def _nst(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    reduction: str,
    epsilon: float,
    divisor: int | None = None,
) -> Traced:
    """Σ k(s, s) / C² + Σ k(t, t) / D² − 2 Σ k(s, t) / CD, k(x, y) = (Σ x y)²"""
    s, t = (_unit(_channels(f), epsilon) for f in (student, teacher))

    def kernel(x: Traced, y: Traced) -> Traced:
        product = x @ y.mT
        many = x.shape[1] * y.shape[1]
        return _reduced(product * product, reduction, 1) / float(many)

    value = kernel(s, s) + kernel(t, t) - kernel(s, t) * 2.0
    by = {"batchmean": len(student.value)}.get(reduction, 1)
    return value / float(divisor or by)


def _fsp(
    first: Traced,
    second: Traced,
    teacher_first: Traced,
    teacher_second: Traced,
    way: int,
    *,
    weight_first: Traced | None = None,
    weight_second: Traced | None = None,
    reduction: str,
    variant: str,
    divisor: int | None = None,
) -> Traced:
    """Σ (G − G')², G = Σ_i f[:, i] g[:, i] / (H W); or the sum of lengths of its columns."""

    def rows(x: Traced, weight: Traced | None) -> Traced:
        """(B, H·W, C')"""
        y = _regressed(x, weight)
        return y.reshape(x.shape[0], math.prod(x.shape[2:]), y.shape[1])

    def flow(f: Traced, g: Traced) -> Traced:
        """(B, D', C')"""
        return g.mT @ f / float(f.shape[1])

    own = flow(rows(first, weight_first), rows(second, weight_second))
    delta = own - flow(rows(teacher_first, None), rows(teacher_second, None))
    terms = _length(delta) if variant == "norms" else delta * delta
    return _reduced(terms, reduction, divisor)


def _vid(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    scale: Traced,
    weight: Traced | None = None,
    bias: Traced | None = None,
    epsilon: float,
    reduction: str,
    variant: str,
    divisor: int | None = None,
) -> Traced:
    """Σ ½ ((μ − teacher)² / σ² + log σ²), σ² = log(1 + e^scale) + ε, at once or step by step."""
    variance = scale.softplus() if way == 0 else (scale.exp() + 1.0).log()
    variance = variance + epsilon
    if variant == "fixed":
        variance = variance.fixed
    error = _regressed(student, weight, bias) - _positions(teacher)
    # The logarithm is of each channel, or of each entry
    terms = (error * error / variance + variance.log()) * 0.5
    batch = len(student.value) if reduction == "batchmean" else None
    return _reduced(terms, reduction, divisor or batch)


def _similarity(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    reduction: str,
    variant: str,
    divisor: int | None = None,
) -> Traced:
    """Σ (G − G')², G the products of samples, rows divided by their length, or by Σ |·|."""

    def of(features: Traced) -> Traced:
        f = _flat(features)
        p = f @ f.mT
        return _unit(p) if variant == "paper" else p.over(p.abs().sum(-1, keepdims=True))

    delta = of(student) - of(teacher)
    return _reduced(delta * delta, reduction, divisor)


def _rkd_distance(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    delta: float,
    reduction: str,
    divisor: int | None = None,
) -> Traced:
    """Σ h(ψ − ψ'), ψ = d / mean of d above 0, d[i,j] = ‖f[i] − f[j]‖; or d² from products."""

    def of(features: Traced) -> Traced:
        f = _flat(features)
        b = f.shape[0]
        if way == 0:
            v = _differences(f)
            squares = (v * v).sum(-1)
        else:
            own = (f * f).sum(-1)
            both = own.reshape(b, 1) + own.reshape(1, b)
            squares = (both - f @ f.mT * 2.0) * (1 - np.eye(b))
        d = squares.sqrt()
        apart = d.value > 0
        if np.any((d.error >= d.value) & (d.error > 0)):  # how many are above 0 is open
            d = d.unknown()
        many = max(1, int(np.count_nonzero(apart)))
        return d.over(d.sum() / float(many))

    return _reduced((of(student) - of(teacher)).huber(delta), reduction, divisor)


def _rkd_angle(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    delta: float,
    reduction: str,
    divisor: int | None = None,
) -> Traced:
    """Σ h(ψ − ψ'), ψ[i,j,k] = Σ_d e[i,j,d] e[i,k,d], e[i,j] the direction from i to j"""

    def of(features: Traced) -> Traced:
        e = _unit(_differences(_flat(features)))
        return e @ e.mT

    return _reduced((of(student) - of(teacher)).huber(delta), reduction, divisor)


def _pkt(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    epsilon: float,
    reduction: str,
    divisor: int | None = None,
) -> Traced:
    """Σ p log((p + ε) / (q + ε)), q[i] = s[i] / Σ s[i], s = (cosines + 1) / 2"""

    def of(features: Traced) -> Traced:
        u = _unit(_flat(features), epsilon)
        s = (u @ u.mT + 1.0) * 0.5
        return s / s.sum(-1, keepdims=True)

    q, p = of(student), of(teacher)
    return _reduced(p * ((p + epsilon) / (q + epsilon)).log(), reduction, divisor)


def _cc(
    student: Traced,
    teacher: Traced,
    way: int,
    *,
    gamma: float,
    order: int,
    reduction: str,
    variant: str,
    divisor: int | None = None,
) -> Traced:
    """Σ (K − K')², K = Σ_p e^−2γ (2γ)^p / p! · c^p, c the products of samples of length 1.

    The weights may have been computed in this arithmetic: e^−2γ has EXP + 2γ roundings, (2γ)^p
    twice p, and p! as many as p.
    """
    s, t = _flat(student), _flat(teacher)
    count = s.shape[0]
    if variant == "consecutive":
        a = (s - t).abs()
        between = max(1, count - 1)
        terms = a[:-1] * a[1:]
        return _reduced(terms, "sum", divisor or (1 if reduction == "sum" else between))

    def kernel(f: Traced) -> Traced:
        f = _unit(f) if variant == "paper" else f
        c = f @ f.mT
        if variant == "bilinear":
            return c
        terms = []
        for p in range(order + 1):
            weight = s._constant(math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p))
            off = s.arithmetic.gamma(EXP + 2 * gamma + 3 * p + 2) * weight.value
            weight = weight.allowing(np.asarray(off))
            terms.append(c.power(p) * weight)
        return summed(terms)

    delta = kernel(s) - kernel(t)
    if variant == "norm":
        length = (delta * delta).sum().sqrt()
        by = {"sum": 1, "batchmean": count, "elementmean": count**2}[reduction]
        return length / float(divisor or by)
    return _reduced(delta * delta, reduction, divisor)


FORMULAS: dict[str, tuple[Callable[..., Traced], int]] = {
    # Each with the number of ways it is written in
    "l2": (_l2, 2),
    "l1": (_l1, 1),
    "huber": (_huber, 1),
    "kl": (_kl, 3),
    "soft_cross_entropy": (_soft_cross_entropy, 2),
    "cross_entropy": (_cross_entropy, 2),
    "limit": (_limit, 2),
    "dkd": (_dkd, 2),
    "dist": (_dist, 2),
    "standardize": (_standardize, 1),
    "hint": (_hint, 1),
    "attention": (_attention, 1),
    "nst": (_nst, 1),
    "fsp": (_fsp, 1),
    "vid": (_vid, 2),
    "similarity": (_similarity, 1),
    "rkd_distance": (_rkd_distance, 2),
    "rkd_angle": (_rkd_angle, 1),
    "pkt": (_pkt, 1),
    "cc": (_cc, 1),
}


# The losses


def loss(
    arithmetic: Arithmetic, name: str, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, Rounded]:
    """The value of a loss and its gradients, with their bounds.

    inputs   the loss's arrays by its arguments' names, labels too; those that are left out are None
    options  its other arguments, or those of WRONG. For `mix`, `soft` is a loss's name ("l2" by
             default), `soft_options` and `hard_options` are the two losses' own

    Gives "value", "gradient" by the first argument, and "gradient_NAME" by every other one that is
    trained. For `standardize` "y", and "dx" if there is an input "dy".
    """
    with np.errstate(all="ignore"):
        results = by_tape(arithmetic, name, inputs, options)
        if not _is_wrong(options):
            for key, right in _by_npkd(name, inputs, options).items():
                results[key].value = right
    return results


def by_tape(
    arithmetic: Arithmetic, name: str, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, Rounded]:
    """What `loss` gives, with the values that the formulas have by themselves."""
    with np.errstate(all="ignore"):
        first, *others = [
            _one_way(arithmetic, name, inputs, options, way) for way in _ways(name, options)
        ]
        for other in others:
            for key, result in first.items():
                error = np.asarray(other[key].error)
                more = np.where(np.isfinite(error), error, 0)
                result.error = np.maximum(result.error, more)
                result.roundings = max(result.roundings, other[key].roundings)
    return first


def _ways(name: str, options: Mapping[str, Any]) -> list[Any]:
    """All ways in which a loss is written."""
    if name == "mix":
        _, soft = FORMULAS[options.get("soft", "l2")]
        return list(itertools.product(range(FORMULAS["cross_entropy"][1]), range(soft)))
    return list(range(FORMULAS[name][1]))


def _one_way(
    arithmetic: Arithmetic,
    name: str,
    inputs: Mapping[str, Rounded],
    options: Mapping[str, Any],
    way: Any,
) -> dict[str, Rounded]:
    trained = _trained(name, inputs)
    given: dict[str, Any] = {
        key: np.asarray(x.value) if key == "labels" else leaf(arithmetic, x, key in trained)
        for key, x in inputs.items()
    }
    dy = given.pop("dy", None)
    y = _value(name, given, options, way)
    leaves = [given[key] for key in trained]
    if name == "standardize":
        # Σ dy y has the gradient dx by the logits; its product by 1 is exact
        return {"y": y.rounded} | (
            {"dx": gradients(y * dy, leaves)[0].rounded} if dy is not None else {}
        )
    found = [gradient.rounded for gradient in gradients(y, leaves)]
    return {"value": y.rounded} | dict(zip(_keys(trained), found, strict=True))


def _value(name: str, given: Mapping[str, Any], options: Mapping[str, Any], way: Any) -> Traced:
    """The value of a loss by its formula, its gradient turned or cut as options say."""
    options = dict(options)
    sign, detached = options.pop("sign", 1), options.pop("detached", False)
    if name == "mix":
        formula: Callable[..., Traced] = _mix
        options = {"soft": "l2", "soft_options": {}, "hard_options": {}} | options
    else:
        formula = FORMULAS[name][0]
        parameters = inspect.signature(getattr(losses, name)).parameters.values()
        defaults = {
            one.name: one.default
            for one in parameters
            if one.kind is inspect.Parameter.KEYWORD_ONLY
        }
        options = defaults | options
    value = formula(**given, way=way, **options)
    if detached:
        return value.fixed
    return value.steered(sign) if sign != 1 else value


def _trained(name: str, inputs: Mapping[str, Rounded]) -> list[str]:
    """The arguments that there are gradients by, in order."""
    arguments = inspect.signature(getattr(losses, name)).parameters
    return [one for one in arguments if one in inputs and not one.startswith(("teacher", "labels"))]


def _keys(trained: list[str]) -> list[str]:
    return ["gradient", *(f"gradient_{name}" for name in trained[1:])]


def _is_wrong(options: Mapping[str, Any]) -> bool:
    """Whether npkd.losses has no such loss."""
    within = [options.get("soft_options", {}), options.get("hard_options", {})]
    return any(WRONG.keys() & one.keys() for one in (options, *within))


def _by_npkd(
    name: str, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """npkd.losses' own results, in float64."""
    given = {
        key: np.asarray(x.value) if key == "labels" else np.asarray(x.value, dtype=np.float64)
        for key, x in inputs.items()
    }
    if name == "standardize":
        dy = given.pop("dy", None)
        y, backward = losses.standardize(given["logits"], **options)
        return {"y": y} | ({"dx": backward(dy)} if dy is not None else {})
    value, found = loss_of(name)(**given, **options)
    found = found if isinstance(found, tuple) else (found,)
    keys = _keys(_trained(name, inputs))
    return {"value": np.asarray(value)} | dict(zip(keys, found, strict=True))


def loss_of(name: str) -> Callable:
    """A loss of npkd.losses; `mix` as programs have it, with its two losses by name."""
    return _named_mix if name == "mix" else getattr(losses, name)


def _named_mix(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float,
    soft: str = "l2",
    soft_options: Mapping[str, Any] = NO_OPTIONS,
    hard_options: Mapping[str, Any] = NO_OPTIONS,
) -> tuple[np.ndarray, np.ndarray]:
    of_soft = dict(soft_options)
    if "labels" in inspect.signature(getattr(losses, soft)).parameters:
        of_soft["labels"] = labels
    return losses.mix(
        student,
        teacher,
        labels,
        alpha=alpha,
        soft=functools.partial(getattr(losses, soft), **of_soft),
        hard=functools.partial(losses.cross_entropy, **hard_options),
    )
