"""The update of SGD: the formula as scalar loops."""

import numpy as np

__all__ = ["sgd"]


def sgd(
    params: dict[str, np.ndarray],
    grads: dict[str, np.ndarray],
    velocity: dict[str, np.ndarray],
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One step of gradient descent with momentum μ and weight decay λ, in PyTorch's convention.

    Shapes
        params, grads, velocity: arrays of one shape under each name; velocity is 0 at first
        →  (new params, new velocity), new arrays of those shapes

    Definition, for each entry θ with gradient g and velocity v
        v ← μ v + (g + λ θ)
        θ ← θ − lr v
    """
    new_params = {name: np.empty_like(array) for name, array in params.items()}
    new_velocity = {name: np.empty_like(array) for name, array in params.items()}
    for name, array in params.items():
        for index in np.ndindex(array.shape):
            theta, g, v = (arrays[name].item(*index) for arrays in (params, grads, velocity))
            v = momentum * v + (g + weight_decay * theta)
            new_velocity[name][index] = v
            new_params[name][index] = theta - lr * v
    return new_params, new_velocity
