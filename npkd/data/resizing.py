"""Images brought to another size: the middle square of each, its side resized.

Each new pixel is a mean of old ones, weighted by a triangle as wide as the new pixels lie apart, so
that nothing is passed over when an image shrinks. This is what Pillow and torchvision call bilinear
with antialiasing.
"""

import numpy as np

STEP = 2.0**20  # a weight is a whole number of STEPths
CELLS_AT_ONCE = 2**20  # bounds the memory that resizing takes


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """The middle square of each image, at `size` × `size`, as a new array.

    Shapes
        images (N, C, H, W) uint8  →  y (N, C, S, S) uint8, S = size

    Definition, with m = min(H, W), s = m/S
        y[n,c,i,j] = round(Σ_kl r[i,k] images[n,c,k,l] q[j,l])
        r[i,k] ∝ max(0, 1 − |k + ½ − (H − m)/2 − (i + ½) s| / max(s, 1)),   Σ_k r[i,k] = 1
        and q likewise, with W

    Weights are multiples of 2⁻²⁰ and sums are taken in float64, which holds them exactly; so the
    bits are the same in whatever order, and by however many threads, they are added.
    """
    count, channels, height, width = images.shape
    side = min(height, width)
    rows, columns = _weights(height, side, size), _weights(width, side, size).T
    y = np.empty((count, channels, size, size), np.uint8)
    step = max(1, CELLS_AT_ONCE // (channels * max(height, size) * max(width, size)))
    for start in range(0, count, step):
        part = images[start : start + step].astype(np.float64)  # (B, C, H, W)
        y[start : start + step] = np.floor(rows @ part @ columns + 0.5)
    return y


def _weights(length: int, side: int, size: int) -> np.ndarray:
    """(size, length): of the old cells in each new one, along one axis."""
    scale = side / size
    centres = (length - side) / 2 + (np.arange(size) + 0.5) * scale
    apart = np.abs(np.arange(length) + 0.5 - centres[:, None])
    weights = np.maximum(0, 1 - apart / max(scale, 1))
    steps = np.round(weights / weights.sum(axis=1, keepdims=True) * STEP)
    largest = steps.argmax(axis=1)
    steps[np.arange(size), largest] += STEP - steps.sum(axis=1)  # so that they sum to 1
    return steps / STEP
