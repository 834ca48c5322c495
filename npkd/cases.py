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


BATCH_MEANS = ("batchmean", "sum", "none")
EVERY_REDUCTION = (*BATCH_MEANS, "elementmean")
OF_PAIRS = ("elementmean", "batchmean", "sum")


def _one_of(integers: Integers, *offered: Any) -> Any:
    return offered[integers(0, len(offered) - 1)]


def _outputs(integers: Integers, least: int = 1) -> tuple[int, int]:
    """Outputs (B, C) of a net for a batch."""
    return integers(2, 4), integers(least, 6)


def _labels(integers: Integers, count: int, classes: int) -> np.ndarray:
    return np.array([integers(0, classes - 1) for _ in range(count)])


def _divergent(integers: Integers) -> tuple[int, int]:
    """Outputs whose distributions are not by chance so close that Σ p (log p − log q) cancels."""
    return integers(3, 4), integers(2, 6)


def _temperature(integers: Integers, most: int = 6) -> dict[str, Any]:
    """A temperature from ½ to `most`, its square in the loss or not."""
    return {"temperature": integers(1, 2 * most) / 2, "temperature_squared": _boolean(integers)}


def _epsilon(integers: Integers, least: float = 0.0, most: float = 0.1) -> dict[str, float]:
    """An ε of `least`, or a large one that no gradient may forget."""
    return {"epsilon": _one_of(integers, least, most)}


def _entries(integers: Integers) -> tuple[int, ...]:
    """Outputs (B, C), or features of any axes."""
    return _outputs(integers) if _boolean(integers) else _rows_or_images(integers)


def l2(integers: Integers) -> Case:
    """Every reduction and variant; outputs (B, C), or features of any axes.

    A softmax of one class is 1, and all that is left of it rounding: there are two or more.
    """
    shape = _entries(integers)
    variant = _one_of(integers, "paper", "probabilities", "log-probabilities")
    if variant != "paper":
        shape = (*shape[:-1], shape[-1] + 1)
    options = {
        "reduction": _one_of(integers, *EVERY_REDUCTION),
        "half": _boolean(integers),
        "variant": variant,
    }
    return Case("l2", {"student": shape, "teacher": shape}, options | _temperature(integers))


def l1(integers: Integers) -> Case:
    """Every reduction; outputs (B, C), or features of any axes."""
    shape = _entries(integers)
    options = {"reduction": _one_of(integers, *EVERY_REDUCTION)}
    return Case("l1", {"student": shape, "teacher": shape}, options)


def huber(integers: Integers) -> Case:
    """Every reduction and variant, with differences on both sides of δ."""
    shape = _entries(integers)
    options = {
        "reduction": _one_of(integers, *EVERY_REDUCTION),
        "variant": _one_of(integers, "paper", "smooth"),
        "delta": integers(1, 8) / 4,
    }
    return Case("huber", {"student": shape, "teacher": shape}, options)


def cross_entropy(integers: Integers) -> Case:
    """Every reduction."""
    shape = _outputs(integers)
    options = {
        "labels": _labels(integers, *shape),
        "reduction": _one_of(integers, *BATCH_MEANS),
    }
    return Case("cross_entropy", {"logits": shape}, options)


def mix(integers: Integers) -> Case:
    """Any share of the teacher, none and all of it among them."""
    shape = _outputs(integers)
    options = {"labels": _labels(integers, *shape), "alpha": integers(0, 8) / 8}
    return Case("mix", {"student": shape, "teacher": shape}, options)


def kl(integers: Integers) -> Case:
    """Every reduction, variant and temperature; two classes or more, as for `l2`."""
    shape = _divergent(integers)
    options = {
        "reduction": _one_of(integers, *EVERY_REDUCTION),
        "variant": _one_of(integers, "paper", "reversed", "unlogged", "reversed unlogged"),
    }
    options |= _temperature(integers, most=3)
    return Case("kl", {"student": shape, "teacher": shape}, options)


def soft_cross_entropy(integers: Integers) -> Case:
    """Every reduction and temperature; two classes or more, as for `l2`."""
    shape = _outputs(integers, least=2)
    options = {"reduction": _one_of(integers, *EVERY_REDUCTION)} | _temperature(integers)
    return Case("soft_cross_entropy", {"student": shape, "teacher": shape}, options)


def limit(integers: Integers) -> Case:
    """Every reduction."""
    shape = _outputs(integers)
    options = {"reduction": _one_of(integers, *EVERY_REDUCTION)}
    return Case("limit", {"student": shape, "teacher": shape}, options)


