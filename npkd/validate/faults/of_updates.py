"""Known faults of updates."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.validate.bounds.rounding import Arithmetic, Rounded, exact
from npkd.validate.bounds.rules import Inputs, Options, added, scaled
from npkd.validate.bounds.rules import Rule as RightRule
from npkd.validate.faults.fault import Context, Fault, Results, Rule, options
from npkd.validate.program import UPDATES, Operation


def _rate_inside(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """v ← μ v + lr (g + λ θ), θ ← θ − v."""
    step = x["g"]
    if given.get("weight_decay"):
        step = added(a, step, scaled(a, given["weight_decay"], x["theta"]))
    step = gradient = scaled(a, given["lr"], step)
    if given.get("momentum") and "velocity" in x:
        step = added(a, scaled(a, given["momentum"], x["velocity"]), step)
    velocity = {"velocity": step} if given.get("momentum") else {}
    if given.get("nesterov"):
        step = added(a, gradient, scaled(a, given["momentum"], step))
    return {"theta": added(a, x["theta"], scaled(a, -1.0, step))} | velocity


def _dampened(at_first: bool) -> Rule:
    """v ← μ v + (1 − μ) (g + λ θ); at the first step too, or v ← g + λ θ there."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        step, momentum = x["g"], given.get("momentum", 0.0)
        if given.get("weight_decay"):
            step = added(a, step, scaled(a, given["weight_decay"], x["theta"]))
        if momentum and ("velocity" in x or at_first):
            step = scaled(a, 1 - momentum, step)
        if momentum and "velocity" in x:
            step = added(a, scaled(a, momentum, x["velocity"]), step)
        velocity = {"velocity": step} if momentum else {}
        return {"theta": added(a, x["theta"], scaled(a, -given["lr"], step))} | velocity

    return rule


