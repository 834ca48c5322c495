"""The update of a training step, by SGD or Adam, as operations on parameters and gradients."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from npkd.validate.bounds.updates import SETTINGS
from npkd.validate.program import Operation, not_judged, update_of
from npkd.validate.recording.torch.tensors import array

Arrays = dict[str, np.ndarray]
Expected = Mapping[str, float | Callable[[str], float]]
STATES = {"velocity": "momentum_buffer", "m": "exp_avg", "v": "exp_avg_sq"}  # of SGD, of Adam
JUDGED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
MOST_NAMES = 3  # of parameters of which something is said


class Update:
    """The update of a step: what the optimiser had when it was called, and what it made of it.

    Gradients are those that lie in the parameters when the optimiser is called, or that the closure
    leaves there which it is called with; states and gradients from before the step are kept too.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None, parameters: Mapping[str, Tensor]):
        self.optimizer, self.parameters = optimizer, dict(parameters)
        self.calls = 0
        self.closures = 0
        self.gradients: Arrays = {}
        self.options: dict[str, dict[str, Any]] = {}
        self.states = self._states()
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

    def _before_update(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        self.calls += 1
        self.gradients = self._gradients()
        names = {id(p): name for name, p in self.parameters.items()}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in names:
                    self.options[names[id(p)]] = {k: v for k, v in group.items() if k != "params"}
        return tuple(map(self._watched, args)), {k: self._watched(v) for k, v in kwargs.items()}

    def _watched(self, argument: Any) -> Any:
        """A closure that keeps the gradients which it leaves; anything else as it is."""
        if not callable(argument):
            return argument

        def closure() -> Any:
            loss = argument()
            self.closures += 1
            self.gradients = self._gradients()
            return loss

        return closure

    def _gradients(self) -> Arrays:
        named = self.parameters.items()
        return {name: array(p.grad) for name, p in named if p.grad is not None}

    def _states(self) -> dict[str, Arrays]:
        """The optimiser's numbers for each parameter, and of Adam how many steps it has made."""
        states: dict[str, Arrays] = {}
        for name, p in self.parameters.items():
            state = {} if self.optimizer is None else self.optimizer.state.get(p, {})
            known = {key: state.get(of) for key, of in {**STATES, "step": "step"}.items()}
            states[name] = {
                key: array(torch.as_tensor(one)) for key, one in known.items() if one is not None
            }
        return states

    @property
    def why_not(self) -> str:
        """Why the update is not judged, or nothing."""
        if self.optimizer is None:
            return "no optimizer was given"
        if type(self.optimizer) not in JUDGED:
            names = ", ".join(one.__name__ for one in JUDGED)
            return f"by {type(self.optimizer).__name__}; of torch.optim only {names} are judged"
        if self.calls != 1:
            return f"the optimizer made {self.calls} steps, expected one"
        if self.closures > 1:
            return f"the optimizer called its closure {self.closures} times, expected once"
        for option in ("dampening", "maximize", "amsgrad"):
            if any(options.get(option) for options in self.options.values()):
                return f"{type(self.optimizer).__name__} with {option}, for which there is no rule"
        return ""

    def left_out(self, reached: Mapping[str, Any]) -> list[Operation]:
        """The parameters that got no gradient, or no update; reached: those that a backward did."""
        trained = {name for name, p in self.parameters.items() if p.requires_grad}
        names = sorted(trained)
        if not trained:
            return [not_judged("student", "none of its parameters requires a gradient", asked=True)]
        if self.optimizer is None or not self.calls:
            cleared = []
        else:
            cleared = [n for n in names if n not in self.gradients and n in reached]
        unreached = [n for n in names if n not in reached]
        others = [] if not self.calls else [n for n in names if n not in self.options]
        why = {
            "no gradient reached it in the step": unreached,
            "its gradient was cleared between the backward pass and the update": cleared,
            "no update: the optimizer does not have it": others,
        }
        return [not_judged(_listed(of), text, asked=True) for text, of in why.items() if of]

    def program(
        self, name_of_gradient: Mapping[str, str]
    ) -> tuple[list[Operation], Arrays, Arrays]:
        """The operations of the update, what they take, and what was found."""
        operations: list[Operation] = []
        given: Arrays = {}
        found: Arrays = {}
        if self.why_not:
            asked = self.optimizer is not None
            return [not_judged("update", self.why_not, asked=asked)], given, found
        after = self._states()
        for name in self.options:
            if name not in self.gradients or name not in name_of_gradient:
                continue
            found[f"{name}, updated"] = array(self.parameters[name])
            given |= {f"{name}.{key}": one for key, one in self.states[name].items()}
            found |= {f"{name}.{key}, updated": one for key, one in after[name].items()}
            operations.append(self._operation(name, name_of_gradient[name], after[name]))
        return operations, given, found

    def _operation(self, name: str, g: str, after: Arrays) -> Operation:
        options, before = self.options[name], self.states[name]
        own = {key: float(options[key]) for key in ("lr", "weight_decay")}
        of, updated = f"{name}, update", f"{name}, updated"
        if isinstance(self.optimizer, torch.optim.SGD):
            own |= {key: float(options[key]) for key in ("momentum", "nesterov") if options[key]}
            own.setdefault("momentum", 0.0)
            velocity = f"{name}.velocity" if "velocity" in before else None
            return update_of(of, name, g, updated, own, velocity, f"{name}.velocity, updated")
        beta1, beta2 = map(float, options["betas"])
        own |= {"beta1": beta1, "beta2": beta2, "epsilon": float(options["eps"])}
        own |= {"step": float(after["step"])}
        if options.get("decoupled_weight_decay") or isinstance(self.optimizer, torch.optim.AdamW):
            own["decoupled"] = True
        inputs = {"theta": name, "g": g} | {k: f"{name}.{k}" for k in "mv" if k in before}
        outputs = {"theta": updated} | {k: f"{name}.{k}, updated" for k in "mv"}
        return Operation(of, "adam", inputs, outputs, own)

    def settings(self, expected: Expected | None) -> tuple[list[Operation], Arrays, Arrays]:
        """That the optimiser is set as expected: operations, what they take, and what was found."""
        operations: list[Operation] = []
        given: Arrays = {}
        found: Arrays = {}
        if expected is None or not self.options:
            return operations, given, found
        biases = tuple(self.parameters[name].ndim <= 1 for name in self.options)
        for key, wanted in expected.items():
            if key not in SETTINGS:
                continue
            right = [_wanted(wanted, name) for name in self.options]
            is_set = [_as_set(options, key) for options in self.options.values()]
            wrong = [name for name, a, b in zip(self.options, right, is_set, strict=True) if a != b]
            place = f"{key} of {_listed(wrong or list(self.options))}"
            given[f"{key}, expected"] = np.array(right, np.float64)
            found[f"{key}, set"] = np.array(is_set, np.float64)
            inputs, outputs = {"x": f"{key}, expected"}, {"y": f"{key}, set"}
            operations.append(Operation(place, f"set_{key}", inputs, outputs, {"biases": biases}))
        return operations, given, found


def check_expected(expected: Expected | None) -> None:
    """Raise ValueError unless these are settings that can be judged."""
    names = (*SETTINGS, "max_norm")
    if unknown := sorted(set(expected or ()) - set(names)):
        raise ValueError(f"torch_step: expected has {unknown[0]!r}, not one of {names}")


def _wanted(wanted: float | Callable[[str], float], name: str) -> float:
    return float(wanted(name.removeprefix("student.")) if callable(wanted) else wanted)


def _as_set(options: Mapping[str, Any], key: str) -> float:
    """What a parameter's group is set to; Adam's first β is its momentum."""
    if key == "momentum" and "betas" in options:
        return float(options["betas"][0])
    return float(options.get(key, 0.0))


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
