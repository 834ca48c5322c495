"""The program of what was recorded: calls and gradients as operations on named tensors.

Gradients are named like their tensors, with ".grad" behind, those of single uses with a number too.
A mean is a "sum_over" and a "divide". A loss is judged with its gradient where nothing is done with
its value; where something is, its backward pass is "unknown".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from npkd.validate.program import Case, Operation, sum_of
from npkd.validate.recording.torch.recorder import Call, Recorder
from npkd.validate.recording.torch.tensors import least_precise

LOSSES_READ = ("l2", "l1", "cross_entropy")


class Recording(NamedTuple):
    """What was recorded: the program, its results, the declared precision, the calls."""

    case: Case
    results: dict[str, np.ndarray]
    precision: str
    calls: list[Call]


@dataclass
class Gradients:
    """How the gradients of the tensors come about: the names of their parts, and their sums.

    outside  what reaches tensors from outside of the program: the arrays by tensor, or None where
             an operation of the program gives it
    pattern  what a gradient's name is made of, with the tensor's in it
    parts    of what a tensor's gradient is the sum, where that is several
    """

    recorder: Recorder
    outside: Mapping[str, np.ndarray | None]
    pattern: str = "{}.grad"
    parts: dict[str, list[str]] = field(default_factory=dict)
    names: dict[tuple[int, str], str] = field(default_factory=dict)  # by call and input
    given: dict[str, np.ndarray] = field(default_factory=dict)
    found: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        uses: dict[str, list[tuple[int, str]]] = {}
        for k, call in enumerate(self.recorder.calls):
            for key, tensor in call.inputs.items():
                if key in call.gradients:
                    uses.setdefault(tensor, []).append((k, key))
        for tensor in dict.fromkeys([*uses, *self.outside, *self.recorder.totals]):
            self._name(tensor, uses.get(tensor, []))

    def _name(self, tensor: str, uses: list[tuple[int, str]]) -> None:
        total, totals = self.total(tensor), self.recorder.totals
        count = len(uses) + (tensor in self.outside)
        untracked = tensor in self.recorder.untracked
        alone = count == 1 and not untracked
        parts = [total] if alone else [f"{total} ({k + 1})" for k in range(count)]
        for part, (k, key) in zip(parts, uses, strict=False):
            self.names[k, key] = part
            self.found[part] = self.recorder.calls[k].gradients[key]
        from_outside = self.outside.get(tensor)
        if from_outside is not None:
            self.given[parts[-1]] = from_outside
        if tensor in totals and (not count or untracked):
            self.given[total] = totals[tensor]
        elif tensor in totals and total not in self.given:
            self.found[total] = totals[tensor]
        self.parts[tensor] = parts if count > 1 and not untracked else []

    def total(self, tensor: str) -> str:
        """The name of a tensor's gradient."""
        return self.pattern.format(tensor)

    def from_outside(self, tensor: str) -> str:
        """The name of what reaches a tensor from outside."""
        return self.parts[tensor][-1] if self.parts[tensor] else self.total(tensor)

    def exists(self, tensor: str) -> bool:
        """Whether a tensor has a gradient in the program."""
        total = self.total(tensor)
        return total in self.given or total in self.found or bool(self.parts.get(tensor))

    def sum(self, tensor: str) -> list[Operation]:
        """The operation that adds up the parts of a tensor's gradient, if there are several."""
        if not self.parts.get(tensor) or tensor not in self.recorder.totals:
            return []
        return [sum_of(self.parts[tensor], self.total(tensor))]

    def gives_gradient(self, call: Call) -> bool:
        """Whether this is a loss whose gradient is its own: nothing is done with its value."""
        if call.op not in LOSSES_READ or next(iter(call.inputs)) not in call.gradients:
            return False
        upstream = self.recorder.totals.get(call.outputs["y"])
        return upstream is not None and bool(np.all(upstream == 1))


