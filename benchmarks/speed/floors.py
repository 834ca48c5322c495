"""What a net's pass cannot do without, alone: its matrix products, its bytes, Python's interpreter.

Each stands among the frameworks, so that it takes turns with npkd; its time in units of npkd's is
the share of npkd's time that no better code could save while products, arrays or steps stay.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import npkd
from benchmarks.speed.cells import NETS, Cell, batch_of
from benchmarks.speed.frameworks import Npkd, Work
from npkd.engine import threads
from npkd.engine.products import multiply
from npkd.ops.windows import Windows, axis_of

Calls = list[Callable[[], Any]]


class Products(Npkd):
    """The matrix products alone, cut and shared out as npkd does it."""

    package = "numpy"

    def _net(self, cell: Cell) -> Work:
        network, (images, _) = NETS[cell.subject](0), batch_of(cell)
        y, _ = network.features(images, network.layers)
        step = cell.work == "training step"
        layers = [
            _of_convolution(
                images, y["conv1"], network.params["conv1.weight"], step, need_dx=False
            ),
            _of_convolution(y["relu1"], y["conv2"], network.params["conv2.weight"], step),
            _of_linear(y["flatten"], y["fc1"], network.params["fc1.weight"], step),
            _of_linear(y["relu3"], y["fc2"], network.params["fc2.weight"], step),
        ]

        def work() -> None:
            for parts in layers:
                threads.run(lambda calls: [call() for call in calls], parts)

        return work


class Bytes(Npkd):
    """Each layer's output read and written once; for a step gradients too, and weights thrice."""

    package = "numpy"

    def _net(self, cell: Cell) -> Work:
        network, (images, _) = NETS[cell.subject](0), batch_of(cell)
        step = cell.work == "training step"
        outputs, _ = network.features(images, network.layers)
        arrays = [outputs[name] for name in network.layers if network.layers[name].shapes] * (
            1 + step
        )
        arrays += list(network.params.values()) * (3 if step else 1)
        copies = [(array.reshape(-1), np.empty(array.size, array.dtype)) for array in arrays]
        number = npkd.get_num_threads()

        def copy(k: int) -> None:
            for array, other in copies:
                part = slice(k * array.size // number, (k + 1) * array.size // number)
                np.copyto(other[part], array[part])

        return lambda: threads.run(copy, range(number))


class Interpreter(Npkd):
    """The same steps with one image of 2×2 cells, and of everything else one."""

    package = "numpy"

    def _net(self, cell: Cell) -> Work:
        sizes = {"size": 2, "channels": (1, 1), "hidden": 1}
        network = type("Tiny", (npkd.SmallCNN,), sizes)(0, in_channels=1, num_classes=1)
        x, sgd = np.ones((1, 1, 2, 2), np.float32), npkd.SGD(0.01)

        def training_step() -> None:
            y, backward = network(x)
            _, dy = npkd.losses.l2(y, y)
            _, grads = backward(dy, need_dx=False)
            sgd.step(network.params, grads)

        return training_step if cell.work == "training step" else lambda: network(x)


def _of_convolution(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, step: bool, need_dx: bool = True
) -> list[Calls]:
    """For each thread the products of a 3×3 convolution with padding 1."""
    axes = (axis_of(size, 3, 1, 1, 1, 1) for size in x.shape[2:])
    windows = Windows(*axes, 1)
    kernels = windows.kernels(w)
    parts = []
    for part in _parts(len(x)):
        calls: Calls = []
        for _, patches, matrices in windows.matrices(x, y, (part, windows.all_rows)):
            calls.append(partial(multiply, patches, kernels, out=matrices))
            if step:
                out = np.empty((*matrices.shape[:2], *kernels.shape[2:]), x.dtype)
                calls.append(partial(multiply, patches.swapaxes(2, 3), matrices, out=out))
        parts.append(calls)
    if step and need_dx:
        dx_calls = _of_convolution(y, x, w.swapaxes(0, 1), step=False)
        parts = [calls + of_dx for calls, of_dx in zip(parts, dx_calls, strict=True)]
    return parts


def _of_linear(x: np.ndarray, y: np.ndarray, w: np.ndarray, step: bool) -> list[Calls]:
    """For each thread the products of a linear layer."""
    parts = []
    dw, dx = np.empty_like(w), np.empty_like(x)
    for o, i in zip(_parts(len(w)), _parts(x.shape[1]), strict=True):
        calls: Calls = [partial(w[o].dot, x.T)]
        if step:
            calls.append(partial(multiply, y[:, o].T, x, out=dw[o]))
            calls.append(partial(multiply, y, w[:, i], out=dx[:, i]))
        parts.append(calls)
    return parts


def _parts(count: int) -> list[slice]:
    return threads.slices(slice(0, count), math.ceil(count / npkd.get_num_threads()))


FLOORS = {"products alone": Products, "bytes alone": Bytes, "interpreter alone": Interpreter}
