"""What is computed for the table: cases of the judge's, of one operation each.

`Question.right` gives, for each tensor of the case, the right numbers and how errors are measured.
Cases are the same whenever they are drawn, so that files of results need no key.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npkd.losses.facts import FACTS
from npkd.validate import by_npkd
from npkd.validate.accuracy import right
from npkd.validate.accuracy.grid import FINE, grid, varying
from npkd.validate.accuracy.right import FUNCTIONS, Function
from npkd.validate.accuracy.ulps import Arguments
from npkd.validate.program import Arrays, Case, Operation
from npkd.validate.questions.losses import loss_operation

SEED = 20  # of what is drawn
OWN, LARGEST = "own", "largest"


@dataclass(frozen=True)
class Right:
    """What is right for one tensor, in float64, and how errors are measured.

    unit       an ulp is that of each number's OWN right result, or of the LARGEST one
    off        how far what is right may be off itself, in ulp
    arguments  of a function of one number
    shown      by what numbers are named in other functions: a word, and numbers
    limits     the range, where there is one
    scale      Q = √Σ a² b² of sums of products, for effective bits
    bits       whether they are counted
    """

    value: np.ndarray
    unit: str
    off: float
    arguments: Arguments | None = None
    shown: tuple[str, np.ndarray] | None = None
    limits: tuple[float, float] = (-np.inf, np.inf)
    scale: np.ndarray | None = None
    bits: bool = False


@dataclass(frozen=True)
class Question:
    """A case of one operation, and what is right for its tensors, by their names."""

    case: Case
    right: Callable[[], Mapping[str, Right]]

    @property
    def op(self) -> str:
        return self.case.operations[0].op

    def row(self, tensor: str) -> str:
        """What a tensor is called in tables."""
        return self.case.name if tensor in ("y", "value") else f"{self.case.name}, {tensor}"


def questions(names: Iterable[str] = (), fine: int = FINE) -> list[Question]:
    """All questions, or those with these ops. fine: of the grid."""
    wanted = set(names)
    found = [
        *_of_functions(fine),
        *_of_softmax(),
        *_of_losses(),
        *_of_layers(),
        *_of_sums(),
    ]
    return [one for one in found if not wanted or one.op in wanted]


def ops() -> list[str]:
    """All ops that are asked about, in order."""
    return list(dict.fromkeys([*(one.op for one in FUNCTIONS.values()), *OTHERS]))


def _question(
    name: str,
    op: str,
    inputs: Arrays,
    of: Callable[[Arrays], Mapping[str, Right]],
    options: Mapping[str, Any] | None = None,
    operation: Operation | None = None,
) -> Question:
    if operation is None:
        tensors = {tensor: tensor for tensor in inputs}
        operation = Operation(op, op, tensors, {"y": "y"}, options or {})
    needed = frozenset(operation.outputs.values())
    case = Case(name, op, f"how exact {name} is", inputs, (operation,), needed=needed)
    return Question(case, functools.partial(of, inputs))


# Functions of one number


def _of_functions(fine: int) -> Iterator[Question]:
    x = grid(fine)
    for name, function in FUNCTIONS.items():
        of = functools.partial(_by_function, function)
        yield _question(name, function.op, {"x": x}, of, function.options)


def _by_function(function: Function, inputs: Arrays) -> dict[str, Right]:
    x = inputs["x"]
    with np.errstate(all="ignore"):
        arguments = Arguments.of(x, function.right, varying(x))
        value = function.right(x.astype(np.float64))
    off = right.OFF_OF_FUNCTIONS
    return {"y": Right(value, OWN, off, arguments, limits=function.limits)}


# Softmax

ROWS = {10: 8192, 1000: 128, 100_000: 4}  # by length
SPREADS = (3, 30)  # of logits: their standard deviation
STEPS = np.float32(2**12)  # logits are multiples of 1 / STEPS: z − max rounds nowhere


def _of_softmax() -> Iterator[Question]:
    for op, function, limits in (
        ("softmax", right.softmax, (0.0, 1.0)),
        ("log_softmax", right.log_softmax, (-np.inf, 0.0)),
    ):
        for length, rows in ROWS.items():
            for spread in SPREADS:
                name = f"{op}, {length:,} of spread {spread}"
                of = functools.partial(_by_row, function, limits)
                z = np.round(_normal(name, rows, length) * (STEPS * np.float32(spread))) / STEPS
                yield _question(name, op, {"x": z}, of)


def _by_row(
    function: Callable[[np.ndarray], np.ndarray], limits: tuple[float, float], inputs: Arrays
) -> dict[str, Right]:
    z = inputs["x"].astype(np.float64)
    below = z - np.max(z, axis=-1, keepdims=True)
    return {
        "y": Right(
            function(z), OWN, right.OFF_OF_SOFTMAX, shown=("z − max = ", below), limits=limits
        )
    }


# Losses on outputs

LOSSES = (
    *("l2", "l1", "huber", "kl", "js", "soft_cross_entropy", "cross_entropy", "dkd", "dist"),
    "limit",
)
NEAR = ("kl", "js")  # also where student and teacher nearly agree, and terms cancel
BATCH, CLASSES, NEARNESS = 256, 100, np.float32(0.01)


def _of_losses() -> Iterator[Question]:
    for op in LOSSES:
        for near in (False, True) if op in NEAR else (False,):
            facts = FACTS[op]
            inputs: dict[str, np.ndarray] = {}
            for name in facts.arrays:
                if name == "labels":
                    inputs[name] = _rng(f"{op} labels").integers(0, CLASSES, BATCH)
                else:
                    inputs[name] = _normal(f"{op} {name}", BATCH, CLASSES) * np.float32(3)
            if near:
                apart = _normal(f"{op} apart", BATCH, CLASSES) * NEARNESS
                inputs["student"] = inputs["teacher"] + apart
            options = {"reduction": "none"} if "none" in facts.reductions else {}
            operation = loss_operation(op, {name: name for name in inputs}, options)
            of = functools.partial(_by_loss, op, operation.options)
            yield _question(op + ", near" * near, op, inputs, of, operation=operation)


def _by_loss(op: str, options: Mapping[str, Any], inputs: Arrays) -> dict[str, Right]:
    """Values in ulp of their own, gradients, which are differences, of the largest."""
    made = by_npkd.computed(op, _in_float64(inputs), options)
    off = right.OFF_OF_LOSSES
    limits = (-np.inf, np.inf) if op == "limit" else (0.0, np.inf)
    return {
        name: Right(np.asarray(value), OWN, off, limits=limits)
        if name == "value"
        else Right(value, LARGEST, off, bits=True)
        for name, value in made.items()
    }


# Layers

LAYERS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("avg_pool2d 2×2", "avg_pool2d", {"kernel_size": 2}),
    ("avg_pool2d 3×3", "avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("global_avg_pool2d", "global_avg_pool2d", {}),
    ("max_pool2d", "max_pool2d", {"kernel_size": 2}),
    ("upsample nearest", "upsample", {"factor": 2}),
    ("upsample bilinear", "upsample", {"factor": 2, "mode": "bilinear"}),
)


def _of_layers() -> Iterator[Question]:
    for name, op, options in LAYERS:
        yield _question(
            name, op, {"x": _normal(name, 4, 8, 32, 32)}, _by_layer(op, options), options
        )
    for name, offset in (("batch_norm", 0), ("batch_norm, mean 100", 100)):
        x = _normal(name, 16, 8, 16, 16) + np.float32(offset)
        inputs = {"x": x, "w": _normal(f"{name} w", 8), "b": _normal(f"{name} b", 8)}
        yield _question(name, "batch_norm", inputs, _by_layer("batch_norm", {}))


def _by_layer(op: str, options: Mapping[str, Any]) -> Callable[[Arrays], dict[str, Right]]:
    def of(inputs: Arrays) -> dict[str, Right]:
        value = by_npkd.computed(op, _in_float64(inputs), options)["y"]
        return {"y": Right(value, LARGEST, right.OFF_OF_SUMS, bits=True)}

    return of


# Sums of products, by their length

OF_CONV = (3, 16, 64, 128, 512)  # channels, of 3×3 taps
OF_LINEAR = (64, 512, 4096, 16_384)


def _of_sums() -> Iterator[Question]:
    for channels in OF_CONV:
        name = f"conv2d, k = {9 * channels:,}"
        x, w = _normal(name, 2, channels, 16, 16), _normal(f"{name} w", 16, channels, 3, 3)
        of = functools.partial(_by_sum, "conv2d", {"padding": 1})
        yield _question(name, "conv2d", {"x": x, "w": w}, of, {"padding": 1})
    for k in OF_LINEAR:
        name = f"linear, k = {k:,}"
        inputs = {"x": _normal(name, 64, k), "w": _normal(f"{name} w", 64, k)}
        yield _question(name, "linear", inputs, functools.partial(_by_sum, "linear", {}))


def _by_sum(op: str, options: Mapping[str, Any], inputs: Arrays) -> dict[str, Right]:
    """Products of float32 numbers are exact in float64."""
    factors = _in_float64(inputs)
    value = by_npkd.computed(op, factors, options)["y"]
    squares = by_npkd.computed(op, {name: x * x for name, x in factors.items()}, options)["y"]
    return {"y": Right(value, LARGEST, right.OFF_OF_SUMS, scale=np.sqrt(squares), bits=True)}


OTHERS = (
    *("softmax", "log_softmax", *LOSSES),
    *dict.fromkeys(op for _, op, _ in LAYERS),
    *("batch_norm", "conv2d", "linear"),
)


# Numbers


def _rng(name: str) -> np.random.Generator:
    """A generator of each name's own, so that no question changes with another."""
    return np.random.default_rng([SEED, *name.encode()])


def _normal(name: str, *shape: int) -> np.ndarray:
    return _rng(name).standard_normal(shape, dtype=np.float32)


def _in_float64(inputs: Arrays) -> dict[str, np.ndarray]:
    return {name: x.astype(np.float64) if x.dtype.kind == "f" else x for name, x in inputs.items()}


def names_of(some: Sequence[Question]) -> list[str]:
    """The rows that questions make, in order."""
    return [one.row(tensor) for one in some for tensor in one.case.operations[0].outputs.values()]
