"""The update of a training step by torch.optim.SGD, as operations on parameters and gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from npkd.validate.program import Operation, update_of
from npkd.validate.recording.torch.tensors import array

Arrays = dict[str, np.ndarray]


class Update:
    """The update of a step: what the optimiser had when it was called, and what it made of it.

    Gradients are those that lie in the parameters when the optimiser is called; velocities and
    gradients from before the step are kept too.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None, parameters: Mapping[str, Tensor]):
        self.optimizer, self.parameters = optimizer, dict(parameters)
        self.calls = 0
        self.gradients: Arrays = {}
        self.options: dict[str, dict[str, Any]] = {}
        self.velocities = self._velocities()
        self.before = self._gradients()
        self._handle: Any = None

    def __enter__(self) -> "Update":
        if self.optimizer is not None:
            self._handle = self.optimizer.register_step_pre_hook(self._before_update)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._handle is not None:
            self._handle.remove()
        if not self.calls:
            self.gradients = self._gradients()

    def _before_update(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.calls += 1
        self.gradients = self._gradients()
        names = {id(p): name for name, p in self.parameters.items()}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in names:
                    self.options[names[id(p)]] = {k: v for k, v in group.items() if k != "params"}

    def _gradients(self) -> Arrays:
        named = self.parameters.items()
        return {name: array(p.grad) for name, p in named if p.grad is not None}

    def _velocities(self) -> Arrays:
        if self.optimizer is None:
            return {}
        states = {name: self.optimizer.state.get(p, {}) for name, p in self.parameters.items()}
        found = {name: state.get("momentum_buffer") for name, state in states.items()}
        return {name: array(velocity) for name, velocity in found.items() if velocity is not None}

    @property
    def why_not(self) -> str:
        """Why the update is not judged, or nothing."""
        if self.optimizer is None:
            return "no optimizer was given"
        if type(self.optimizer) is not torch.optim.SGD:
            return f"by {type(self.optimizer).__name__}; only torch.optim.SGD is judged"
        if self.calls != 1:
            return f"the optimizer made {self.calls} steps, expected one"
        for option in ("dampening", "nesterov", "maximize"):
            if any(options.get(option) for options in self.options.values()):
                return f"SGD with {option}, which npkd has not"
        return ""

    def program(
        self, name_of_gradient: Mapping[str, str]
    ) -> tuple[list[Operation], Arrays, Arrays]:
        """The operations of the update, what they take, and what was found."""
        operations: list[Operation] = []
        given: Arrays = {}
        found: Arrays = {}
        if self.why_not:
            return [not_judged("update", self.why_not)], given, found
        velocities = self._velocities()
        for name, options in self.options.items():
            if name not in self.gradients or name not in name_of_gradient:
                continue
            updated, before, after = f"{name}, updated", None, None
            found[updated] = array(self.parameters[name])
            if options["momentum"] and name in self.velocities:
                before = f"{name}.velocity"
                given[before] = self.velocities[name]
            if options["momentum"]:
                after = f"{name}.velocity, updated"
                found[after] = velocities[name]
            own = {key: float(options[key]) for key in ("lr", "momentum", "weight_decay")}
            of, g = f"{name}, update", name_of_gradient[name]
            operations.append(update_of(of, name, g, updated, own, before, after))
        return operations, given, found


def not_judged(name: str, why: str) -> Operation:
    """Something of a step that is not judged, for the report."""
    return Operation(name, "unknown", {}, {}, {"function": why})