def dkd(integers: Integers) -> Case:
    """Every reduction and temperature, the parts in any shares; of two classes one part is 0."""
    shape = _divergent(integers)
    alpha, beta = _one_of(integers, (1, 8), (2, 0.5), (0.5, 2))
    options = {
        "labels": _labels(integers, *shape),
        "alpha": alpha,
        "beta": beta,
        "reduction": _one_of(integers, *BATCH_MEANS),
    }
    options |= _temperature(integers, most=3)
    return Case("dkd", {"student": shape, "teacher": shape}, options)


def dist(integers: Integers) -> Case:
    """Samples and classes enough that no probabilities are nearly constant: ρ would be 0 / 0.

    Of two numbers each, they always correlate, or always do not.
    """
    shape = integers(4, 5), integers(4, 6)
    options: dict[str, Any] = {"beta": integers(1, 4) / 2, "gamma": integers(1, 4) / 2}
    options |= _temperature(integers, most=3) | _epsilon(integers)
    return Case("dist", {"student": shape, "teacher": shape}, options)


def standardize(integers: Integers) -> Case:
    """Three or more classes: of two, one becomes 1 and the other −1, whatever they are."""
    shape = integers(2, 4), integers(3, 6)
    return Case("standardize", {"logits": shape}, {"ddof": integers(0, 1)} | _epsilon(integers))


def _map(integers: Integers) -> tuple[int, int]:
    """A height and width of four cells or more."""
    return integers(2, 3), integers(2, 4)


def _regression(integers: Integers) -> dict[str, tuple[int, ...]]:
    """Student and teacher, rows or maps, with weight and bias, a weight alone, or neither."""
    batch, inputs = integers(2, 4), integers(1, 4)
    positions = () if _boolean(integers) else (integers(1, 3), integers(1, 3))
    arrays_given = integers(0, 2)
    outputs = _other(integers, inputs, 4) if arrays_given else inputs
    shapes: dict[str, tuple[int, ...]] = {
        "student": (batch, inputs, *positions),
        "teacher": (batch, outputs, *positions),
    }
    if arrays_given:
        shapes["weight"] = (outputs, inputs)
    if arrays_given == 2:
        shapes["bias"] = (outputs,)
    return shapes


def hint(integers: Integers) -> Case:
    """Rows or maps, with every regressor and reduction."""
    shapes = _regression(integers)
    options = {"half": _boolean(integers), "reduction": _one_of(integers, *OF_PAIRS)}
    return Case("hint", shapes, options)


def attention(integers: Integers) -> Case:
    """Every reduction and variant, student and teacher of any numbers of channels."""
    batch, channels, sides = integers(2, 3), integers(1, 4), _map(integers)
    variant = _one_of(integers, "squared", "norm")
    reductions = EVERY_REDUCTION if variant == "squared" else BATCH_MEANS
    options = {
        "power": integers(2, 6) / 2,
        "variant": variant,
        "reduction": _one_of(integers, *reductions),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "student": (batch, channels, *sides),
        "teacher": (batch, _other(integers, channels, 4), *sides),
    }
    return Case("attention", shapes, options | _epsilon(integers))


def nst(integers: Integers) -> Case:
    """Every reduction, student and teacher of any numbers of channels."""
    batch, channels, sides = integers(2, 3), integers(1, 4), _map(integers)
    shapes: dict[str, tuple[int, ...]] = {
        "student": (batch, channels, *sides),
        "teacher": (batch, _other(integers, channels, 4), *sides),
    }
    options = {"reduction": _one_of(integers, *BATCH_MEANS)} | _epsilon(integers)
    return Case("nst", shapes, options)


def fsp(integers: Integers) -> Case:
    """Every reduction and variant, with two weights, one or none, maps of any two sizes."""
    batch, weights = integers(2, 3), integers(0, 2)
    first = integers(1, 3)
    second = _other(integers, first, 3)
    of_teacher = [
        _other(integers, first, 3) if weights > 0 else first,
        _other(integers, second, 3) if weights > 1 else second,
    ]
    sides, other_sides = ((integers(1, 3), integers(1, 3)) for _ in range(2))
    shapes: dict[str, tuple[int, ...]] = {
        "first": (batch, first, *sides),
        "second": (batch, second, *sides),
        "teacher_first": (batch, of_teacher[0], *other_sides),
        "teacher_second": (batch, of_teacher[1], *other_sides),
    }
    if weights > 0:
        shapes["weight_first"] = (of_teacher[0], first)
    if weights > 1:
        shapes["weight_second"] = (of_teacher[1], second)
    options = {
        "reduction": _one_of(integers, *OF_PAIRS),
        "variant": _one_of(integers, "squared", "norms"),
    }
    return Case("fsp", shapes, options)


