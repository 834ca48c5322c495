"""Figures of networks: outputs, accuracy, agreement, distance, size, speed."""

import time
from collections.abc import Callable

import numpy as np

from npkd.layers import Network

BATCH = 64
LATENCY_RUNS = 30


def outputs(
    network: Network, count: int, images: Callable[[slice], np.ndarray], batch_size: int = BATCH
) -> np.ndarray:
    """The network's outputs for `count` images, a batch at a time.

    Shapes
        images(part) gives the images (B, *image_shape) of a slice of 0 … count − 1
        →  (count, …)
    """
    batches = [slice(start, start + batch_size) for start in range(0, count, batch_size)]
    return np.concatenate([network(images(part))[0] for part in batches])


def predictions(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit, the first of equal ones: (B, C) → (B,)."""
    return logits.argmax(axis=1)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of samples whose predicted class is the label."""
    return float(np.mean(predictions(logits) == labels))


def agreement(logits: np.ndarray, others: np.ndarray) -> float:
    """The share of samples for which both predict the same class."""
    return float(np.mean(predictions(logits) == predictions(others)))


def mse(outputs: np.ndarray, others: np.ndarray) -> float:
    """The mean over samples and outputs of the squared difference."""
    return float(np.mean((outputs.astype(np.float64) - others) ** 2))


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
