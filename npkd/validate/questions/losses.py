"""Questions about each loss alone."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from npkd.losses.facts import FACTS
from npkd.validate.program import Case, Operation, sum_of
from npkd.validate.questions.numbers import (
    Arrays,
    C,
    Cases,
    Draw,
    N,
    Options,
    Shape,
    Shapes,
    T,
    case_of,
    drawn_labels,
    dyadic,
    masked,
    near_ties,
    normal,
    saturated,
)


def loss_operation(
    op: str, tensors: Mapping[str, str], options: Options, outputs: Mapping[str, str] | None = None
) -> Operation:
    """A loss, with a gradient for each argument that is trained."""
    results = {"value": "value"} | {name: name for name in FACTS[op].gradients(tensors)}
    name = op if outputs is None else f"{outputs['value']}"
    return Operation(name, op, tensors, outputs or results, options)


@dataclass(frozen=True)
class Extreme:
    """A case that is out of the ordinary by its numbers, or by options besides the loss's own."""

    what: str
    draw: Draw = normal
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class OfLoss:
    """The cases of a loss: options, shapes of the ordinary ones, and of the exact ones."""

    loss: str
    options: Options
    shapes: tuple[Shapes, ...]
    exact: tuple[Shapes, ...] = ()
    largest: int = 10  # halves, of the exact ones
    ragged: bool = False  # whether there is a case of two batches, the second a shorter one
    extremes: tuple[Extreme, ...] = ()  # of the first of the ordinary shapes


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

NEAR = (Extreme("near ties", near_ties),)
SATURATED = Extreme("saturated", functools.partial(saturated, unit=T))
SOFT_EXTREMES = (
    SATURATED,
    Extreme("T 0.1", options={"temperature": 0.1}),
    Extreme("T 100", options={"temperature": 100.0}),
)

LOSSES: dict[str, OfLoss] = {
    "l2": OfLoss("l2", {}, OUTPUTS, (_pair(4, C), _pair(8, 5)), ragged=True, extremes=NEAR),
    "l2 sum": OfLoss("l2", {"reduction": "sum"}, OUTPUTS, (_pair(N, C),)),
    "l2 elementmean": OfLoss(
        "l2", {"reduction": "elementmean"}, (*OUTPUTS, _pair(N, 3, 4, 6)), (_pair(4, 8),)
    ),
    "l2 none": OfLoss("l2", {"reduction": "none"}, OUTPUTS, (_pair(N, C),)),
    "l1": OfLoss("l1", {}, OUTPUTS, (_pair(4, C), _pair(8, 5)), extremes=NEAR),
    "huber": OfLoss("huber", {}, OUTPUTS, (_pair(4, C), _pair(8, 5)), extremes=NEAR),
    "cross_entropy": OfLoss(
        "cross_entropy",
        {},
        ({"logits": (N, C)}, {"logits": (8, 11)}),
        ragged=True,
        extremes=(Extreme("saturated", saturated), Extreme("masked", masked)),
    ),
    "mix": OfLoss("mix", {"alpha": 0.3, "soft": "l2"}, OUTPUTS),
    "mix kl": OfLoss(
        "mix", {"alpha": 0.3, "soft": "kl", "soft_options": SOFT}, OUTPUTS, extremes=(SATURATED,)
    ),
    "kl": OfLoss("kl", SOFT, OUTPUTS, ragged=True, extremes=SOFT_EXTREMES),
    "limit": OfLoss("limit", {}, OUTPUTS, (_pair(4, 8),)),
    "dist": OfLoss("dist", {}, OUTPUTS),
    "hint": OfLoss(
        "hint",
        {},
        (_regressed((N, 3, 4, 6), 4), _regressed((N, 6), C)),
        (_regressed((4, 3, 2, 4), 8), _regressed((8, 3), 4)),
        largest=2,
    ),
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
    "vid": OfLoss(
        "vid",
        {},
        (_varied((N, 3, 4, 6), 4), _varied((N, 6), C)),
        extremes=(Extreme("fixed", options={"variant": "fixed"}),),
    ),
}


