"""What only moves numbers: the rules give, for every result, the places that its entries are from.

Places are numbers of entries, those of all inputs one behind the other.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from npkd.validate.recording.jax.layout import Layout, numbered, padded
from npkd.validate.recording.jax.program import Recorder, Rule
from npkd.validate.recording.jax.trace import Step, evaluated

Index = list[np.ndarray]


def moved(index: Callable[[Recorder, Step, Index], Any], first: int = 0, last: int = 99) -> Rule:
    """The rule of what moves entries of its inputs from `first` to `last`, not included."""

    def rule(recorder: Recorder, step: Step) -> bool:
        names, uses = step.inputs[first:last], recorder.uses[first:last]
        starts = np.cumsum([0] + [math.prod(recorder.shape(name)) for name in names])
        numbers = [
            numbered(recorder.shape(name), start)
            for name, start in zip(names, starts.tolist(), strict=False)
        ]
        found = index(recorder, step, numbers)
        if found is None:
            return False
        several = len(step.outputs) > 1
        inputs = {f"x{i}": name for i, name in enumerate(names, 1)}
        parts: dict[str, list[str]] = {use: [] for use in uses if use}
        for y, of_y in zip(step.outputs, found if several else [found], strict=True):
            of_y = np.broadcast_to(of_y, recorder.shape(y)).astype(np.int32)
            options = Layout(of_y, math.nan).options
            name = y if several else step.name
            recorder.add(name, "move", inputs, {"y": y}, options)
            gradients = {}
            for i, use in enumerate(uses, 1):
                if use:
                    gradients[f"dx{i}"] = part = f"{use} from {y}" if several else use
                    parts[use].append(part)
            if gradients:
                backward = {**inputs, "dy": recorder.gradients.total[y]}
                name += " backward"
                recorder.add(name, "move_backward", backward, gradients, options, backward=True)
        if several:
            for use, terms in parts.items():
                recorder.sum(terms, use)
        return True

    return rule


def reshaped(recorder: Recorder, step: Step, x: Index) -> np.ndarray | None:
    if step.params.get("dimensions") is not None:
        return None
    return x[0].reshape(recorder.shape(step.outputs[0]))


def squeezed(recorder: Recorder, step: Step, x: Index) -> np.ndarray:
    return x[0].reshape(recorder.shape(step.outputs[0]))


def spread(recorder: Recorder, step: Step, x: Index) -> np.ndarray:
    sizes = [1] * len(step.params["shape"])
    for axis, size in zip(step.params["broadcast_dimensions"], x[0].shape, strict=True):
        sizes[axis] = size
    return x[0].reshape(sizes)


def sliced(recorder: Recorder, step: Step, x: Index) -> np.ndarray:
    params = step.params
    strides = params["strides"] or (1,) * x[0].ndim
    parts = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return x[0][tuple(slice(*part) for part in parts)]


def split(recorder: Recorder, step: Step, x: Index) -> list[np.ndarray]:
    ends = np.cumsum(step.params["sizes"])[:-1]
    return np.split(x[0], ends, step.params["axis"])


def selected(recorder: Recorder, step: Step, cases: Index) -> np.ndarray:
    which = recorder.value(step.inputs[0]).astype(np.int32)
    return np.choose(np.broadcast_to(which, cases[0].shape), cases)


def gathered(recorder: Recorder, step: Step, x: Index) -> np.ndarray:
    """Where JAX's gather finds numbers that are their own places; −1 where it finds none."""
    others = [recorder.value(name) for name in step.inputs[1:]]
    changed = {"fill_value": -1} if "fill_value" in step.params else {}
    return np.asarray(evaluated(step.equation, [jnp.asarray(x[0]), *others], **changed)[0])


MOVES: dict[str, Rule] = {
    "reshape": moved(reshaped),
    "squeeze": moved(squeezed),
    "transpose": moved(lambda _, step, x: x[0].transpose(step.params["permutation"])),
    "broadcast_in_dim": moved(spread),
    "rev": moved(lambda _, step, x: np.flip(x[0], step.params["dimensions"])),
    "slice": moved(sliced),
    "pad": moved(lambda _, step, x: padded(x[0], step.params["padding_config"], int(x[1]))),
    "concatenate": moved(lambda _, step, x: np.concatenate(x, step.params["dimension"])),
    "stack": moved(lambda _, step, x: np.stack(x, step.params["axis"])),
    "tile": moved(lambda _, step, x: np.tile(x[0], step.params["reps"])),
    "split": moved(split),
    "select_n": moved(selected, first=1),
    "gather": moved(gathered, last=1),
    "dynamic_slice": moved(gathered, last=1),
}

DECIDED_BY_DATA = ("select_n", "gather", "dynamic_slice")  # which numbers they move
