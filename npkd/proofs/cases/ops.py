"""Random arguments of the operations."""

from typing import Any

from npkd.proofs.cases.drawn import (
    Cases,
    Drawn,
    Integers,
    Size,
    boolean,
    epsilon,
    images,
    one_of,
    other,
    pair,
    rows_or_images,
    size_of,
)


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


def conv2d(integers: Integers) -> Drawn:
    """Ungrouped, grouped and depthwise; padding a size, "valid" or "same" (at stride 1)."""
    kernel = integers(1, 3), integers(1, 3)
    dilation = size_of(integers, 1, 3)
    padding = ("valid", "same", size_of(integers, 0, 2), size_of(integers, 0, 2))[integers(0, 3)]
    stride = 1 if padding == "same" else size_of(integers, 1, 4)

    kind = ("ungrouped", "grouped", "depthwise")[integers(0, 2)]
    groups = 1 if kind == "ungrouped" else integers(2, 3)
    group_inputs = 1 if kind == "depthwise" else integers(1, 3)
    group_outputs = 1 if kind == "depthwise" else other(integers, group_inputs, 3)

    sides = []
    for axis in (0, 1):
        k, s, d = kernel[axis], pair(stride)[axis], pair(dilation)[axis]
        if isinstance(padding, str):
            added = d * (k - 1) if padding == "same" else 0
        else:
            added = 2 * pair(padding)[axis]
        sides.append(_image_side(integers, kernel=k, stride=s, dilation=d, padding=added))

    shapes: dict[str, tuple[int, ...]] = {
        "x": (integers(2, 3), groups * group_inputs, *sides),
        "w": (groups * group_outputs, group_inputs, *kernel),
    }
    if boolean(integers):
        shapes["b"] = (groups * group_outputs,)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Drawn("conv2d", shapes, options)


def _pool(integers: Integers, op: str, dilation: Size) -> Drawn:
    """What the two pools share; padding is at most half the window.

    An image at least as high and wide as the dilation leaves no max-pool window empty: if a
    window starts in the padding, its first cell at 0 or later is before cell `dilation`.
    """
    kernel_size = size_of(integers, 1, 3)
    kernel = pair(kernel_size)
    stride = None if integers(0, 3) == 0 else size_of(integers, 1, 4)
    padding = size_of(integers, 0, (kernel[0] // 2, kernel[1] // 2))
    ceil_mode = boolean(integers)
    sides = []
    for axis in (0, 1):
        side = _image_side(
            integers,
            kernel=kernel[axis],
            stride=pair(kernel_size if stride is None else stride)[axis],
            dilation=pair(dilation)[axis],
            padding=2 * pair(padding)[axis],
            ceil_mode=ceil_mode,
        )
        sides.append(max(side, pair(dilation)[axis]))
    shapes = {"x": (integers(2, 3), integers(1, 3), *sides)}
    options: dict[str, Any] = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    return Drawn(op, shapes, options)


def avg_pool2d(integers: Integers) -> Drawn:
    """Every divisor, with and without `ceil_mode`."""
    case = _pool(integers, "avg_pool2d", dilation=1)
    divisors = {
        "count_include_pad": boolean(integers),
        "divisor_override": integers(1, 7) if boolean(integers) else None,
    }
    return Drawn(case.op, case.shapes, case.options | divisors)


def max_pool2d(integers: Integers) -> Drawn:
    """Dilated or not, every window holding a cell of the image."""
    dilation = size_of(integers, 1, 3)
    case = _pool(integers, "max_pool2d", dilation)
    return Drawn(case.op, case.shapes, case.options | {"dilation": dilation})


def linear(integers: Integers) -> Drawn:
    """With and without bias."""
    inputs = integers(1, 7)
    outputs = other(integers, inputs, 7)
    shapes: dict[str, tuple[int, ...]] = {"x": (integers(2, 3), inputs), "w": (outputs, inputs)}
    if boolean(integers):
        shapes["b"] = (outputs,)
    return Drawn("linear", shapes, {})


def relu(integers: Integers) -> Drawn:
    """Rows or images."""
    return Drawn("relu", {"x": rows_or_images(integers)}, {})


def flatten(integers: Integers) -> Drawn:
    """Images."""
    return Drawn("flatten", {"x": images(integers)}, {})


def _along_an_axis(integers: Integers, op: str) -> Drawn:
    shape = rows_or_images(integers)
    return Drawn(op, {"x": shape}, {"axis": integers(-len(shape), len(shape) - 1)})


def log_softmax(integers: Integers) -> Drawn:
    """Rows or images, along any axis."""
    return _along_an_axis(integers, "log_softmax")


def softmax(integers: Integers) -> Drawn:
    """Rows or images, along any axis."""
    return _along_an_axis(integers, "softmax")


def upsample(integers: Integers) -> Drawn:
    """Both modes; a factor of 1 changes nothing."""
    options = {"factor": integers(1, 3), "mode": ("nearest", "bilinear")[integers(0, 1)]}
    return Drawn("upsample", {"x": images(integers)}, options)


def pixel_shuffle(integers: Integers) -> Drawn:
    """One to three output channels; a factor of 1 changes nothing."""
    factor = integers(1, 3)
    shape = (integers(2, 3), integers(1, 3) * factor**2, integers(1, 3), integers(1, 3))
    return Drawn("pixel_shuffle", {"x": shape}, {"factor": factor})


def batch_norm(integers: Integers) -> Drawn:
    """In evaluation, and in training with and without w and b; three rows or images or more."""
    number, *others = rows_or_images(integers)
    shapes: dict[str, tuple[int, ...]] = {"x": (number + 1, *others)}
    given = ("w", "b", "mean", "variance")[: one_of(integers, 0, 1, 2, 4, 4, 4)]
    return Drawn("batch_norm", shapes | dict.fromkeys(given, (others[0],)), epsilon(integers, 1e-5))


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
    "batch_norm": batch_norm,
}
