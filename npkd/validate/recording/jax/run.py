"""All values and gradients of a trace, computed in one compiled function.

For the gradients each value passes a `tap`, which gives back the value and passes the gradient on
both to the value and to a probe, an array of zeros: the gradient by the probe is that by the value.
A value that is used several times has a tap at each use, so that the gradient of every single use
is recorded, and their sum. A tap is also a barrier: what is on its two sides is not fused.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from npkd.validate.recording.jax.trace import Trace, Value, evaluated

_barrier: Any = getattr(jax.lax, "optimization_barrier", None)
if _barrier is None:  # before JAX 0.4.36
    _barrier = vars(importlib.import_module("jax._src.ad_checkpoint"))["_optimization_barrier"]


@jax.custom_vjp
def tap(value: Value, probe: Value) -> Value:
    """The value, kept apart from what comes before and behind; its gradient is also the probe's."""
    return _barrier(value)


def _tap_forward(value: Value, probe: Value) -> tuple[Value, None]:
    return _barrier(value), None


def _tap_backward(_: None, gradient: Value) -> tuple[Value, Value]:
    gradient = _barrier(gradient)
    return gradient, gradient


tap.defvjp(_tap_forward, _tap_backward)


class Gradients:
    """Which gradients there are, and their names.

    total    by tensor: the gradient by it
    of_use   by step and position of an input: the gradient of that use alone
    parts    by tensor: the gradients that its total is the sum of, if there are several
    given    by the position of an output: the upstream gradient
    zero     the totals that are 0, as no output depends on their tensor
    """

    def __init__(self, trace: Trace):
        self.total: dict[str, str] = {}
        self.of_use: dict[tuple[int, int], str] = {}
        self.parts: dict[str, list[str]] = {}
        self.given = {
            i: "upstream gradient" + (f" {i + 1}" if len(trace.outputs) > 1 else "")
            for i, name in enumerate(trace.outputs)
            if trace.is_float(name) and name not in trace.constants
        }
        uses: dict[str, list[tuple[int, int]]] = {}
        for i, step in enumerate(trace.steps):
            if step.primitive == "stop_gradient" or not any(map(trace.is_float, step.outputs)):
                continue
            for k, name in enumerate(step.inputs):
                if trace.is_float(name) and name not in trace.constants:
                    uses.setdefault(name, []).append((i, k))
        made = [name for step in trace.steps for name in step.outputs]
        self.zero: set[str] = set()
        for name in filter(trace.is_float, [*trace.arguments, *made]):
            upstream = [self.given[i] for i in self.given if trace.outputs[i] == name]
            of_uses = self._names(trace, name, uses.get(name, []))
            parts = upstream + list(of_uses.values())
            self.total[name] = parts[0] if len(parts) == 1 else f"gradient of {name}"
            if len(parts) > 1:
                self.parts[name] = parts
            if not parts:
                self.zero.add(self.total[name])
            self.of_use |= of_uses

    def _names(
        self, trace: Trace, name: str, uses: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], str]:
        if len(uses) == 1 and name not in trace.outputs:
            return {uses[0]: f"gradient of {name}"}
        names = {}
        for i, k in uses:
            step = trace.steps[i]
            again = f" (input {k + 1})" if step.inputs.count(name) > 1 else ""
            names[i, k] = f"gradient of {name} in {step.name}{again}"
        return names


class Run:
    """A trace as a compiled function that gives every value and gradient by name."""

    def __init__(self, trace: Trace):
        self.trace, self.gradients = trace, Gradients(trace)
        tensors = {total: name for name, total in self.gradients.total.items()}
        for (i, k), gradient in self.gradients.of_use.items():
            tensors.setdefault(gradient, trace.steps[i].inputs[k])
        for i, gradient in self.gradients.given.items():
            tensors.setdefault(gradient, trace.outputs[i])
        self._probes = {gradient: self._zeros(name) for gradient, name in tensors.items()}
        self._compiled = jax.jit(self._values_and_gradients)

    def __call__(
        self, arguments: Mapping[str, Value], upstream: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """All that is computed from these arguments and upstream gradients, and the latter."""
        found = self._compiled(arguments, self._probes, upstream)
        return {name: np.asarray(array) for name, array in found.items()} | dict(upstream)

    def zeros(self) -> dict[str, np.ndarray]:
        """Zeros in the place of all that would be computed, and of the upstream gradients."""
        made = [name for step in self.trace.steps for name in step.outputs]
        return {n: self._zeros(n) for n in made if self.trace.is_number(n)} | self._probes

    def _zeros(self, name: str) -> np.ndarray:
        return np.zeros(self.trace.kinds[name].shape, self.trace.kinds[name].dtype)

    def _values_and_gradients(
        self,
        arguments: Mapping[str, Value],
        probes: Mapping[str, Value],
        upstream: Mapping[str, Value],
    ) -> dict[str, Value]:
        _, pullback, values = jax.vjp(
            lambda probes: self._forward(arguments, probes), probes, has_aux=True
        )
        (gradients,) = pullback([upstream[name] for name in self.gradients.given.values()])
        return {**values, **gradients}

    def _forward(
        self, arguments: Mapping[str, Value], probes: Mapping[str, Value]
    ) -> tuple[list[Value], dict[str, Value]]:
        """The outputs that have gradients, and all values."""
        trace, total, of_use = self.trace, self.gradients.total, self.gradients.of_use

        def tapped(name: str, value: Value) -> Value:
            return tap(value, probes[total[name]]) if name in total else value

        known = dict(trace.constants)
        known |= {name: tapped(name, value) for name, value in arguments.items()}
        made: dict[str, Value] = {}
        for i, step in enumerate(trace.steps):
            inputs = []
            for k, name in enumerate(step.inputs):
                use = of_use.get((i, k))
                if use is None or use == total[name]:
                    inputs.append(known[name])
                else:
                    inputs.append(tap(known[name], probes[use]))
            results = zip(step.outputs, evaluated(step.equation, inputs), strict=True)
            made |= {name: tapped(name, value) for name, value in results}
            known |= made
        numbers = {name: value for name, value in made.items() if trace.is_number(name)}
        return [known[trace.outputs[i]] for i in self.gradients.given], numbers
