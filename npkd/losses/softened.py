"""Rows of logits as probabilities, softmax(z / T), and how far two nets' are apart, to the digit.

Subtracting numbers that are nearly equal loses digits, unless their difference is known from the
logits. Every function here says which difference that is.
"""

from collections.abc import Callable

import numpy as np

from npkd.losses.geometry import orthogonal


def less(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x − y, and 0 where both are the same infinity: a class that both nets rule out."""
    return np.subtract(x, y, out=np.zeros_like(x), where=x != y)


@np.errstate(invalid="ignore")  # ∞ − ∞, where one net rules out what the other is sure of
def apart(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """student − teacher, up to one number for each row, which changes neither softmax.

    Subtracted as they are, where that is exact and leaves no large number in common. In other rows,
    less the difference of the class r that is likely in both nets, so that what the roundings have
    lost may be added:
        d = fl(s − t),  e = (s − t) − d by Knuth's TwoSum,  (d − d[r]) + (e − e[r])
    """
    d = less(student, teacher)
    if not d.size:
        return d
    less_s = d - student
    lost = (student - (d - less_s)) - (teacher + less_s)
    lost = np.where(np.isfinite(lost), lost, 0)
    least = np.minimum(below(student).real, below(teacher).real)
    r = np.where(np.isnan(least), -np.inf, least).argmax(axis=-1)[..., np.newaxis]
    of_r, lost_of_r = (np.take_along_axis(x, r, axis=-1) for x in (d, lost))
    exact = (lost == 0).all(axis=-1, keepdims=True)
    f = (d - of_r) + (lost - lost_of_r)
    of_d, of_f = (
        np.where(np.isfinite(x), np.abs(x), 0).max(axis=-1, keepdims=True) for x in (d, f)
    )
    return np.where(exact & (of_d <= of_f), d, f)


def below(z: np.ndarray, t: float = 1.0) -> np.ndarray:
    """(z − z[r]) / T along the last axis, r the class with the largest logit."""
    r = z.real.argmax(axis=-1)[..., np.newaxis]
    return (z - np.take_along_axis(z, r, axis=-1)) / t


def log_softened(z: np.ndarray, t: float = 1.0) -> np.ndarray:
    """log softmax(z / T) along the last axis.

    Definition (r the class with the largest logit, y = (z − z[r]) / T)
        log softmax(z / T)[c] = y[c] − log(1 + Σ_{k≠r} e^{y[k]})

    No two terms have opposite signs, so the digits remain where one class is all but certain: at r
    the result is then −Σ of the other probabilities, and not 0.
    """
    if not z.size:
        return z.copy()
    y = below(z, t)
    others = np.exp(y)
    np.put_along_axis(others, z.real.argmax(axis=-1)[..., np.newaxis], 0, axis=-1)
    return y - np.log1p(others.sum(axis=-1, keepdims=True))


@np.errstate(invalid="ignore")  # ∞ − ∞ where one net rules out what the other is sure of
def log_ratio(d: np.ndarray, log_q: np.ndarray, log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u = log q − log p, of two rows of probabilities (…, C), and log Σ p e^d (…, 1).

    d = (student − teacher) / T is u up to one number for each row. Near equality, and for all rows
    at a high T, d has digits that the difference of the logarithms has lost.

    Definition (r the class that is likely in both: with the largest lesser one of p[r] and q[r])
        f = d − d[r],   Z = Σ p e^f,   q / p = e^f / Z,   u = f − log Z

    Derivation of Z: some classes are near, |f| ≤ 1; for the others, p e^f = q Z. So
        Z = 1 + Σ_near p (e^f − 1) − Σ_far p + Z Σ_far q
        log Z = log(1 + Σ_near p (e^f − 1) − Σ_far p) − log(1 − Σ_far q)
    where nothing cancels, as long as the far classes are improbable in both. If they are not, the
    rows are far apart, and −log Z is computed as log q[r] − log p[r].
    """
    if not d.size:
        return d.copy(), d.sum(axis=-1, keepdims=True)
    r = np.minimum(log_p.real, log_q.real).argmax(axis=-1)[..., np.newaxis]
    p, q, plain = np.exp(log_p), np.exp(log_q), less(log_q, log_p)
    of_r = np.take_along_axis(d, r, axis=-1)
    f = d - of_r
    near = np.abs(f) <= 1
    more = (p * np.expm1(np.where(near, f, 0))).sum(axis=-1, keepdims=True)
    far_p, far_q = (np.where(near, 0, of).sum(axis=-1, keepdims=True) for of in (p, q))
    alike = np.abs(far_p) + np.abs(far_q) < 0.5
    log_z = np.where(
        alike,
        np.log1p(np.where(alike, more - far_p, 0)) - np.log1p(np.where(alike, -far_q, 0)),
        -np.take_along_axis(plain, r, axis=-1),
    )
    known = np.isfinite(log_z) & (np.maximum(log_p.real, log_q.real) > -np.inf)
    return np.where(known, f - log_z, plain), of_r + log_z


@np.errstate(invalid="ignore", over="ignore")  # in the branch that is not taken
def divergence(p: np.ndarray, q: np.ndarray, u: np.ndarray, times: float = 1.0) -> np.ndarray:
    """times² Σ p (log p − log q) along the last axis, from u = log q − log p.

    Derivation: Σ p and Σ q are 1, so it is Σ p φ(u) with φ(u) = e^u − 1 − u. No term is negative,
    none cancels with another, and of p = 0 what remains is q. For |u| ≤ 1
        φ(u) = u²/2 (1 + u/3 (1 + u/4 (1 + …))), with `times` squared where u is;
    elsewhere p φ(u) = q − p − p u.
    """
    near = np.abs(u) <= 1
    x = np.where(near, u, 0)
    series = np.ones_like(x)
    for n in range(20, 2, -1):  # 2/21! is below a rounding
        series = 1 + x / n * series
    far = times * times * np.where(p == 0, q, q - p - p * u)
    return np.where(near, p * (times * x) * (times * x) / 2 * series, far).sum(axis=-1)


def difference(p: np.ndarray, q: np.ndarray, u: np.ndarray) -> np.ndarray:
    """q − p, from u = log q − log p: p (e^u − 1) where |u| ≤ 1."""
    near = np.abs(u) <= 1
    return np.where(near, p * np.expm1(np.where(near, u, 0)), q - p)


def log_mixture(u: np.ndarray, s: float, r: float) -> np.ndarray:
    """log(m / p), m = s p + r q with s + r = 1, from u = log q − log p.

    As log(1 + r (e^u − 1)), or, where q is much less than p and s the lesser share, as
    log(s + r e^u): so it keeps its digits where u is near 0, where s is, and where r is.
    """
    most = 80.0  # of which float32 has the exponential
    beyond = np.where(u.real > most, u - most, 0)
    far = (u.real < -1) & (s < 0.5)
    near = np.where(far, 0, np.where(u.real > most, most, u))
    by_shares = np.log(np.where(far, s + r * np.exp(np.where(far, u, 0)), 1))
    return np.where(far, by_shares, np.log1p(r * np.expm1(near))) + beyond


def by_logits(q: np.ndarray, dq: np.ndarray) -> np.ndarray:
    """The gradient by z of what has the gradient dq by q = softmax(z): q (dq − Σ q dq).

    A number added to all of dq changes nothing. That of the most probable class is subtracted, so
    that where this class is all but certain, its own gradient is a sum over the others.
    """
    if not q.size:
        return q.copy()
    r = q.real.argmax(axis=-1)[..., np.newaxis]
    dq = dq - np.take_along_axis(dq, r, axis=-1)
    return q * (dq - (q * dq).sum(axis=-1, keepdims=True))


def steps(p: np.ndarray, z: np.ndarray, q: np.ndarray, t: float) -> np.ndarray:
    """p − p[r], p = softmax(z / T), r the class that is the most probable in q."""
    r = q.real.argmax(axis=-1)[..., np.newaxis]
    of_r = np.broadcast_to(np.take_along_axis(p, r, axis=-1), p.shape)
    with np.errstate(invalid="ignore"):  # a class that is ruled out
        return difference(of_r, p, (z - np.take_along_axis(z, r, axis=-1)) / t)


def by_log_probabilities(q: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The gradient by z of what has the gradient dy by log q = log softmax(z): dy − q Σ dy.

    Its rows add up to 0. Of a class with more than half of the probability, it is the sum over the
    others with its sign changed: 1 − q has no digits where a class is all but certain.
    """
    dz = dy - q * dy.sum(axis=-1, keepdims=True)
    return orthogonal(np.ones_like(q), dz, q.real > 0.5)


def of_infinite(linear: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """A linear function of x, some entries of which may be infinite: ∞ · 0 counts as 0.

    With x = ∞ w + y, w of −1, 0 and 1, it is ∞ · linear(w) + linear(y).
    """
    infinite = np.isinf(x.real)
    if not infinite.any():
        return linear(x)
    weight = linear(np.where(infinite, np.sign(x.real), 0).astype(x.dtype))
    finite = linear(np.where(infinite, 0, x))
    return np.where(weight.real == 0, finite, np.copysign(np.inf, weight.real))
