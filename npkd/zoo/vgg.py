"""VGG nets for small images, with batch norm."""

from typing import Any

import numpy as np

from npkd import ops
from npkd.nets import BatchNorm, Conv2d, Function, Linear
from npkd.ops.contract import Pair, pair
from npkd.zoo.field_net import FieldNet, Layers, pooled, relu


class VGG(FieldNet):
    """Five blocks of 3×3 convolutions with batch norm, max pools between, one linear layer.

    widths: the channels of each block's convolutions. A 2×2 max pool follows each of the first
    three blocks, and for images of 64×64 the fourth, so images are of 8×8 cells or more.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition"; names as in RepDistiller's models/vgg.py.

    Example
        >>> network = zoo.vgg8(rng=0)
        >>> sum(theta.size for theta in network.params.values())
        3918858
    """

    def __init__(
        self,
        widths: tuple[tuple[int, ...], ...],
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: Pair = 32,
        dtype: Any = np.float32,
    ):
        layers: Layers = {}
        channels, stages = in_channels, []
        pools = 4 if pair("VGG", "image_size", image_size, 8)[0] == 64 else 3
        for block, of_block in enumerate(widths):
            for k, width in enumerate(of_block):
                at = f"block{block}"
                layers[f"{at}.{3 * k}"] = Conv2d(channels, width, 3, padding=1)
                layers[f"{at}.{3 * k + 1}"] = BatchNorm(width)
                last = k == len(of_block) - 1
                layers[f"relu{block}" if last else f"{at}.{3 * k + 2}"] = relu()
                channels = width
            stages.append(f"relu{block}")
            if block < pools:
                layers[f"pool{block}"] = Function(ops.max_pool2d, 2)
        layers |= pooled() | {"classifier": Linear(channels, num_classes)}
        options = {"in_channels": in_channels, "image_size": image_size, "dtype": dtype}
        super().__init__(layers, tuple(stages), rng, **options, small_linear=True)
