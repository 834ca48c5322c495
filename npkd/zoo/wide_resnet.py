"""Wide residual networks: pre-activation blocks."""

from typing import Any

import numpy as np

from npkd.nets import Add, BatchNorm, Conv2d, Linear
from npkd.ops.contract import Pair
from npkd.zoo.field_net import FieldNet, Layers, conv_bn, pooled, relu


class WideResNet(FieldNet):
    """A pre-activation residual net of depth 6n + 4, `widen` times as wide as 16, 32, 64 channels.

    Definition of a block (x what it takes, a = ReLU(bn1(x)); where the channels change the shortcut
    is a 1×1 convolution of a, else x itself)
        y = conv2(ReLU(bn2(conv1(a)))) + shortcut

    The second and third of its three stages halve height and width; batch norm and ReLU follow the
    last. Names: a block's output is called as the block, `block1.layer.0`.

    Source: Zagoruyko and Komodakis 2016, "Wide Residual Networks"; names as in RepDistiller's
    models/wrn.py.

    Example
        >>> network = zoo.wrn_16_2(rng=0)
        >>> sum(theta.size for theta in network.params.values())
        691674
    """

    def __init__(
        self,
        depth: int,
        widen: int,
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: Pair = 32,
        dtype: Any = np.float32,
    ):
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"WideResNet: depth is {depth}, expected 6n + 4: 10, 16, 22, …")
        layers: Layers = {"conv1": Conv2d(in_channels, 16, 3, padding=1, bias=False)}
        before, channels, stages = "conv1", 16, ["conv1"]
        for stage, width in enumerate((16 * widen, 32 * widen, 64 * widen), 1):
            for block in range((depth - 4) // 6):
                name = f"block{stage}.layer.{block}"
                stride = 2 if stage > 1 and block == 0 else 1
                _block(layers, name, before, (channels, width), stride)
                before, channels = name, width
            stages.append(before)
        layers |= {"bn1": BatchNorm(channels), "relu": relu(), **pooled()}
        layers["fc"] = Linear(channels, num_classes)
        options = {"in_channels": in_channels, "image_size": image_size, "dtype": dtype}
        super().__init__(layers, tuple(stages), rng, **options)


def _block(layers: Layers, name: str, x: str, channels: tuple[int, int], stride: int) -> None:
    inputs, outputs = channels
    layers[f"{name}.bn1"] = BatchNorm(inputs, takes=x)
    layers[f"{name}.relu1"] = relu()
    names = (f"{name}.conv1", f"{name}.bn2", f"{name}.relu2")
    conv_bn(layers, names, channels, 3, stride=stride)
    layers[f"{name}.conv2"] = Conv2d(outputs, outputs, 3, padding=1, bias=False)
    shortcut = x
    if inputs != outputs:
        shortcut = f"{name}.convShortcut"
        layers[shortcut] = Conv2d(*channels, 1, stride=stride, bias=False, takes=f"{name}.relu1")
    layers[name] = Add(f"{name}.conv2", shortcut)
