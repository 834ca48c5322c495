"""The steps of a trace, and what was found of them, as operations."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.validate.program import Operation, sum_of
from npkd.validate.recording.jax.layout import Layout
from npkd.validate.recording.jax.run import Run
from npkd.validate.recording.jax.trace import Step, Value

Rule = Callable[["Recorder", Step], bool]  # makes a step's operations, and says whether it could
Names = Mapping[str, str]
Options = Mapping[str, Any]


class Recorder:
    """Turns steps into operations, each by the rule of its primitive.

    inputs      arrays by tensor: those given, and numbers that operations have in themselves
    results     what was found for the operations' results
    operations  all of them, of which `forward` are those of the forward pass
    """

    def __init__(
        self,
        run: Run,
        rules: Mapping[str, Rule],
        arguments: Mapping[str, Value],
        found: Mapping[str, np.ndarray],
    ):
        self.trace, self.gradients = run.trace, run.gradients
        trace, gradients = self.trace, self.gradients
        given = {**arguments, **trace.constants}
        self.inputs = {n: np.asarray(x) for n, x in given.items() if trace.is_number(n)}
        self.inputs |= {n: found[n] for n in [*gradients.given.values(), *gradients.zero]}
        self.results = {n: x for n, x in found.items() if n not in self.inputs}
        self.operations: list[Operation] = []
        self.backward: list[Operation] = []  # of the step that is being recorded
        self.uses: list[str | None] = []  # the gradients of its inputs, of this use
        backward = []
        for i, step in enumerate(trace.steps):
            self.backward = []
            for name in step.outputs:
                self._sum_of_gradients(name)
            self.uses = [gradients.of_use.get((i, k)) for k in range(len(step.inputs))]
            numbers = all(map(trace.is_number, [*step.inputs, *step.outputs]))
            rule = rules.get(step.primitive)
            if not numbers or rule is None or not rule(self, step):
                self._unknown(step)
            backward.append(self.backward)
        self.forward = tuple(self.operations)
        self.backward = []
        for name in arguments:
            self._sum_of_gradients(name)
        for operations in [*reversed(backward), self.backward]:
            self.operations += operations
        used = {name for operation in self.operations for name in operation.inputs.values()}
        self.inputs = {name: array for name, array in self.inputs.items() if name in used}
        made = {name for operation in self.operations for name in operation.outputs.values()}
        self.results = {name: array for name, array in self.results.items() if name in made}

    def _sum_of_gradients(self, name: str) -> None:
        """The gradient by a tensor that is used several times, from those of its uses."""
        if name in self.gradients.parts:
            self.sum(self.gradients.parts[name], self.gradients.total[name])

    def value(self, name: str) -> np.ndarray:
        """A tensor, as it was given or found."""
        return self.inputs[name] if name in self.inputs else self.results[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self.trace.kinds[name].shape

    def upstream(self, step: Step) -> str:
        """The gradient by a step's only result."""
        return self.gradients.total[step.outputs[0]]

    def number(self, name: str, value: float, like: str) -> str:
        """A tensor for a number that an operation has in itself."""
        self.inputs[name] = np.asarray(value, self.trace.kinds[like].dtype)
        return name

    def add(
        self,
        name: str,
        op: str,
        inputs: Names,
        outputs: Names,
        options: Options | None = None,
        *,
        backward: bool = False,
    ) -> None:
        """One operation, of the forward pass unless it is said to be of the backward pass."""
        operation = Operation(name, op, dict(inputs), dict(outputs), dict(options or {}))
        (self.backward if backward else self.operations).append(operation)

    def binary(
        self, op: str, a: str, b: str, y: str, *, name: str = "", backward: bool = False
    ) -> None:
        """One operation on two tensors, named like its result unless it has another name."""
        self.add(name or y, op, {"a": a, "b": b}, {"y": y}, backward=backward)

    def sum(self, terms: list[str], total: str) -> None:
        """A gradient that is the sum of others."""
        self.backward.append(replace(sum_of(terms, total), name=f"sum: {total}"))

    def differentiated(
        self, step: Step, op: str, letters: str, options: Options | None = None
    ) -> None:
        """A step that is one operation, and its backward pass for the gradients that are wanted."""
        inputs = dict(zip(letters, step.inputs, strict=True))
        gradients = {f"d{x}": use for x, use in zip(letters, self.uses, strict=True) if use}
        self.add(step.name, op, inputs, {"y": step.outputs[0]}, options)
        if gradients:
            inputs["dy"] = self.upstream(step)
            name = f"{step.name} backward"
            self.add(name, f"{op}_backward", inputs, gradients, options, backward=True)

    def laid_out(
        self,
        step: Step,
        op: str,
        layouts: Mapping[str, Layout],
        result: Layout,
        shape: tuple[int, ...],
        options: Options | None = None,
        *,
        backward_op: str = "",
    ) -> None:
        """The same for an operation that wants its inputs in another layout.

        layouts: of its inputs, by their names in the operation. result: of the step's result, out
        of what the operation gives, which is of `shape`. backward_op: if not the op's own.
        """
        inputs, gradients, late = {}, {}, []
        for (letter, layout), name, use in zip(
            layouts.items(), step.inputs, self.uses, strict=True
        ):
            inputs[letter] = name
            if use:
                gradients[f"d{letter}"] = use
            if layout.is_in_order(self.shape(name)):
                continue
            inputs[letter] = moved = f"{step.name}: {letter}"
            self.results[moved] = layout.of(self.value(name))
            self.add(moved, "move", {"x1": name}, {"y": moved}, layout.options)
            if use:
                gradients[f"d{letter}"] = of_moved = f"gradient of {moved}"
                if np.all(layout.index >= 0):
                    self.results[of_moved] = layout.of(self.value(use))
                back = {"x1": name, "dy": of_moved}
                late.append((f"{moved} backward", back, {"dx1": use}, layout.options))
        own, own_dy = y, dy = step.outputs[0], self.upstream(step)
        moves = not result.is_in_order(shape)
        if moves:
            own, own_dy = f"{step.name}: y", f"gradient of {step.name}: y"
            to_own = result.back(shape)
            self.results[own] = to_own.of(self.value(y))
        self.add(step.name, op, inputs, {"y": own}, options)
        if moves:
            self.add(own, "move", {"x1": own}, {"y": y}, result.options)
        if not gradients:
            return
        if moves:
            self.results[own_dy] = to_own.of(self.value(dy))
            back, name = {"x1": own, "dy": dy}, f"{own} backward"
            self.add(name, "move_backward", back, {"dx1": own_dy}, result.options, backward=True)
        inputs["dy"] = own_dy
        options = options if not backward_op else {"function": f"{step.primitive} backward"}
        name = f"{step.name} backward"
        self.add(name, backward_op or f"{op}_backward", inputs, gradients, options, backward=True)
        for name, back, use_of, of_layout in late:
            self.add(name, "move_backward", back, use_of, of_layout, backward=True)

    def _unknown(self, step: Step) -> None:
        """What is not judged: its results are taken as they were recorded."""
        numbers = self.trace.is_number
        inputs = {f"x{i}": name for i, name in enumerate(step.inputs, 1) if numbers(name)}
        outputs = {f"y{i}": name for i, name in enumerate(step.outputs, 1) if numbers(name)}
        options: dict[str, Any] = {"function": step.primitive}
        if step.is_own:
            options["own"] = True
        self.add(step.name, "unknown", inputs, outputs, options)
        gradients = {f"dx{i}": use for i, use in enumerate(self.uses, 1) if use}
        if gradients:
            totals = [self.gradients.total.get(name) for name in step.outputs]
            inputs |= {f"dy{i}": name for i, name in enumerate(totals, 1) if name}
            options = {"function": f"{step.primitive} backward"}
            name = f"{step.name} backward"
            self.add(name, "unknown", inputs, gradients, options, backward=True)
