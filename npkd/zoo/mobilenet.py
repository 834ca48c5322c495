"""MobileNetV2 for small images."""

from typing import Any

import numpy as np

from npkd.nets import Add, Linear
from npkd.ops.contract import Pair
from npkd.zoo.field_net import FieldNet, Layers, conv_bn, pooled

BLOCKS = (  # how many times wider inside, channels, how many, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STAGES = (1, 2, 4, 6)  # the groups of blocks behind which the field's code takes maps
LAST = 1280  # channels before the classifier


class MobileNetV2(FieldNet):
    """Inverted residuals: a 1×1 convolution to more channels, a depthwise 3×3 one, 1×1 to fewer.

    Definition of a block (x what it takes, T how many times wider it is inside)
        y = bn(conv1×1(ReLU(bn(depthwise(ReLU(bn(conv1×1(x)))))))), and + x where the shape is x's

    width: by what the channels of all blocks are multiplied. ReLU stands where the paper has ReLU6,
    and the stride of the second group is 1, as in the field's code for 32×32. Names: the output of
    a block that adds x is called as the block, `blocks.1.1`.

    Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"; names as
    in RepDistiller's models/mobilenetv2.py.

    Example
        >>> network = zoo.mobilenetv2(rng=0)
        >>> sum(theta.size for theta in network.params.values())
        697546
    """

    def __init__(
        self,
        width: float,
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: Pair = 32,
        dtype: Any = np.float32,
    ):
        layers: Layers = {}
        channels, stages = int(32 * width), ["conv1.2"]
        names = ("conv1.0", "conv1.1", "conv1.2")
        conv_bn(layers, names, (in_channels, channels), 3, stride=2)
        before = "conv1.2"
        for group, (wider, outputs, count, stride) in enumerate(BLOCKS):
            for block in range(count):
                name, sizes = f"blocks.{group}.{block}", (channels, int(outputs * width))
                before = _block(layers, name, before, sizes, wider, stride if block == 0 else 1)
                channels = sizes[1]
            if group in STAGES:
                stages.append(before)
        last = int(LAST * width) if width > 1 else LAST
        conv_bn(layers, ("conv2.0", "conv2.1", "conv2.2"), (channels, last), 1)
        layers |= pooled() | {"classifier.0": Linear(last, num_classes)}
        options = {"in_channels": in_channels, "image_size": image_size, "dtype": dtype}
        super().__init__(layers, tuple(stages), rng, **options, small_linear=True)


def _block(
    layers: Layers, name: str, x: str, channels: tuple[int, int], wider: int, stride: int
) -> str:
    """Append a block; the name of its output."""
    inputs, outputs = channels
    inner, at = inputs * wider, [f"{name}.conv.{k}" for k in range(8)]
    conv_bn(layers, tuple(at[:3]), (inputs, inner), 1, takes=x)
    conv_bn(layers, tuple(at[3:6]), (inner, inner), 3, stride=stride, groups=inner)
    conv_bn(layers, tuple(at[6:]), (inner, outputs), 1)
    if stride != 1 or inputs != outputs:
        return at[7]
    layers[name] = Add(at[7], x)
    return name
