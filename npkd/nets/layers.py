"""Layers, an op with its parameters, and networks, layers in order."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from npkd import ops
from npkd.arguments import positive_integer
from npkd.ops.conv import conv2d_relu

Params = dict[str, np.ndarray]


class Layer(Protocol):
    """What a network asks of a layer.

    `shapes` names the parameters and their shapes. Called with x and its parameters, a layer
    returns its value and `backward(dy, need_dx)`, which returns dx (None if not needed) and the
    gradients by its parameters, named like them. `macs` is the number of multiply-adds that one
    image's y of this shape takes; additions, divisions and comparisons count nothing.

    Example
        >>> layer = nets.Linear(2, 3)
        >>> print(layer.shapes, layer.macs((1, 3)))
        {'weight': (3, 2), 'bias': (3,)} 6
    """

    shapes: dict[str, tuple[int, ...]]

    def __call__(self, x: np.ndarray, params: Params) -> tuple[np.ndarray, Callable[..., Any]]:
        """The value, and the backward pass."""

    def macs(self, y_shape: tuple[int, ...]) -> int:
        """Multiply-adds for one image."""


class _WithWeight:
    """A layer with a weight (out, …) and a bias (out,), and the distribution they start from."""

    def __init__(self, *weight_shape: int):
        for size in weight_shape:
            positive_integer(type(self).__name__, f"a size in {weight_shape}", size)
        self.shapes = {"weight": weight_shape, "bias": weight_shape[:1]}

    def macs(self, y_shape: tuple[int, ...]) -> int:
        """Every output is a sum over one row of the weight."""
        return math.prod(y_shape) * math.prod(self.shapes["weight"][1:])


class Conv2d(_WithWeight):
    """`ops.conv2d` with its weight (O, C, k, k) and bias (O,).

    Example
        >>> nets.Conv2d(3, 16, 5, padding=2).shapes
        {'weight': (16, 3, 5, 5), 'bias': (16,)}
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, padding: int = 0):
        super().__init__(out_channels, in_channels, kernel_size, kernel_size)
        self.padding = padding

    def __call__(self, x: np.ndarray, params: Params) -> tuple[np.ndarray, Callable[..., Any]]:
        """See `Layer`."""
        y, backward = ops.conv2d(x, params["weight"], params["bias"], padding=self.padding)
        return y, _with_names(backward)

    def with_relu(self, x: np.ndarray, params: Params) -> tuple[np.ndarray, Callable[..., Any]]:
        """The same with `ops.relu` behind it, in one."""
        y, backward = conv2d_relu(x, params["weight"], params["bias"], padding=self.padding)
        return y, _with_names(backward)


class Linear(_WithWeight):
    """`ops.linear` with its weight (O, I) and bias (O,).

    Example
        >>> params = {"weight": np.array([[3.0]]), "bias": np.ones(1)}
        >>> y, backward = nets.Linear(1, 1)(np.array([[2.0]]), params)
        >>> print(y, *backward(np.array([[1.0]])))
        [[7.]] [[3.]] {'weight': array([[2.]]), 'bias': array([1.])}
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(out_features, in_features)

    def __call__(self, x: np.ndarray, params: Params) -> tuple[np.ndarray, Callable[..., Any]]:
        """See `Layer`."""
        y, backward = ops.linear(x, params["weight"], params["bias"])
        return y, _with_names(backward)


class Function:
    """An op without parameters, with its other arguments: `Function(ops.avg_pool2d, 2)`.

    Example
        >>> y, backward = nets.Function(ops.relu)(np.array([-1.0, 2.0]), {})
        >>> print(y, *backward(np.array([5.0, 5.0])))
        [0. 2.] [0. 5.] {}
    """

    def __init__(self, op: Callable[..., tuple[np.ndarray, Callable[..., Any]]], *arguments: Any):
        self.op, self.arguments = op, arguments
        self.shapes: dict[str, tuple[int, ...]] = {}

    def __call__(self, x: np.ndarray, params: Params) -> tuple[np.ndarray, Callable[..., Any]]:
        """See `Layer`."""
        y, backward = self.op(x, *self.arguments)
        return y, lambda dy, need_dx=True: (backward(dy) if need_dx else None, {})

    def macs(self, y_shape: tuple[int, ...]) -> int:
        """None: no weights are multiplied."""
        return 0


def _with_names(backward: Callable[..., Any]) -> Callable[..., Any]:
    """An op's backward pass, its gradients by w and b by name."""

    def named(dy: np.ndarray, need_dx: bool = True) -> tuple[np.ndarray | None, Params]:
        dx, dw, db = backward(dy, need_dx=need_dx)
        return dx, {"weight": dw, "bias": db}

    return named
