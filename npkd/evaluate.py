"""Figures of networks: outputs, predictions, size, speed."""

import math
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from npkd.data import Images
from npkd.layers import Network

BATCH = 64
FEW = 1024  # numbers that an output has at most if it is kept
LATENCY_RUNS = 30


class Outputs:
    """A network's outputs for stored images, by slices and indices.

    Few numbers, such as logits, are kept; images are made again whenever they are asked for, since
    together they would take more memory than the data set.

    view(images) is what the network is shown of stored images.
    """

    def __init__(self, network: Network, images: Images, view: Callable[[np.ndarray], np.ndarray]):
        self.network, self.images, self.view = network, images, view
        self.kept: np.ndarray | None = None
        if math.prod(self._made(slice(0, 1)).shape[1:]) <= FEW:
            parts = [self._made(part) for part in batches_of(len(images))]
            self.kept = np.concatenate(parts)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return self._made(part) if self.kept is None else self.kept[part]

    def _made(self, part: slice | np.ndarray) -> np.ndarray:
        return self.network(self.view(self.images[part]))[0]


def batches_of(count: int) -> Iterator[slice]:
    """Slices of BATCH images that cover 0 … count − 1."""
    return (slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


# How figures are called and written
WORDS = {
    "cross_entropy": ("cross-entropy", "{:.3f}"),
    "l2": ("½‖y − x_high‖²", "{:.3f}"),
    "accuracy": ("accuracy", "{:.2%}"),
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
}


def in_words(figures: Mapping[str, float]) -> str:
    """Figures as text, those that have a name here: "accuracy 97.60%"."""
    named = [(*WORDS[name], value) for name, value in figures.items() if name in WORDS]
    return ", ".join(f"{name} {form.format(value)}" for name, form, value in named)


def predictions(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit, the first of equal ones: (B, C) → (B,)."""
    return logits.argmax(axis=1)


def size(network: Network) -> dict[str, int]:
    """Parameters, their bytes, and the multiply-adds that one image takes."""
    return {
        "parameters": sum(theta.size for theta in network.params.values()),
        "macs": network.macs(),
        "bytes": sum(theta.nbytes for theta in network.params.values()),
    }


def latency_ms(network: Network, batch_size: int) -> float:
    """Milliseconds of one forward pass of a batch: the median of 30, after a few to warm up.

    The time does not depend on what the images show, so they are all zeros.
    """
    x = np.zeros((batch_size, *network.image_shape), network.dtype)
    for _ in range(3):
        network(x)
    seconds = []
    for _ in range(LATENCY_RUNS):
        start = time.perf_counter()
        network(x)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1e3
