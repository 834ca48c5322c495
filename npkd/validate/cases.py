"""What a framework is asked to compute: the cases that `npkd.validate` is about.

    for case in cases(np.random.default_rng(0)): …
    for case in cases(np.random.default_rng(0), ["conv2d", "kl"]): …       # some subjects alone

A subject is one thing that can be done rightly or wrongly, a case is one probe of it. Subjects are
each op and each loss alone; the update; how gradients of several batches are added up; how data are
prepared, and how they reach the teacher; the document's two nets, forward and backward; and
distillation, several updates of it. The arrays of a subject do not depend on which other subjects
are asked for.

Numbers are such that no two mistakes look alike: batches of N = 5, C = 7 classes, temperature
T = 3, so that no factor of N, C, T or T² is another one; height and width differ, and so do the
numbers of channels in and out; kernels are not symmetric, and those that are square show a
transposition; padding of 1 at stride 2 and an even size shows whether it is symmetric.

Most cases are of ordinary float32 numbers. Their sums have fewer than 500 terms, but for the
nets', so that TF32 cannot hide within the bound. The others are exact: small integers, times a
power of two (`dyadic`), of which no sum rounds in whatever order it is added up, nor with fused
multiply-adds, nor with factors in TF32. `exactness` proves it of a case. Where a mean is taken,
it is of 2ⁿ numbers then.
"""

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import npkd.proofs.cases
from npkd import losses, ops
from npkd.files import BadInput
from npkd.nets import Network
from npkd.nets.layers import Conv2d, Function, Layer, Linear
from npkd.nets.models import LargeCNN, SmallCNN
from npkd.validate.program import Case, Operation

N, C, T = 5, 7, 3.0
LARGE = 2.0**17  # above the largest float16

Arrays = dict[str, np.ndarray]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Options = Mapping[str, Any]
Cases = Iterator[Case]
Draw = Callable[[np.random.Generator, Shape], np.ndarray]


def cases(rng: np.random.Generator, names: Sequence[str] | None = None) -> Cases:
    """The cases of all subjects, or of those named, each made when it is asked for.

    Raises BadInput for a subject that there is not.
    """
    makers = _subjects(rng)
    for name in makers if names is None else names:
        if name not in makers:
            near = difflib.get_close_matches(name, makers, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(makers)}"
            raise BadInput(f"validate: no subject is named {name!r}; {hint}")
    return _all_of(makers[name] for name in dict.fromkeys(makers if names is None else names))


def _all_of(makers: Iterator[Callable[[], Cases]]) -> Cases:
    for maker in makers:
        yield from maker()


def subjects() -> tuple[str, ...]:
    """The names of all subjects."""
    return tuple(_subjects(np.random.default_rng(0)))


def _subjects(rng: np.random.Generator) -> dict[str, Callable[[], Cases]]:
    """What makes the cases of each subject, each with a Generator of its own."""
    of_large, of_small = rng.spawn(2)

    @functools.cache  # the arrays that two subjects share are the same ones
    def large() -> Network:
        return LargeCNN(of_large)

    @functools.cache
    def small() -> Network:
        return SmallCNN(of_small)

    makers: dict[str, Callable[[np.random.Generator], Cases]] = {}
    for subject, of_op in OPS.items():
        makers[subject] = functools.partial(_of_op, subject, of_op)
    for subject, of_loss in LOSSES.items():
        makers[subject] = functools.partial(_of_loss, subject, of_loss)
    makers |= {
        "standardize": _standardize,
        "ragged batch": _ragged_batch,
        "sgd": _sgd,
        "accumulation": _accumulation,
        "preparation": _preparation,
        "augmentation": _augmentation,
        "teacher cache": _teacher_cache,
        "augmented teacher": _augmented_teacher,
        "workers": _workers,
        "evaluation mode": _evaluation_mode,
        "SmallCNN": lambda rng: _net("SmallCNN", small(), rng),
        "LargeCNN": lambda rng: _net("LargeCNN", large(), rng),
        "distillation": lambda rng: _distillation(large(), small(), rng),
    }
    generators = rng.spawn(len(makers))
    return {
        name: functools.partial(maker, own)
        for (name, maker), own in zip(makers.items(), generators, strict=True)
    }


# Numbers


def normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Standard normal numbers in float32."""
    return np.asarray(rng.standard_normal(shape)).astype(np.float32)


def with_ties(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """The same, half of them rounded to multiples of ½: there are zeros, and windows tie."""
    return npkd.proofs.cases.normal(shape, rng, np.float32, ties=True)


def dyadic(
    rng: np.random.Generator,
    shape: Shape,
    *,
    nonzero: int | None = None,
    largest: int = 1,
    unit: float = 1.0,
) -> np.ndarray:
    """Whole numbers from −largest to largest, times `unit`, a power of two, in float32.

    nonzero: how many of each row, of shape[1:], are not 0; as many as chance has it by default.
    They are spread evenly over the columns: of R rows of K entries each, no column gets more than
    ⌈R · nonzero / K⌉ of them.
    """
    if nonzero is None:
        return (rng.integers(-largest, largest + 1, shape) * unit).astype(np.float32)
    rows, columns = shape[0], math.prod(shape[1:])
    nonzero = min(nonzero, columns)
    passes = math.ceil(rows * nonzero / columns)  # through all columns, in a new order each
    order = np.concatenate([rng.permutation(columns) for _ in range(passes)])
    places = order[: rows * nonzero].reshape(rows, nonzero)
    values = np.zeros((rows, columns), np.float32)
    signed = rng.integers(1, largest + 1, places.shape) * rng.choice([-1, 1], places.shape)
    np.put_along_axis(values, places, (signed * unit).astype(np.float32), axis=1)
    return values.reshape(shape)


def _small_integers(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return dyadic(rng, shape, largest=3)


def _labels(rng: np.random.Generator, count: int, classes: int) -> np.ndarray:
    return rng.integers(0, classes, count)


# Operations


def _op_operations(op: str, arrays: Shapes | Arrays, options: Options) -> tuple[Operation, ...]:
    """An op and its backward pass, tensors named like arguments and results."""
    gradients = {f"d{name}": f"d{name}" for name in arrays}
    inputs = {name: name for name in arrays}
    return (
        Operation(op, op, inputs, {"y": "y"}, options),
        Operation(f"{op} backward", f"{op}_backward", inputs | {"dy": "dy"}, gradients, options),
    )


def _op_case(
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
    y, _ = getattr(ops, op)(*arrays.values(), **options)
    operations = _op_operations(op, arrays, options)
    return _case(
        name,
        subject,
        f"{op} of npkd.ops, and its gradients given dy",
        arrays | {"dy": draw(rng, y.shape)},
        operations,
        exact=exact,
    )


def _case(
    name: str,
    subject: str,
    about: str,
    inputs: Arrays,
    operations: Sequence[Operation],
    *,
    exact: bool = False,
    needed: Sequence[str] | None = None,
) -> Case:
    """A case that needs all tensors that it makes, unless some of them are named."""
    case = Case(name, subject, about, inputs, tuple(operations), exact)
    return replace(case, needed=frozenset(case.tensors() if needed is None else needed))


def _loss_operation(
    op: str, tensors: Mapping[str, str], options: Options, outputs: Mapping[str, str] | None = None
) -> Operation:
    """A loss, with a gradient for each argument that is trained."""
    results = {"value": "value"} | {name: name for name in gradients_of(op, tensors)}
    name = op if outputs is None else f"{outputs['value']}"
    return Operation(name, op, tensors, outputs or results, options)


TRAINED = {
    "hint": ("student", "weight", "bias"),
    "vid": ("student", "scale", "weight", "bias"),
    "fsp": ("first", "second", "weight_first", "weight_second"),
    "cross_entropy": ("logits",),
}


def gradients_of(loss: str, given: Mapping[str, Any]) -> list[str]:
    """The names of a loss's gradients: `gradient` by the student, and by what else is trained."""
    _, *others = (name for name in TRAINED.get(loss, ("student",)) if name in given)
    return ["gradient", *(f"gradient_{name}" for name in others)]


# Ops alone


@dataclass(frozen=True)
class OfOp:
    """One case of an op: what is particular, the arguments, and whether numbers can be exact."""

    op: str
    what: str
    shapes: Shapes
    options: Options
    exact: bool


def _probe(op: str, what: str, *, exact: bool = True, **arguments: Any) -> OfOp:
    """A case of an op by its arguments, arrays by their shapes."""
    shapes: Shapes = {name: arguments.pop(name) for name in ("x", "w", "b") if name in arguments}
    return OfOp(op, what, shapes, arguments, exact)


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
        _probe("avg_pool2d", "divisor", x=(N, 3, 6, 5), kernel_size=(3, 2), divisor_override=4),
    ),
    "max_pool2d": (
        _probe("max_pool2d", "2x2", x=(N, 3, 8, 6), kernel_size=2),
        _probe(
            "max_pool2d",
            "3x2 overlapping padding",
            x=(N, 3, 8, 7),
            kernel_size=(3, 2),
            stride=(2, 1),
            padding=1,
        ),
        _probe("max_pool2d", "ceil_mode", x=(N, 3, 8, 6), kernel_size=3, stride=2, ceil_mode=True),
        _probe("max_pool2d", "dilation 2", x=(N, 3, 8, 7), kernel_size=2, stride=1, dilation=2),
    ),
    "relu": (
        _probe("relu", "rows", x=(N, C)),
        _probe("relu", "images", x=(N, 3, 4, 6)),
    ),
    "flatten": (
        _probe("flatten", "plain", x=(N, 3, 4, 6)),
        _probe("flatten", "many channels", x=(N, 8, 2, 3)),
    ),
    "softmax": (
        _probe("softmax", "rows", x=(N, C), exact=False),
        _probe("softmax", "channels", x=(N, C, 3, 4), axis=1, exact=False),
    ),
    "log_softmax": (
        _probe("log_softmax", "rows", x=(N, C), exact=False),
        _probe("log_softmax", "channels", x=(N, C, 3, 4), axis=1, exact=False),
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
}


def _of_op(subject: str, probes: Sequence[OfOp], rng: np.random.Generator) -> Cases:
    """Each probe of an op on ordinary numbers, and on exact ones if that is possible.

    Of sums of products there is one more, whose x, b and dy float16 cannot hold: what tells it from
    TF32, which keeps as many bits.
    """

    def case(probe: OfOp, what: str, draw: Draw, upstream: Draw, exact: bool) -> Case:
        arrays = {
            name: (_small_integers if exact and name == "w" else draw)(rng, shape)
            for name, shape in probe.shapes.items()
        }
        name = f"{subject} {probe.what}{what}"
        return _op_case(name, subject, probe.op, arrays, probe.options, rng, upstream, exact=exact)

    for probe in probes:
        ties = probe.op in ("relu", "max_pool2d")
        yield case(probe, "", with_ties if ties else normal, normal, False)
        if probe.exact:
            yield case(probe, " exact", _small_integers, _small_integers, True)
    if probes[0].op in ("conv2d", "linear"):
        large = functools.partial(dyadic, largest=3, unit=LARGE)
        yield case(probes[0], " exact large", large, large, True)