USUAL = {"logits": OUTPUTS, "outputs": OUTPUTS, "map": MAPS, "vector": RELATED}
for name, facts in FACTS.items():  # those that are asked about in the usual way
    if name not in LOSSES and name != "standardize":
        tempered = facts.options.get("temperature_squared", False)
        extremes = SOFT_EXTREMES if name in ("soft_cross_entropy", "dkd") else ()
        LOSSES[name] = OfLoss(name, SOFT if tempered else {}, USUAL[facts.on], extremes=extremes)


def about_loss(subject: str, of_loss: OfLoss, rng: np.random.Generator) -> Cases:
    """A loss on ordinary numbers, on exact ones if that is possible, and on batches of 5 and 3."""
    loss, options = of_loss.loss, of_loss.options
    takes_labels = FACTS[loss].labels
    about = f"{loss} of npkd.losses, and its gradients"
    halves = functools.partial(dyadic, largest=of_loss.largest, unit=0.5)

    def drawn(shapes: Shapes, draw: Draw, never: int = 0) -> Arrays:
        """Arrays, and labels, which the last `never` classes are not."""
        arrays = {name: draw(rng, shape) for name, shape in shapes.items()}
        if takes_labels:
            count, classes = next(iter(shapes.values()))
            arrays["labels"] = drawn_labels(rng, count, classes - never)
        return arrays

    for exact, several in ((False, of_loss.shapes), (True, of_loss.exact)):
        for shapes in several:
            arrays = drawn(shapes, halves if exact else normal)
            shown = "x".join(map(str, next(iter(shapes.values()))))
            operation = loss_operation(loss, {name: name for name in arrays}, options)
            name = f"{subject} {shown}{' exact' * exact}"
            yield case_of(name, subject, about, arrays, [operation], exact=exact)
    if of_loss.ragged:
        inputs: Arrays = {}
        operations = []
        for at, count in (("batch1/", N), ("batch2/", 3)):
            arrays = drawn(
                {k: (count, *shape[1:]) for k, shape in of_loss.shapes[0].items()}, normal
            )
            inputs |= {at + name: array for name, array in arrays.items()}
            tensors = {name: at + name for name in arrays}
            outputs = {name: at + name for name in ("value", "gradient")}
            operations.append(loss_operation(loss, tensors, options, outputs))
        yield case_of(f"{subject} two batches", subject, about, inputs, operations)
    for extreme in of_loss.extremes:
        arrays = drawn(of_loss.shapes[0], extreme.draw, never=1)
        operation = loss_operation(
            loss, {name: name for name in arrays}, {**options, **extreme.options}
        )
        yield case_of(f"{subject} {extreme.what}", subject, about, arrays, [operation])


def about_standardize(rng: np.random.Generator) -> Cases:
    """`losses.standardize`, a transform of logits."""
    for shape in ((N, C), (8, 11)):
        name = f"standardize {shape[0]}x{shape[1]}"
        yield standardize_case(name, normal(rng, shape), normal(rng, shape), {})


def standardize_case(name: str, logits: np.ndarray, dy: np.ndarray, options: Options) -> Case:
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
    return case_of(name, "standardize", about, {"logits": logits, "dy": dy}, operations)


def about_ragged_batch(rng: np.random.Generator) -> Cases:
    """The mean loss over a data set whose last batch is a shorter one: each sample counts once."""
    for classes in (C, 11):
        inputs: Arrays = {}
        operations = []
        for at, count in (("batch1/", N), ("batch2/", 3)):
            inputs[f"{at}logits"] = normal(rng, (count, classes))
            inputs[f"{at}labels"] = drawn_labels(rng, count, classes)
            operations.append(
                Operation(
                    f"{at}cross_entropy",
                    "cross_entropy",
                    {"logits": f"{at}logits", "labels": f"{at}labels"},
                    {"value": f"{at}sum"},
                    {"reduction": "sum"},
                )
            )
        operations.append(sum_of(["batch1/sum", "batch2/sum"], "mean", divisor=N + 3))
        yield case_of(
            f"ragged batch {classes} classes",
            "ragged batch",
            "the mean cross-entropy of batches of 5 and of 3 samples: of all 8",
            inputs,
            operations,
            needed=["mean"],
        )
