"""Random cases for checks: the shapes, arguments and arrays of one call of an op or a loss.

Everything discrete is drawn through one function `integers(low, high)`, both ends included, so
that whoever calls decides where chance comes from:

    rng = np.random.default_rng(0)
    case = CASES["conv2d"](lambda low, high: int(rng.integers(low, high + 1)))

or, inside a Hypothesis strategy, `lambda low, high: draw(st.integers(low, high))`; the smallest
case is then what failing examples shrink to. Values come from a Generator:

    y, backward = ops.conv2d(*arrays(case, rng).values(), **case.options)

Every case is valid as built; none is drawn and thrown away. To tell apart what a wrong op mixes
up, batches hold more than one image, height and width are drawn independently, an op's input
and output channels differ (but for depthwise convolution), and strides may skip cells. To serve
scalar loops, a case costs less than 5,000 multiply-adds. (Only the document's two nets are of one
size, and no work for scalar loops.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Integers = Callable[[int, int], int]
Size = int | tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One call: `op` names it in npkd.ops or npkd.losses, and in npkd.definitions.

    `shapes` holds the shape of each array argument under its name, in the order of the
    arguments; `options` holds the other arguments, by keyword (labels, integers, are one).

    A network or a training is a case too: `op` is its key in NETWORKS or TRAININGS, and `options`
    are what npkd.proofs builds it from.
    """

    op: str
    shapes: dict[str, tuple[int, ...]]
    options: dict[str, Any]


