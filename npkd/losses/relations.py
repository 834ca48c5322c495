"""Losses on relations: how the samples of a batch stand to each other, in one net and the other.

The two nets' features may be of any sizes: only samples are compared, each net's with its own.
"""

from math import factorial

import numpy as np

from npkd.losses.arguments import (
    choice,
    divisor_of,
    not_negative,
    positive,
    require_one_batch,
    require_same,
)
from npkd.losses.geometry import Step, distances, flat, products, shares, unit
from npkd.losses.regression import huber_of
from npkd.ops.contract import is_integer, shown


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
        Σ (G − G')² over all pairs, divided by B² for "elementmean", the default, by B for
        "batchmean", by nothing for "sum"

    Gradient by the student (P the products before rows are divided, n[i] = ‖P[i]‖)
        dG = 2 (G − G'), divided as the value is
        dP[i] = (dG[i] − G[i] Σ_j dG[i,j] G[i,j]) / n[i]
        df = (dP + dPᵀ) f

    Conventions: variant="l1" divides rows by the sum of their absolute values. A sample of zero
    features has a row of zeros, which stays so and passes no gradient (the other rows, which hold
    its products too, do). In a batch of one, G is 1 and the loss 0.

    Elsewhere: torchdistill is "l1", smaller by no constant factor: nearly B times, 28 at B = 32,
    for features behind a ReLU, 2 to 6 times for normal ones.

    Raises ValueError for features of different batches, an unknown variant or reduction, and an
    empty batch under a mean.

    Source: Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation", equations 1 to 4.
    """
    count = require_one_batch("similarity", student=student, teacher=teacher)
    divide = {"paper": unit, "l1": shares}[choice("similarity", "variant", variant, "paper", "l1")]
    divisor = _pairs("similarity", reduction, count)
    p, to_features = products(flat(student))
    (g, backward), (of_teacher, _) = divide(p), divide(products(flat(teacher))[0])
    delta = g - of_teacher
    gradient = to_features(backward(2 * delta / divisor))
    return (delta * delta).sum() / divisor, gradient.reshape(student.shape)


def rkd_distance(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> tuple[np.ndarray, np.ndarray]:
    """Relational distillation by distances: how far samples are from each other.

    Shapes
        student (B, …), teacher (B, …)  →  value (), gradient as the student

    Definition (f the features as rows (B, D))
        d[i,j] = ‖f[i] − f[j]‖,  μ = the mean of those d that are above 0,  ψ = d / μ; ψ' likewise
        Σ h(ψ[i,j] − ψ'[i,j]) over all pairs, h as in `huber` with δ; divided by B² for
        "elementmean", the default, by B for "batchmean", by nothing for "sum"

    Gradient by the student (g = h'(ψ − ψ'), divided as the value is; N the number of d above 0)
        d[i,j] reaches the loss through its own ψ and through μ:
        dd[i,j] = g[i,j] / μ − Σ(g d) / (N μ²) for d[i,j] above 0
        df[i] = Σ_j (dd[i,j] + dd[j,i]) (f[i] − f[j]) / d[i,j]

    Conventions: the pairs i = j count, with h = 0. Samples that are equal have d = 0, which passes
    no gradient; where all are, ψ is 0. In a batch of one the loss is 0.

    Elsewhere: the authors' code is this, with 1e-12 for smaller squares. RepDistiller, mdistiller
    and KD-Zoo weigh distances 25 and angles 50, KD_Lib both ½.

    Raises ValueError for features of different batches, an unknown reduction, δ not above 0, and an
    empty batch under a mean.

    Source: Park, Kim, Lu and Cho 2019, "Relational Knowledge Distillation", equations 4 to 7.
    """
    count = require_one_batch("rkd_distance", student=student, teacher=teacher)
    far = positive("rkd_distance", "delta", delta)
    divisor = _pairs("rkd_distance", reduction, count)
    d, to_features = distances(flat(student))
    of_teacher, _ = distances(flat(teacher))
    psi, mean, apart = _by_mean(d)
    value, g = huber_of(psi - _by_mean(of_teacher)[0], far)
    g = g / divisor
    through_mean = (g * psi).sum() / max(1, int(np.count_nonzero(apart)))
    dd = np.where(apart, (g - through_mean) / mean, 0)
    return value.sum() / divisor, to_features(dd).reshape(student.shape)


def rkd_angle(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> tuple[np.ndarray, np.ndarray]:
    """Relational distillation by angles: in which direction samples lie, seen from each.

    Shapes
        student (B, …), teacher (B, …)  →  value (), gradient as the student

    Definition (f the features as rows (B, D))
        e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖, 0 where both are equal
        ψ[i,j,k] = Σ_d e[i,j,d] e[i,k,d], the cosine of the angle at i between j and k
        Σ h(ψ[i,j,k] − ψ'[i,j,k]) over all triples, h as in `huber` with δ; divided by B³ for
        "elementmean", the default, by B for "batchmean", by nothing for "sum"

    Gradient by the student (g = h'(ψ − ψ'), divided as the value is)
        de[i,j] = Σ_k (g[i,j,k] + g[i,k,j]) e[i,k]
        dv[i,j] = (de[i,j] − e[i,j] Σ_d de e) / ‖f[j] − f[i]‖, and v[i,j] = f[j] − f[i]:
        df[j] = Σ_i dv[i,j] − Σ_i dv[j,i]

    Conventions: triples with j = k, or of equal samples, count too. In a batch of one the loss
    is 0.

    Elsewhere: as for `rkd_distance`. The angle may be taken at any of the three, as all are summed.

    Raises ValueError as `rkd_distance` does.

    Source: Park, Kim, Lu and Cho 2019, "Relational Knowledge Distillation", equations 8 to 10.
    """
    count = require_one_batch("rkd_angle", student=student, teacher=teacher)
    far = positive("rkd_angle", "delta", delta)
    divisor = divisor_of("rkd_angle", reduction, elementmean=count**3, batchmean=count, sum=1)
    f = flat(student)
    e, to_differences = unit(f - f[:, np.newaxis])  # (B, B, D)
    psi, to_directions = products(e)
    t = flat(teacher)
    of_teacher, _ = products(unit(t - t[:, np.newaxis])[0])
    value, g = huber_of(psi - of_teacher, far)
    dv = to_differences(to_directions(g / divisor))
    gradient = dv.sum(axis=0) - dv.sum(axis=1)
    return value.sum() / divisor, gradient.reshape(student.shape)


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
        Σ p log((p + ε) / (q + ε)) over all pairs, divided by B² for "elementmean", the default, by
        B for "batchmean", by nothing for "sum"

    Gradient by the student
        dq = −p / (q + ε), divided as the value is
        ds[i,j] = (dq[i,j] − Σ_k dq[i,k] q[i,k]) / Σ_k s[i,k],   du = ½ (ds + dsᵀ) u
        df from du through the length, as in `attention`

    Conventions: ε keeps the logarithm finite where two samples are opposite, s = 0; without it the
    loss is then infinite or NaN. It also leaves a gradient of the size of ε where both nets are
    equal. A sample of zero features is like all others, s = ½, and passes no gradient.

    Elsewhere: the paper leaves i = j out of sums and shares, which is another loss; its authors'
    code does not. There ε is 1e-7, in KD-Zoo 1e-6.

    Raises ValueError for features of different batches, an unknown reduction, ε < 0, and an empty
    batch under a mean.

    Source: Passalis and Tefas 2018, "Learning Deep Representations with Probabilistic Knowledge
    Transfer", equations 5 to 8.
    """
    count = require_one_batch("pkt", student=student, teacher=teacher)
    epsilon = not_negative("pkt", "epsilon", epsilon)
    divisor = _pairs("pkt", reduction, count)
    u, to_features = unit(flat(student), epsilon)
    cosine, to_directions = products(u)
    q, to_cosine = shares(_likeness(cosine))
    p, _ = shares(_likeness(products(unit(flat(teacher), epsilon)[0])[0]))
    value = (p * np.log((p + epsilon) / (q + epsilon))).sum() / divisor
    ds = to_cosine(-p / (q + epsilon) / divisor)
    return value, to_features(to_directions(ds / 2)).reshape(student.shape)


def _likeness(cosine: np.ndarray) -> np.ndarray:
    """A cosine scaled to [0, 1]; rounding may have it below −1, and its logarithm would be NaN."""
    s = (cosine + 1) / 2
    return np.where(s.real < 0, 0, s)


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
        the Gaussian kernel exp(−γ ‖u[i] − u[j]‖²) by Taylor's series to `order`; K' likewise
        Σ (K − K')² over all pairs, divided by B² for "elementmean", the default, by B for
        "batchmean", by nothing for "sum"

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

    Elsewhere: three losses under one name. KD-Zoo is "paper"; torchdistill is "norm"; RepDistiller
    is "consecutive", on features that trained layers of both nets have embedded.

    Raises ValueError for features of different batches, an unknown variant or reduction, γ not
    above 0, an order below 1, and an empty batch under a mean.

    Source: Peng et al. 2019, "Correlation Congruence for Knowledge Distillation", equations 3 to 8.
    """
    count = require_one_batch("cc", student=student, teacher=teacher)
    choice("cc", "variant", variant, "paper", "bilinear", "norm", "consecutive")
    gamma = positive("cc", "gamma", gamma)
    if not is_integer(order) or not 1 <= order <= 100:
        raise ValueError(f"cc: order is {shown(order)}, expected a whole number from 1 to 100")
    if variant == "consecutive":
        return _consecutive(student, teacher, reduction)
    divisor = _pairs("cc", reduction, count)
    (u, to_features), (v, _) = _vectors(student, variant), _vectors(teacher, variant)
    (k, to_directions), (of_teacher, _) = products(u), products(v)
    slope = np.ones_like(k)
    if variant != "bilinear":
        k, slope = _gaussian(k, gamma, order)
        of_teacher, _ = _gaussian(of_teacher, gamma, order)
    delta = k - of_teacher
    if variant == "norm":
        direction = unit(delta.ravel())[0].reshape(delta.shape)
        value, dk = (direction * delta).sum() / divisor, direction / divisor
    else:
        value, dk = (delta * delta).sum() / divisor, 2 * delta / divisor
    return value, to_features(to_directions(dk * slope)).reshape(student.shape)


def _vectors(features: np.ndarray, variant: str) -> Step:
    """Features as rows, divided by their length where the variant has it so."""
    rows = flat(features)
    return unit(rows) if variant == "paper" else (rows, lambda dy: dy)


def _gaussian(c: np.ndarray, gamma: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of unit vectors with products c, by Taylor's series, and its slope by c."""
    weights = [
        float(np.exp(-2 * gamma)) * (2 * gamma) ** p / factorial(p) for p in range(order + 1)
    ]
    k, slope = np.zeros_like(c), np.zeros_like(c)
    for p in range(order, -1, -1):  # Horner: k = w₀ + c (w₁ + c (w₂ + …))
        slope = k + c * slope
        k = weights[p] + c * k
    return k, slope


def _consecutive(
    student: np.ndarray, teacher: np.ndarray, reduction: str
) -> tuple[np.ndarray, np.ndarray]:
    """`cc` as RepDistiller has it."""
    require_same("cc", student, teacher)
    between = max(1, len(student) - 1) if len(student) else 0
    divisor = divisor_of("cc", reduction, elementmean=between, batchmean=between, sum=1)
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
    mean = d[apart].sum() / many if many else np.ones((), d.dtype)
    return d / mean, mean, apart


def _pairs(loss: str, reduction: str, count: int) -> int:
    """The divisor of a sum over pairs of `count` samples."""
    return divisor_of(loss, reduction, elementmean=count**2, batchmean=count, sum=1)
