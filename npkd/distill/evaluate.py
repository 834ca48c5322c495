"""Figures of networks: size, speed, and how figures are called."""

import time
from collections.abc import Mapping

import numpy as np

from npkd.nets import Network

WARM_UP_RUNS, LATENCY_RUNS = 3, 30

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


def means(figures: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Over the images."""
    return {name: float(np.mean(values)) for name, values in figures.items()}


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
    for _ in range(WARM_UP_RUNS):
        network(x)
    seconds = []
    for _ in range(LATENCY_RUNS):
        start = time.perf_counter()
        network(x)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1e3