def forward(calls: Sequence[Call], gradients: Gradients) -> list[Operation]:
    """What was called, in order."""
    operations = []
    for k, call in enumerate(calls):
        if call.op == "mean":
            sums, divided = _mean(call, gradients)
            operations += [
                Operation(sums, "sum_over", call.inputs, {"y": sums}, call.options),
                Operation(call.name, "divide", divided, call.outputs),
            ]
            continue
        outputs = {"value": call.outputs["y"]} if call.op in LOSSES_READ else call.outputs
        if gradients.gives_gradient(call):
            outputs = {**outputs, "gradient": gradients.names[k, next(iter(call.inputs))]}
        inputs = call.inputs | call.rounded
        operations.append(Operation(call.name, call.op, inputs, outputs, call.options))
    return operations


def _mean(call: Call, gradients: Gradients) -> tuple[str, dict[str, str]]:
    """The sum of a mean, which is not recorded, and what its division by the count takes."""
    sums, count = f"{call.name}, sum", f"{call.name}, count"
    known = gradients.recorder.given | gradients.recorder.found
    entries, means = known[call.inputs["x"]].size, known[call.outputs["y"]].size
    gradients.given[count] = np.asarray(entries / max(1, means), np.float32)
    return sums, {"a": sums, "b": count}


def backward(calls: Sequence[Call], gradients: Gradients) -> list[Operation]:
    """The backward passes, from the last call to the first, and the sums of gradients."""
    operations: list[Operation] = []
    done: set[str] = set()
    for k, call in reversed(list(enumerate(calls))):
        upstream = {}
        for key, tensor in call.outputs.items():
            if gradients.exists(tensor):
                operations += gradients.sum(tensor)
                upstream["d" + key] = gradients.total(tensor)
            done.add(tensor)
        names = {key: gradients.names.get((k, key)) for key in call.inputs}
        made = {"d" + key: name for key, name in names.items() if name is not None}
        if gradients.gives_gradient(call):
            del made["d" + next(iter(call.inputs))]
        if made:
            operations += _backward_pass(call, gradients, upstream, made)
    for tensor in gradients.parts:
        if tensor not in done:
            operations += gradients.sum(tensor)
    return operations


def _backward_pass(
    call: Call, gradients: Gradients, upstream: dict[str, str], made: dict[str, str]
) -> list[Operation]:
    """One call's; upstream: the gradients of its results, made: those of its arguments."""
    name = f"{call.name}.backward"
    if call.op == "sum" and upstream:
        dy = {"x": upstream["dy"]}
        return [Operation(f"{name}, {key}", "copy", dy, {"y": made[key]}) for key in made]
    if call.op == "mean" and upstream:
        sums, divided = _mean(call, gradients)
        part = {"da": gradients.total(sums)}
        of_sum = {"x": call.inputs["x"], "dy": part["da"]}
        return [
            Operation(name, "divide_backward", divided | upstream, part),
            Operation(f"{name}, sum", "sum_over_backward", of_sum, made, call.options),
        ]
    inputs = call.inputs | call.rounded | upstream
    if call.op in ("unknown", *LOSSES_READ):
        function = call.options.get("function", call.op)
        return [Operation(name, "unknown", inputs, made, {"function": f"{function}, backward"})]
    return [Operation(name, f"{call.op}_backward", inputs, made, call.options)]


def recording(
    recorder: Recorder,
    gradients: Gradients,
    operations: Sequence[Operation],
    name: str,
    about: str,
    given: Mapping[str, np.ndarray] | None = None,
    found: Mapping[str, np.ndarray] | None = None,
) -> Recording:
    """The case: what its operations take and make, out of all that was recorded, and `given`."""
    made = {tensor for operation in operations for tensor in operation.outputs.values()}
    taken = {tensor for operation in operations for tensor in operation.inputs.values()} - made
    inputs = {**recorder.given, **gradients.given}
    inputs = {key: array for key, array in inputs.items() if key in taken} | dict(given or {})
    results = {**recorder.found, **gradients.found, **(found or {})}
    results = {key: array for key, array in results.items() if key in made}
    case = Case(name, name, about, inputs, tuple(operations), needed=frozenset(results))
    return Recording(case, results, least_precise(recorder.precisions), recorder.calls)