# Losses alone


@dataclass(frozen=True)
class OfLoss:
    """The cases of a loss: options, shapes of the ordinary ones, and of the exact ones."""

    loss: str
    options: Options
    shapes: tuple[Shapes, ...]
    exact: tuple[Shapes, ...] = ()
    largest: int = 10  # halves, of the exact ones
    ragged: bool = False  # whether there is a case of two batches, the second a shorter one


def _pair(*shape: int) -> Shapes:
    return {"student": shape, "teacher": shape}


def _maps(channels: int, channels_of_teacher: int, *sides: int) -> Shapes:
    return {"student": (N, channels, *sides), "teacher": (N, channels_of_teacher, *sides)}


def _regressed(student: Shape, outputs: int) -> dict[str, Shape]:
    """Student, teacher, and what makes the one into the other."""
    batch, inputs, *sides = student
    return {
        "student": student,
        "teacher": (batch, outputs, *sides),
        "weight": (outputs, inputs),
        "bias": (outputs,),
    }


def _varied(student: Shape, outputs: int) -> Shapes:
    return _regressed(student, outputs) | {"scale": (outputs,)}


def _flow(first: Shape, second: Shape, teacher_first: Shape, teacher_second: Shape) -> Shapes:
    return {
        "first": first,
        "second": second,
        "teacher_first": teacher_first,
        "teacher_second": teacher_second,
        "weight_first": (teacher_first[1], first[1]),
        "weight_second": (teacher_second[1], second[1]),
    }


OUTPUTS = _pair(N, C), _pair(8, 11)
RELATED = (
    {"student": (N, 6), "teacher": (N, 9)},
    {"student": (6, 3, 2, 4), "teacher": (6, 4, 3, 2)},
)
MAPS = _maps(3, 4, 4, 6), _maps(6, 2, 3, 5)
SOFT = {"temperature": T}

LOSSES: dict[str, OfLoss] = {
    "l2": OfLoss("l2", {}, OUTPUTS, (_pair(4, C), _pair(8, 5)), ragged=True),
    "l2 sum": OfLoss("l2", {"reduction": "sum"}, OUTPUTS, (_pair(N, C),)),
    "l2 elementmean": OfLoss(
        "l2", {"reduction": "elementmean"}, (*OUTPUTS, _pair(N, 3, 4, 6)), (_pair(4, 8),)
    ),
    "l2 none": OfLoss("l2", {"reduction": "none"}, OUTPUTS, (_pair(N, C),)),
    "l1": OfLoss("l1", {}, OUTPUTS, (_pair(4, C), _pair(8, 5))),
    "huber": OfLoss("huber", {}, OUTPUTS, (_pair(4, C), _pair(8, 5))),
    "cross_entropy": OfLoss(
        "cross_entropy", {}, ({"logits": (N, C)}, {"logits": (8, 11)}), ragged=True
    ),
    "mix": OfLoss("mix", {"alpha": 0.3, "soft": "l2"}, OUTPUTS),
    "mix kl": OfLoss("mix", {"alpha": 0.3, "soft": "kl", "soft_options": SOFT}, OUTPUTS),
    "kl": OfLoss("kl", SOFT, OUTPUTS, ragged=True),
    "soft_cross_entropy": OfLoss("soft_cross_entropy", SOFT, OUTPUTS),
    "limit": OfLoss("limit", {}, OUTPUTS, (_pair(4, 8),)),
    "dkd": OfLoss("dkd", SOFT, OUTPUTS),
    "dist": OfLoss("dist", {}, OUTPUTS),
    "hint": OfLoss(
        "hint",
        {},
        (_regressed((N, 3, 4, 6), 4), _regressed((N, 6), C)),
        (_regressed((4, 3, 2, 4), 8), _regressed((8, 3), 4)),
        largest=2,
    ),
    "attention": OfLoss("attention", {}, MAPS),
    "nst": OfLoss("nst", {}, MAPS),
    "fsp": OfLoss(
        "fsp",
        {},
        (
            _flow((N, 3, 4, 6), (N, 2, 4, 6), (N, 4, 3, 5), (N, 6, 3, 5)),
            _flow((N, 2, 3, 5), (N, 4, 3, 5), (N, 6, 4, 2), (N, 3, 4, 2)),
        ),
        (_flow((4, 2, 2, 4), (4, 3, 2, 4), (4, 4, 4, 2), (4, 2, 4, 2)),),
        largest=2,
    ),
    "vid": OfLoss("vid", {}, (_varied((N, 3, 4, 6), 4), _varied((N, 6), C))),
    "similarity": OfLoss("similarity", {}, RELATED),
    "rkd_distance": OfLoss("rkd_distance", {}, RELATED),
    "rkd_angle": OfLoss("rkd_angle", {}, RELATED),
    "pkt": OfLoss("pkt", {}, RELATED),
    "cc": OfLoss("cc", {}, RELATED),
}


