"""Losses that measure how far the student's class probabilities are from the teacher's."""

from functools import partial

import numpy as np

from npkd.arguments import as_float, is_integer, require_arrays, require_axes, shown
from npkd.losses.arguments import (
    choice,
    in_range,
    not_negative,
    number,
    require_labels,
    require_logits,
    temperatures,
)
from npkd.losses.facts import divisor_of, loss
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
    by_logits,
    difference,
    divergence,
    less,
    log_mixture,
    log_ratio,
    log_softened,
    of_infinite,
    steps,
)
from npkd.ops.contract import Op, require_gradient


@loss("logits", "batchmean sum elementmean none")
def kl(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
    variant: str = "paper",
    skew: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The Kullback-Leibler divergence of softened probabilities, Hinton's distillation loss.

    Shapes
        student, teacher logits (B, C)  →  value (), or (B,) for "none"; gradient (B, C)

    Definition (p = softmax(teacher / T), q = softmax(student / T), along the classes)
        loss_b = T² Σ_c p[b,c] (log p[b,c] − log q[b,c])
        "none": loss_b   "sum": Σ_b loss_b   "batchmean": Σ_b loss_b / B   "elementmean": … / (B·C)
    computed as T² Σ_c p φ(u) with u = log q − log p, which has its digits from (student − teacher)
    / T where the two are near, and φ(u) = e^u − 1 − u: the same, since p and q both sum to 1, but
    no term is negative and none cancels (`npkd.losses.softened`)

    Gradient by the student
        ∂ log q[c] / ∂z[j] = ([c = j] − q[j]) / T, and Σ p = 1, so
        ∂loss_b/∂z[j] = −T² Σ_c p[c] ([c = j] − q[j]) / T = T (q[j] − p[j]), divided as the value is
        and q − p = p (e^u − 1), which keeps its digits where q is near p

    Conventions
        T² keeps the gradient's size when T grows; temperature_squared=False leaves it out.
        variant="reversed" exchanges the two: Σ q (log q − log p), with gradient
        T q[j] (r[j] − Σ_c q[c] r[c]), r = log q − log p. Two mistakes are offered to be recognised:
        "unlogged", probabilities given as if they were their logarithms, Σ p (log p − q), r = −p,
        and with it "reversed unlogged", Σ q (log q − p), r = log q − p; gradients have a bit fewer.
        skew=α above 0 mixes what is diverged from with what diverges: Σ p (log p − log m) with
        m = α p + (1 − α) q, and gradient −T (1 − α) q[j] (r[j] − Σ_c q[c] r[c]), r = p / m; for
        "reversed" Σ q (log q − log m), m = α q + (1 − α) p, with T in the place of −T (1 − α), and
        r = log q − log m − α q / m, with fewer digits by log10 1/(1 − α).
        Logits / T below the smallest normal number lose digits by the division.
        A class at −∞ is ruled out: a term with p = 0 counts 0 · log 0 = 0, so that it adds nothing
        if the teacher alone rules it out, and the loss is ∞ if the student alone does.

    Elsewhere: KLDivLoss by default averages over all entries: "elementmean", C times too small;
    without T² the loss is T² times too small.
    Raises ValueError as all losses do, and for T not above 0.
    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.

    Example
        >>> student, teacher = np.log([[1.0, 3.0]]), np.zeros((1, 2))  # q = (¼, ¾), p = (½, ½)
        >>> losses.kl(student, teacher, temperature=1.0)  # ½ log 2 + ½ log ⅔, q − p
        (np.float64(0.1438...), array([[-0.25,  0.25]]))
    """
    require_logits("kl", student, teacher)
    t, factor = temperatures("kl", temperature, temperature_squared)
    choice("kl", "variant", variant, "paper", "reversed", "unlogged", "reversed unlogged")
    if not 0 <= as_float(skew) < 1 or (skew and variant.endswith("unlogged")):
        raise ValueError(
            f"kl: skew is {shown(skew)}, expected a number from 0 to below 1, and 0 where unlogged"
        )
    divisor = divisor_of("kl", reduction, len(student), student.size)
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
        if skew:
            own = variant == "paper"  # the mixture is mostly of what diverges, q, or p if reversed
            shares = (float(skew), 1 - float(skew)) if own else (1 - float(skew), float(skew))
            value, dq = _from_mixture(p, q, u, shares, (1, 0) if own else (0, 1), times)
            gradient = of_infinite(partial(by_logits, q), dq)
        elif variant == "reversed":
            value = divergence(q, p, -u, times)
            gradient = of_infinite(partial(by_logits, q), r)
        else:
            value, gradient = divergence(p, q, u, times), difference(p, q, u)
    if reduction != "none":
        value = value.sum() / divisor
    return value, (factor / t / divisor) * gradient


@loss("logits", "batchmean sum elementmean none")
def js(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> tuple[np.ndarray, np.ndarray]:
    """The generalised Jensen-Shannon divergence: how far both are from a mixture of them.

    Shapes
        student, teacher logits (B, C)  →  value (), or (B,) for "none"; gradient (B, C)

    Definition (p = softmax(teacher / T), q = softmax(student / T), m = β p + (1 − β) q)
        loss_b = T² (β Σ_c p (log p − log m) + (1 − β) Σ_c q (log q − log m));   reduced as in `kl`
    computed from u = log q − log p as in `kl`, log m − log p = log(1 + (1 − β)(e^u − 1))

    Gradient by the student
        ∂loss_b/∂q[c] = T² (1 − β)(log q[c] − log m[c] + 1 − (β p[c] + (1 − β) q[c]) / m[c])
        of which the last two terms are 0, so with r = log q − log m
        ∂loss_b/∂z[j] = T (1 − β) q[j] (r[j] − Σ_c q[c] r[c])

    Conventions
        As β goes to 0, loss / β goes to the `kl` of the teacher from the student, and as it goes to
        1, loss / (1 − β) to the reversed one. At 0 and 1 the loss itself is 0; libraries put these
        two in its place, so they are refused here. A class at −∞ as in `kl`, but that it costs at
        most −log of a share. variant="exchanged" mixes m = (1 − β) p + β q, a mistake offered to be
        recognised; at β = ½ it is the same.
    Digits: fewer in the gradient, by log10 T, where the student alone rules out a class and T is
    high: r is then nearly the same for all others.

    Elsewhere: see `conventions`. TRL's GKDTrainer had m exchanged, and without labels divides by
    sequences in place of tokens.
    Raises ValueError as all losses do, for T not above 0, and for a β that is not between 0 and 1.
    Source: Agarwal et al. 2024, "On-Policy Distillation of Language Models", equation 1.

    Example
        >>> student, teacher = np.log([[1.0, 3.0]]), np.log([[3.0, 1.0]])  # m = (½, ½)
        >>> losses.js(student, teacher)  # ¾ log 3/2 + ¼ log ½, ½ q (log q/m − …)
        (np.float64(0.1308...), array([[-0.1029...,  0.1029...]]))
    """
    require_logits("js", student, teacher)
    t, factor = temperatures("js", temperature, temperature_squared)
    choice("js", "variant", variant, "paper", "exchanged")
    if not 0 < as_float(beta) < 1:
        raise ValueError(
            f"js: beta is {shown(beta)}, expected a number between 0 and 1; for what is put in its "
            'place at 0 and at 1 see kl, and its variant="reversed"'
        )
    divisor = divisor_of("js", reduction, len(student), student.size)
    beta = float(beta)
    log_p, log_q = log_softened(teacher, t), log_softened(student, t)
    u, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)
    shares = (beta, 1 - beta) if variant == "paper" else (1 - beta, beta)
    times = t if temperature_squared else 1.0
    p, q = np.exp(log_p), np.exp(log_q)
    value, dq = _from_mixture(p, q, u, shares, (beta, 1 - beta), times)
    if reduction != "none":
        value = value.sum() / divisor
    gradient = of_infinite(partial(by_logits, q), dq)
    return value, (factor / t / divisor) * gradient


def _from_mixture(
    p: np.ndarray,
    q: np.ndarray,
    u: np.ndarray,
    shares: tuple[float, float],
    of_two: tuple[float, float],
    times: float,
) -> tuple[np.ndarray, np.ndarray]:
    """times² (a Σ p (log p − log m) + b Σ q (log q − log m)), (B,), and its gradient by q / times².

    m = s p + r q, (s, r) = shares; (a, b) = of_two. A term by q that all classes have in common is
    left out, as `by_logits` loses it: b (log q/m + 1) − r (a p + b q) / m.
    """
    (s, r), (a, b) = shares, of_two
    m = s * p + r * q
    of_p, of_q = log_mixture(u, s, r), log_mixture(-u, r, s)  # log m/p, log m/q
    halves = [(w, x, of_x) for w, x, of_x in ((a, p, of_p), (b, q, of_q)) if w]  # 0 · ∞ is 0
    value = np.sum([w * divergence(x, m, of_x, times) for w, x, of_x in halves], axis=0)
    dq = -b * of_q if b else np.zeros_like(of_q)
    if a != s:  # else a p + b q is m
        dq = dq - r * np.sum([w * np.expm1(-of_x) for w, _, of_x in halves], axis=0)
    return value, dq


@loss("logits", "batchmean sum elementmean none")
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
        that of `kl`, T (q − p): the two differ by T² Σ p log p, the teacher's entropy, which does
        not depend on the student, and which is left where student and teacher are equal

    Conventions: a class at −∞ as in `kl`.
    Elsewhere: written as Σ p (log p − log q) from probabilities, it is NaN where a p underflows to
    0; here the logarithm comes first. TextBrewer's kd_ce_loss has no T².
    Raises ValueError as `kl` does.
    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.

    Example
        >>> student, teacher = np.log([[1.0, 3.0]]), np.zeros((1, 2))  # as for kl
        >>> losses.soft_cross_entropy(student, teacher, temperature=1.0)  # −½ log ¼ − ½ log ¾
        (np.float64(0.8369...), array([[-0.25,  0.25]]))
    """
    require_logits("soft_cross_entropy", student, teacher)
    t, factor = temperatures("soft_cross_entropy", temperature, temperature_squared)
    divisor = divisor_of("soft_cross_entropy", reduction, len(student), student.size)
    log_p, log_q = log_softened(teacher, t), log_softened(student, t)
    p, q = np.exp(log_p), np.exp(log_q)
    u, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)
    value = -factor * expected(p, log_q)
    if reduction != "none":
        value = value.sum() / divisor
    return value, (factor / t / divisor) * difference(p, q, u)


