"""An objective as operations on what a student and a teacher put out in PyTorch."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from npkd import losses
from npkd.objectives import Objective
from npkd.validate.program import Operation
from npkd.validate.recording.torch.program import Gradients
from npkd.validate.recording.torch.recorder import Recorder
from npkd.validate.recording.torch.tensors import array


@dataclass(frozen=True)
class Part:
    """A part of the loss: a loss of npkd.losses, its share, the student's tensors, all inputs."""

    loss: str
    share: float
    student: tuple[str, ...]
    inputs: Mapping[str, str]
    options: Mapping[str, Any]


def why_not(objective: Objective | None, recorder: Recorder) -> str:
    """Why the loss is not judged, or nothing."""
    if objective is None:
        return "no objective was given"
    hard, _ = _hard(objective)
    if objective.label_weight > 0 and not hard:
        return "its loss to the truth is none of npkd.losses"
    for term in objective.terms:
        if term.kind.own or term.standardized or term.kind.layers == "maps":
            return f"{term} trains parameters of its own, is on two maps or standardizes logits"
    for path in _paths(objective):
        runs = recorder.runs.get(path, 0)
        if runs > 1:
            what = path if "." in path else f"the {path}"
            return f"{what} ran {runs} times; the objective is judged only where it runs once"
        output = recorder.outputs.get(path)
        if not path.startswith("student") or not isinstance(output, Tensor):
            continue
        if recorder.name_of(output) in recorder.untracked:
            return f"the gradient by the output of {path} came in parts that were not all seen"
    return ""


def _paths(objective: Objective) -> list[str]:
    """The nets that an objective is on, and the layers of them."""
    layers = {"student": [""] * (objective.label_weight > 0), "teacher": []}
    for term in objective.terms:
        layers["student"] += term.student or ("",)
        layers["teacher"] += term.teacher or ("",)
    nets = [net for net, of_net in layers.items() if of_net]
    inner = [f"{net}.{layer}" for net, of_net in layers.items() for layer in of_net if layer]
    return list(dict.fromkeys([*nets, *inner]))


def parts_of(
    objective: Objective, recorder: Recorder, labels: Any, given: dict[str, np.ndarray]
) -> list[Part]:
    """What the objective adds up; the labels are put into `given`."""
    parts = []
    share = objective.label_weight
    if share > 0 or any(term.kind.labels for term in objective.terms):
        if labels is None:
            raise ValueError(f"torch_step: {objective} needs labels")
        given["labels"] = _as_labels(labels)
    if share > 0:
        hard, options = _hard(objective)
        first, second = _arguments(hard)[:2]
        student = _layer(recorder, "student")
        parts.append(Part(hard, share, (student,), {first: student, second: "labels"}, options))
    for term in objective.terms:
        own = tuple(_layer(recorder, "student", layer) for layer in term.student or ("",))
        tensors = [*own, *(_layer(recorder, "teacher", layer) for layer in term.teacher or ("",))]
        tensors += ["labels"] * term.kind.labels
        inputs = dict(zip(_arguments(term.loss), tensors, strict=False))
        parts.append(Part(term.loss, (1 - share) * term.factor, own, inputs, term.options))
    for part in parts:
        if "labels" in part.inputs.values():
            _check_labels(given["labels"], recorder.values(part.student[0]).shape)
    return parts


def _as_labels(labels: Any) -> np.ndarray:
    try:
        return array(torch.as_tensor(labels))
    except (TypeError, ValueError, RuntimeError) as error:
        got = type(labels).__name__
        raise ValueError(f"torch_step: labels are a {got}, expected whole numbers") from error


def _check_labels(labels: np.ndarray, outputs: tuple[int, ...]) -> None:
    """Raise ValueError unless there is one class for each sample of the outputs."""
    samples, classes = outputs[0], outputs[-1]
    expected = f"expected whole numbers ({samples},) from 0 to {classes - 1}"
    if labels.dtype.kind not in "iu" or labels.shape != (samples,):
        raise ValueError(f"torch_step: labels are {labels.dtype} {labels.shape}, {expected}")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        got = f"from {labels.min()} to {labels.max()}"
        raise ValueError(f"torch_step: labels go {got}, {expected}")


def _hard(objective: Objective) -> tuple[str, dict[str, Any]]:
    """The name and the options of the loss to the truth."""
    function: Any = objective.hard
    options = dict(function.keywords) if isinstance(function, partial) else {}
    function = function.func if isinstance(function, partial) else function
    name = getattr(function, "__name__", "")
    return (name, options) if getattr(losses, name, None) is function else ("", {})


def _arguments(loss: str) -> list[str]:
    return list(inspect.signature(getattr(losses, loss)).parameters)


def _layer(recorder: Recorder, net: str, layer: str = "") -> str:
    """The tensor that a layer, or a net, put out. Raises ValueError if there is none."""
    path = f"{net}.{layer}" if layer else net
    output = recorder.outputs.get(path)
    if not isinstance(output, Tensor):
        got = "was not run" if output is None else f"gave a {type(output).__name__}"
        raise ValueError(f"torch_step: {path} {got}, expected the objective's layer, a tensor")
    return recorder.name_of(output)


def loss_of(parts: Sequence[Part], gradients: Gradients) -> list[Operation]:
    """The loss and its gradients, of the parts and their shares."""
    first = parts[0]
    whole = _as_mix(parts)
    if len(parts) == 1 and first.share == 1:
        whole = Operation("loss", first.loss, first.inputs, {}, first.options)
    if whole is not None:
        outputs = {"value": "loss", "gradient": gradients.from_outside(first.student[0])}
        return [replace(whole, outputs=outputs)]
    operations = []
    summed: dict[str, list[str]] = {"loss": []}
    for k, part in enumerate(parts, 1):
        (layer,) = part.student
        gradient = gradients.from_outside(layer)
        made = {"value": f"loss, part {k}", "gradient": f"{gradient}, part {k}"}
        operations.append(Operation(f"loss, part {k}", part.loss, part.inputs, made, part.options))
        for total, tensor in (("loss", made["value"]), (gradient, made["gradient"])):
            weighted = f"{tensor}, weighted"
            options = {"divisor": 1 / part.share}
            operations.append(Operation(weighted, "sum", {"x": tensor}, {"y": weighted}, options))
            summed.setdefault(total, []).append(weighted)
    for total, tensors in summed.items():
        inputs = {f"x{k}": tensor for k, tensor in enumerate(tensors, 1)}
        operations.append(Operation(total, "sum", inputs, {"y": total}))
    return operations


def _as_mix(parts: Sequence[Part]) -> Operation | None:
    """A share of cross-entropy and the rest of another loss, on the same outputs."""
    if len(parts) != 2 or not math.isclose(parts[0].share + parts[1].share, 1):
        return None
    hard, soft = parts
    same = hard.student == soft.student
    if hard.loss != "cross_entropy" or not same or set(soft.inputs) != {"student", "teacher"}:
        return None
    options = {
        "alpha": soft.share,
        "soft": soft.loss,
        "soft_options": dict(soft.options),
        "hard_options": dict(hard.options),
    }
    return Operation("loss", "mix", {**soft.inputs, "labels": "labels"}, {}, options)
