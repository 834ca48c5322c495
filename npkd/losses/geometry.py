"""Steps that several losses share: unit vectors, distances, products of samples.

Each returns its value and its backward pass, as ops do. A vector of zeros has no direction, and the
distance of two equal points has no derivative: there values are 0, and the gradient is 0 too, which
lies between the slopes on all sides.
"""

from collections.abc import Callable

import numpy as np

Step = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]


def scale(x: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """The power of 2 at or below the largest |Re x| along `axis`, kept; 1 where that is 0.

    To divide by it is exact, and what is divided has squares that neither overflow nor vanish. To
    a derivative it is a constant.
    """
    largest = np.abs(x.real).max(axis=axis, keepdims=True, initial=0)
    _, exponent = np.frexp(np.where(np.isfinite(largest) & (largest > 0), largest, 1))
    return np.ldexp(np.ones_like(largest), exponent - 1)


@np.errstate(over="ignore")  # a result that is too large is ∞
def sum_of_squares(x: np.ndarray, times: float = 1.0) -> np.ndarray:
    """times · Σ x² along the last axis, wherever the result can be represented."""
    by = scale(x, axis=-1)
    v, by = x / by, by[..., 0]
    return times * (v * v).sum(axis=-1) * by * by


def orthogonal(e: np.ndarray, d: np.ndarray, rules: np.ndarray) -> np.ndarray:
    """d along the last axis, for which Σ e d = 0 is known.

    An entry that `rules`, at most one of each row, is often the small difference of large terms. It
    is replaced by −Σ e d / e over the others, which keeps its digits.
    """
    of_others = np.where(rules, 0, e * d).sum(axis=-1, keepdims=True)
    return np.where(rules, -of_others / np.where(rules, e, 1), d)


def unit(x: np.ndarray, epsilon: float | np.ndarray = 0.0) -> Step:
    """Vectors along the last axis, divided by their length.

    Definition
        y = x / (n + ε), n = √Σ x²; 0 where n is 0; computed with the largest entry divided out of
        the squares, which neither overflow nor vanish, so what has one direction gives one result

    Backward, given dy (e = x / n)
        ∂n/∂x = e, so dx = dy / (n + ε) − x Σ(dy e) / (n + ε)²
                         = (dy − e Σ(dy e) + e Σ(dy e) ε / (n + ε)) / (n + ε)
        The first two terms are the part of dy at right angles to e. For an entry that makes up most
        of the length it is computed from the other entries; where D is 1 it is 0.
    """
    largest = np.abs(x.real).max(axis=-1, keepdims=True, initial=0)
    none = largest == 0
    largest = np.where(none, 1, largest)
    v = x / largest
    of_v = np.sqrt((v * v).sum(axis=-1, keepdims=True))
    of_v = np.where(none, 1, of_v)
    e = v / of_v
    n = of_v * largest
    less = epsilon / (n + epsilon)  # y = e (1 − less)
    kept = np.where(less == 0, 1, n / (n + epsilon))
    rules = e.real * e.real > 0.5

    def backward(dy: np.ndarray) -> np.ndarray:
        along = (dy * e).sum(axis=-1, keepdims=True)
        across = orthogonal(e, dy - e * along, rules)
        return np.where(none, 0, (across + e * along * less) * kept / of_v / largest)

    return e * kept, backward


def length(x: np.ndarray) -> np.ndarray:
    """√Σ x² along the last axis, kept, wherever it can be represented."""
    by = scale(x, axis=-1)
    return np.sqrt(((x / by) ** 2).sum(axis=-1, keepdims=True)) * by


def lengths_apart(x: np.ndarray, y: np.ndarray, less: np.ndarray) -> np.ndarray:
    """‖x‖ − ‖y‖ along the last axis, kept, from less = x − y, where that has digits.

    ‖x‖² − ‖y‖² = Σ (x − y)(x + y), so it is Σ (x − y)(x + y) / (‖x‖ + ‖y‖).
    """
    both = length(x) + length(y)
    return (less * ((x + y) / np.where(both == 0, 1, both))).sum(axis=-1, keepdims=True)


def directions_apart(
    x: np.ndarray, y: np.ndarray, less: np.ndarray, epsilon: float | np.ndarray = 0.0
) -> np.ndarray:
    """x/(‖x‖ + ε) − y/(‖y‖ + ε) along the last axis, from less = x − y, if that is
    half of y at most.

    With n, m the two lengths it is ((x − y) − x/(n + ε) · (n − m)) / (m + ε).
    """
    u, m = unit(x, epsilon)[0], length(y)
    near = (length(less).real <= m.real / 2) & (m.real > 0)
    apart = (less - u * lengths_apart(x, y, less)) / np.where(near, m + epsilon, 1)
    return np.where(near, apart, u - unit(y, epsilon)[0])


def products_apart(x: np.ndarray, y: np.ndarray, less: np.ndarray) -> np.ndarray:
    """x xᵀ − y yᵀ, of the last two axes, from less = x − y: less xᵀ + y lessᵀ."""
    return less @ np.swapaxes(x, -1, -2) + y @ np.swapaxes(less, -1, -2)


def shares(x: np.ndarray) -> Step:
    """Vectors along the last axis, divided by the sum of their absolute values.

    y = x / s, s = Σ |x|; 0 where s is 0. As ∂s/∂x = sign(x), dx = (dy − sign(x) Σ(dy y)) / s, and
    Σ y dx = 0.
    """
    sign = np.sign(x.real)
    s = (sign * x).sum(axis=-1, keepdims=True)
    none = s.real == 0
    s = np.where(none, 1, s)
    y = x / s
    rules = sign * y.real > 0.5

    def backward(dy: np.ndarray) -> np.ndarray:
        across = dy - sign * (dy * y).sum(axis=-1, keepdims=True)
        return np.where(none, 0, orthogonal(y, across, rules) / s)

    return y, backward


def products(x: np.ndarray) -> Step:
    """The products of all pairs of rows, y[i,j] = Σ_d x[i,d] x[j,d]: (…, N, D)  →  (…, N, N).

    As x[i] reaches y[i,j] and y[j,i], dx = (dy + dyᵀ) x.
    """
    y = x @ np.swapaxes(x, -1, -2)
    return y, lambda dy: (dy + np.swapaxes(dy, -1, -2)) @ x


def cosines(x: np.ndarray) -> Step:
    """The products of all pairs of rows, each divided by its length: (…, N, D)  →  (…, N, N).

    A row's product with itself is exactly 1, or 0 for a row of zeros: nothing of x changes it.
    """
    u, to_x = unit(x)
    y, to_u = products(u)
    of_itself = "...ii->...i"
    np.einsum(of_itself, y)[...] = (x != 0).any(axis=-1)

    def backward(dy: np.ndarray) -> np.ndarray:
        dy = dy.copy()
        np.einsum(of_itself, dy)[...] = 0
        return to_x(to_u(dy))

    return y, backward


def distances(x: np.ndarray) -> Step:
    """The distances of all pairs of rows, y[i,j] = √Σ_d (x[i,d] − x[j,d])²: (N, D)  →  (N, N).

    Backward, given dy
        ∂y[i,j]/∂x[i] = (x[i] − x[j]) / y[i,j], and y[j,i] is the same number:
        dx[i] = Σ_j (dy[i,j] + dy[j,i]) (x[i] − x[j]) / y[i,j], without the pairs at distance 0
    """
    y = np.empty((len(x), len(x)), x.dtype)
    for i, row in enumerate(x):
        y[i] = length(row - x)[:, 0]

    def backward(dy: np.ndarray) -> np.ndarray:
        weight = dy + dy.T  # (N, N)
        dx = np.empty_like(x)
        for i, row in enumerate(x):
            of = np.where(y[i] == 0, 1, y[i])  # 0 apart, any does: x − x is 0
            dx[i] = weight[i] @ ((row - x) / of[:, np.newaxis])
        return dx

    return y, backward


def centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, D) less their means, and which rows are constant (N, 1).

    The first entry is subtracted first: so a large common offset costs no digits, and a constant
    row becomes exactly 0.
    """
    y = x - x[:, :1]
    y -= y.mean(axis=1, keepdims=True)
    return y, ~(y.real != 0).any(axis=1, keepdims=True)


def flat(features: np.ndarray) -> np.ndarray:
    """Features (B, …) as rows (B, D), their size given even where there are none."""
    return features.reshape(len(features), int(np.prod(features.shape[1:])))