@loss("logits", "batchmean sum elementmean none")
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

    Example
        >>> losses.limit(np.array([[1.0, 3.0]]), np.zeros((1, 2)))  # (1² + 1²) / 2C
        (np.float64(0.5), array([[-0.5,  0.5]]))
    """
    require_logits("limit", student, teacher)
    divisor = divisor_of("limit", reduction, len(student), student.size)
    classes = student.shape[1]
    delta = of_infinite(lambda of: centred(of)[0], apart(student, teacher))
    value = sum_of_squares(delta, 0.5 / classes)
    if reduction != "none":
        value = value.sum() / divisor
    return value, delta / (classes * divisor)


def expected(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Σ p x along the last axis, where p = 0 adds nothing whatever x is."""
    return (p * np.where(p == 0, 0, x)).sum(axis=-1)


@loss("logits", "batchmean sum none")
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
        loss_b = T² (α TCKD + β NCKD);   reduced as in `kl`, without "elementmean"

    Gradient by the student
        KL's gradient by its logits is q − p. With b = softmax(z[l], o) and r = softmax over the
        rest, ∂o/∂z[c] = r[c] for c ≠ l, and z = student / T:
            at the label    T α (b_s[l] − b_t[l])
            at c ≠ l        T (α (b_s[rest] − b_t[rest]) r_s[c] + β (r_s[c] − r_t[c]))
        divided as the value is. Each row sums to 0.

    As in `kl`, all differences come from those of logits, d = (student − teacher) / T, and from
    o_s − o_t = log Σ_{c≠l} r_t[c] e^{d[c]}.

    Conventions: with α = 1 and β = 1 − b_t[l], sample by sample, it is `kl`. With two classes the
    rest is one class, NCKD is 0, and what is left is α `kl`. Classes at −∞ count as in `kl`; if
    all of the rest is, in either net, NCKD counts as 0. A part of weight 0 counts nothing, even
    where it is ∞.
    Elsewhere: mdistiller leaves the label out by subtracting 1000 from its logit / T, which comes
    to the same unless logits / T are that far apart.
    Raises ValueError as `kl` and `cross_entropy` do, and for fewer than two classes.
    Source: Zhao, Cui, Song, Qiu and Liang 2022, "Decoupled Knowledge Distillation", equation 7.

    Example
        >>> student, teacher = np.log([[4.0, 1.0, 1.0]]), np.log([[2.0, 1.0, 1.0]])
        >>> losses.dkd(student, teacher, np.array([0]), temperature=1.0)  # ½ log ¾ + ½ log 3⁄2
        (np.float64(0.0588...), array([[ 0.1666..., -0.0833..., -0.0833...]]))
    """
    require_logits("dkd", student, teacher, least=2)
    labels = require_labels("dkd", student, labels)
    t, factor = temperatures("dkd", temperature, temperature_squared)
    alpha, beta = number("dkd", "alpha", alpha), number("dkd", "beta", beta)
    divisor = divisor_of("dkd", reduction, len(student))
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


@loss("logits")
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
        ρ does not change if x is divided by a number. A sample is divided by its largest
        probability, a class by the largest one in the batch, so that a class that is improbable
        everywhere keeps its digits; the gradient is by log q, q dq, which has no such unit.
        At a high temperature probabilities are nearly equal. x̃ is computed from x − 1 = e^a − 1
        with a the difference of two logarithms: of two classes from their logits, of two samples by
        `log_ratio`.

    Conventions
        A constant vector has no correlation with anything: its ρ counts as 0 and passes no
        gradient, so it adds 1/B or 1/C to the loss even where student and teacher are equal. In a
        batch of one every class is constant, and intra is 1. A class at −∞ in all samples is
        constant too.

    Digits: ρ compares directions, each of which is a quotient of sums: 3 bits fewer than `kl` has.
    Where u and v nearly agree though the logits do not (the teacher's are the student's times a
    number, say), value and gradient have only the digits that are left of u − v.

    Elsewhere: the authors' code has ε = 1e-8, and at first had no temperature; the paper's appendix
    has no T². torchdistill has T² on both terms. All are the same at T = 1, but for ε.
    Raises ValueError as `kl` does.
    Source: Huang, You, Wang, Qian and Xu 2022, "Knowledge Distillation from A Stronger Teacher",
    equations 5 to 10.

    Example
        >>> print(*(losses.dist(np.eye(2), y)[0].round(6) for y in (2 * np.eye(2), -np.eye(2))))
        0.0 4.0
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


@loss("logits", weight=None)
def standardize(logits: np.ndarray, *, ddof: int = 0, epsilon: float = 1e-7) -> Op:
    """Each sample's logits brought to mean 0 and standard deviation 1.

    For both nets' logits, in front of a loss, whose gradient `backward` takes on to the student's.

    Shapes
        logits x (B, C)  →  y (B, C)

    Definition (m[b] the mean of x[b,:])
        s[b] = √(Σ_c (x[b,c] − m[b])² / (C − ddof))
        y[b,c] = (x[b,c] − m[b]) / (ε + s[b])

    Backward, given dy = ∂L/∂y (c = x − m; sums and means along the classes)
        ∂s/∂c = c / ((C − ddof) s), so with e = c / s
        dc = dy / (ε + s) − e s Σ(dy e) / ((C − ddof) (ε + s)²),    dx = dc − mean(dc)
    The mean is subtracted from dy, as that of e is 0 already, and s / (ε + s) is 1 − ε / (ε + s):
        dx = (d − e along + e along ε / (ε + s)) / (ε + s),  d = dy − mean(dy),
        along = Σ(d e) / (C − ddof)
    of which the first two terms are what of d is across e, and nothing for two classes (ddof=0).

    Conventions: ddof as in NumPy. A row of equal logits becomes 0, and its gradient is
    (dy − mean dy)/ε, the limit, or 0 where ε is 0 too. A row with a class at −∞ has no deviation,
    and is NaN.
    Elsewhere: the paper's formula divides by C, as NumPy does; the authors' code calls torch.std,
    which divides by C − 1 (ddof=1) and makes y √((C − 1)/C) times as large: 5.4 % apart at C = 10.
    Raises ValueError unless logits are (B, C) with C above ddof, and ε not negative.
    Source: Sun, Ren, Li, Wang and Cao 2024, "Logit Standardization in Knowledge Distillation".

    Example
        >>> y, backward = losses.standardize(np.array([[1.0, 2.0, 3.0]]))
        >>> print(y.round(3), backward(np.array([[0.0, 1.0, 0.0]])).round(3))  # s = √⅔
        [[-1.225  0.     1.225]] [[-0.408  0.816 -0.408]]
    """
    require_arrays("standardize", logits=logits)
    require_axes("standardize", "logits", logits, "B C")
    if not is_integer(ddof) or not 0 <= ddof < logits.shape[1]:
        raise ValueError(
            f"standardize: ddof is {shown(ddof)}, expected 0 or more, and fewer than the classes "
            f"in {logits.shape}"
        )
    epsilon = not_negative("standardize", "epsilon", epsilon)
    count = logits.shape[1] - int(ddof)
    c, constant = centred(logits)
    largest = np.where(constant, 1, np.abs(c.real).max(axis=1, keepdims=True))
    s = np.sqrt(((c / largest) ** 2).sum(axis=1, keepdims=True) / count)
    e = c / largest / np.where(constant, 1, s)
    by = epsilon + s * largest
    none = by == 0
    by = np.where(none, 1, by)

    @in_range
    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("standardize", dy, c.shape, c.dtype)
        d, _ = centred(dy)
        along = e * (d * e).sum(axis=1, keepdims=True) / count
        return np.where(none, 0, (d - along + along * (epsilon / by)) / by)

    return c / by, backward
