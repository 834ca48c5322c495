"""Losses between relations of samples: the formulas as scalar loops."""

import math

import numpy as np

from npkd.definitions.steps import (
    Number,
    absolute,
    divergence,
    huber_of,
    length_of,
    product,
    rows_of,
    unit,
)

__all__ = ["cc", "pkt", "rkd_angle", "rkd_distance", "similarity"]


def _products(rows: list) -> list:
    """The products Σ_d x[i,d] x[j,d] of all pairs of rows."""
    return [[product(x, y) for y in rows] for x in rows]


def _cosines(rows: list) -> list:
    """The products of all pairs of rows, each divided by its length: 1 with itself, or 0."""
    of = _products([unit(row) for row in rows])
    for i, row in enumerate(rows):
        of[i][i] = 1.0 if any(row) else 0.0
    return of


def _shares(x: list) -> list:
    """The entries x_k / Σ_l |x_l|, or zeros where the sum is 0."""
    total = sum(absolute(value) for value in x)
    return [0.0 if total == 0 else value / total for value in x]


def similarity(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> Number:
    """The squared difference of which samples activate a net alike, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with P[i,j] = Σ_d f[i,d] f[j,d] for features f as rows, G[i] = P[i] / ‖P[i]‖, with
    variant "l1" P[i] / Σ_j |P[i,j]|, or 0 where that is 0, and G' likewise of the teacher
        "sum"          Σ_{i,j} (G − G')²
        "batchmean"    the same / B
        "elementmean"  the same / B²
    """
    batch = len(student)
    divided = unit if variant == "paper" else _shares
    g = [divided(row) for row in _products(rows_of(student))]
    of_teacher = [divided(row) for row in _products(rows_of(teacher))]
    total: Number = 0.0
    for i, j in np.ndindex(batch, batch):
        total += (g[i][j] - of_teacher[i][j]) ** 2
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _difference(x: list, y: list) -> list:
    return [one - other for one, other in zip(x, y, strict=True)]


def _distances_by_mean(features: np.ndarray) -> list:
    """d[i,j] / μ, d[i,j] = ‖f[i] − f[j]‖, μ the mean of those d with Re d > 0; 0 if none has."""
    rows = rows_of(features)
    d = [[length_of(_difference(x, y)) for y in rows] for x in rows]
    apart = [value for line in d for value in line if value.real > 0]
    mean = sum(apart) / len(apart) if apart else 1.0
    return [[value / mean for value in line] for line in d]


def rkd_distance(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> Number:
    """The difference of distances between samples, by Huber's loss, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with d[i,j] = ‖f[i] − f[j]‖ for features f as rows, μ the mean of those d above 0,
    ψ = d / μ, ψ' likewise of the teacher, and h as in `huber`
        "sum"          Σ_{i,j} h(ψ[i,j] − ψ'[i,j])
        "batchmean"    the same / B
        "elementmean"  the same / B²
    """
    batch = len(student)
    psi, of_teacher = _distances_by_mean(student), _distances_by_mean(teacher)
    total: Number = 0.0
    for i, j in np.ndindex(batch, batch):
        total += huber_of(psi[i][j] - of_teacher[i][j], delta)
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _angles(features: np.ndarray) -> list:
    """ψ[i][j][k] = Σ_d e[i,j,d] e[i,k,d], e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖, or 0."""
    rows = rows_of(features)
    return [_cosines([_difference(y, x) for y in rows]) for x in rows]


def rkd_angle(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> Number:
    """The difference of angles between samples, by Huber's loss, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖ for features f as rows, or 0 where the
    length is 0, ψ[i,j,k] = Σ_d e[i,j,d] e[i,k,d], ψ' likewise of the teacher, and h as in `huber`
        "sum"          Σ_{i,j,k} h(ψ[i,j,k] − ψ'[i,j,k])
        "batchmean"    the same / B
        "elementmean"  the same / B³
    """
    batch = len(student)
    psi, of_teacher = _angles(student), _angles(teacher)
    total: Number = 0.0
    for i, j, k in np.ndindex(batch, batch, batch):
        total += huber_of(psi[i][j][k] - of_teacher[i][j][k], delta)
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**3}[reduction]


def _likenesses(features: np.ndarray, epsilon: float) -> list:
    """c[i,j] = Σ_d u[i,d] u[j,d], u[i] = f[i] / (‖f[i]‖ + ε), and at least −1."""
    products = _products([unit(row, epsilon) for row in rows_of(features)])
    return [[-1.0 if value.real < -1 else value for value in row] for row in products]


def pkt(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    epsilon: float = 1e-7,
    reduction: str = "elementmean",
) -> Number:
    """The divergence of how likely one sample picks another, in teacher and student.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with u[i] = f[i] / (‖f[i]‖ + ε) for features f as rows, or 0 where the length is 0,
    s[i,j] = (Σ_d u[i,d] u[j,d] + 1) / 2, q[i,j] = s[i,j] / Σ_k s[i,k], p likewise of the teacher
        "sum"          Σ_{i,j} p log((p + ε) / (q + ε))
        "batchmean"    the same / B
        "elementmean"  the same / B²
    where a cosine below −1, by rounding or by the real part of a complex one, has s = 0

    As Σ (q − p) is 0 in each row, with w = (q − p) / (p + ε), φ(x) = exp x − 1 − x and m = 1/B,
        Σ p log((p + ε) / (q + ε)) = Σ p φ(log(1 + w)) + ε Σ w (m − p) / (m + ε)
    and q − p = (Δ − p Σ_k Δ[k]) / Σ_k (1 + c[k]), Δ = c − c', c the products Σ_d u[i,d] u[j,d], c'
    the teacher's
    """
    batch = len(student)
    m = 1 / max(1, batch)
    total: Number = 0.0
    for c, of_teacher in zip(
        _likenesses(student, epsilon), _likenesses(teacher, epsilon), strict=True
    ):
        s, s_of_teacher = sum(1 + value for value in c), sum(1 + value for value in of_teacher)
        p, q = [(1 + value) / s_of_teacher for value in of_teacher], [(1 + x) / s for x in c]
        delta = _difference(c, of_teacher)
        for j in range(batch):
            if p[j] + epsilon == 0:
                total += q[j]
                continue
            w = (delta[j] - p[j] * sum(delta)) / s / (p[j] + epsilon)
            ratio = (q[j] + epsilon) / (p[j] + epsilon)  # 1 + w
            x = np.log1p(w) if abs(w) <= 0.5 else np.log(ratio)
            total += divergence([p[j]], [p[j] * ratio], [x.item()])
            total += (
                w * (m * sum(of_teacher) - of_teacher[j]) / s_of_teacher * epsilon / (m + epsilon)
            )
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _kernel(c: Number, gamma: float, order: int) -> Number:
    """Σ_{p=1}^{order} e^{−2γ} (2γ)^p / p! c^p, without the term of p = 0, the same for all c."""
    return sum(
        math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * c**p
        for p in range(1, order + 1)
    )


def cc(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    gamma: float = 0.4,
    order: int = 2,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> Number:
    """The squared difference of a kernel between samples, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number; with variant "consecutive" of one shape

    Definition, with c[i,j] = Σ_d u[i,d] u[j,d] for u[i] = f[i] / ‖f[i]‖, or 0 where the length is
    0, f the features as rows, K[i,j] = Σ_{p=0}^{order} e^{−2γ} (2γ)^p / p! c[i,j]^p, K' likewise
        "sum"          Σ_{i,j} (K − K')²
        "batchmean"    the same / B
        "elementmean"  the same / B²
    with variant "bilinear" u = f and K = c; with "norm" u = f, and √Σ_{i,j} (K − K')² for the sum
    with variant "consecutive" another loss, a[i,d] = |f[i,d] − f'[i,d]|
        "sum"                       Σ_{i<B−1} Σ_d a[i,d] a[i+1,d], for i from 0
        "batchmean", "elementmean"  the same / (B − 1), or / 1 where B is 1
    """
    batch = len(student)
    rows, of_teacher = rows_of(student), rows_of(teacher)
    total: Number = 0.0
    if variant == "consecutive":
        a = [
            [absolute(value) for value in _difference(x, y)]
            for x, y in zip(rows, of_teacher, strict=True)
        ]
        for i in range(batch - 1):
            total += product(a[i], a[i + 1])
        return total if reduction == "sum" else total / max(1, batch - 1)
    matrix = _cosines if variant == "paper" else _products
    k, k_of_teacher = matrix(rows), matrix(of_teacher)
    for i, j in np.ndindex(batch, batch):
        ours, theirs = k[i][j], k_of_teacher[i][j]
        if variant != "bilinear":
            ours, theirs = _kernel(ours, gamma, order), _kernel(theirs, gamma, order)
        total += (ours - theirs) ** 2
    if variant == "norm":
        total = np.sqrt(total).item()
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]
