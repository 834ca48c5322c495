"""npkd's cases, run in JAX."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from npkd.validate.frameworks.jax_functions import FUNCTIONS
from npkd.validate.frameworks.jax_losses import LOSSES, standardize
from npkd.validate.program import Case, Operation
from npkd.validate.recording.jax.run import tap
from npkd.validate.recording.jax.trace import Value

KNOWN: dict[str, Callable[..., Any]] = FUNCTIONS | LOSSES | {"standardize": standardize}


def results(case: Case, *, dtype: str = "float32") -> dict[str, np.ndarray]:
    """What JAX computes for a case, tensor by tensor, as a user of JAX would have it compute.

    What lies between two updates of parameters is one function, differentiated by `jax.vjp` and
    compiled as one, that gives every tensor; an update is another.

    Raises ValueError for an operation that is not known here.
    """
    for operation in case.operations:
        if operation.op.removesuffix("_backward") not in KNOWN:
            raise ValueError(f"in_jax: {operation.name} is a {operation.op}, which is unknown")
    with _precise(dtype):
        values: dict[str, Value] = {}
        for name, array in case.inputs.items():
            array = np.asarray(array)
            values[name] = array.astype(dtype) if array.dtype.kind == "f" else array
        for operations in _passes(case.operations):
            run = _updates if operations[0].op == "sgd" else _differentiated
            values |= run(operations, values)
        return {name: np.asarray(values[name]) for name in case.tensors()}


def _precise(dtype: str) -> Any:
    """What JAX wants to be told before it computes in float64."""
    where: Any = jax if hasattr(jax, "enable_x64") else jax.experimental
    return where.enable_x64(True) if dtype == "float64" else nullcontext()


def _passes(operations: Sequence[Operation]) -> list[list[Operation]]:
    """The operations between updates, and the updates."""
    passes: list[list[Operation]] = []
    for operation in operations:
        if not passes or (passes[-1][-1].op == "sgd") != (operation.op == "sgd"):
            passes.append([])
        passes[-1].append(operation)
    return passes


def _inputs(operation: Operation, known: Mapping[str, Value]) -> dict[str, Value]:
    return {name: known[tensor] for name, tensor in operation.inputs.items()}


def _updates(operations: Sequence[Operation], values: Mapping[str, Value]) -> dict[str, Value]:
    """The updated parameters, and velocities."""

    @jax.jit
    def run(values: Mapping[str, Value]) -> dict[str, Value]:
        made: dict[str, Value] = {}
        for operation in operations:
            inputs = _inputs(operation, {**values, **made})
            outputs = KNOWN["sgd"](**inputs, **operation.options)
            made |= {tensor: outputs[name] for name, tensor in operation.outputs.items()}
        return made

    return run(values)


class Pass:
    """The operations of one forward and backward pass, sorted by what they are in JAX.

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
                gradients |= self._of_loss(operation)
        sums = {o.outputs["y"]: o for o in self.late if o.op == "sum"}
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
        index = len(self.forward) - 1
        gradients = set()
        for name, tensor in loss.outputs.items():
            if name.startswith("gradient"):
                first = next(iter(inspect.signature(LOSSES[loss.op]).parameters))
                argument = name.removeprefix("gradient").removeprefix("_") or first
                self.wanted[index, argument] = tensor
                self.seeds[loss.outputs["value"]] = [None]
                gradients.add(tensor)
        return gradients


def _differentiated(
    operations: Sequence[Operation], values: Mapping[str, Value]
) -> dict[str, Value]:
    """All tensors of one forward and backward pass."""
    one = Pass(operations)

    def forward(
        values: Mapping[str, Value], probes: Mapping[str, Value]
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """The results that gradients start from; and all, for a gradient what it is by."""
        made: dict[str, Value] = {}

        def tapped(x: Value, gradient: str | None) -> Value:
            if gradient is None:
                return tap(x, jnp.zeros_like(x))
            made[gradient] = x
            return tap(x, probes.get(gradient, jnp.zeros_like(x)))

        for index, operation in enumerate(one.forward):
            inputs = _inputs(operation, {**values, **made})
            for name, x in inputs.items():
                gradient = one.wanted.get((index, name))
                inputs[name] = tapped(x, gradient) if gradient else jax.lax.stop_gradient(x)
            y = KNOWN[operation.op](**inputs, **operation.options)
            tensor = next(iter(operation.outputs.values()))
            is_float = jnp.issubdtype(y.dtype, jnp.floating)
            made[tensor] = tapped(y, one.totals.get(tensor)) if is_float else y
        return {tensor: made[tensor] for tensor in one.seeds}, made

    @jax.jit
    def run(values: Mapping[str, Value], probes: Mapping[str, Value]) -> dict[str, Value]:
        results, pullback, made = jax.vjp(partial(forward, values), probes, has_aux=True)
        upstream = {}
        for tensor, result in results.items():
            upstream[tensor] = jnp.zeros_like(result)
            for seed in one.seeds[tensor]:
                upstream[tensor] += jnp.ones_like(result) if seed is None else values[seed]
        (gradients,) = pullback(upstream)
        made |= gradients
        for operation in one.late:
            inputs = _inputs(operation, {**values, **made})
            made[operation.outputs["y"]] = KNOWN[operation.op](**inputs, **operation.options)
        return made

    _, kinds = jax.eval_shape(forward, values, {})
    gradients = [*one.wanted.values(), *one.totals.values()]
    return run(values, {name: np.zeros(kinds[name].shape, kinds[name].dtype) for name in gradients})
