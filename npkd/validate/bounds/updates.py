"""Updates other than SGD's: Adam, and gradients that are all shortened alike."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.validate.bounds.rounding import Arithmetic, Rounded
from npkd.validate.bounds.traced import Traced, constant, leaf

SETTINGS = ("lr", "momentum", "weight_decay", "nesterov")
OF_STEPS = ("sgd", "adam", "clip", "unscale", "statistics", *(f"set_{name}" for name in SETTINGS))
OF_SCHEDULES = 1e-6  # relative: a rate that a schedule computes has last digits of its own
IN_NORMS = 1e-6  # what PyTorch adds to the norm that it divides by


def adam(
    arithmetic: Arithmetic, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, Rounded]:
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − lr m̂ / (√v̂ + ε).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ), in the t-th step. weight_decay λ: g + λ θ in the place
    of g, or, `decoupled`, θ (1 − lr λ) in the place of θ. m may be m + (1 − β₁) (g − m) too.

    Source: Kingma and Ba 2015, "Adam", algorithm 1; Loshchilov and Hutter 2019, "Decoupled weight
    decay regularization", algorithm 2.
    """
    theta, g = (leaf(arithmetic, inputs[name]) for name in ("theta", "g"))
    nothing = Rounded(np.zeros_like(g.value))
    m, v = (leaf(arithmetic, inputs.get(name, nothing)) for name in ("m", "v"))
    lr, decay = options["lr"], options.get("weight_decay", 0.0)
    beta1, beta2, t = options["beta1"], options["beta2"], options["step"]
    if decay and options.get("decoupled"):
        theta = theta * (1 - lr * decay)
    elif decay:
        g = g + theta * decay
    of_difference = arithmetic.gamma(4) * (m.most + g.most)
    m = _wider(m * beta1 + g * (1 - beta1), of_difference)
    v = v * beta2 + g * g * (1 - beta2)
    size = (v / (1 - beta2**t)).sqrt() + options["epsilon"]
    moved = (m / (1 - beta1**t)) / size * lr
    updated = (theta - moved).rounded
    # βᵗ is near 1 at first: rounded before it is subtracted from 1 it leaves few digits
    powers = np.array([beta1, beta2]) ** t
    shares = powers / (1 - powers)
    of_powers = 2 * min(t, 1 << 20) + 4  # roundings; a βᵗ of more steps is 0
    updated.jump = arithmetic.gamma(of_powers) * (shares[0] + shares[1] / 2) * moved.most
    return {"theta": updated, "m": m.rounded, "v": v.rounded}


def _wider(x: Traced, error: np.ndarray) -> Traced:
    return replace(x, error=x.error + error)


def clip(
    arithmetic: Arithmetic, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, Rounded]:
    """g · min(1, norm / ‖g‖), ‖g‖ that of all the gradients together; see `npkd.optim.clipped`.

    The input "x" is the one that is shortened, and is one of the others.
    """
    gradients = [leaf(arithmetic, g) for name, g in inputs.items() if name != "x"]
    squares = [(g * g).sum() for g in gradients]
    norm = sum(squares[1:], start=squares[0]).sqrt()
    x, most = leaf(arithmetic, inputs["x"]), options["norm"]
    if norm.value - norm.error >= most + IN_NORMS:
        factor = constant(arithmetic, most) / norm
        return {"y": (x * _wider(factor, IN_NORMS * most / norm.value**2)).rounded}
    y = x.rounded
    near = norm.value + norm.error > most - IN_NORMS  # as it is, or shorter by rounding
    share = (2 * norm.error + IN_NORMS) / most if near else 0.0
    return {"y": replace(y, error=y.error + share * y.most)}


def setting(
    arithmetic: Arithmetic, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, Rounded]:
    """What an optimiser should be set to, for each parameter."""
    x = inputs["x"].value
    return {"y": Rounded(x, OF_SCHEDULES * np.abs(x))}
