"""The updates of optimisers: the formulas as scalar loops."""

from collections.abc import Callable

import numpy as np

from npkd.definitions.steps import Number

__all__ = ["adam", "adamw", "sgd"]

Arrays = dict[str, np.ndarray]


def sgd(
    params: Arrays,
    grads: Arrays,
    velocity: Arrays,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    decay_biases: bool = True,
) -> tuple[Arrays, Arrays]:
    """One step of gradient descent with momentum μ and weight decay λ, in PyTorch's convention.

    Shapes
        params, grads, velocity: arrays of one shape under each name; velocity is 0 at first
        →  (new params, new velocity), new arrays of those shapes

    Definition, for each entry θ with gradient g and velocity v
        v ← μ v + (g + λ θ)
        θ ← θ − lr v
        θ ← θ − lr (g + λ θ + μ v)    in the place of that, with `nesterov`
    Without `decay_biases` λ is 0 in arrays of fewer than two axes.
    """

    def entry(decays: bool, theta: Number, g: Number, v: Number) -> tuple[Number, ...]:
        if decays:
            g = g + weight_decay * theta
        v = momentum * v + g
        return theta - lr * (g + momentum * v if nesterov else v), v

    new_params, new_velocity = _by_entry(entry, decay_biases, params, grads, velocity)
    return new_params, new_velocity


def adam(
    params: Arrays,
    grads: Arrays,
    m: Arrays,
    v: Arrays,
    *,
    step: int,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decay_biases: bool = True,
    decoupled: bool = False,
) -> tuple[Arrays, Arrays, Arrays]:
    """One step of Adam, the one of this number, from 1 on.

    Shapes
        params, grads, m, v: arrays of one shape under each name; m and v are 0 at first
        →  (new params, new m, new v), new arrays of those shapes

    Definition, for each entry θ with gradient g, t the step
        g ← g + λ θ
        m ← β₁ m + (1 − β₁) g         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²        v̂ = v / (1 − β₂ᵗ)
        θ ← θ − lr m̂ / (√v̂ + ε)
    Decoupled, θ ← θ − lr λ θ takes the place of the first line. Without `decay_biases` λ is 0 in
    arrays of fewer than two axes.
    """
    beta1, beta2 = betas

    def entry(decays: bool, theta: Number, g: Number, m: Number, v: Number) -> tuple[Number, ...]:
        if decays and decoupled:
            theta = theta - lr * weight_decay * theta
        elif decays:
            g = g + weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
        return theta - lr * m_hat / (np.sqrt(v_hat).item() + epsilon), m, v

    new_params, new_m, new_v = _by_entry(entry, decay_biases, params, grads, m, v)
    return new_params, new_m, new_v


def adamw(
    params: Arrays,
    grads: Arrays,
    m: Arrays,
    v: Arrays,
    *,
    step: int,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    weight_decay: float = 1e-2,
    decay_biases: bool = True,
) -> tuple[Arrays, Arrays, Arrays]:
    """One step of AdamW: θ ← θ − lr λ θ, then that of `adam` with a weight decay of 0."""
    constants = {"step": step, "lr": lr, "betas": betas, "epsilon": epsilon}
    decay = {"weight_decay": weight_decay, "decay_biases": decay_biases, "decoupled": True}
    return adam(params, grads, m, v, **constants, **decay)  # type: ignore[arg-type]


def _by_entry(
    entry: Callable[..., tuple[Number, ...]], decay_biases: bool, *arrays: Arrays
) -> list[Arrays]:
    """What `entry` gives for each entry of parameters, gradients and others, by name.

    The first argument of `entry` is whether it decays; it gives no new gradient.
    """
    params, *_ = arrays
    made: list[Arrays] = [{} for _ in arrays[1:]]
    for name, array in params.items():
        decays = decay_biases or array.ndim >= 2
        for one in made:
            one[name] = np.empty_like(array)
        for index in np.ndindex(array.shape):
            results = entry(decays, *(of[name].item(*index) for of in arrays))
            for one, result in zip(made, results, strict=True):
                one[name][index] = result
    return made
