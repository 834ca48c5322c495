"""Losses on relations: how the samples of a batch stand to each other, in one net and the other.

The two nets' features may be of any sizes: only samples are compared, each net's with its own.
"""

from math import factorial

import numpy as np

from npkd.arguments import is_integer, shown
from npkd.losses.arguments import (
    choice,
    not_negative,
    positive,
    require_one_batch,
    require_same,
)
from npkd.losses.facts import divisor_of, loss
from npkd.losses.geometry import (
    Step,
    cosines,
    directions_apart,
    distances,
    flat,
    lengths_apart,
    products,
    products_apart,
    scale,
    shares,
    sum_of_squares,
    unit,
)
from npkd.losses.regression import huber_of
from npkd.losses.softened import divergence


@loss("vector", "elementmean batchmean sum", weight=3000.0)
def similarity(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> tuple[np.ndarray, np.ndarray]:
    """Similarity-preserving distillation: which samples activate a net alike.

    Shapes
        student (B, …), teacher (B, …)  →  value (), gradient as the student

    Definition (f the features as rows (B, D))
        G[i,j] = Σ_d f[i,d] f[j,d], each row then divided by its length; G' likewise of the teacher
        Σ (G − G')² over all B² pairs

    Gradient by the student (P the products before rows are divided, n[i] = ‖P[i]‖)
        dG = 2 (G − G'), divided as the value is
        dP[i] = (dG[i] − G[i] Σ_j dG[i,j] G[i,j]) / n[i]
        df = (dP + dPᵀ) f

    Conventions: variant="l1" divides rows by the sum of their absolute values. A sample of zero
    features has a row of zeros, which stays so and passes no gradient (the other rows, which hold
    its products too, do). In a batch of one, G is 1 and the loss 0.
    Digits: G is a quotient of sums of products, each rounded: a bit fewer than of the features.
    Elsewhere: torchdistill is "l1", smaller by no constant factor: nearly B times, 28 at B = 32,
    for features behind a ReLU, 2 to 6 times for normal ones.
    Raises ValueError as all losses do, and for features of different batches.
    Source: Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation", equations 1 to 4.

    Example
        >>> one = np.eye(2)  # each sample is like itself alone; in the teacher, both are alike
        >>> print(*(losses.similarity(one, y)[0].round(4) for y in (-3 * one, np.ones((2, 1)))))
        0.0 0.2929
    """
    count = require_one_batch("similarity", student=student, teacher=teacher)
    divide = {"paper": unit, "l1": shares}[choice("similarity", "variant", variant, "paper", "l1")]
    divisor = divisor_of("similarity", reduction, count, count**2)
    p, to_features = _products_by_row(flat(student))
    (g, backward), (of_teacher, _) = divide(p), divide(_products_by_row(flat(teacher))[0])
    delta = g - of_teacher
    gradient = to_features(backward(2 * delta / divisor))
    return (delta * delta).sum() / divisor, gradient.reshape(student.shape)


def _products_by_row(f: np.ndarray) -> Step:
    """P[i,j] = Σ_d f[i,d] f[j,d], every row in a unit of its own, which its length divides out.

    The left factor is divided by its own size, the right one by that of all: neither overflows.
    """
    of_all = scale(f)
    own = np.minimum(scale(f, axis=1), of_all)  # a sample of zeros has the unit of all
    left, right = f / own, f / of_all
    return left @ right.T, lambda dp: (dp @ right + dp.T @ left * (own / of_all)) / own


@loss("vector", "elementmean batchmean sum", weight=25.0)
def rkd_distance(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> tuple[np.ndarray, np.ndarray]:
    """Relational distillation by distances: how far samples are from each other.

    Shapes
        student (B, …), teacher (B, …)  →  value (), gradient as the student

    Definition (f the features as rows (B, D))
        d[i,j] = ‖f[i] − f[j]‖,  μ = the mean of those d that are above 0,  ψ = d / μ; ψ' likewise
        Σ h(ψ[i,j] − ψ'[i,j]) over all B² pairs, h as in `huber` with δ

    Gradient by the student (g = h'(ψ − ψ'), divided as the value is; N the number of d above 0)
        d[i,j] reaches the loss through its own ψ and through μ:
        dd[i,j] = g[i,j] / μ − Σ(g d) / (N μ²) for d[i,j] above 0
        df[i] = Σ_j (dd[i,j] + dd[j,i]) (f[i] − f[j]) / d[i,j]

    Where both nets' features are of one shape, ψ − ψ' is ((d − d') − ψ' mean(d − d')) / μ, with
    d − d' from the differences of features: it keeps its digits where the nets are alike. For other
    shapes, ψ − ψ' has the digits that are left of ψ. ψ is a quotient of sums: a bit fewer.

    Conventions: the pairs i = j count, with h = 0. Samples that are equal have d = 0, which passes
    no gradient; where all are, ψ is 0. In a batch of one the loss is 0.
    Elsewhere: the authors' code is this, with 1e-12 for smaller squares. RepDistiller, mdistiller
    and KD-Zoo weigh distances 25 and angles 50, KD_Lib both ½.
    Raises ValueError as all losses do, for features of different batches, and for δ not above 0.
    Source: Park, Kim, Lu and Cho 2019, "Relational Knowledge Distillation", equations 4 to 7.

    Example
        >>> x = np.array([[0.0], [1.0], [3.0]])
        >>> print(*(losses.rkd_distance(x, other)[0].round(4) for other in (5 - 2 * x, x**2)))
        0.0 0.0247
    """
    count = require_one_batch("rkd_distance", student=student, teacher=teacher)
    far = positive("rkd_distance", "delta", delta)
    divisor = divisor_of("rkd_distance", reduction, count, count**2)
    f, t = flat(student), flat(teacher)
    unit_of, of_t = (np.minimum(scale(x), 1) for x in (f, t))  # in which no distance is denormal
    if f.shape == t.shape:
        unit_of = of_t = np.maximum(unit_of, of_t)
    f, t = f / unit_of, t / of_t
    (d, to_features), (of_teacher, _) = distances(f), distances(t)
    (psi, mean, apart), (psi_of_teacher, _, _) = _by_mean(d), _by_mean(of_teacher)
    difference, many = psi - psi_of_teacher, max(1, int(np.count_nonzero(apart)))
    if f.shape == t.shape and np.array_equal(apart, of_teacher.real > 0):
        less = np.empty_like(d)  # d − d'
        for i in range(count):
            less[i] = lengths_apart(f[i] - f, t[i] - t, (f[i] - t[i]) - (f - t))[:, 0]
        if (np.abs(less.real) <= of_teacher.real / 2).all():
            difference = (less - psi_of_teacher * (less.sum() / many)) / mean
    value, g = huber_of(difference, far)
    g = g / divisor
    through_mean = (g * psi).sum() / many
    by_psi = to_features(np.where(apart, g - through_mean, 0))
    return value.sum() / divisor, (by_psi / mean / unit_of).reshape(student.shape)


@loss("vector", "elementmean batchmean sum", weight=50.0)
def rkd_angle(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> tuple[np.ndarray, np.ndarray]:
    """Relational distillation by angles: in which direction samples lie, seen from each.

    Shapes
        student (B, …), teacher (B, …)  →  value (), gradient as the student

    Definition (f the features as rows (B, D))
        e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖, 0 where both are equal
        ψ[i,j,k] = Σ_d e[i,j,d] e[i,k,d], the cosine of the angle at i between j and k
        Σ h(ψ[i,j,k] − ψ'[i,j,k]) over all B³ triples, h as in `huber` with δ

    Gradient by the student (g = h'(ψ − ψ'), divided as the value is)
        de[i,j] = Σ_k (g[i,j,k] + g[i,k,j]) e[i,k]
        dv[i,j] = (de[i,j] − e[i,j] Σ_d de e) / ‖f[j] − f[i]‖, and v[i,j] = f[j] − f[i]:
        df[j] = Σ_i dv[i,j] − Σ_i dv[j,i]

    Where both nets' features are of one shape, ψ − ψ' is Σ_d (e − e')[i,j,d] e[i,k,d] + e'[i,j,d]
    (e − e')[i,k,d], with e − e' from the differences of features, as for `rkd_distance`.

    Conventions: triples with j = k, or of equal samples, count too. In a batch of one the loss
    is 0.
    Elsewhere: as for `rkd_distance`. The angle may be taken at any of the three, as all are summed.
    Raises ValueError as `rkd_distance` does.
    Source: Park, Kim, Lu and Cho 2019, "Relational Knowledge Distillation", equations 8 to 10.

    Example
        >>> x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> print(*(losses.rkd_angle(x, other)[0].round(4) for other in (5 - 2 * x, x[:, :1])))
        0.0 0.0587
    """
    count = require_one_batch("rkd_angle", student=student, teacher=teacher)
    far = positive("rkd_angle", "delta", delta)
    divisor = divisor_of("rkd_angle", reduction, count, count**3)
    f = flat(student)
    t = flat(teacher)
    x, y = f - f[:, np.newaxis], t - t[:, np.newaxis]  # (B, B, D)
    (psi, to_differences), (of_teacher, _) = cosines(x), cosines(y)
    difference = psi - of_teacher
    if f.shape == t.shape:
        less = directions_apart(x, y, (f - t) - (f - t)[:, np.newaxis])  # e − e'
        e, of_e = (unit(of)[0] for of in (x, y))
        among = ~np.eye(count, dtype=bool)  # two others; of one with itself ψ is 1 or 0
        difference = np.where(among, products_apart(e, of_e, less), difference)
    value, g = huber_of(difference, far)
    dv = to_differences(g / divisor)
    gradient = dv.sum(axis=0) - dv.sum(axis=1)
    return value.sum() / divisor, gradient.reshape(student.shape)


@loss("vector", "elementmean batchmean sum", weight=30000.0)
def pkt(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    epsilon: float = 1e-7,
    reduction: str = "elementmean",
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilistic knowledge transfer: the chance that one sample picks another as like itself.

    Shapes
        student (B, …), teacher (B, …)  →  value (), gradient as the student

    Definition (f the features as rows (B, D))
        u[i] = f[i] / (‖f[i]‖ + ε),  s[i,j] = (Σ_d u[i,d] u[j,d] + 1) / 2
        q[i,j] = s[i,j] / Σ_k s[i,k]; p likewise of the teacher
        Σ p log((p + ε) / (q + ε)) over all B² pairs

    Derivation of what is computed, which keeps its digits where the nets are alike
        c the products of u, c' the teacher's; S[i] = Σ_k (1 + c[i,k]), S' likewise; Δ = c − c', for
        features of one shape as in `rkd_angle`
        q − p = (Δ − p Σ_k Δ) / S
        With w = (q − p) / (p + ε), x = log(1 + w) and φ(x) = e^x − 1 − x, −x = φ(x) − w, and
        −Σ p w = −Σ (q − p) + ε Σ w, where Σ (q − p) is 0, whatever factor it has. Hence
        Σ p log((p + ε)/(q + ε)) = Σ p φ(x) + ε Σ w (m − p) / (m + ε),   m = 1/B
        and m − p = (mean c' − c') / S' has its digits where all samples are alike

    Gradient by the student
        dq = −p / (q + ε), and as all changes of q in a row are 0 in sum, a number may be added:
        m / (m + ε), which makes it (q − p + (m − q) ε / (m + ε)) / (q + ε), divided as the value is
        dc[i,j] = (dq[i,j] − Σ_k dq[i,k] q[i,k]) / S[i],   du = (dc + dcᵀ) u
        df from du through the length, as in `attention`

    Conventions: ε keeps the logarithm finite where two samples are opposite, s = 0; without it the
    loss is then infinite or NaN. It also leaves a gradient of the size of ε where both nets are
    equal. A sample of zero features is like all others, s = ½, and passes no gradient.
    Elsewhere: the paper leaves i = j out of sums and shares, which is another loss; its authors'
    code does not. There ε is 1e-7, in KD-Zoo 1e-6.
    Raises ValueError as all losses do, for features of different batches, and for ε below 0.
    Source: Passalis and Tefas 2018, "Learning Deep Representations with Probabilistic Knowledge
    Transfer", equations 5 to 8.

    Example
        >>> print(*(losses.pkt(np.eye(2), y)[0].round(4) for y in (np.eye(2), np.ones((2, 1)))))
        0.0 0.0294
    """
    count = require_one_batch("pkt", student=student, teacher=teacher)
    epsilon = not_negative("pkt", "epsilon", epsilon)
    divisor = divisor_of("pkt", reduction, count, count**2)
    f, t = flat(student), flat(teacher)
    (u, to_features), (v, _) = unit(f, epsilon), unit(t, epsilon)
    (c, to_directions), (of_teacher, _) = products(u), products(v)
    delta, beyond = c - of_teacher, (c.real < -1) | (of_teacher.real < -1)  # by rounding
    if f.shape == t.shape:
        delta = products_apart(u, v, directions_apart(f, t, f - t, epsilon))
    c, of_teacher = (np.where(x.real < -1, -1, x) for x in (c, of_teacher))
    delta = np.where(beyond, c - of_teacher, delta)
    total, of_total = ((1 + x).sum(axis=1, keepdims=True) for x in (c, of_teacher))
    q, p = (1 + c) / total, (1 + of_teacher) / of_total
    more = (delta - p * delta.sum(axis=1, keepdims=True)) / total  # q − p
    opposite = p + epsilon == 0
    by = np.where(opposite, 1, p + epsilon)
    w, near = more / by, np.abs(more) <= 0.5 * np.abs(by)
    ratio = (q + epsilon) / by  # 1 + w
    with np.errstate(divide="ignore"):  # without ε the student may rule out a pair
        x = np.where(near, np.log1p(np.where(near, w, 0)), np.log(np.where(near, 1, ratio)))
    x = np.where(opposite, np.inf, x)
    value = divergence(p, np.where(opposite, q, p * ratio), x).sum() / divisor
    m = 1 / max(1, count)
    away, q_away = (
        (x.sum(axis=1, keepdims=True) * m - x) / by
        for x, by in ((of_teacher, of_total), (c, total))
    )  # m − p, m − q
    value += (w * away).sum() * (epsilon / (m + epsilon) / divisor)
    dq = (more + epsilon / (m + epsilon) * q_away) / (q + epsilon) / divisor
    dc = (dq - (dq * q).sum(axis=1, keepdims=True)) / total
    w = scale(dc) if epsilon else 1.0  # ε may make u and its gradient small
    return value, (to_features(to_directions(dc / w)) * w).reshape(student.shape)


@loss("vector", "elementmean batchmean sum", weight=100.0)
def cc(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    gamma: float = 0.4,
    order: int = 2,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation congruence: a kernel between the samples of a batch, the same in both nets.

    Shapes
        student (B, …), teacher (B, …)  →  value (), gradient as the student; for "consecutive"
        student and teacher are of one shape

    Definition (u[i] the sample's features divided by their length)
        K[i,j] = Σ_{p=0}^{order} e^{−2γ} (2γ)^p / p! · (Σ_d u[i,d] u[j,d])^p,
        the Gaussian kernel exp(−γ ‖u[i] − u[j]‖²) by Taylor's series to `order`; K' likewise. The
        term p = 0 is the same in both, and is left out of what is computed
        Σ (K − K')² over all B² pairs

    Gradient by the student (c the products of u)
        dK = 2 (K − K'), divided as the value is
        dc = dK Σ_{p≥1} e^{−2γ} (2γ)^p / (p − 1)! · c^{p−1}
        du = (dc + dcᵀ) u, and through the length as in `attention`

    Conventions
        variant="bilinear": K[i,j] = Σ_d f[i,d] f[j,d], of the features as they are; γ and the order
        mean nothing then.
        variant="norm": the series with features as they are, and ‖K − K'‖ for its square; gradient
        dK = (K − K') / ‖K − K'‖, divided as the value is, and 0 at equality.
        variant="consecutive" is another loss under the same name: with a[i] = |f[i] − f'[i]|,
        Σ a[i,d] a[i+1,d] over neighbours and d, divided by B − 1 for "elementmean" and "batchmean";
        it depends on the order of the samples, and in a batch of one it is 0. Gradient
        sign(f − f')[i] (a[i−1] + a[i+1]), divided as the value is.
        A sample of zero features has u = 0.

    Digits: products of features cancel, a bit fewer than of the features. Where both nets' features
    are of one shape, c − c' is computed as for `pkt`, and K − K' = (c − c') Σ_p w_p Σ_{i+k=p−1}
    c^i c'^k.
    Elsewhere: three losses under one name. KD-Zoo is "paper"; torchdistill is "norm"; RepDistiller
    is "consecutive", on features that trained layers of both nets have embedded.
    Raises ValueError as all losses do, for features of different batches, for γ not above 0, and an
    order that is no whole number from 1 to 100.
    Source: Peng et al. 2019, "Correlation Congruence for Knowledge Distillation", equations 3 to 8.

    Example
        >>> print(*(losses.cc(np.eye(2), y)[0].round(4) for y in (2 * np.eye(2), np.ones((2, 1)))))
        0.0 0.1266
    """
    count = require_one_batch("cc", student=student, teacher=teacher)
    choice("cc", "variant", variant, "paper", "bilinear", "norm", "consecutive")
    gamma = positive("cc", "gamma", gamma)
    if not is_integer(order) or not 1 <= order <= 100:
        raise ValueError(f"cc: order is {shown(order)}, expected a whole number from 1 to 100")
    if variant == "consecutive":
        return _consecutive(student, teacher, reduction)
    divisor = divisor_of("cc", reduction, count, count**2)
    weights = [1.0]
    if variant != "bilinear":
        weights = [
            float(np.exp(-2 * gamma)) * (2 * gamma) ** p / factorial(p) for p in range(1, order + 1)
        ]
    f, t, unit_of = flat(student), flat(teacher), 1.0
    if variant != "paper":
        unit_of = max(scale(f).item(), scale(t).item())
        f, t = f / unit_of, t / unit_of
    matrix = cosines if variant == "paper" else products
    (c, to_features), (of_teacher, _) = matrix(f), matrix(t)
    # K, in a unit of its own too: K = unit^2n Σ_p w_p unit^(2p−2n) c^p, none of which is large
    n = len(weights) if unit_of > 1 else 1
    weights = [w * unit_of ** (2 * (p - n)) for p, w in enumerate(weights, 1)]
    slope, chord = _chord(c, c, weights), _chord(c, of_teacher, weights)
    if f.shape != t.shape:
        less = c - of_teacher
    elif variant == "paper":
        less = products_apart(unit(f)[0], unit(t)[0], directions_apart(f, t, f - t))
        np.fill_diagonal(less, np.diagonal(c - of_teacher))  # of one with itself: 1 or 0
    else:
        less = products_apart(f, t, f - t)
    delta = less * chord  # K − K', to the digits of f − f'
    if variant == "norm":
        direction = unit(delta.ravel())[0].reshape(delta.shape)
        value, dk, units = (direction * delta).sum() / divisor, direction / divisor, 0
    else:
        value, dk, units = sum_of_squares(delta.ravel(), 1 / divisor), 2 * delta / divisor, 2 * n
    value = _times(value, unit_of, 2 * n + units)
    gradient = _times(to_features(dk * slope), unit_of, 2 * n - 1 + units)
    return value, gradient.reshape(student.shape)


def _chord(c: np.ndarray, other: np.ndarray, weights: list[float]) -> np.ndarray:
    """(K(c) − K(other)) / (c − other) of K(c) = Σ_{p≥1} w_p c^p; K's slope where other is c."""
    k, chord = np.zeros_like(c), np.zeros_like(c)
    for w in reversed(weights):  # Horner: k = c (w₁ + c (w₂ + …)), by the rule for products
        chord = w + k + other * chord
        k = c * (w + k)
    return chord


def _times(x: np.ndarray, unit_of: float, power: int) -> np.ndarray:
    """x · unit^power, without a power that is beyond all numbers: 0 stays 0."""
    for _ in range(power if unit_of != 1 else 0):
        x = x * unit_of
    return x


def _consecutive(
    student: np.ndarray, teacher: np.ndarray, reduction: str
) -> tuple[np.ndarray, np.ndarray]:
    """`cc` as RepDistiller has it."""
    require_same("cc", student, teacher)
    between = max(1, len(student) - 1) if len(student) else 0
    divisor = divisor_of("cc", reduction, between, between)
    difference = flat(student) - flat(teacher)
    sign = np.sign(difference.real)
    a = sign * difference
    neighbours = np.zeros_like(a)
    neighbours[1:] += a[:-1]
    neighbours[:-1] += a[1:]
    value = (a[:-1] * a[1:]).sum() / divisor
    return value, (sign * neighbours / divisor).reshape(student.shape)


def _by_mean(d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances in units of the mean of those above 0; that mean; which are above 0."""
    apart = d.real > 0
    many = int(np.count_nonzero(apart))
    w = scale(d).item()  # the sum might overflow
    mean = (d[apart] / w).sum() / many if many else np.ones((), d.dtype)
    return d / w / mean, mean * w, apart
