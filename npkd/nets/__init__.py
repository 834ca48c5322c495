"""Networks: layers with their parameters, in order, and the two nets of the document."""

from npkd.nets.layers import (
    Add,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Function,
    Layer,
    Linear,
    Params,
)
from npkd.nets.models import LargeCNN, SmallCNN
from npkd.nets.network import Network

__all__ = [
    "Add",
    "BatchNorm",
    "Concat",
    "Conv2d",
    "Dropout",
    "Function",
    "LargeCNN",
    "Layer",
    "Linear",
    "Network",
    "Params",
    "SmallCNN",
]
