"""The document's two networks."""

from typing import Any

import numpy as np

from npkd import ops
from npkd.nets.layers import Conv2d, Function, Layer, Linear
from npkd.nets.network import Network
from npkd.ops.contract import Pair, pair


class _CNN(Network):
    """The shape that both nets have: two convolutions, a 2×2 average pool, two linear layers.

    rng: a np.random.Generator or a seed. Raises ValueError for sizes that are not positive.
    """

    size: int  # images are C × size × size, unless image_size says otherwise
    channels: tuple[int, int]
    hidden: int
    stages = ("relu1", "relu2", "pool")
    vector = "relu3"

    def __init__(
        self,
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: Pair | None = None,
        dtype: Any = np.float32,
    ):
        height, width = pair(
            "CNN", "image_size", self.size if image_size is None else image_size, 2
        )
        first, second = self.channels
        layers: dict[str, Layer] = {
            "conv1": Conv2d(in_channels, first, 3, padding=1),
            "relu1": Function(ops.relu),
            "conv2": Conv2d(first, second, 3, padding=1),
            "relu2": Function(ops.relu),
            "pool": Function(ops.avg_pool2d, 2),
            "flatten": Function(ops.flatten),
            "fc1": Linear(second * (height // 2) * (width // 2), self.hidden),
            "relu3": Function(ops.relu),
            "fc2": Linear(self.hidden, num_classes),
        }
        super().__init__(layers, (in_channels, height, width), rng, dtype)


class LargeCNN(_CNN):
    """The document's large model: images C×32×32, 8,413,642 parameters for C = 3 and 10 classes.

    Example
        >>> sum(theta.size for theta in npkd.LargeCNN(rng=0).params.values())
        8413642
    """

    size, channels, hidden = 32, (32, 64), 512


class SmallCNN(_CNN):
    """The document's small model: images C×16×16, 268,650 parameters for C = 3 and 10 classes.

    Example
        >>> npkd.SmallCNN(rng=0)(np.zeros((2, 3, 16, 16), np.float32))[0].shape
        (2, 10)
    """

    size, channels, hidden = 16, (16, 32), 128