def _of_loss(subject: str, of_loss: OfLoss, rng: np.random.Generator) -> Cases:
    """A loss on ordinary numbers, on exact ones if that is possible, and on batches of 5 and 3."""
    loss, options = of_loss.loss, of_loss.options
    takes_labels = "labels" in inspect.signature(getattr(losses, loss)).parameters
    about = f"{loss} of npkd.losses, and its gradients"
    halves = functools.partial(dyadic, largest=of_loss.largest, unit=0.5)

    def drawn(shapes: Shapes, exact: bool) -> Arrays:
        arrays = {
            name: halves(rng, shape) if exact else normal(rng, shape)
            for name, shape in shapes.items()
        }
        if takes_labels:
            count, classes = next(iter(shapes.values()))
            arrays["labels"] = _labels(rng, count, classes)
        return arrays

    for exact, several in ((False, of_loss.shapes), (True, of_loss.exact)):
        for shapes in several:
            arrays = drawn(shapes, exact)
            shown = "x".join(map(str, next(iter(shapes.values()))))
            operation = _loss_operation(loss, {name: name for name in arrays}, options)
            name = f"{subject} {shown}{' exact' * exact}"
            yield _case(name, subject, about, arrays, [operation], exact=exact)
    if of_loss.ragged:
        inputs: Arrays = {}
        operations = []
        for at, count in (("batch1/", N), ("batch2/", 3)):
            arrays = drawn(
                {k: (count, *shape[1:]) for k, shape in of_loss.shapes[0].items()}, False
            )
            inputs |= {at + name: array for name, array in arrays.items()}
            tensors = {name: at + name for name in arrays}
            outputs = {name: at + name for name in ("value", "gradient")}
            operations.append(_loss_operation(loss, tensors, options, outputs))
        yield _case(f"{subject} two batches", subject, about, inputs, operations)


def _standardize(rng: np.random.Generator) -> Cases:
    """`losses.standardize`, a transform of logits."""
    for shape in ((N, C), (8, 11)):
        name = f"standardize {shape[0]}x{shape[1]}"
        yield _standardize_case(name, normal(rng, shape), normal(rng, shape), {})


def _standardize_case(name: str, logits: np.ndarray, dy: np.ndarray, options: Options) -> Case:
    operations = (
        Operation("standardize", "standardize", {"logits": "logits"}, {"y": "y"}, options),
        Operation(
            "standardize backward",
            "standardize_backward",
            {"logits": "logits", "dy": "dy"},
            {"dx": "dx"},
            options,
        ),
    )
    about = "standardize of npkd.losses, and its gradient given dy"
    return _case(name, "standardize", about, {"logits": logits, "dy": dy}, operations)


def _ragged_batch(rng: np.random.Generator) -> Cases:
    """The mean loss over a data set whose last batch is a shorter one: each sample counts once."""
    for classes in (C, 11):
        inputs: Arrays = {}
        operations = []
        for at, count in (("batch1/", N), ("batch2/", 3)):
            inputs[f"{at}logits"] = normal(rng, (count, classes))
            inputs[f"{at}labels"] = _labels(rng, count, classes)
            operations.append(
                Operation(
                    f"{at}cross_entropy",
                    "cross_entropy",
                    {"logits": f"{at}logits", "labels": f"{at}labels"},
                    {"value": f"{at}sum"},
                    {"reduction": "sum"},
                )
            )
        terms = {"x1": "batch1/sum", "x2": "batch2/sum"}
        operations.append(Operation("mean", "sum", terms, {"y": "mean"}, {"divisor": N + 3}))
        yield _case(
            f"ragged batch {classes} classes",
            "ragged batch",
            "the mean cross-entropy of batches of 5 and of 3 samples: of all 8",
            inputs,
            operations,
            needed=["mean"],
        )


# Updates


def sgd_operations(
    names: Sequence[str], *, before: str, at: str, first: bool, options: Options
) -> list[Operation]:
    """One update of parameters, from `before` + name to `at` + name, by `at` + name + ".grad"."""
    operations = []
    for name in names:
        inputs = {"theta": before + name, "g": f"{at}{name}.grad"}
        outputs = {"theta": at + name}
        if options["momentum"]:
            outputs["velocity"] = f"{at}{name}.velocity"
            if not first:
                inputs["velocity"] = f"{before}{name}.velocity"
        operations.append(Operation(f"{at}sgd {name}", "sgd", inputs, outputs, options))
    return operations


def _sgd(rng: np.random.Generator) -> Cases:
    """Four updates of a weight and a bias by given gradients; the rate changes after the second."""
    about = "v ← μ v + (g + λ θ), θ ← θ − lr v, four times; the biases decay too"
    usual = {"momentum": 0.9, "weight_decay": 0.01}
    powers = {"momentum": 0.5, "weight_decay": 0.25}
    plain = {"momentum": 0.0, "weight_decay": 0.0}
    for name, shape, rates, constants, draw in (
        ("sgd linear", (4, 6), (0.1, 0.1, 0.05, 0.05), usual, normal),
        ("sgd convolution", (4, 3, 3, 2), (0.1, 0.1, 0.05, 0.05), usual, normal),
        ("sgd exact", (4, 6), (0.5, 0.5, 0.25, 0.25), powers, dyadic),
        ("sgd plain", (4, 6), (0.1, 0.1, 0.05, 0.05), plain, normal),
        ("sgd plain exact", (4, 6), (0.5, 0.5, 0.25, 0.25), plain, dyadic),
    ):
        shapes = {"weight": shape, "bias": shape[:1]}
        inputs = {key: draw(rng, of_one) for key, of_one in shapes.items()}
        operations, before = [], ""
        for step, lr in enumerate(rates, 1):
            at = f"step{step}/"
            inputs |= {f"{at}{key}.grad": draw(rng, of_one) for key, of_one in shapes.items()}
            operations += sgd_operations(
                list(shapes), before=before, at=at, first=step == 1, options={"lr": lr} | constants
            )
            before = at
        needed = [f"step{step}/{key}" for step in range(1, 5) for key in shapes]
        yield _case(name, "sgd", about, inputs, operations, exact=draw is dyadic, needed=needed)


