"""The document's two networks, and a pair for super-resolution."""

from typing import Any

import numpy as np

from npkd import ops
from npkd.nets.layers import Conv2d, Function, Layer, Linear
from npkd.nets.network import Network


class _CNN(Network):
    """The shape that both nets have: two convolutions, a 2×2 average pool, two linear layers.

    rng: a np.random.Generator or a seed. Raises ValueError for sizes that are not positive.
    """

    size: int  # images are C × size × size
    channels: tuple[int, int]
    hidden: int

    def __init__(
        self,
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        dtype: Any = np.float32,
    ):
        first, second = self.channels
        layers: dict[str, Layer] = {
            "conv1": Conv2d(in_channels, first, 3, padding=1),
            "relu1": Function(ops.relu),
            "conv2": Conv2d(first, second, 3, padding=1),
            "relu2": Function(ops.relu),
            "pool": Function(ops.avg_pool2d, 2),
            "flatten": Function(ops.flatten),
            "fc1": Linear(second * (self.size // 2) ** 2, self.hidden),
            "relu3": Function(ops.relu),
            "fc2": Linear(self.hidden, num_classes),
        }
        super().__init__(layers, (in_channels, self.size, self.size), rng, dtype)


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


class _SuperResolver(Network):
    """The shape that both nets for super-resolution have: x_low C×16×16 → x_high C×32×32.

    Three convolutions work on the small image; the last one makes a channel for each of the 2×2
    cells that a cell becomes, and a pixel shuffle puts these in their places.

    rng: a np.random.Generator or a seed.

    Source: ESPCN, Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an
    Efficient Sub-Pixel Convolutional Neural Network", with ReLU for tanh.
    """

    channels: tuple[int, int]

    def __init__(
        self, rng: np.random.Generator | int, *, in_channels: int = 3, dtype: Any = np.float32
    ):
        first, second = self.channels
        layers: dict[str, Layer] = {
            "conv1": Conv2d(in_channels, first, 5, padding=2),
            "relu1": Function(ops.relu),
            "conv2": Conv2d(first, second, 3, padding=1),
            "relu2": Function(ops.relu),
            "conv3": Conv2d(second, in_channels * 2**2, 3, padding=1),
            "shuffle": Function(ops.pixel_shuffle, 2),
        }
        super().__init__(layers, (in_channels, 16, 16), rng, dtype)


class LargeSuperResolver(_SuperResolver):
    """64 and 32 channels: 26,796 parameters for C = 3, as ESPCN has them for colour images."""

    channels = (64, 32)


class SmallSuperResolver(_SuperResolver):
    """16 and 8 channels: 3,252 parameters for C = 3, 8.2 times fewer."""

    channels = (16, 8)
