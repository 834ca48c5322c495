"""The nets that people distil, with the names, widths and shortcuts of the field's usual code.

Weights that were trained with such code load as they are (`npkd.weights`). Each takes a Generator
or a seed, and images of any size.

Example
    >>> network = zoo.resnet8(rng=0, num_classes=100)
    >>> network(np.zeros((2, 3, 32, 32), np.float32))[0].shape
    (2, 100)
"""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from npkd.arguments import shown
from npkd.nets import LargeCNN, Network, SmallCNN
from npkd.zoo.mobilenet import MobileNetV2
from npkd.zoo.resnet import NARROW, WIDE, ResNet
from npkd.zoo.vgg import VGG
from npkd.zoo.wide_resnet import WideResNet

resnet8 = partial(ResNet, 8, NARROW)
resnet14 = partial(ResNet, 14, NARROW)
resnet20 = partial(ResNet, 20, NARROW)
resnet8x4 = partial(ResNet, 8, WIDE)
wrn_16_1 = partial(WideResNet, 16, 1)
wrn_16_2 = partial(WideResNet, 16, 2)
vgg8 = partial(VGG, ((64,), (128,), (256,), (512,), (512,)))
mobilenetv2 = partial(MobileNetV2, 0.5)

MODELS: dict[str, Callable[..., Network]] = {
    "large": LargeCNN,
    "small": SmallCNN,
    "resnet8": resnet8,
    "resnet14": resnet14,
    "resnet20": resnet20,
    "resnet8x4": resnet8x4,
    "wrn_16_1": wrn_16_1,
    "wrn_16_2": wrn_16_2,
    "vgg8": vgg8,
    "mobilenetv2": mobilenetv2,
}


def make(name: str, rng: Any, **options: Any) -> Network:
    """The net of this name. Raises ValueError for a name that is none.

    Example
        >>> zoo.make("wrn_16_1", rng=0).stages
        ('conv1', 'block1.layer.1', 'block2.layer.1', 'block3.layer.1')
    """
    if name not in MODELS:
        near = get_close_matches(str(name), MODELS, 1)
        meant = f"; is {near[0]} meant?" if near else ""
        raise ValueError(f"net is {shown(name)}, expected one of {', '.join(MODELS)}{meant}")
    return MODELS[name](rng, **options)


__all__ = [
    "MODELS",
    "VGG",
    "MobileNetV2",
    "ResNet",
    "WideResNet",
    "make",
    "mobilenetv2",
    "resnet8",
    "resnet8x4",
    "resnet14",
    "resnet20",
    "vgg8",
    "wrn_16_1",
    "wrn_16_2",
]