def _nesterov(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """θ ← θ − lr (g + λ θ + μ v), v the new velocity."""
    results = right(a, x, given)
    if not given.get("momentum"):
        return results
    step = x["g"]
    if given.get("weight_decay"):
        step = added(a, step, scaled(a, given["weight_decay"], x["theta"]))
    step = added(a, step, scaled(a, given["momentum"], results["velocity"]))
    return {**results, "theta": added(a, x["theta"], scaled(a, -given["lr"], step))}


def _decoupled(by_rate: bool) -> Rule:
    """The decay past gradient and velocity: θ ← θ − lr λ θ − lr v, or without that lr."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, x, {**given, "weight_decay": 0.0})
        decay = given.get("weight_decay", 0.0) * (given["lr"] if by_rate else 1.0)
        decayed = added(a, results["theta"], scaled(a, -decay, x["theta"]))
        # or (1 − λ) θ − lr v, as AdamW goes: 1 − λ and the product are rounded
        error = decayed.error + a.gamma(2) * x["theta"].most
        return {**results, "theta": replace(decayed, error=error)}

    return rule


def _biases_not_decayed(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    is_bias = x["theta"].value.ndim <= 1
    return right(a, x, {**given, "weight_decay": 0.0} if is_bias else given)


def _next_rate(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """The rate of the step after this one."""
    theta = at.operation.outputs["theta"]
    later = next((one for one in at.alike() if one.inputs["theta"] == theta), None)
    rate = given.get("next_lr", given["lr"]) if later is None else later.options["lr"]
    return right(a, x, {**given, "lr": rate})


def _previous_rate(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The rate of the step before this one."""
    return right(a, x, {**given, "lr": _before(at, at.operation).options["lr"]})


def _first_rate(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    one = at.operation
    while (before := _before(at, one)) is not one:
        one = before
    return right(a, x, {**given, "lr": one.options["lr"]})


def _before(at: Context, one: Operation) -> Operation:
    """The update of the same parameter in the step before; itself if it is the first."""
    theta = one.inputs["theta"]
    return next((each for each in at.alike() if each.outputs["theta"] == theta), one)


def _velocity_lost(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """v ← g + λ θ, whatever it was before."""
    return right(a, {name: one for name, one in x.items() if name != "velocity"}, given)


def _gathering(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """The gradients of parameters on top of those of the step before, which were not zeroed."""
    results = right(a, x, given)
    for name in ("dw", "db"):
        before = _step_before(at.operation.outputs.get(name, ""))
        if before in at.known:
            results[name] = added(a, at.tensor(before), results[name])
    return results


def _step_before(tensor: str) -> str:
    """The same tensor in the step before: step1/conv1.weight.grad of step2/conv1.weight.grad."""
    step, slash, rest = tensor.partition("/")
    number = step.removeprefix("step")
    return f"step{int(number) - 1}/{rest}" if slash and number.isdigit() else ""


def _of_updates(rule: Rule) -> dict[str, Rule]:
    """The rule for updates by every optimiser."""
    return dict.fromkeys(UPDATES, rule)


def _decay_times(factor: float) -> dict[str, Rule]:
    return _of_updates(
        options(lambda given: {"weight_decay": factor * given.get("weight_decay", 0.0)})
    )


def _epsilon_inside(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """θ ← θ − lr m̂ / √(v̂ + ε): with so much more in v before the step, and no ε outside."""
    results = right(a, x, given)
    if not given["beta2"]:
        return results
    more = given["epsilon"] * (1 - given["beta2"] ** given["step"]) / given["beta2"]
    v = x.get("v", Rounded(np.zeros_like(x["g"].value)))
    inside = {**x, "v": replace(v, value=v.value + more)}
    return {**results, "theta": right(a, inside, {**given, "epsilon": 0.0})["theta"]}


def _epsilon_early(given: Options) -> dict[str, Any]:
    """(√v + ε) / √(1 − β₂ᵗ) in the place of √v̂ + ε."""
    return {"epsilon": given["epsilon"] / np.sqrt(1 - given["beta2"] ** given["step"])}


def _anew(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """The first step, whatever was before."""
    return right(a, {name: x[name] for name in ("theta", "g")}, {**given, "step": 1})


def _without_rate(given: Options) -> dict[str, Any]:
    """θ (1 − λ) in the place of θ (1 − lr λ)."""
    decay = given.get("weight_decay", 0.0)
    is_otherwise = given.get("decoupled") and given["lr"]
    return {"weight_decay": decay / given["lr"] if is_otherwise else decay}


ADAM_FAULTS = [
    Fault("Adam's bias correction missing", {"adam": options(step=np.inf)}),
    Fault(
        "Adam's bias correction for a step too many",
        {"adam": options(lambda given: {"step": given["step"] + 1})},
    ),
    Fault("Adam's steps not counted: each corrected as the first", {"adam": options(step=1)}),
    Fault("Adam's ε inside of the root", {"adam": _epsilon_inside}),
    Fault(
        "Adam's ε added before the bias correction",
        {"adam": options(_epsilon_early)},
        convention="as TensorFlow and Keras have it",
    ),
    Fault(
        "Adam's β₁ and β₂ exchanged",
        {"adam": options(lambda given: {"beta1": given["beta2"], "beta2": given["beta1"]})},
    ),
    Fault("Adam made anew at each step", {"adam": _anew}),
    Fault("weight decay decoupled, as AdamW has it", {"adam": options(decoupled=True)}),
    Fault("weight decay in the gradients, as Adam has it", {"adam": options(decoupled=False)}),
    Fault("AdamW's weight decay without the rate", {"adam": options(_without_rate)}),
]


# What an optimiser is set to: expected values by parameter, and which of these are biases and the
# like, of one axis. Where a decay has one of these mistakes it has no other.
DECAYS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "weight decay missing": lambda decay, biases: 0 * decay,
    "biases not decayed": lambda decay, biases: np.where(biases, 0, decay),
    "biases decayed": lambda decay, biases: np.full_like(decay, np.max(decay)),
}


def _set_otherwise(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """To whatever it is set to, unless that has a name in `DECAYS`."""
    found = at.found[at.operation.outputs["y"]]
    if at.operation.op == "set_weight_decay":
        named = [of(x["x"].value, np.array(given["biases"])) for of in DECAYS.values()]
        if any(np.array_equal(found, one) for one in named):
            raise ValueError("the mistake has a name")
    return {"y": exact(found)}


def _decay(name: str) -> Rule:
    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        return {"y": Rounded(DECAYS[name](x["x"].value, np.array(given["biases"])))}

    return rule


SETTING_FAULTS = [
    Fault("learning rate not as expected", {"set_lr": _set_otherwise}),
    Fault("momentum not as expected", {"set_momentum": _set_otherwise}),
    Fault("Nesterov's momentum not as expected", {"set_nesterov": _set_otherwise}),
    Fault("weight decay not as expected", {"set_weight_decay": _set_otherwise}),
    Fault("biases decayed", {"set_weight_decay": _decay("biases decayed")}),
]

UPDATE_FAULTS = [
    Fault("momentum with the learning rate inside", {"sgd": _rate_inside}),
    Fault("momentum with a factor (1 − μ)", {"sgd": _dampened(at_first=True)}),
    Fault("momentum with a factor (1 − μ), but at the first step", {"sgd": _dampened(False)}),
    Fault("Nesterov's momentum", {"sgd": _nesterov}),
    Fault("Nesterov's momentum missing", {"sgd": options(nesterov=False)}),
    Fault("weight decay with a factor 2", _decay_times(2.0)),
    Fault("weight decay with a factor ½", _decay_times(0.5)),
    Fault(
        "weight decay missing",
        _decay_times(0.0) | {"set_weight_decay": _decay("weight decay missing")},
    ),
    Fault("weight decay past the velocity, times the rate", {"sgd": _decoupled(by_rate=True)}),
    Fault("weight decay past the velocity, without the rate", {"sgd": _decoupled(by_rate=False)}),
    Fault(
        "biases not decayed",
        _of_updates(_biases_not_decayed) | {"set_weight_decay": _decay("biases not decayed")},
    ),
    Fault("velocity lost from step to step, or no momentum", {"sgd": _velocity_lost}),
    *ADAM_FAULTS,
    Fault("schedule a step early", _of_updates(_next_rate)),
    Fault("schedule a step late", _of_updates(_previous_rate)),
    Fault("schedule left out", _of_updates(_first_rate)),
    Fault(
        "gradients not zeroed",
        {"conv2d_backward": _gathering, "linear_backward": _gathering},
    ),
    Fault("accumulated gradients not divided", {"sum": options(divisor=1)}),
    Fault("gradients not unscaled", {"unscale": options(divisor=1)}),
    *SETTING_FAULTS,
]
