"""How far a convolution by a transform may be off: Winograd's and Fourier's.

What a transform rounds are sums over whole tiles or images, so that the bound is of their sizes and
not of the products that make an entry. For every image n, output o and channel c

    |ŷ − y| ≤ γ_K Σ_c |x[n, c]| |w[o, c]|

in norms that depend on the transform: a convolution of 1 × 1 with those norms as its numbers.

Winograd's F(m, r) has y = Aᵀ ((G g) ⊙ (Bᵀ d)) along each axis, tiles of n = m + r − 1 cells. The
bound is of |Aᵀ| (|G| |g| ⊙ |Bᵀ| |d|), theorem 4.1 of Barabasz, Anderson, Soodhalter and Gregg 2020,
"Error analysis and improving the accuracy of Winograd convolution for deep neural networks". With
|d| its largest entry, entry k of the kernel counts

    κ_k = max_i Σ_j |Aᵀ_ij| (Σ_l |Bᵀ_jl|) |G_jk|

times. A and G are powers of n − 1 points and ∞, and Bᵀ follows from them, as in Lavin and Gray
2015, "Fast algorithms for convolutional neural networks". Both orders of the points are in use, k
and r − 1 − k then change places. The gradient by w is F(r, m), whose kernels are tiles of dy.

Fourier's: transforms of N cells are off by L η of their 2-norm, L = log₂ N, η about 8 u (Higham
2002, theorem 24.2), and there are three of them; |x| is the 2-norm, |w| the sum.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from npkd import ops
from npkd.validate.bounds.rounding import Arithmetic

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # of tiles of 8 cells; smaller ones, the first
LARGEST_TILE = len(POINTS) + 1
PER_TRANSFORM = 8  # η of Fourier's, in u


@dataclass(frozen=True)
class Transform:
    """One of them, as its bound has it.

    roundings  K, beside one for each channel that is summed
    image      |x| of each image and channel, by the entries (…, cells)
    kernel     |w| of each kernel, by the entries
    """

    name: str
    roundings: int
    image: Callable[[np.ndarray], np.ndarray]
    kernel: Callable[[np.ndarray], np.ndarray]


def of_conv2d(
    arithmetic: Arithmetic, x: np.ndarray, w: np.ndarray, y: np.ndarray, options: Mapping[str, Any]
) -> Iterator[tuple[str, np.ndarray]]:
    """How far y may be off, by transform."""
    for one in _transforms(x, w, y, options):
        gamma = arithmetic.gamma_of_sum(w.shape[1] + one.roundings)
        bound, _ = ops.conv2d(one.image(x), one.kernel(w), groups=options.get("groups", 1))
        yield one.name, gamma * bound


def of_gradients(
    arithmetic: Arithmetic, x: np.ndarray, w: np.ndarray, dy: np.ndarray, options: Mapping[str, Any]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The same of dx and dw; for dw, kernels are tiles of dy, or all of it."""
    groups = options.get("groups", 1)
    for one in _transforms(x, w, dy, options):
        _, back = ops.conv2d(one.image(x), one.kernel(w), groups=groups)
        dx, _, _ = back(one.image(dy))
        per_entry = np.max(one.kernel(np.eye(math.prod(w.shape[2:])).reshape(-1, 1, *w.shape[2:])))
        _, dw, _ = back(per_entry * np.abs(dy).sum(axis=(2, 3), keepdims=True))
        gamma_x, gamma_w = (
            arithmetic.gamma_of_sum(k + one.roundings)
            for k in (w.shape[0] // groups, dy[:, 0].size)
        )
        yield one.name, gamma_x * dx, gamma_w * dw


def _transforms(
    x: np.ndarray, w: np.ndarray, y: np.ndarray, options: Mapping[str, Any]
) -> Iterator[Transform]:
    """Those that there are for these shapes; of kernels of one entry there is none."""
    kernel = w.shape[2:]
    if max(kernel) == 1:
        return
    apart = np.any(np.array([options.get("stride", 1), options.get("dilation", 1)], object) != 1)
    for m in range(2, LARGEST_TILE + 2 - max(kernel) if not apart else 0):
        yield _winograd(m, kernel)
    cells = [max(a, b) + d for a, b, d in zip(x.shape[2:], y.shape[2:], kernel, strict=True)]
    levels = sum(math.ceil(math.log2(n)) + 1 for n in cells)  # of the next power of two, or above
    roundings = 3 * levels * PER_TRANSFORM + w.shape[1]
    yield Transform("Fourier's transform", roundings, _length, _sum)


def _winograd(m: int, kernel: tuple[int, ...]) -> Transform:
    """With m × m outputs a tile, or m along the one axis that a kernel has."""
    weights = np.multiply.outer(*(_weights(m, r) for r in kernel))
    sizes = "×".join(str(m if r > 1 else 1) for r in kernel), "×".join(map(str, kernel))
    return Transform(
        f"Winograd's transform F({', '.join(sizes)})",
        6 * sum(m + r for r in kernel),  # three transforms by sums of n products of two roundings
        lambda images: np.abs(images).max(axis=(2, 3), keepdims=True),
        lambda kernels: _sum(weights * kernels),
    )


def _weights(m: int, r: int) -> np.ndarray:
    """κ_k of F(m, r), the larger of both orders."""
    if r == 1:
        return np.ones(1)
    n = m + r - 1

    def powers(count: int) -> np.ndarray:
        finite = np.array(POINTS[: n - 1])[:, np.newaxis] ** np.arange(count)
        return np.vstack([finite, np.arange(count) == count - 1])

    of_tile = np.abs(np.linalg.inv(powers(n))).sum(axis=0)
    counted = np.einsum("ji,j,jk->ik", np.abs(powers(m)), of_tile, np.abs(powers(r))).max(axis=0)
    return np.maximum(counted, counted[::-1])


def _sum(kernels: np.ndarray) -> np.ndarray:
    return np.abs(kernels).sum(axis=(2, 3), keepdims=True)


def _length(images: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(images).sum(axis=(2, 3), keepdims=True))