def _accumulation(rng: np.random.Generator) -> Cases:
    """The gradients of a batch of eight from two of four: the mean of the mean's gradients."""
    for inputs_of, outputs_of in ((6, 4), (11, C)):
        for exact in (False, True):
            draw: Draw = dyadic if exact else normal
            inputs = {"w": draw(rng, (outputs_of, inputs_of)), "b": draw(rng, (outputs_of,))}
            operations = []
            for part in ("part1/", "part2/"):
                inputs[f"{part}x"] = draw(rng, (4, inputs_of))
                inputs[f"{part}dy"] = draw(rng, (4, outputs_of)) / 4
                operations.append(
                    Operation(
                        f"{part}linear backward",
                        "linear_backward",
                        {"x": f"{part}x", "w": "w", "b": "b", "dy": f"{part}dy"},
                        {"dw": f"{part}dw", "db": f"{part}db"},
                    )
                )
            for name in ("dw", "db"):
                terms = {"x1": f"part1/{name}", "x2": f"part2/{name}"}
                operations.append(Operation(name, "sum", terms, {"y": name}, {"divisor": 2}))
            yield _case(
                f"accumulation {inputs_of} to {outputs_of}{' exact' * exact}",
                "accumulation",
                "the gradients of the mean over 8 samples from those of the means over 4 and 4",
                inputs,
                operations,
                exact=exact,
            )


# Data


def _preparation(rng: np.random.Generator) -> Cases:
    """From stored images to x_high, x_low, and x_low brought back to size."""
    mean, std = np.array([0.49, 0.45, 0.38], np.float32), np.array([0.25, 0.2, 0.3], np.float32)
    resized = [
        Operation("low", "avg_pool2d", {"x": "x_high"}, {"y": "x_low"}, {"kernel_size": 2}),
        Operation(
            "up", "upsample", {"x": "x_low"}, {"y": "x_up"}, {"factor": 2, "mode": "nearest"}
        ),
        Operation(
            "smooth",
            "upsample",
            {"x": "x_low"},
            {"y": "x_smooth"},
            {"factor": 2, "mode": "bilinear"},
        ),
    ]
    normalised = Operation(
        "normalise",
        "normalise",
        {"images": "images", "mean": "mean", "std": "std"},
        {"y": "x_high"},
    )
    about = "x_high = (images/255 − mean) / std, x_low its 2×2 means, x_up and x_smooth twice x_low"
    for height, width in ((8, 12), (6, 4)):
        images = rng.integers(0, 256, (N, 3, height, width), dtype=np.uint8)
        inputs: Arrays = {"images": images, "mean": mean, "std": std}
        name = f"preparation {height}x{width}"
        yield _case(name, "preparation", about, inputs, [normalised, *resized])
    yield _case(
        "preparation exact",
        "preparation",
        "x_low the 2×2 means of x_high, x_up and x_smooth twice x_low",
        {"x_high": dyadic(rng, (N, 3, 8, 12), largest=100)},
        resized,
        exact=True,
    )


SHIFTS = np.array([[2, -1], [-2, 1], [0, 2], [1, 0], [-1, -2]])  # down, right
FLIPS = np.array([True, False, True, False, True])


def _augmentation(rng: np.random.Generator) -> Cases:
    """Images moved and flipped as they are told."""
    operation = Operation(
        "augment",
        "augment",
        {"images": "images", "shifts": "shifts", "flips": "flips"},
        {"y": "y"},
    )
    stored = rng.integers(0, 256, (N, 3, 6, 8), dtype=np.uint8)
    for name, images in (("stored", stored), ("floats", normal(rng, (N, 3, 7, 5)))):
        shifts, flips = rng.permuted(SHIFTS, axis=0), rng.permutation(FLIPS)
        yield _case(
            f"augmentation {name}",
            "augmentation",
            "images moved by (down, right) cells, black coming in, then flipped left to right",
            {"images": images, "shifts": shifts, "flips": flips},
            [operation],
            exact=images.dtype == np.uint8,
        )


def _teacher_cache(rng: np.random.Generator) -> Cases:
    """The teacher's kept outputs for the images of a batch, which are shuffled for each epoch."""
    count = 11
    for exact in (False, True):
        inputs: Arrays = {"cache": (_small_integers if exact else normal)(rng, (count, C))}
        operations = []
        for epoch in ("epoch1/", "epoch2/"):
            batches = np.split(rng.permutation(count), (4, 8))
            for number, index in enumerate(batches, 1):
                at = f"{epoch}batch{number}/"
                inputs[f"{at}index"] = index
                operations.append(
                    Operation(
                        f"{at}rows",
                        "rows",
                        {"x": "cache", "index": f"{at}index"},
                        {"y": f"{at}teacher"},
                        {"batches": len(batches)},
                    )
                )
        yield _case(
            f"teacher cache{' exact' * exact}",
            "teacher cache",
            "the teacher's outputs for the images of each batch, looked up among those that were "
            "kept for all 11",
            inputs,
            operations,
            exact=exact,
        )