def arrays(
    case: Case, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> dict[str, np.ndarray]:
    """Standard normal arrays of the case's shapes; for a complex dtype both parts are normal.

    The ops that choose (`relu`, `max_pool2d`) get about half of their entries rounded to
    multiples of ½, so that zeros and ties occur.
    """
    ties = case.op in ("relu", "max_pool2d")
    return {name: normal(shape, rng, dtype, ties=ties) for name, shape in case.shapes.items()}


def normal(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    dtype: DTypeLike = np.float64,
    *,
    ties: bool = False,
) -> np.ndarray:
    """A standard normal array; with `ties` about half of it is rounded to multiples of ½."""
    values = np.asarray(rng.standard_normal(shape))
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * rng.standard_normal(shape)
    if ties:
        values = np.where(rng.random(shape) < 0.5, np.round(2 * values) / 2, values)
    return values.astype(dtype)


# Arguments


def rows(integers: Integers) -> tuple[int, ...]:
    """A shape (N, C), N at least 2."""
    return integers(2, 3), integers(1, 4)


def images(integers: Integers) -> tuple[int, ...]:
    """A shape (N, C, H, W), N at least 2, height and width each for itself."""
    return integers(2, 3), integers(1, 3), integers(1, 4), integers(1, 4)


def _rows_or_images(integers: Integers) -> tuple[int, ...]:
    return rows(integers) if _boolean(integers) else images(integers)


def _boolean(integers: Integers) -> bool:
    return integers(0, 1) == 1


def _pair(size: Size) -> tuple[int, int]:
    """The (height, width) of a size."""
    return size if isinstance(size, tuple) else (size, size)


def _size(integers: Integers, low: int, high: Size) -> Size:
    """An int or a pair, at least `low` and at most `high` in both directions."""
    height, width = _pair(high)
    if integers(0, 2):
        return integers(low, height), integers(low, width)
    return integers(low, min(height, width))


def _other(integers: Integers, value: int, high: int) -> int:
    """A number from 1 to `high` that is not `value`, itself one of them."""
    return (value + integers(0, high - 2)) % high + 1


def _image_side(
    integers: Integers,
    *,
    kernel: int,
    stride: int,
    dilation: int,
    padding: int,
    ceil_mode: bool = False,
) -> int:
    """Height or width of an image that holds one to three windows, `padding` in all added.

    `windows` of them reach over
        stride (windows − 1) + dilation (kernel − 1) + 1 cells,
    and the padded image has a rest of up to stride − 1 cells more, which no window uses, or,
    with `ceil_mode`, fewer, by which the last window sticks out. Where that leaves no image
    there is one cell, and more windows.
    """
    windows = integers(1, 3)
    reach = stride * (windows - 1) + dilation * (kernel - 1) + 1
    rest = integers(0, stride - 1)
    return max(1, reach - padding + (-rest if ceil_mode else rest))


# Cases


def conv2d(integers: Integers) -> Case:
    """Ungrouped, grouped and depthwise; padding a size, "valid" or "same" (at stride 1)."""
    kernel = integers(1, 3), integers(1, 3)
    dilation = _size(integers, 1, 3)
    padding = ("valid", "same", _size(integers, 0, 2), _size(integers, 0, 2))[integers(0, 3)]
    stride = 1 if padding == "same" else _size(integers, 1, 4)

    kind = ("ungrouped", "grouped", "depthwise")[integers(0, 2)]
    groups = 1 if kind == "ungrouped" else integers(2, 3)
    group_inputs = 1 if kind == "depthwise" else integers(1, 3)
    group_outputs = 1 if kind == "depthwise" else _other(integers, group_inputs, 3)

    sides = []
    for axis in (0, 1):
        k, s, d = kernel[axis], _pair(stride)[axis], _pair(dilation)[axis]
        if isinstance(padding, str):
            added = d * (k - 1) if padding == "same" else 0
        else:
            added = 2 * _pair(padding)[axis]
        sides.append(_image_side(integers, kernel=k, stride=s, dilation=d, padding=added))

    shapes: dict[str, tuple[int, ...]] = {
        "x": (integers(2, 3), groups * group_inputs, *sides),
        "w": (groups * group_outputs, group_inputs, *kernel),
    }
    if _boolean(integers):
        shapes["b"] = (groups * group_outputs,)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Case("conv2d", shapes, options)


def _pool(integers: Integers, op: str, dilation: Size) -> Case:
    """What the two pools share; padding is at most half the window.

    An image at least as high and wide as the dilation leaves no max-pool window empty: if a
    window starts in the padding, its first cell at 0 or later is before cell `dilation`.
    """
    kernel_size = _size(integers, 1, 3)
    kernel = _pair(kernel_size)
    stride = None if integers(0, 3) == 0 else _size(integers, 1, 4)
    padding = _size(integers, 0, (kernel[0] // 2, kernel[1] // 2))
    ceil_mode = _boolean(integers)
    sides = []
    for axis in (0, 1):
        side = _image_side(
            integers,
            kernel=kernel[axis],
            stride=_pair(kernel_size if stride is None else stride)[axis],
            dilation=_pair(dilation)[axis],
            padding=2 * _pair(padding)[axis],
            ceil_mode=ceil_mode,
        )
        sides.append(max(side, _pair(dilation)[axis]))
    shapes = {"x": (integers(2, 3), integers(1, 3), *sides)}
    options: dict[str, Any] = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    return Case(op, shapes, options)


def avg_pool2d(integers: Integers) -> Case:
    """Every divisor, with and without `ceil_mode`."""
    case = _pool(integers, "avg_pool2d", dilation=1)
    divisors = {
        "count_include_pad": _boolean(integers),
        "divisor_override": integers(1, 7) if _boolean(integers) else None,
    }
    return Case(case.op, case.shapes, case.options | divisors)


def max_pool2d(integers: Integers) -> Case:
    """Dilated or not, every window holding a cell of the image."""
    dilation = _size(integers, 1, 3)
    case = _pool(integers, "max_pool2d", dilation)
    return Case(case.op, case.shapes, case.options | {"dilation": dilation})


def linear(integers: Integers) -> Case:
    """With and without bias."""
    inputs = integers(1, 7)
    outputs = _other(integers, inputs, 7)
    shapes: dict[str, tuple[int, ...]] = {"x": (integers(2, 3), inputs), "w": (outputs, inputs)}
    if _boolean(integers):
        shapes["b"] = (outputs,)
    return Case("linear", shapes, {})


def relu(integers: Integers) -> Case:
    """Rows or images."""
    return Case("relu", {"x": _rows_or_images(integers)}, {})


def flatten(integers: Integers) -> Case:
    """Images."""
    return Case("flatten", {"x": images(integers)}, {})


def _along_an_axis(integers: Integers, op: str) -> Case:
    shape = _rows_or_images(integers)
    return Case(op, {"x": shape}, {"axis": integers(-len(shape), len(shape) - 1)})


def log_softmax(integers: Integers) -> Case:
    """Rows or images, along any axis."""
    return _along_an_axis(integers, "log_softmax")


def softmax(integers: Integers) -> Case:
    """Rows or images, along any axis."""
    return _along_an_axis(integers, "softmax")


def upsample(integers: Integers) -> Case:
    """Both modes; a factor of 1 changes nothing."""
    options = {"factor": integers(1, 3), "mode": ("nearest", "bilinear")[integers(0, 1)]}
    return Case("upsample", {"x": images(integers)}, options)


def pixel_shuffle(integers: Integers) -> Case:
    """One to three output channels; a factor of 1 changes nothing."""
    factor = integers(1, 3)
    shape = (integers(2, 3), integers(1, 3) * factor**2, integers(1, 3), integers(1, 3))
    return Case("pixel_shuffle", {"x": shape}, {"factor": factor})


# Losses


def _outputs(integers: Integers) -> tuple[int, int]:
    """Outputs (B, C) of a net for a batch."""
    return integers(2, 4), integers(1, 6)


def _labels(integers: Integers, count: int, classes: int) -> np.ndarray:
    return np.array([integers(0, classes - 1) for _ in range(count)])


def l2(integers: Integers) -> Case:
    """Every reduction; outputs (B, C), or features of any axes."""
    shape = _outputs(integers) if _boolean(integers) else _rows_or_images(integers)
    reduction = ("batchmean", "sum", "elementmean", "none")[integers(0, 3)]
    return Case("l2", {"student": shape, "teacher": shape}, {"reduction": reduction})


def cross_entropy(integers: Integers) -> Case:
    """Every reduction."""
    shape = _outputs(integers)
    reduction = ("batchmean", "sum", "none")[integers(0, 2)]
    options = {"labels": _labels(integers, *shape), "reduction": reduction}
    return Case("cross_entropy", {"logits": shape}, options)


def mix(integers: Integers) -> Case:
    """Any share of the teacher, none and all of it among them."""
    shape = _outputs(integers)
    options = {"labels": _labels(integers, *shape), "alpha": integers(0, 8) / 8}
    return Case("mix", {"student": shape, "teacher": shape}, options)


# Networks and trainings


def cnn(integers: Integers) -> Case:
    """A net of every kind of layer, of a few channels: conv, ReLU, pool, linear, ReLU, linear."""
    channels, kernel = integers(1, 2), integers(1, 3)
    padding = integers(0, 1)
    sides = [integers(2, 3) * 2 + kernel - 1 - 2 * padding for _ in range(2)]
    options = {
        "channels": _other(integers, channels, 3),
        "kernel_size": kernel,
        "padding": padding,
        "pool": ("avg_pool2d", "max_pool2d")[integers(0, 1)],
        "hidden": integers(2, 4),
        "outputs": integers(2, 3),
    }
    return Case("cnn", {"x": (integers(2, 3), channels, *sides)}, options)


def _document_net(integers: Integers, op: str, side: int) -> Case:
    options = {"in_channels": integers(1, 3), "num_classes": integers(2, 10)}
    return Case(op, {"x": (integers(1, 2), options["in_channels"], side, side)}, options)


def large_cnn(integers: Integers) -> Case:
    """The document's large net, with other channels and classes."""
    return _document_net(integers, "LargeCNN", 32)


def small_cnn(integers: Integers) -> Case:
    """The document's small net, with other channels and classes."""
    return _document_net(integers, "SmallCNN", 16)


def sgd(integers: Integers) -> Case:
    """Some steps on parameters of several shapes, at rates that change, with any μ and λ."""
    shapes: dict[str, tuple[int, ...]] = {
        "conv.weight": (integers(1, 3), integers(1, 3), 2, 1),
        "conv.bias": (integers(1, 3),),
        "scale": (),
    }
    options = {
        "lrs": [integers(0, 10) / 10 for _ in range(integers(1, 3))],
        "momentum": integers(0, 9) / 10,
        "weight_decay": integers(0, 2) / 10,
    }
    return Case("SGD", shapes, options)


def training(integers: Integers) -> Case:
    """Three updates of a `cnn`, the last batch a ragged one, by labels and teacher in any share."""
    net = cnn(integers)
    options = {
        "label_weight": integers(0, 2) / 2,
        "lrs": [integers(1, 10) / 20 for _ in range(3)],
        "momentum": integers(0, 1) * 0.9,
        "weight_decay": integers(0, 1) * 0.1,
        "clip_norm": (math.inf, 0.5)[integers(0, 1)],
    }
    return Case("training", net.shapes, net.options | options)


Cases = dict[str, Callable[[Integers], Case]]

OPS: Cases = {
    "conv2d": conv2d,
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "linear": linear,
    "relu": relu,
    "flatten": flatten,
    "log_softmax": log_softmax,
    "softmax": softmax,
    "upsample": upsample,
    "pixel_shuffle": pixel_shuffle,
}
LOSSES: Cases = {"l2": l2, "cross_entropy": cross_entropy, "mix": mix}
NETWORKS: Cases = {"cnn": cnn, "SmallCNN": small_cnn, "LargeCNN": large_cnn}
TRAININGS: Cases = {"SGD": sgd, "training": training}
CASES: Cases = OPS | LOSSES | NETWORKS | TRAININGS
