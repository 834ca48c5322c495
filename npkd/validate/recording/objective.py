"""An objective as operations, in a program of any framework."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from npkd import losses
from npkd.losses.facts import FACTS
from npkd.objectives import Objective
from npkd.validate.program import Operation, sum_of

Layer = Callable[[str, str], str]  # of a net, by its name ("" for the outputs): the tensor


@dataclass(frozen=True)
class Part:
    """A part of the loss: a loss of npkd.losses, its share, the student's tensors, all inputs."""

    loss: str
    share: float
    student: tuple[str, ...]
    inputs: Mapping[str, str]
    options: Mapping[str, Any]


def hard_loss(objective: Objective) -> tuple[str, dict[str, Any]]:
    """The name and the options of the loss to the truth; no name if it is none of npkd.losses."""
    function: Any = objective.hard
    options = dict(function.keywords) if isinstance(function, partial) else {}
    function = function.func if isinstance(function, partial) else function
    name = getattr(function, "__name__", "")
    return (name, options) if getattr(losses, name, None) is function else ("", {})


def parts_of(objective: Objective, layer: Layer, labels: str = "labels") -> list[Part]:
    """What the objective adds up. layer: the tensors that it is on; labels: the tensor of those."""
    parts = []
    share = objective.label_weight
    if share > 0:
        hard, options = hard_loss(objective)
        first, second = FACTS[hard].arrays[:2]
        student = layer("student", "")
        parts.append(Part(hard, share, (student,), {first: student, second: labels}, options))
    for term in objective.terms:
        own = tuple(layer("student", name) for name in term.student or ("",))
        tensors = [*own, *(layer("teacher", name) for name in term.teacher or ("",))]
        tensors += [labels] * term.kind.labels
        inputs = dict(zip(term.kind.arrays, tensors, strict=False))
        parts.append(Part(term.loss, (1 - share) * term.factor, own, inputs, term.options))
    return parts


def loss_of(
    parts: Sequence[Part], gradient_of: Callable[[str], str], loss: str = "loss"
) -> list[Operation]:
    """The loss and its gradients, of the parts and their shares.

    gradient_of: the name of the gradient that reaches a tensor of the student's from the loss.
    """
    first = parts[0]
    whole = _as_mix(parts)
    if len(parts) == 1 and first.share == 1:
        whole = Operation(loss, first.loss, first.inputs, {}, first.options)
    if whole is not None:
        outputs = {"value": loss, "gradient": gradient_of(first.student[0])}
        return [replace(whole, name=loss, outputs=outputs)]
    operations = []
    summed: dict[str, list[str]] = {loss: []}
    for k, part in enumerate(parts, 1):
        (layer,) = part.student
        gradient = gradient_of(layer)
        made = {"value": f"{loss}, part {k}", "gradient": f"{gradient}, part {k}"}
        operations.append(Operation(made["value"], part.loss, part.inputs, made, part.options))
        for total, tensor in ((loss, made["value"]), (gradient, made["gradient"])):
            weighted = f"{tensor}, weighted"
            operations.append(sum_of([tensor], weighted, divisor=1 / part.share))
            summed.setdefault(total, []).append(weighted)
    return operations + [sum_of(tensors, total) for total, tensors in summed.items()]


def _as_mix(parts: Sequence[Part]) -> Operation | None:
    """A share of cross-entropy and the rest of another loss, on the same outputs."""
    if len(parts) != 2 or not math.isclose(parts[0].share + parts[1].share, 1):
        return None
    hard, soft = parts
    same = hard.student == soft.student
    if (
        hard.loss != "cross_entropy"
        or not same
        or set(soft.inputs) - {"labels"}
        != {
            "student",
            "teacher",
        }
    ):
        return None
    options = {
        "alpha": soft.share,
        "soft": soft.loss,
        "soft_options": dict(soft.options),
        "hard_options": dict(hard.options),
    }
    return Operation("", "mix", {**soft.inputs, "labels": hard.inputs["labels"]}, {}, options)