def _augmented_teacher(rng: np.random.Generator) -> Cases:
    """The teacher's outputs for images as they were augmented, not as they are stored."""
    operations = (
        Operation(
            "augment",
            "augment",
            {"images": "images", "shifts": "shifts", "flips": "flips"},
            {"y": "x"},
        ),
        Operation("flatten", "flatten", {"x": "x"}, {"y": "flat"}),
        Operation(
            "teacher",
            "linear",
            {"x": "flat", "w": "teacher.weight", "b": "teacher.bias"},
            {"y": "teacher"},
        ),
    )
    for exact in (False, True):
        draw: Draw = dyadic if exact else normal
        for height, width in ((4, 6), (5, 3)):
            inputs = {
                "images": draw(rng, (N, 3, height, width)),
                "shifts": rng.permuted(SHIFTS, axis=0),
                "flips": rng.permutation(FLIPS),
                "teacher.weight": draw(rng, (C, 3 * height * width)),
                "teacher.bias": draw(rng, (C,)),
            }
            yield _case(
                f"augmented teacher {height}x{width}{' exact' * exact}",
                "augmented teacher",
                "what a linear teacher gives for the images that the student is shown",
                inputs,
                operations,
                exact=exact,
                needed=["x", "teacher"],
            )


def _workers(rng: np.random.Generator) -> Cases:
    """What each of the processes that load data draws: nothing that another one draws."""
    for workers in (4, 7):
        options = {"workers": workers}
        yield _case(
            f"workers {workers}",
            "workers",
            f"16 random numbers of each of {workers} workers, a row for each: all rows differ",
            {},
            [Operation("draw", "distinct", {}, {"draws": "draws"}, options)],
        )


def _evaluation_mode(rng: np.random.Generator) -> Cases:
    """A teacher with dropout, which is evaluated."""
    operations = (
        Operation("fc1", "linear", {"x": "x", "w": "fc1.weight", "b": "fc1.bias"}, {"y": "fc1"}),
        Operation("relu", "relu", {"x": "fc1"}, {"y": "relu"}),
        Operation("dropout", "dropout", {"x": "relu"}, {"y": "dropout"}, {"p": 0.5}),
        Operation(
            "fc2", "linear", {"x": "dropout", "w": "fc2.weight", "b": "fc2.bias"}, {"y": "fc2"}
        ),
    )
    for exact in (False, True):
        for features, hidden in ((6, 11), (9, 14)):
            draw: Draw = dyadic if exact else normal
            shapes = {
                "x": (N, features),
                "fc1.weight": (hidden, features),
                "fc1.bias": (hidden,),
                "fc2.weight": (C, hidden),
                "fc2.bias": (C,),
            }
            yield _case(
                f"evaluation mode {features} to {hidden}{' exact' * exact}",
                "evaluation mode",
                "a teacher's outputs: linear, ReLU, dropout that drops nothing, linear",
                {name: draw(rng, shape) for name, shape in shapes.items()},
                operations,
                exact=exact,
                needed=["fc2"],
            )


# Nets


def network(
    layers: Mapping[str, Layer], x: str, *, at: str = "", params: str = ""
) -> list[Operation]:
    """The operations of a net on the tensor x.

    A layer's output is `at` + its name, its parameters are `params` + "conv1.weight" and so on.
    """
    operations = []
    for name, layer in layers.items():
        op, options = op_of(layer)
        inputs = {"x": x} | _parameters(layer, params + name)
        x = at + name
        operations.append(Operation(x, op, inputs, {"y": x}, options))
    return operations


def network_backward(
    layers: Mapping[str, Layer], x: str, *, at: str = "", params: str = ""
) -> list[Operation]:
    """The operations of a net's backward pass, from the gradient by its last layer's output.

    The gradient by a tensor has its name and ".grad"; by a parameter, `at`, its name and ".grad".
    """
    names = list(layers)
    operations = []
    for i in reversed(range(len(names))):
        name, layer = names[i], layers[names[i]]
        op, options = op_of(layer)
        below = at + names[i - 1] if i else x
        own = _parameters(layer, params + name)
        outputs = {"dx": f"{below}.grad"} | {
            f"d{key}": f"{at}{tensor.removeprefix(params)}.grad" for key, tensor in own.items()
        }
        inputs = {"x": below} | own | {"dy": f"{at}{name}.grad"}
        operations.append(
            Operation(f"{at}{name} backward", f"{op}_backward", inputs, outputs, options)
        )
    return operations


def op_of(layer: Layer) -> tuple[str, dict[str, Any]]:
    """The op that a layer computes, and its options."""
    if isinstance(layer, Conv2d):
        return "conv2d", {"padding": layer.padding}
    if isinstance(layer, Linear):
        return "linear", {}
    if isinstance(layer, Function):
        bound = inspect.signature(layer.op).bind(None, *layer.arguments).arguments
        return layer.op.__name__, dict(list(bound.items())[1:])
    raise ValueError(f"validate: no operation is known for a {type(layer).__name__}")


def _parameters(layer: Layer, name: str) -> dict[str, str]:
    """A layer's parameters: the tensors w and b."""
    return {key[0]: f"{name}.{key}" for key in layer.shapes}


