"""What the nets of the field have in common: images of any size, their start, their stages."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from npkd import ops
from npkd.nets import BatchNorm, Conv2d, Function, Layer, Network
from npkd.nets.network import generator_of
from npkd.ops.contract import Pair, pair

Layers = dict[str, Layer]
START_OF_LINEAR = 0.01  # standard deviation


class FieldNet(Network):
    """A net for images of any size, with the names of the field's distillation code.

    stages: the layers that give the maps of its stages, from wide to narrow. vector: the layer that
    gives what the classifier takes. Convolutions start normal with variance 2/(O·kh·kw). The
    classifier starts as PyTorch's, uniform on (−1/√I, 1/√I), or where `small_linear` is set normal
    with a standard deviation of 0.01; biases start at 0, or where `zero_bias` is not set likewise.

    Source: He, Zhang, Ren and Sun 2015, "Delving Deep into Rectifiers", equation 14, by outputs.
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        stages: tuple[str, ...],
        rng: np.random.Generator | int,
        *,
        in_channels: int,
        image_size: Pair,
        dtype: Any,
        small_linear: bool = False,
        zero_bias: bool = True,
    ):
        generator = generator_of(type(self).__name__, rng)
        height, width = pair(type(self).__name__, "image_size", image_size, 1)
        super().__init__(layers, (in_channels, height, width), generator, dtype)
        self.stages, self.vector = stages, "flatten"
        for name, theta in self.params.items():
            if theta.ndim == 4:
                deviation = math.sqrt(2 / (len(theta) * math.prod(theta.shape[2:])))
                theta[...] = generator.normal(0, deviation, theta.shape)
            elif theta.ndim == 2 and small_linear:
                theta[...] = generator.normal(0, START_OF_LINEAR, theta.shape)
            elif name.endswith("bias") and zero_bias:
                theta[...] = 0


def conv_bn(
    layers: Layers,
    names: tuple[str, ...],
    channels: tuple[int, int],
    kernel_size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    takes: str | tuple[str, ...] = (),
) -> None:
    """Append a convolution without bias, a batch norm, and, if it has a name too, a ReLU.

    The convolution keeps height and width, but for its stride.
    """
    layers[names[0]] = Conv2d(
        *channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
        takes=takes,
    )
    layers[names[1]] = BatchNorm(channels[1])
    if len(names) > 2:
        layers[names[2]] = relu()


def relu() -> Layer:
    """The layer."""
    return Function(ops.relu)


def pooled() -> Layers:
    """What comes before a classifier: the mean of each map, as a row."""
    return {"avgpool": Function(ops.global_avg_pool2d), "flatten": Function(ops.flatten)}
