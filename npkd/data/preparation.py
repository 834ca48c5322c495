"""From stored images to what the nets take: batches, normalisation, low resolution."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from npkd import ops
from npkd.arguments import is_integer, positive_integer, shown
from npkd.data.images import Images, parts_of, require_images


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Brings each channel to mean 0 and standard deviation 1 over the training images.

    mean, std   (C,) float64, of pixel values in 0..1
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, images: Images) -> "Normalisation":
        """The mean and standard deviation of each channel of (N, C, H, W) uint8 images.

        With p[c,v] the share of channel c's pixels that have the value v, counted exactly:
            mean[c] = Σ_v p[c,v] v/255
            std[c]  = √ Σ_v p[c,v] (v/255 − mean[c])²    and at least 1/255

        The floor is one step of a pixel; it keeps a constant channel from dividing by zero.

        Raises ValueError if there are no images, or they are not (N, C, H, W) of uint8.
        """
        expected = "one or more (N, C, H, W) images of uint8"
        require_images("Normalisation.of", images, expected)
        if 0 in images.shape:
            raise ValueError(f"Normalisation.of takes {expected}; got shape {images.shape}")
        counts = np.zeros((images.shape[1], 256), np.int64)
        for part in parts_of(images):
            for channel in range(len(counts)):
                counts[channel] += np.bincount(part[:, channel].ravel(), minlength=256)
        share = counts / counts.sum(axis=1, keepdims=True)  # (C, 256)
        value = np.arange(256) / 255
        mean = share @ value
        variance = (share * (value - mean[:, None]) ** 2).sum(axis=1)
        return cls(mean, np.maximum(np.sqrt(variance), 1 / 255))

    def __call__(self, images: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
        """x[n,c,i,j] = (images[n,c,i,j]/255 − mean[c]) / std[c], computed in `dtype`.

        Shapes
            images (N, C, H, W) uint8  →  x (N, C, H, W)
        """
        x = images.astype(dtype)
        x /= 255
        x -= self.mean[:, None, None].astype(dtype)
        x /= self.std[:, None, None].astype(dtype)
        return x


def low_resolution(x_high: np.ndarray) -> np.ndarray:
    """Each 2×2 block of cells becomes its average, as a sensor with half the resolution sees it.

    Shapes
        x_high (N, C, H, W)  →  x_low (N, C, H/2, W/2)

    Definition
        x_low[n,c,i,j] = ¼ (x_high[n,c,2i,2j] + x_high[n,c,2i,2j+1]
                            + x_high[n,c,2i+1,2j] + x_high[n,c,2i+1,2j+1])
    """
    x_low, _ = ops.avg_pool2d(x_high, 2)
    return x_low


def batches(
    count: int, batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[np.ndarray]:
    """Index arrays that cover 0..count−1 once: in random order with `rng`, in order without.

    Each is (batch_size,) int64; the last one is shorter if batch_size does not divide count.

    Raises ValueError if batch_size is not a positive integer, or count one from 0.
    """
    positive_integer("batches", "batch_size", batch_size)
    if not is_integer(count) or count < 0:
        raise ValueError(f"batches: count is {shown(count)}, expected a whole number from 0")
    order = np.arange(count) if rng is None else rng.permutation(count)
    return (order[start : start + batch_size] for start in range(0, count, batch_size))