def sparse_weights(network: Network, rng: np.random.Generator) -> Arrays:
    """Weights of −1, 0 and 1 of which a net on such images, with such a dy, rounds nothing.

    Of each output of a convolution 3 weights are not 0, and in linear layers one of each input, or
    a little more. For the document's nets, with their biases, outputs are so at most

        conv1 3 + 1 = 4,  conv2 3 · 4 + 1 = 13,  pool 4 · 13 quarters,
        fc1 32 · 52 + 4 = 1,668 quarters: 11 bits, the most that there may be

    and gradients, by columns, at most 2 by relu3, 2 by pool, 2 quarters by conv2, and by relu1
    18 quarters; sums over 5 images of 1024 cells each are far below 2²⁴ of them.
    """
    weights = {}
    for name, layer in network.layers.items():
        for key, shape in layer.shapes.items():
            nonzero = None
            if key == "weight":
                columns = math.prod(shape[1:])
                nonzero = 3 if len(shape) == 4 else max(3, math.ceil(columns / shape[0]))
            weights[f"{name}.{key}"] = dyadic(rng, shape, nonzero=nonzero)
    return weights


def _net(subject: str, net: Network, rng: np.random.Generator) -> Cases:
    """One of the document's nets, forward and backward."""
    last = net.last
    operations = network(net.layers, "x") + network_backward(net.layers, "x")
    needed = [last, *(f"{name}.grad" for name in net.params)]
    for exact in (False, True):
        draw: Draw = dyadic if exact else normal
        weights = sparse_weights(net, rng) if exact else net.params
        outputs = len(net.params[f"{last}.bias"])
        yield _case(
            f"{subject}{' exact' * exact}",
            subject,
            f"the logits of npkd.{subject}, and the gradients by its parameters given {last}.grad",
            {"x": draw(rng, (N, *net.image_shape))}
            | weights
            | {f"{last}.grad": draw(rng, (N, outputs))},
            operations,
            exact=exact,
            needed=needed,
        )


# Distillation


