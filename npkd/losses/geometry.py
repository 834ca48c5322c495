"""Steps that several losses share: unit vectors, distances, products of samples.

Each returns its value and its backward pass, as ops do. A vector of zeros has no direction, and two
equal points have no distance that could be differentiated: there values are 0, and so is the
gradient, one of those that lie between all the slopes around.
"""

from collections.abc import Callable

import numpy as np

Step = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]


def unit(x: np.ndarray, epsilon: float = 0.0) -> Step:
    """Vectors along the last axis, divided by their length.

    Definition
        y = x / (n + ε), n = √Σ x²; 0 where n is 0

    computed with the largest entry divided out of the squares, which neither overflow nor vanish.

    Backward, given dy
        ∂n/∂x = x / n, so dx = dy / (n + ε) − x Σ(dy x) / (n (n + ε)²)
                             = (dy − y Σ(dy y) (n + ε) / n) / (n + ε)
    """
    largest = np.abs(x.real).max(axis=-1, keepdims=True, initial=0)
    none = largest < np.finfo(x.dtype).tiny  # NaN is not below it
    largest[none] = 1
    v = x / largest
    length = np.sqrt((v * v).sum(axis=-1, keepdims=True))
    length[none] = 1
    n = length * largest
    by = n + epsilon
    y = x / by

    def backward(dy: np.ndarray) -> np.ndarray:
        along = (dy * y).sum(axis=-1, keepdims=True)
        return np.where(none, 0, (dy - y * along * (by / n)) / by)

    return y, backward


def shares(x: np.ndarray) -> Step:
    """Vectors along the last axis, divided by the sum of their absolute values.

    Definition
        y = x / s, s = Σ |x|; 0 where s is 0

    Backward, given dy
        ∂s/∂x = sign(x), so dx = (dy − sign(x) Σ(dy y)) / s
    """
    sign = np.sign(x.real)
    s = (sign * x).sum(axis=-1, keepdims=True)
    none = s.real < np.finfo(x.dtype).tiny
    s = np.where(none, 1, s)
    y = x / s

    def backward(dy: np.ndarray) -> np.ndarray:
        return np.where(none, 0, (dy - sign * (dy * y).sum(axis=-1, keepdims=True)) / s)

    return y, backward


def products(x: np.ndarray) -> Step:
    """The products of all pairs of rows.

    Shapes
        x (…, N, D)  →  y (…, N, N)

    Definition
        y[i,j] = Σ_d x[i,d] x[j,d]         y = x xᵀ

    Backward, given dy
        x[i] reaches y[i,j] and y[j,i]:    dx = (dy + dyᵀ) x
    """
    y = x @ np.swapaxes(x, -1, -2)
    return y, lambda dy: (dy + np.swapaxes(dy, -1, -2)) @ x


def distances(x: np.ndarray) -> Step:
    """The distances of all pairs of rows.

    Shapes
        x (N, D)  →  y (N, N), 0 on the diagonal

    Definition
        y[i,j] = √Σ_d (x[i,d] − x[j,d])²

    Backward, given dy
        ∂y[i,j]/∂x[i] = (x[i] − x[j]) / y[i,j], and y[j,i] is the same number:
        dx[i] = Σ_j (dy[i,j] + dy[j,i]) (x[i] − x[j]) / y[i,j], without the pairs at distance 0
    """
    y = np.empty((len(x), len(x)), x.dtype)
    for i, row in enumerate(x):
        difference = row - x  # (N, D)
        y[i] = np.sqrt((difference * difference).sum(axis=1))

    def backward(dy: np.ndarray) -> np.ndarray:
        weight = (dy + dy.T) / np.where(y == 0, 1, y)  # (N, N); 0 apart, any does: x − x is 0
        dx = np.empty_like(x)
        for i, row in enumerate(x):
            dx[i] = weight[i] @ (row - x)
        return dx

    return y, backward


def centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, D) less their means, and which rows are constant (N, 1).

    Constant is what varies by no more than rounding does, D ε max|x|; such rows become 0.
    """
    y = x - x.mean(axis=1, keepdims=True)
    varies, largest = (np.abs(of.real).max(axis=1, keepdims=True, initial=0) for of in (y, x))
    constant = varies <= x.shape[1] * np.finfo(x.dtype).eps * largest
    return np.where(constant, 0, y), constant


def flat(features: np.ndarray) -> np.ndarray:
    """Features (B, …) as rows (B, D), their size given even where there are none."""
    return features.reshape(len(features), int(np.prod(features.shape[1:])))
