"""An objective on what a student and a teacher put out in PyTorch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from npkd.objectives import Objective
from npkd.validate.recording.objective import Part, hard_loss, parts_of
from npkd.validate.recording.torch.recorder import Recorder
from npkd.validate.recording.torch.tensors import array


def why_not(objective: Objective | None, recorder: Recorder) -> str:
    """Why the loss is not judged, or nothing."""
    if objective is None:
        return "no objective was given"
    hard, _ = hard_loss(objective)
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
        if "." not in path and not isinstance(output, Tensor):
            if output is not None:
                return f"the {path} gives a {type(output).__name__}: which of it are its logits?"
            if any(part.startswith(f"{path}.") for part in recorder.runs):
                return f"the {path} ran in parts, none of which stands for its outputs"
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


def parts(
    objective: Objective, recorder: Recorder, labels: Any, given: dict[str, np.ndarray]
) -> list[Part]:
    """What the objective adds up; the labels are put into `given`."""

    def layer(net: str, name: str) -> str:
        return _layer(recorder, net, name)

    found = parts_of(objective, layer)
    if any("labels" in part.inputs.values() for part in found):
        if labels is None:
            raise ValueError(f"torch_step: {objective} needs labels")
        given["labels"] = _as_labels(labels)
    for part in found:
        if "labels" in part.inputs.values():
            _check_labels(given["labels"], recorder.values(part.student[0]).shape)
    return found


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


def _layer(recorder: Recorder, net: str, layer: str = "") -> str:
    """The tensor that a layer, or a net, put out. Raises ValueError if there is none."""
    path = f"{net}.{layer}" if layer else net
    output = recorder.outputs.get(path)
    if not isinstance(output, Tensor):
        got = "was not run" if output is None else f"gave a {type(output).__name__}"
        raise ValueError(f"torch_step: {path} {got}, expected the objective's layer, a tensor")
    return recorder.name_of(output)