def small_net(
    rng: np.random.Generator,
    image_shape: tuple[int, int, int],
    channels: tuple[int, int],
    hidden: int,
) -> Network:
    """A net like the document's, of any size."""
    first, second = channels
    depth, height, width = image_shape
    layers: dict[str, Layer] = {
        "conv1": Conv2d(depth, first, 3, padding=1),
        "relu1": Function(ops.relu),
        "conv2": Conv2d(first, second, 3, padding=1),
        "relu2": Function(ops.relu),
        "pool": Function(ops.avg_pool2d, 2),
        "flatten": Function(ops.flatten),
        "fc1": Linear(second * (height // 2) * (width // 2), hidden),
        "relu3": Function(ops.relu),
        "fc2": Linear(hidden, C),
    }
    return Network(layers, image_shape, rng)


def shallow_net(rng: np.random.Generator, image_shape: tuple[int, int, int]) -> Network:
    """A net of two layers with weights, so that numbers grow slowly from one update to the next."""
    depth, height, width = image_shape
    layers: dict[str, Layer] = {
        "conv1": Conv2d(depth, 4, 3, padding=1),
        "relu1": Function(ops.relu),
        "pool": Function(ops.max_pool2d, 2),
        "flatten": Function(ops.flatten),
        "fc2": Linear(4 * (height // 2) * (width // 2), C),
    }
    return Network(layers, image_shape, rng)


def distillation(
    name: str,
    teacher: tuple[Network, Arrays],
    student: tuple[Network, Arrays],
    batches: Sequence[np.ndarray],
    loss: tuple[str, Options],
    updates: Sequence[Options],
    *,
    labels: Sequence[np.ndarray] | None = None,
    exact: bool = False,
) -> Case:
    """Updates of a student by a teacher's outputs for x_low brought back to size.

    teacher, student: the net, and its parameters. batches: x_high for each update. updates: the
    rate and the constants of each.
    """
    large, of_large = teacher
    small, of_small = student
    op, options = loss
    inputs = {f"teacher/{key}": theta for key, theta in of_large.items()} | of_small
    operations: list[Operation] = []
    needed: list[str] = []
    before = ""
    for step, (x_high, update) in enumerate(zip(batches, updates, strict=True)):
        at = f"step{step + 1}/"
        inputs[f"{at}x_high"] = x_high
        of_loss = {"student": at + small.last, "teacher": f"{at}teacher/{large.last}"}
        if labels is not None:
            inputs[f"{at}labels"] = labels[step]
            of_loss["labels"] = f"{at}labels"
        operations += [
            Operation(
                f"{at}x_low",
                "avg_pool2d",
                {"x": f"{at}x_high"},
                {"y": f"{at}x_low"},
                {"kernel_size": 2},
            ),
            Operation(
                f"{at}x_up",
                "upsample",
                {"x": f"{at}x_low"},
                {"y": f"{at}x_up"},
                {"factor": 2, "mode": "nearest"},
            ),
            *network(large.layers, f"{at}x_up", at=f"{at}teacher/", params="teacher/"),
            *network(small.layers, f"{at}x_low", at=at, params=before),
            _loss_operation(
                op,
                of_loss,
                options,
                {"value": f"{at}loss", "gradient": f"{at}{small.last}.grad"},
            ),
            *network_backward(small.layers, f"{at}x_low", at=at, params=before),
            *sgd_operations(list(of_small), before=before, at=at, first=step == 0, options=update),
        ]
        needed += [
            f"{at}teacher/{large.last}",
            at + small.last,
            f"{at}loss",
            *(f"{at}{key}.grad" for key in of_small),
            *(at + key for key in of_small),
        ]
        before = at
    for key in of_large:
        operations.append(
            Operation(
                f"after/teacher/{key}",
                "copy",
                {"x": f"teacher/{key}"},
                {"y": f"after/teacher/{key}"},
            )
        )
        needed.append(f"after/teacher/{key}")
    return _case(
        name,
        "distillation",
        f"{len(batches)} updates of a student by {op} with a teacher's outputs, the last batch a "
        "shorter one; after them the teacher's parameters, as they were",
        inputs,
        operations,
        exact=exact,
        needed=needed,
    )


def _distillation(large: Network, small: Network, rng: np.random.Generator) -> Cases:
    """The document's nets and small ones, by L2 and by a mixture; and an exact one, by L1.

    Exact: a gradient by L1 is −1, 0 or 1 over the batch, however large logits have grown.
    """
    by_l2: tuple[str, Options] = ("l2", {})
    by_mix: tuple[str, Options] = ("mix", {"alpha": 0.3, "soft": "kl", "soft_options": SOFT})
    usual = [{"lr": lr, "momentum": 0.9, "weight_decay": 0.01} for lr in (0.05, 0.05, 0.02)]
    powers = [{"lr": lr, "momentum": 0.5, "weight_decay": 0.5} for lr in (0.5, 0.5, 0.25)]
    counts = (4, 4, 3)

    def images(height: int, width: int) -> list[np.ndarray]:
        return [normal(rng, (count, 3, height, width)) for count in counts]

    for name, loss in (("l2", by_l2), ("mix", by_mix)):
        teacher = small_net(rng, (3, 8, 12), (4, 6), 20)
        student = small_net(rng, (3, 4, 6), (4, 5), 12)
        yield distillation(
            f"distillation {name}",
            (teacher, teacher.params),
            (student, student.params),
            images(8, 12),
            loss,
            usual,
            labels=None if loss is by_l2 else [_labels(rng, count, C) for count in counts],
        )

    teacher, student = small_net(rng, (3, 8, 12), (4, 6), 20), shallow_net(rng, (3, 4, 6))
    yield distillation(
        "distillation l1 exact",
        (teacher, sparse_weights(teacher, rng)),
        (student, sparse_weights(student, rng)),
        [_with_whole_means(rng, (count, 3, 4, 6)) for count in (2, 2, 1)],
        ("l1", {}),
        powers,
        exact=True,
    )

    yield distillation(
        "distillation of the document",
        (large, large.params),
        (small, small.params),
        images(32, 32),
        by_l2,
        usual,
    )


def _with_whole_means(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Images of twice this height and width whose 2×2 means are −1, 0 or 1: one cell has it all."""
    means = dyadic(rng, shape)
    count, channels, height, width = shape
    cells = np.zeros((*shape, 4), np.float32)
    np.put_along_axis(cells, rng.integers(0, 4, (*shape, 1)), 4 * means[..., None], axis=-1)
    blocks = cells.reshape(count, channels, height, width, 2, 2)
    return blocks.transpose(0, 1, 2, 4, 3, 5).reshape(count, channels, 2 * height, 2 * width)


# One op or loss at random


EXACT = (
    "conv2d",
    "linear",
    "avg_pool2d",
    "max_pool2d",
    "relu",
    "flatten",
    "upsample",
    "pixel_shuffle",
    "l2",
    "l1",
    "huber",
    "hint",
)


def random_case(op: str, rng: np.random.Generator, *, exact: bool = False) -> Case:
    """One op of npkd.ops, or one loss, with the shapes and options that `npkd.proofs.cases` draws.

    exact: as far as the op can be (`EXACT`): means are then over 2ⁿ numbers, or are sums.

    Raises ValueError for another op.
    """
    drawn_from = npkd.proofs.cases.OPS | npkd.proofs.cases.LOSSES
    if op not in (EXACT if exact else drawn_from):
        expected = ", ".join(EXACT if exact else drawn_from)
        raise ValueError(f"validate: no random case of {op!r}; expected one of {expected}")
    drawn = drawn_from[op](lambda low, high: int(rng.integers(low, high + 1)))
    options = dict(drawn.options)
    labels = options.pop("labels", None)
    if exact:
        options |= _with_exact_means(op, options, rng)
        arrays = {name: _small_integers(rng, shape) for name, shape in drawn.shapes.items()}
    else:
        arrays = npkd.proofs.cases.arrays(drawn, rng, np.float32)
    if labels is not None:
        arrays["labels"] = labels.astype(np.int64)
    if op in npkd.proofs.cases.OPS:
        draw = _small_integers if exact else normal
        return _op_case(op, op, op, arrays, options, rng, draw, exact=exact)
    if op == "standardize":
        return _standardize_case(op, arrays["logits"], normal(rng, arrays["logits"].shape), options)
    operation = _loss_operation(op, {name: name for name in arrays}, options)
    return _case(op, op, f"{op} of npkd.losses", arrays, [operation], exact=exact)


def _with_exact_means(op: str, options: Options, rng: np.random.Generator) -> dict[str, Any]:
    """What is to be changed so that divisors are powers of two."""
    if op == "avg_pool2d":
        return {"divisor_override": int(2 ** rng.integers(0, 4))}
    if op == "upsample" and options["mode"] == "bilinear":
        return {"factor": int(rng.integers(1, 3))}
    if op == "l2":
        plain = {"variant": "paper", "temperature": 1.0, "temperature_squared": False}
        return {"reduction": str(rng.choice(["sum", "none"]))} | plain
    if op in ("l1", "huber"):
        reduction = {"reduction": str(rng.choice(["sum", "none"]))}
        return reduction | ({"delta": 2.0 ** rng.integers(-1, 2)} if op == "huber" else {})
    return {"reduction": "sum"} if op == "hint" else {}
