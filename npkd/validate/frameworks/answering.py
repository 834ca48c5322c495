"""A case of npkd's, answered by any framework: tensor by tensor, as its users would have it.

Of a `PassAdapter`, what lies between two updates of parameters is one function, differentiated at
once, and updates are made together. Any other adapter is asked operation by operation (`answer`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npkd.losses.facts import FACTS
from npkd.validate.bounds.formulas.known import NAMES
from npkd.validate.by_npkd import resolved
from npkd.validate.frameworks.adapter import Adapter, Array, Values
from npkd.validate.frameworks.answer import answered
from npkd.validate.program import UPDATES, Case, Operation
from npkd.validate.questions.described import described

Tap = Callable[[str | None, Array], Array]
Forward = Callable[[Values, Tap], tuple[dict[str, Array], dict[str, Array]]]
Left = list[tuple[Operation, Exception]]  # operations that were left out, and why


class PassAdapter(Adapter):
    """A framework that is asked whole forward and backward passes."""

    def differentiated(
        self,
        forward: Forward,
        values: Values,
        upstream: Callable[[Values, Values], Values],
    ) -> dict[str, Array]:
        """All that `forward` makes of the values, and the gradient at each of its taps, by name.

        forward(values, tap) gives the results that gradients start from, and all that it made.
        tap(name, x) gives a new array equal to x: the gradient under that name is the one through
        this array alone, not the sum over all uses of x; of the name None none is asked for.
        upstream(values, results) are the gradients to start from, by the results' names.
        """
        raise NotImplementedError

    def updated(
        self, op: str, updates: Sequence[tuple[Values, Mapping[str, Any]]]
    ) -> list[dict[str, Array]]:
        """What "sgd" or "adam" makes of each of these inputs and options, all at once."""
        return [getattr(self, op)(**inputs, **options) for inputs, options in updates]


def answers(adapter: Adapter, case: Case) -> tuple[dict[str, np.ndarray], Left]:
    """What a framework computes for a case, by tensor; and what it leaves out.

    A whole pass raises NotGiven for an operation that the framework does not have, and whatever
    the framework raises.
    """
    if isinstance(adapter, PassAdapter):
        return _in_passes(adapter, case), []
    found, left = answered(adapter, case.inputs, map(described, case.operations))
    return found, [(case.operations[number], why) for number, why in left.items()]


def _in_passes(adapter: PassAdapter, case: Case) -> dict[str, np.ndarray]:
    """All tensors of a case."""
    with adapter.settings():
        values = {name: adapter.given(array) for name, array in case.inputs.items()}
        found: dict[str, np.ndarray] = {}
        for operations in _passes(case.operations):
            run = _updated if operations[0].op in UPDATES else _differentiated
            made = run(adapter, operations, values)
            values.update(made)
            found |= {
                tensor: adapter.found(made[tensor])
                for operation in operations
                for tensor in operation.outputs.values()
            }
        return found


def _passes(operations: Sequence[Operation]) -> list[list[Operation]]:
    """The operations between updates, and the updates."""
    passes: list[list[Operation]] = []
    updated: set[str] = set()
    for operation in operations:
        is_update = operation.op in UPDATES
        if (
            not passes
            or _update_by(passes[-1][-1]) != _update_by(operation)
            or (is_update and operation.inputs["theta"] in updated)
        ):
            passes.append([])
            updated.clear()
        passes[-1].append(operation)
        updated |= set(operation.outputs.values()) if is_update else set()
    return passes


def _update_by(operation: Operation) -> str:
    return operation.op if operation.op in UPDATES else ""


def _inputs(operation: Operation, known: Values) -> dict[str, Array]:
    return {name: known[tensor] for name, tensor in operation.inputs.items()}


def _updated(
    adapter: PassAdapter, operations: Sequence[Operation], values: Values
) -> dict[str, Array]:
    """The updated parameters, and what is remembered of them."""
    updates = [(_inputs(one, values), one.options) for one in operations]
    made = adapter.updated(operations[0].op, updates)
    return {
        tensor: outputs[name]
        for operation, outputs in zip(operations, made, strict=True)
        for name, tensor in operation.outputs.items()
    }


class Pass:
    """The operations of one forward and backward pass, sorted for automatic differentiation.

    forward   functions to differentiate, losses among them
    wanted    the gradients of their uses: by operation and input, the tensor
    seeds     by result of a forward operation: the tensors whose sum is its upstream gradient, but
              for what comes from other forward operations; None stands for 1, of a loss
    totals    by result of a forward operation: the tensor that is the whole gradient by it
    late      what is done with gradients afterwards
    """

    def __init__(self, operations: Sequence[Operation]):
        self.forward: list[Operation] = []
        self.wanted: dict[tuple[int, str], str] = {}
        self.seeds: dict[str, list[str | None]] = {}
        self.totals: dict[str, str] = {}
        self.late: list[Operation] = []
        backward: list[tuple[int, Operation]] = []
        gradients: set[str] = set()
        for operation in operations:
            if operation.op.endswith("_backward"):
                index = self._of_backward(operation)
                backward.append((index, operation))
                for name, tensor in operation.outputs.items():
                    letter = "logits" if operation.op == "standardize_backward" else name[1:]
                    self.wanted[index, letter] = tensor
                gradients |= set(operation.outputs.values())
            elif gradients & set(operation.inputs.values()):
                self.late.append(operation)
                gradients |= set(operation.outputs.values())
            else:
                self.forward.append(operation)
                if operation.op in NAMES:
                    gradients |= self._of_loss(operation)
        sums = {one.outputs["y"]: one for one in self.late if one.op == "sum"}
        for index, operation in backward:
            y, dy = self.forward[index].outputs["y"], operation.inputs["dy"]
            terms = [dy]
            if dy in sums:
                self.late.remove(sums[dy])
                self.totals[y] = dy
                terms = list(sums[dy].inputs.values())
            self.seeds[y] = [term for term in terms if term not in gradients]

    def _of_backward(self, backward: Operation) -> int:
        """The forward operation that a backward pass is of; it is added if there is none."""
        op = backward.op.removesuffix("_backward")
        inputs = {name: tensor for name, tensor in backward.inputs.items() if name != "dy"}
        taken = {index for index, _ in self.wanted}
        for index, one in enumerate(self.forward):
            same = (one.op, one.inputs, one.options) == (op, inputs, backward.options)
            if same and index not in taken:
                return index
        y = {"y": f"y of {backward.name}"}
        self.forward.append(Operation(backward.name, op, inputs, y, backward.options))
        return len(self.forward) - 1

    def _of_loss(self, loss: Operation) -> set[str]:
        """The gradients that a loss gives with its value."""
        by = FACTS[loss.op].gradients(loss.inputs)
        asked = {name: tensor for name, tensor in loss.outputs.items() if name in by}
        for name, tensor in asked.items():
            self.wanted[len(self.forward) - 1, by[name]] = tensor
            self.seeds[loss.outputs["value"]] = [None]
        return set(asked.values())


def _differentiated(
    adapter: PassAdapter, operations: Sequence[Operation], values: Values
) -> dict[str, Array]:
    """All tensors of one forward and backward pass."""
    one = Pass(operations)

    def forward(values: Values, tap: Tap) -> tuple[dict[str, Array], dict[str, Array]]:
        """The results that gradients start from, and all."""
        made: dict[str, Array] = {}
        for index, operation in enumerate(one.forward):
            inputs = _inputs(operation, {**values, **made})
            for name, x in inputs.items():
                gradient = one.wanted.get((index, name))
                inputs[name] = tap(gradient, x) if gradient else adapter.words.stop_gradient(x)
            y = adapter.computed(operation.op, inputs, resolved(operation.op, operation.options))
            tensor = next(iter(operation.outputs.values()))
            made[tensor] = tap(one.totals.get(tensor), y)
        return {tensor: made[tensor] for tensor in one.seeds}, made

    def upstream(values: Values, results: Values) -> Values:
        words, gradients = adapter.words, {}
        for tensor, result in results.items():
            ones, zeros = (words.array(of(result.shape)) for of in (np.ones, np.zeros))
            terms = [ones if seed is None else values[seed] for seed in one.seeds[tensor]]
            gradients[tensor] = words.added(terms) if terms else zeros
        return gradients

    made = adapter.differentiated(forward, values, upstream)
    for operation in one.late:
        inputs = _inputs(operation, {**values, **made})
        options = resolved(operation.op, operation.options)
        made[operation.outputs["y"]] = adapter.computed(operation.op, inputs, options)
    return made
