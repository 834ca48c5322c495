"""The document's two networks."""

from typing import Any

import numpy as np

from npkd import ops
from npkd.layers import Conv2d, Function, Layer, Linear, Network


class LargeCNN(Network):
    """The document's large model: images C×32×32, 8,413,642 parameters for C = 3 and 10 classes."""

    def __init__(
        self,
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        dtype: Any = np.float32,
    ):
        layers = _layers(in_channels, 32, 64, 64 * 16 * 16, 512, num_classes)
        super().__init__(layers, (in_channels, 32, 32), rng, dtype)


class SmallCNN(Network):
    """The document's small model: images C×16×16, 268,650 parameters for C = 3 and 10 classes."""

    def __init__(
        self,
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        dtype: Any = np.float32,
    ):
        layers = _layers(in_channels, 16, 32, 32 * 8 * 8, 128, num_classes)
        super().__init__(layers, (in_channels, 16, 16), rng, dtype)


def _layers(
    in_channels: int, channels1: int, channels2: int, features: int, hidden: int, classes: int
) -> dict[str, Layer]:
    """The shape that both nets have: two convolutions, one pooling, two linear layers."""
    return {
        "conv1": Conv2d(in_channels, channels1, 3, padding=1),
        "relu1": Function(ops.relu),
        "conv2": Conv2d(channels1, channels2, 3, padding=1),
        "relu2": Function(ops.relu),
        "pool": Function(ops.avg_pool2d, 2),
        "flatten": Function(ops.flatten),
        "fc1": Linear(features, hidden),
        "relu3": Function(ops.relu),
        "fc2": Linear(hidden, classes),
    }