def vid(integers: Integers) -> Case:
    """Rows or maps, with every regressor, reduction and variant."""
    of_regression = _regression(integers)
    student, teacher = of_regression.pop("student"), of_regression.pop("teacher")
    shapes = {"student": student, "teacher": teacher, "scale": teacher[1:2]} | of_regression
    options = {
        "reduction": _one_of(integers, *OF_PAIRS),
        "variant": _one_of(integers, "paper", "fixed"),
    }
    return Case("vid", shapes, options | _epsilon(integers, least=1e-5))


def _relation(integers: Integers, batch: int = 3, channels: int = 1) -> dict[str, tuple[int, ...]]:
    """So many samples or one more, as rows or maps, the teacher's of another size.

    Of two samples there is one relation, and most losses divide by it. Four numbers or more to a
    channel: lengths are seldom near 0 then.
    """
    batch = integers(batch, batch + 1)
    of_student, of_teacher = (
        (integers(4 * channels, 4 * channels + 4),)
        if _boolean(integers)
        else (integers(channels, channels + 1), *_map(integers))
        for _ in range(2)
    )
    return {"student": (batch, *of_student), "teacher": (batch, *of_teacher)}


def similarity(integers: Integers) -> Case:
    """Every reduction and variant."""
    shapes = _relation(integers)
    options = {
        "reduction": _one_of(integers, *OF_PAIRS),
        "variant": _one_of(integers, "paper", "l1"),
    }
    return Case("similarity", shapes, options)


def _by_huber(integers: Integers, op: str) -> Case:
    """Every reduction, with differences on both sides of δ."""
    shapes = _relation(integers)
    options = {"delta": integers(1, 8) / 8, "reduction": _one_of(integers, *OF_PAIRS)}
    return Case(op, shapes, options)


def rkd_distance(integers: Integers) -> Case:
    """Every reduction, with differences on both sides of δ."""
    return _by_huber(integers, "rkd_distance")


def rkd_angle(integers: Integers) -> Case:
    """Every reduction, with differences on both sides of δ."""
    return _by_huber(integers, "rkd_angle")


def pkt(integers: Integers) -> Case:
    """Every reduction.

    Four samples or more, and an ε far below their chances: as for `kl`, the sum is not to cancel.
    Eight numbers or more: two samples are seldom nearly opposite, and chances near 0, then.
    """
    shapes = _relation(integers, batch=4, channels=2)
    options = {"reduction": _one_of(integers, *OF_PAIRS)} | _epsilon(integers, 1e-7, 1e-3)
    return Case("pkt", shapes, options)


def cc(integers: Integers) -> Case:
    """Every reduction and variant, orders from 1 to 4."""
    shapes = _relation(integers)
    variant = _one_of(integers, "paper", "bilinear", "norm", "consecutive")
    if variant == "consecutive":
        shapes["teacher"] = shapes["student"]
    options = {
        "gamma": integers(1, 8) / 8,
        "order": integers(1, 4),
        "reduction": _one_of(integers, *OF_PAIRS),
        "variant": variant,
    }
    return Case("cc", shapes, options)


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
    """Three updates of a `cnn`, the last batch a ragged one, by labels and teacher in any share.

    The loss to the teacher is L2, with a hint on an inner layer or without.
    """
    net = cnn(integers)
    options = {
        "label_weight": integers(0, 2) / 2,
        "hint": _boolean(integers),
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
LOSSES: Cases = {
    "l2": l2,
    "l1": l1,
    "huber": huber,
    "cross_entropy": cross_entropy,
    "mix": mix,
    "kl": kl,
    "soft_cross_entropy": soft_cross_entropy,
    "limit": limit,
    "dkd": dkd,
    "dist": dist,
    "standardize": standardize,
    "hint": hint,
    "attention": attention,
    "nst": nst,
    "fsp": fsp,
    "vid": vid,
    "similarity": similarity,
    "rkd_distance": rkd_distance,
    "rkd_angle": rkd_angle,
    "pkt": pkt,
    "cc": cc,
}
NETWORKS: Cases = {"cnn": cnn, "SmallCNN": small_cnn, "LargeCNN": large_cnn}
TRAININGS: Cases = {"SGD": sgd, "training": training}
CASES: Cases = OPS | LOSSES | NETWORKS | TRAININGS
