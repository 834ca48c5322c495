"""Residual networks for small images."""

from typing import Any

import numpy as np

from npkd.nets import Add, Linear
from npkd.ops.contract import Pair
from npkd.zoo.field_net import FieldNet, Layers, conv_bn, pooled, relu

NARROW, WIDE = (16, 16, 32, 64), (32, 64, 128, 256)


class ResNet(FieldNet):
    """A residual net of depth 6n + 2: one convolution, three stages of n blocks, one linear layer.

    Definition of a block (x what it takes; the shortcut is x itself, or where the shape changes a
    1×1 convolution of it with batch norm)
        y = ReLU(bn2(conv2(ReLU(bn1(conv1(x))))) + shortcut(x))

    widths: the channels of the first convolution and of the stages; the second and third stage
    halve height and width. Names: a block's output is called as the block, `layer1.0`, and what is
    added up, before its ReLU, `layer1.0.add`.

    Source: He, Zhang, Ren and Sun 2016, "Deep Residual Learning for Image Recognition",
    section 4.2, with 1×1 convolutions for shortcuts; names as in RepDistiller's models/resnet.py.

    Example
        >>> network = zoo.resnet20(rng=0)
        >>> sum(theta.size for theta in network.params.values())
        272474
    """

    def __init__(
        self,
        depth: int,
        widths: tuple[int, ...],
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: Pair = 32,
        dtype: Any = np.float32,
    ):
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"ResNet: depth is {depth}, expected 6n + 2: 8, 14, 20, …")
        layers: Layers = {}
        conv_bn(layers, ("conv1", "bn1", "relu"), (in_channels, widths[0]), 3)
        before, channels, stages = "relu", widths[0], ["relu"]
        for stage, width in enumerate(widths[1:], 1):
            for block in range((depth - 2) // 6):
                name = f"layer{stage}.{block}"
                stride = 2 if stage > 1 and block == 0 else 1
                _block(layers, name, before, (channels, width), stride)
                before, channels = name, width
            stages.append(before)
        layers |= pooled() | {"fc": Linear(channels, num_classes)}
        options = {"in_channels": in_channels, "image_size": image_size, "dtype": dtype}
        super().__init__(layers, tuple(stages), rng, **options, zero_bias=False)


def _block(layers: Layers, name: str, x: str, channels: tuple[int, int], stride: int) -> None:
    inputs, outputs = channels
    shortcut = x
    if stride != 1 or inputs != outputs:
        shortcut = f"{name}.downsample.1"
        of_shortcut = (f"{name}.downsample.0", shortcut)
        conv_bn(layers, of_shortcut, channels, 1, stride=stride, takes=x)
    names = (f"{name}.conv1", f"{name}.bn1", f"{name}.relu")
    conv_bn(layers, names, channels, 3, stride=stride, takes=x)
    conv_bn(layers, (f"{name}.conv2", f"{name}.bn2"), (outputs, outputs), 3)
    layers[f"{name}.add"] = Add(f"{name}.bn2", shortcut)
    layers[name] = relu()
