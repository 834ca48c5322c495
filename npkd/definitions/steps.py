"""Steps that several definitions share."""

import math

import numpy as np

Number = float | complex


def sign(x: Number) -> int:
    """−1, 0 or 1, by the real part."""
    return (x.real > 0) - (x.real < 0)


def absolute(x: Number) -> Number:
    """|x| as x sign(Re x), which is analytic: for complex numbers not the modulus."""
    return x * sign(x)


def product(x: list, y: list) -> Number:
    """The sum Σ_d x_d y_d."""
    return sum(one * other for one, other in zip(x, y, strict=True))


def length_of(x: list) -> Number:
    """The root √Σ_d x_d², the principal one, from x divided by its largest |Re x_d|."""
    largest = max((abs(value.real) for value in x), default=0.0)
    if largest == 0:
        return 0.0
    return np.sqrt(sum((value / largest) ** 2 for value in x)).item() * largest


def unit(x: list, epsilon: float = 0.0) -> list:
    """The entries x_d / (‖x‖ + ε), or zeros where ‖x‖ is 0."""
    length = length_of(x)
    return [0.0 if length == 0 else value / (length + epsilon) for value in x]


def centred_by_mean(x: list) -> list:
    """The entries x_d less their mean, x_0 less first: what all have in common is no rounding."""
    x = [value - x[0] for value in x]
    mean = sum(x) / len(x)
    return [value - mean for value in x]


def less(x: Number, y: Number) -> Number:
    """The difference x − y, of equal infinities 0."""
    return 0.0 if x == y else x - y


def lesses(x: list, y: list) -> list:
    return [less(one, other) for one, other in zip(x, y, strict=True)]


def exp(x: list) -> list:
    return [np.exp(value).item() for value in x]


def expm1(x: Number) -> Number:
    return np.expm1(x).item()


def below(z: list, temperature: float = 1.0) -> list:
    """The differences y_c = (z_c − z_r) / T from the largest logit z_r."""
    largest = max(z, key=lambda value: value.real)
    return [(value - largest) / temperature for value in z]


def log_softened(z: list, temperature: float = 1.0) -> list:
    """log softmax(z / T)_c = y_c − log(1 + Σ_{k≠r} exp y_k), y_k = (z_k − z_r) / T.

    z_r is the largest. Where one class is all but certain, its log softmax is −Σ_{k≠r} exp y_k and
    no rounded 0.
    """
    r = max(range(len(z)), key=lambda c: z[c].real)
    y = below(z, temperature)
    others = sum(value for c, value in enumerate(exp(y)) if c != r)
    log_sum = np.log1p(others).item()
    return [value - log_sum for value in y]


def log_ratio(d: list, log_q: list, log_p: list) -> tuple[list, Number]:
    """u_c = log q_c − log p_c, and log Σ_c p_c exp d_c, where d_c = u_c but for a number.

    With r the class that is likely in both and f_c = d_c − d_r, u_c = f_c − log Z where
        Z = Σ_c p_c exp f_c = 1 + Σ_near p (exp f − 1) − Σ_far p + Z Σ_far q
    near where |f_c| ≤ 1, far otherwise, where p exp f = q Z. If that is half of all and more, log Z
    is log p_r − log q_r.
    """
    classes = range(len(d))
    r = max(classes, key=lambda c: min(log_p[c].real, log_q[c].real))
    p, q, f = exp(log_p), exp(log_q), [value - d[r] for value in d]
    near = [c for c in classes if abs(f[c]) <= 1]
    far = [c for c in classes if c not in near]
    far_p, far_q = sum(p[c] for c in far), sum(q[c] for c in far)
    if abs(far_p) + abs(far_q) < 0.5:
        more = sum(p[c] * expm1(f[c]) for c in near)
        log_z = np.log1p(more - far_p).item() - np.log1p(-far_q).item()
    else:
        log_z = -less(log_q[r], log_p[r])
    u = []
    for c in classes:
        ruled_out = max(log_p[c].real, log_q[c].real) == -math.inf
        known = np.isfinite(log_z) and not ruled_out
        u.append(f[c] - log_z if known else less(log_q[c], log_p[c]))
    return u, d[r] + log_z


def divergence(p: list, q: list, u: list) -> Number:
    """The sum Σ_c p_c (log p_c − log q_c), from u_c = log q_c − log p_c.

    It is Σ_c p_c φ(u_c), φ(u) = exp u − 1 − u = u²/2! + u³/3! + …, as Σ p = Σ q = 1: no term is
    negative. Where |u| > 1, p φ(u) = q − p − p u, which is q where p is 0.
    """
    total: Number = 0.0
    for c in range(len(u)):
        if abs(u[c]) <= 1:
            total += p[c] * sum(u[c] ** n / math.factorial(n) for n in range(2, 22))
        elif p[c] == 0:
            total += q[c]
        else:
            total += q[c] - p[c] - p[c] * u[c]
    return total


def between(p: list, q: list, u: list) -> list:
    """The differences q_c − p_c from u_c = log q_c − log p_c: p_c (exp u_c − 1) where |u_c| ≤ 1."""
    return [p[c] * expm1(u[c]) if abs(u[c]) <= 1 else q[c] - p[c] for c in range(len(u))]


def expected(p: list, x: list) -> Number:
    """The sum Σ_c p_c x_c, without the terms of p_c = 0."""
    return sum(p[c] * x[c] for c in range(len(p)) if p[c] != 0)


def rows_of(features: np.ndarray) -> list:
    """Features (B, …) as B lists of numbers, in row-major order."""
    return [one.ravel().tolist() for one in features]


def maps(features: np.ndarray) -> list:
    """Maps (B, C, H, W) as B lists of C lists of H·W numbers, in row-major order."""
    return [rows_of(one) for one in features]


def huber_of(difference: Number, delta: float) -> Number:
    """½ Δ² where |Re Δ| ≤ δ, else δ (|Δ| − ½ δ)."""
    if abs(difference.real) <= delta:
        return 0.5 * difference * difference
    return delta * (absolute(difference) - 0.5 * delta)
