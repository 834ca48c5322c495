"""Right computations, written as others write them: transforms, emulated products, sums otherwise.

All in NumPy and float32. Of a case on conv2d and its backward pass, `convolution(case, product)`
gives the results, where `product(x, w)` is the correlation of all images with all kernels, stride
1 and no padding, (N, C, H, W) and (O, C, h, w) → (N, O, H − h + 1, W − w + 1):

    winograd(m)     Toom and Cook's, m × m outputs a tile, on the points that libraries take
    fourier         products of Fourier transforms
    emulated(…)     sums of products of parts in bfloat16 or TF32
"""

from collections.abc import Callable

import numpy as np

from npkd import ops
from npkd.validate import Case
from npkd.validate.bounds.rounding import BFLOAT16, TF32, Precision

F32 = np.float32
Arrays = dict[str, np.ndarray]
Product = Callable[[np.ndarray, np.ndarray], np.ndarray]
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 4.0, -4.0, 0.25)  # Lavin and Gray 2015, wincnn


def convolution(case: Case, product: Product) -> Arrays:
    """The results of conv2d and its backward pass at stride 1, in one group, by this product."""
    x, w, dy = (case.inputs[name] for name in ("x", "w", "dy"))
    (rows, columns) = np.broadcast_to(case.operations[0].options.get("padding", 0), 2).tolist()
    height, width = w.shape[2:]

    def padded(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
        return np.pad(images, ((0, 0), (0, 0), (rows, rows), (columns, columns)))

    wide = padded(x, rows, columns)
    back = product(
        padded(dy, height - 1, width - 1),
        np.ascontiguousarray(w.transpose(1, 0, 2, 3)[..., ::-1, ::-1]),
    )
    found = {
        "y": product(wide, w),
        "dx": back[:, :, rows : rows + x.shape[2], columns : columns + x.shape[3]],
        "dw": product(wide.transpose(1, 0, 2, 3), dy.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3),
    }
    if "b" in case.inputs:
        found["y"] = found["y"] + case.inputs["b"].reshape(-1, 1, 1)
        found["db"] = dy.sum(axis=(0, 2, 3))
    return found


# Winograd


def toom_cook(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n) of y = Aᵀ ((G g) ⊙ (Bᵀ d)), n = m + r − 1."""
    n = m + r - 1

    def powers(count: int) -> np.ndarray:
        finite = np.array(POINTS[: n - 1])[:, np.newaxis] ** np.arange(count)
        return np.vstack([finite, np.arange(count) == count - 1])

    return powers(m).T, powers(r), np.linalg.inv(powers(n)).T


def winograd(m: int) -> Product:
    """A product in tiles of m × m outputs; of long kernels, such as dy for dw, piece by piece."""

    def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        height, width = w.shape[2:]
        if max(height, width) <= 3:
            return _in_tiles(x, w, m)
        rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
        y = np.zeros((len(x), len(w), rows, columns), F32)
        for top in range(0, height, m):  # F(r × r, m × m): the roles of tile and kernel exchanged
            for left in range(0, width, m):
                piece = w[:, :, top : top + m, left : left + m]
                window = x[
                    :,
                    :,
                    top : top + rows + piece.shape[2] - 1,
                    left : left + columns + piece.shape[3] - 1,
                ]
                y += _in_tiles(window, piece, 3)
        return y

    return product


def _in_tiles(x: np.ndarray, w: np.ndarray, m: int) -> np.ndarray:
    """Tiles of m × m outputs, the last ones filled up with zeros."""
    (height, width), kernel = x.shape[2:], w.shape[2:]
    rows, columns = height - kernel[0] + 1, width - kernel[1] + 1
    (a, g, b), (c, h, d) = (tuple(one.astype(F32) for one in toom_cook(m, size)) for size in kernel)
    down, right = -(-rows // m), -(-columns // m)
    more = down * m + kernel[0] - 1 - height, right * m + kernel[1] - 1 - width
    x = np.pad(x, ((0, 0), (0, 0), (0, more[0]), (0, more[1])))
    tile = len(b), len(d)
    tiles = np.lib.stride_tricks.sliding_window_view(x, tile, (2, 3))[:, :, ::m, ::m]
    of_x = b @ np.ascontiguousarray(tiles) @ d.T  # (N, C, down, right, n, n)
    of_w = g @ np.ascontiguousarray(w) @ h.T  # (O, C, n, n)
    products = np.einsum("ncpqij,ocij->nopqij", of_x, of_w, optimize=True).astype(F32)
    y = a @ products @ c.T
    y = y.transpose(0, 1, 2, 4, 3, 5).reshape(len(x), len(w), down * m, right * m)
    return y[:, :, :rows, :columns]


# Fourier


def fourier(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A product of Fourier transforms, which are in complex64."""
    from scipy import fft

    size = x.shape[2:]
    of_x, of_w = (fft.rfft2(np.asarray(one, F32), size) for one in (x, w))
    products = np.einsum("ncij,ocij->noij", of_x, of_w.conj(), optimize=True)
    y = fft.irfft2(products.astype(np.complex64), size)
    return y[:, :, : size[0] - w.shape[2] + 1, : size[1] - w.shape[3] + 1].astype(F32)


# Products of parts


def emulated(precision: Precision, parts: int, kept: int, inner: Product) -> Product:
    """A product of factors that are sums of parts in a lower precision, of which the largest count.

    kept: parts i and j, counted from 0, are multiplied where i + j < kept. Three products of
    bfloat16 are two parts and kept = 2; six are three parts and kept = 3; nine, three and 5.
    """

    def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        of_x, of_w = _parts(x, precision, parts), _parts(w, precision, parts)
        pairs = [(i, j) for i in range(parts) for j in range(parts) if i + j < kept]
        terms = [inner(of_x[i], of_w[j]) for i, j in sorted(pairs, key=sum, reverse=True)]
        return np.sum(terms, axis=0, dtype=F32)

    return product


def _parts(x: np.ndarray, precision: Precision, count: int) -> list[np.ndarray]:
    """x rounded, what is left rounded, and so on."""
    parts, left = [], x.astype(np.float64)
    for _ in range(count):
        parts.append(precision.round(left).astype(F32))
        left = left - parts[-1]
    return parts


def directly(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A product as it is defined, in float32."""
    return ops.conv2d(np.ascontiguousarray(x), np.ascontiguousarray(w))[0]


EMULATED = {
    "three bfloat16 products": emulated(BFLOAT16, 2, 2, directly),
    "six bfloat16 products": emulated(BFLOAT16, 3, 3, directly),
    "nine bfloat16 products": emulated(BFLOAT16, 3, 5, directly),
    "three TF32 products": emulated(TF32, 2, 2, directly),
}


# Other formulas


def integral_image(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Means of windows by four sums each, which all begin in the image's corner."""
    sums = np.pad(x.cumsum(axis=2).cumsum(axis=3), ((0, 0), (0, 0), (1, 0), (1, 0)))
    rows, columns = (np.arange(0, cells - size + 1, stride)[:, np.newaxis] for cells in x.shape[2:])
    top, bottom, left, right = rows, rows + size, columns.T, columns.T + size
    total = sums[:, :, bottom, right] - sums[:, :, top, right]
    total = total - sums[:, :, bottom, left] + sums[:, :, top, left]
    return (total / F32(size * size)).astype(F32)


def standardized(x: np.ndarray, ddof: int = 1, epsilon: float = 1e-7) -> np.ndarray:
    """Rows less their mean, divided by a deviation √(E[x²] − m²)."""
    mean, count = x.mean(axis=1, keepdims=True, dtype=F32), x.shape[1]
    variance = (x * x).mean(axis=1, keepdims=True, dtype=F32) - mean * mean
    deviation = np.sqrt(np.maximum(variance * F32(count / (count - ddof)), 0))
    return (x - mean) / (deviation + F32(epsilon))


def l2_by_norm(student: np.ndarray, teacher: np.ndarray) -> Arrays:
    """½ ‖s − t‖² / B as a norm's square, and its gradient n · (Δ / n) / B."""
    d = (student - teacher).astype(F32)
    norm = np.sqrt((d * d).sum(dtype=F32))
    count = F32(len(d))
    gradient = norm * (d / norm) / count if norm else np.zeros_like(d)
    return {"value": np.asarray(F32(0.5) * norm * norm / count), "gradient": gradient}


def l2_by_squares(student: np.ndarray, teacher: np.ndarray) -> Arrays:
    """½ Σ (s² − 2 s t + t²) / B, and its gradient (s − t) / B."""
    s, t, count = student, teacher, F32(len(student))
    value = F32(0.5) * ((s * s).sum(dtype=F32) - F32(2) * (s * t).sum(dtype=F32))
    value = value + F32(0.5) * (t * t).sum(dtype=F32)
    return {"value": np.asarray(value / count), "gradient": (s - t) / count}
