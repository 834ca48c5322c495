"""Questions about each op alone."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npkd.validate.by_npkd import computed
from npkd.validate.program import Case, Operation
from npkd.validate.questions.numbers import (
    LARGE,
    Arrays,
    C,
    Cases,
    Draw,
    N,
    Options,
    Shapes,
    about_six,
    case_of,
    dyadic,
    masked,
    masking,
    near_ties,
    normal,
    saturated,
    small_integers,
    subnormal,
    with_ties,
)

STATISTICS = ("mean", "variance")  # by which frameworks give no gradients
ARRAYS = ("x", "w", "a", "b", *STATISTICS, "mask", "x1", "x2", "x3")  # as ops take them


def _op_operations(op: str, arrays: Shapes | Arrays, options: Options) -> tuple[Operation, ...]:
    """An op and its backward pass, tensors named like arguments and results."""
    gradients = {f"d{name}": f"d{name}" for name in arrays if name not in (*STATISTICS, "mask")}
    inputs = {name: name for name in arrays}
    return (
        Operation(op, op, inputs, {"y": "y"}, options),
        Operation(f"{op} backward", f"{op}_backward", inputs | {"dy": "dy"}, gradients, options),
    )


def op_case(
    name: str,
    subject: str,
    op: str,
    arrays: Arrays,
    options: Options,
    rng: np.random.Generator,
    draw: Draw,
    *,
    exact: bool,
) -> Case:
    """An op on these arrays, forward and backward from a random dy."""
    y = computed(op, arrays, options)["y"]
    operations = _op_operations(op, arrays, options)
    return case_of(
        name,
        subject,
        f"{op} of npkd.ops, and its gradients given dy",
        arrays | {"dy": draw(rng, y.shape)},
        operations,
        exact=exact,
    )


@dataclass(frozen=True)
class OfOp:
    """One case of an op: what is particular, the arguments, and whether numbers can be exact.

    numbers: what ordinary arrays are drawn by.
    """

    op: str
    what: str
    shapes: Shapes
    options: Options
    exact: bool
    numbers: Draw


def _probe(
    op: str, what: str, *, exact: bool = True, numbers: Draw = normal, **arguments: Any
) -> OfOp:
    """A case of an op by its arguments, arrays by their shapes."""
    shapes: Shapes = {name: arguments.pop(name) for name in ARRAYS if name in arguments}
    return OfOp(op, what, shapes, arguments, exact, numbers)


_OF_IMAGES: dict[str, Any] = {"x": (N, 3, 4, 6), **dict.fromkeys(("w", "b", *STATISTICS), (3,))}


def _of_every_entry(op: str, **options: Any) -> tuple[OfOp, ...]:
    """Rows and images, and numbers where exp overflows or vanishes."""
    form = "".join(f" {value}" for value in options.values())
    return (
        _probe(op, f"rows{form}", exact=False, x=(N, C), **options),
        _probe(op, f"images{form}", exact=False, x=(N, 3, 4, 6), **options),
        _probe(op, f"saturated{form}", exact=False, numbers=saturated, x=(N, C), **options),
    )


OPS: dict[str, tuple[OfOp, ...]] = {
    "conv2d": (
        _probe("conv2d", "plain", x=(N, 3, 7, 10), w=(4, 3, 3, 3), b=(4,)),
        _probe("conv2d", "padding 1", x=(N, 3, 6, 9), w=(4, 3, 3, 3), padding=1),
        _probe(
            "conv2d",
            "stride 2 padding 1",
            x=(N, 3, 8, 10),
            w=(4, 3, 3, 3),
            b=(4,),
            stride=2,
            padding=1,
        ),
        _probe("conv2d", "many channels", x=(N, 32, 6, 8), w=(12, 32, 3, 3), b=(12,), padding=1),
        _probe("conv2d", "taps beyond the image", x=(N, 3, 1, 2), w=(4, 3, 3, 3), padding=1),
        _probe("conv2d", "2x2 stride 3", x=(N, 3, 8, 11), w=(4, 3, 2, 2), b=(4,), stride=3),
    ),
    "conv2d wide": (  # such as fast transforms are chosen for
        _probe("conv2d", "16 to 16", x=(N, 16, 6, 8), w=(16, 16, 3, 3), b=(16,), padding=1),
        _probe("conv2d", "64 to 64", x=(N, 64, 6, 8), w=(64, 64, 3, 3), padding=1),
    ),
    "conv2d oblong": (
        _probe("conv2d", "plain", x=(N, 3, 6, 9), w=(4, 3, 3, 2), b=(4,)),
        _probe(
            "conv2d",
            "strides 2 and 1",
            x=(N, 2, 9, 8),
            w=(3, 2, 2, 3),
            stride=(2, 1),
            padding=(0, 2),
        ),
        _probe("conv2d", "padding same", x=(N, 3, 6, 9), w=(4, 3, 2, 4), b=(4,), padding="same"),
    ),
    "conv2d groups": (
        _probe("conv2d", "2", x=(N, 4, 6, 7), w=(6, 2, 3, 3), b=(6,), groups=2, padding=1),
        _probe("conv2d", "depthwise", x=(N, 3, 6, 7), w=(6, 1, 3, 3), groups=3),
        _probe("conv2d", "2 stride 2", x=(N, 4, 8, 7), w=(6, 2, 3, 3), groups=2, stride=2),
        _probe("conv2d", "2 dilation 2", x=(N, 4, 8, 7), w=(6, 2, 3, 3), groups=2, dilation=2),
        _probe(
            "conv2d",
            "depthwise stride 2 padding 1",
            x=(N, 3, 8, 10),
            w=(3, 1, 3, 3),
            b=(3,),
            groups=3,
            stride=2,
            padding=1,
        ),
        _probe(
            "conv2d",
            "depthwise dilation 2 padding 2",
            x=(N, 3, 6, 7),
            w=(6, 1, 3, 3),
            groups=3,
            dilation=2,
            padding=2,
        ),
    ),
    "conv2d dilation": (
        _probe("conv2d", "2", x=(N, 3, 9, 8), w=(4, 3, 3, 3), b=(4,), dilation=2, padding=(2, 1)),
        _probe(
            "conv2d",
            "2 stride 2",
            x=(N, 3, 10, 12),
            w=(4, 3, 3, 3),
            dilation=2,
            stride=2,
            padding=1,
        ),
        _probe(
            "conv2d",
            "2 padding same",
            x=(N, 3, 6, 7),
            w=(4, 3, 3, 3),
            dilation=2,
            padding="same",
        ),
    ),
    "linear": (
        _probe("linear", "plain", x=(N, 11), w=(C, 11), b=(C,)),
        _probe("linear", "without bias", x=(N, 6), w=(4, 6)),
        _probe("linear", "many features", x=(N, 300), w=(40, 300), b=(40,)),
    ),
    "linear square": (
        _probe("linear", "plain", x=(N, 6), w=(6, 6), b=(6,)),
        _probe("linear", "without bias", x=(N, 9), w=(9, 9)),
    ),
    "avg_pool2d": (
        _probe("avg_pool2d", "2x2", x=(N, 3, 8, 6), kernel_size=2),
        _probe("avg_pool2d", "4x2 stride 2", x=(N, 3, 8, 7), kernel_size=(4, 2), stride=2),
        _probe("avg_pool2d", "padding counted", x=(N, 3, 6, 8), kernel_size=2, stride=2, padding=1),
        _probe(
            "avg_pool2d",
            "padding not counted",
            x=(N, 3, 8, 6),
            kernel_size=(4, 2),
            stride=2,
            padding=(2, 1),
            count_include_pad=False,
        ),
        _probe("avg_pool2d", "ceil_mode", x=(N, 3, 6, 7), kernel_size=(4, 2), ceil_mode=True),
        _probe(
            "avg_pool2d",
            "3x3 ceil_mode padding",
            x=(N, 3, 8, 10),
            kernel_size=3,
            stride=2,
            padding=1,
            ceil_mode=True,
            exact=False,
        ),
        _probe(
            "avg_pool2d", "subnormal", x=(N, 3, 6, 8), kernel_size=2, exact=False, numbers=subnormal
        ),
        _probe("avg_pool2d", "divisor", x=(N, 3, 6, 5), kernel_size=(3, 2), divisor_override=4),
        _probe(
            "avg_pool2d",
            "oblong padding counted",
            x=(N, 3, 6, 9),
            kernel_size=(2, 4),
            stride=(1, 2),
            padding=(0, 2),
        ),
        _probe(
            "avg_pool2d",
            "ceil_mode padding not counted",
            x=(N, 3, 8, 6),
            kernel_size=(3, 4),
            stride=2,
            padding=(1, 2),
            ceil_mode=True,
            count_include_pad=False,
            exact=False,
        ),
        _probe(  # the third window of a row would begin in the padding at its end: there is none
            "avg_pool2d",
            "2x2 stride 3 ceil_mode padding",
            x=(N, 3, 5, 8),
            kernel_size=2,
            stride=3,
            padding=1,
            ceil_mode=True,
        ),
    ),
    "max_pool2d": (
        _probe("max_pool2d", "2x2", x=(N, 3, 8, 6), kernel_size=2, numbers=with_ties),
        _probe(
            "max_pool2d",
            "3x2 overlapping padding",
            x=(N, 3, 8, 7),
            kernel_size=(3, 2),
            stride=(2, 1),
            padding=1,
            numbers=with_ties,
        ),
        _probe(
            "max_pool2d",
            "ceil_mode",
            x=(N, 3, 8, 6),
            kernel_size=3,
            stride=2,
            ceil_mode=True,
            numbers=with_ties,
        ),
        _probe(
            "max_pool2d",
            "dilation 2",
            x=(N, 3, 8, 7),
            kernel_size=2,
            stride=1,
            dilation=2,
            numbers=with_ties,
        ),
        _probe(
            "max_pool2d",
            "2x2 stride 3 ceil_mode padding",
            x=(N, 3, 5, 8),
            kernel_size=2,
            stride=3,
            padding=1,
            ceil_mode=True,
            numbers=with_ties,
        ),
        _probe(
            "max_pool2d",
            "3x3 stride 1 padding",
            x=(N, 3, 5, 7),
            kernel_size=3,
            stride=1,
            padding=1,
            numbers=with_ties,
        ),
        _probe("max_pool2d", "near ties", x=(N, 3, 6, 8), kernel_size=2, numbers=near_ties),
    ),
    "relu": (
        _probe("relu", "rows", x=(N, C), numbers=with_ties),
        _probe("relu", "images", x=(N, 3, 4, 6), numbers=with_ties),
    ),
    "flatten": (
        _probe("flatten", "plain", x=(N, 3, 4, 6)),
        _probe("flatten", "many channels", x=(N, 8, 2, 3)),
        _probe("flatten", "subnormal", x=(N, 3, 2, 4), exact=False, numbers=subnormal),
    ),
    "softmax": (
        _probe("softmax", "rows", x=(N, C), exact=False),
        _probe("softmax", "channels", x=(N, C, 3, 4), axis=1, exact=False),
        _probe("softmax", "saturated", x=(N, C), exact=False, numbers=saturated),
        _probe("softmax", "masked", x=(N, C), exact=False, numbers=masked),
    ),
    "log_softmax": (
        _probe("log_softmax", "rows", x=(N, C), exact=False),
        _probe("log_softmax", "channels", x=(N, C, 3, 4), axis=1, exact=False),
        _probe("log_softmax", "saturated", x=(N, C), exact=False, numbers=saturated),
        _probe("log_softmax", "masked", x=(N, C), exact=False, numbers=masked),
    ),
    "upsample nearest": (
        _probe("upsample", "2", x=(N, 3, 4, 6), factor=2, mode="nearest"),
        _probe("upsample", "3", x=(N, 2, 5, 3), factor=3, mode="nearest"),
    ),
    "upsample bilinear": (
        _probe("upsample", "2", x=(N, 3, 4, 6), factor=2, mode="bilinear"),
        _probe("upsample", "3", x=(N, 2, 5, 3), factor=3, mode="bilinear", exact=False),
    ),
    "pixel_shuffle": (
        _probe("pixel_shuffle", "2", x=(N, 12, 4, 3), factor=2),
        _probe("pixel_shuffle", "3", x=(N, 18, 2, 5), factor=3),
    ),
    "batch_norm": (
        _probe("batch_norm", "images", exact=False, **_OF_IMAGES),
        _probe("batch_norm", "rows", exact=False, x=(N, C), mean=(C,), variance=(C,)),
        _probe("batch_norm", "large epsilon", exact=False, epsilon=0.25, **_OF_IMAGES),
    ),
    "batch_norm training": (
        _probe("batch_norm", "images", exact=False, x=(N, 3, 4, 6), w=(3,), b=(3,)),
        _probe("batch_norm", "rows", exact=False, x=(N, C)),
        _probe("batch_norm", "large epsilon", exact=False, epsilon=0.25, x=(N, C), w=(C,), b=(C,)),
    ),
    "global_avg_pool2d": (
        _probe("global_avg_pool2d", "4x8", x=(N, 3, 4, 8)),
        _probe("global_avg_pool2d", "3x5", x=(N, 2, 3, 5), exact=False),
    ),
    "relu6": (
        _probe("relu6", "rows", x=(N, 2 * C), numbers=about_six),
        _probe("relu6", "images", x=(N, 3, 4, 6), numbers=about_six),
    ),
    "sigmoid": _of_every_entry("sigmoid"),
    "tanh": _of_every_entry("tanh"),
    "silu": _of_every_entry("silu"),
    "gelu": _of_every_entry("gelu") + _of_every_entry("gelu", approximate="tanh"),
    "dropout": (
        _probe("dropout", "rows", x=(N, C), mask=(N, C)),
        _probe("dropout", "images", x=(N, 3, 4, 6), mask=(N, 3, 4, 6)),
    ),
    "add": (
        _probe("add", "rows", a=(N, C), b=(N, C)),
        _probe("add", "images", a=(N, 3, 4, 6), b=(N, 3, 4, 6)),
    ),
    "concat": (
        _probe("concat", "channels", x1=(N, 3, 4, 6), x2=(N, 2, 4, 6), x3=(N, 4, 4, 6)),
        _probe("concat", "of one size", x1=(N, 3, 4, 6), x2=(N, 3, 4, 6)),
        _probe("concat", "rows", x1=(N, 4), x2=(N, 7), axis=-1),
    ),
}


def _with_running(case: Case, rng: np.random.Generator) -> Case:
    """And what becomes of running statistics."""
    before = {name: np.abs(normal(rng, case.inputs["x"].shape[1:2])) for name in STATISTICS}
    running = [
        Operation(
            f"running {name}",
            f"running_{name}",
            {"x": "x", name: name},
            {"y": f"running {name}"},
            {"momentum": 0.1},
        )
        for name in STATISTICS
    ]
    operations = [*case.operations, *running]
    return case_of(case.name, case.subject, case.about, {**case.inputs, **before}, operations)


def about_op(subject: str, probes: Sequence[OfOp], rng: np.random.Generator) -> Cases:
    """Each probe of an op on ordinary numbers, and on exact ones if that is possible.

    Of sums of products there is one more, whose x, b and dy float16 cannot hold: what tells it from
    TF32, which keeps as many bits.
    """

    def case(probe: OfOp, what: str, draw: Draw, upstream: Draw, exact: bool) -> Case:
        draws = {"mask": masking} | ({"w": small_integers} if exact else {})
        arrays = {name: draws.get(name, draw)(rng, shape) for name, shape in probe.shapes.items()}
        if "variance" in arrays:
            arrays["variance"] = np.abs(arrays["variance"]) + np.float32(0.5)
        name = f"{subject} {probe.what}{what}"
        one = op_case(name, subject, probe.op, arrays, probe.options, rng, upstream, exact=exact)
        return _with_running(one, rng) if subject == "batch_norm training" else one

    for probe in probes:
        yield case(probe, "", probe.numbers, normal, False)
        if probe.exact:
            yield case(probe, " exact", small_integers, small_integers, True)
    if probes[0].op in ("conv2d", "linear"):
        large = functools.partial(dyadic, largest=3, unit=LARGE)
        yield case(probes[0], " exact large", large, large, True)
