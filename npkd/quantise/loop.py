"""Training with quantisation in the loop: a net that computes in eight bits, and is trained.

    looped = InTheLoop(quantised)
    updates = training.train(looped, batches, …)    # as any network
    looped.quantised()                              # with the weights that it has now

A step's output is the number that its integers stand for, to the bit that of the net in eight bits:

    y = dequantised(q)      q = held(round(f(y_i, …; θ̃) / s) + z)

with θ̃ what the rounded weights stand for. Rounding is a staircase: its derivative is 0 wherever it
has one. So the backward pass is none: it takes the stairs for the line through them, y for f where
q was not held at 0 or 255 and for a constant where it was, and passes what it finds for θ̃ on to the
weights θ that are rounded ("straight-through"),

    ∂L/∂f := ∂L/∂y where 0 ≤ round(f / s) + z ≤ 255, else 0        ∂L/∂θ := ∂L/∂θ̃

That is a direction to go in, not the gradient of what is computed; `departure` shows by how much.

Source: Bengio, Léonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic
Neurons for Conditional Computation"; Jacob et al. 2018, "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference".
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from npkd.arguments import shown
from npkd.nets import BatchNorm, Network
from npkd.nets.layers import Params
from npkd.nets.network import IMAGES
from npkd.objectives import Batch, Objective
from npkd.quantise.network import (
    Quantised,
    Step,
    Weights,
    apply,
    back,
    by_row,
    norm_of,
)
from npkd.quantise.ops import LEAST, MOST, Scale


class InTheLoop(Network):
    """A net whose outputs are those of eight bits, with weights of floats that can be trained.

    quantised: what it starts as; scales of outputs stay, those of weights follow the weights. What
    batch norms remember stays too. Outputs can be asked of steps, which are called as their last
    layers.
    """

    def __init__(self, quantised: Quantised):
        self.floats = quantised.network.astype(quantised.dtype)  # a copy
        self.__dict__ |= self.floats.__dict__  # the same arrays
        self.stages, self.vector = self.floats.stages, self.floats.vector
        self.scales, self.steps = quantised.scales, quantised.steps
        self.most_weight = quantised.most_weight

    def quantised(self) -> Quantised:
        """The net in eight bits with the weights as they are now.

        Raises ValueError if any is not finite.
        """
        return self._quantised(self.floats.astype(self.dtype))

    def astype(self, dtype: Any) -> Network:
        """The net of floats behind it, as a copy."""
        return self.floats.astype(dtype)

    def macs(self) -> int:
        """Multiply-adds for one image."""
        return self.floats.macs()

    def _quantised(self, network: Network) -> Quantised:
        return Quantised.by_scales(network, self.steps, self.scales, self.most_weight)

    def features(
        self, x: np.ndarray, names: Iterable[str], *, training: bool = False, rng: Any = None
    ) -> tuple[Any, ...]:
        """The numbers that steps give, by name, and the backward pass described above.

        As `Network.features`: in a training pass with the state, which stays.
        """
        names = [names] if isinstance(names, str) else list(names)
        known = {IMAGES, *(step.name for step in self.steps)}
        for name in names:
            if name not in known - {IMAGES}:
                raise ValueError(f"{shown(name)} is within a step of the net in eight bits")
        net, arrays = self._quantised(self.floats), self.state_dict()
        numbers, _ = net.features(x, known)
        backwards = {}
        for step in self.steps:
            if step.name in net.weights:
                arrays |= _rounded(self, step, net.weights[step.name], self.scales[step.takes[0]])
            taken = [numbers[name] for name in step.takes]
            f, step_backward = apply(self, step, taken, arrays)
            if step.kind != "same":
                within = _within(f, self.scales[step.name])
                step_backward = partial(_held_back, step_backward, within)
            backwards[step.name] = step_backward

        def backward(
            gradients: Mapping[str, np.ndarray], need_dx: bool = True
        ) -> tuple[np.ndarray | None, Params]:
            dys, grads = back(self.steps, backwards, gradients)
            dx = dys.get(IMAGES, np.zeros_like(x)) * _within(x, self.scales[IMAGES])
            unused = {name: np.zeros_like(theta) for name, theta in self.params.items()}
            return dx if need_dx else None, unused | grads

        outputs = {name: numbers[name] for name in names}
        return (outputs, backward, dict(self.state)) if training else (outputs, backward)


def _held_back(backward: Callable[..., Any], within: np.ndarray, dy: np.ndarray) -> Any:
    return backward(dy * within)


def _within(f: np.ndarray, of: Scale) -> np.ndarray:
    """Whether a number's integer is held neither at 0 nor at 255."""
    q = np.rint(f / of.scale) + of.zero_point
    return (q >= LEAST) & (q <= MOST)


def _rounded(network: Network, step: Step, weights: Weights, x_of: Scale) -> Params:
    """What integers stand for, as weights of the layers that they were made of.

    Of a convolution w and its batch norm these are w̃ / factor and a shift of b̃, less what the
    layers make of the bias; a channel that the batch norm takes as 0 keeps its w.
    """
    arrays, first = network.state_dict(), step.layers[0]
    scale = weights.scale.astype(np.float64)
    w, b = weights.w * by_row(scale, weights.w.ndim), weights.b * scale * float(x_of.scale)
    norms = [name for name in step.layers if isinstance(network.layers[name], BatchNorm)]
    own = arrays.get(f"{first}.bias")
    if norms == [first]:  # alone: w̃ = γ̃ / √(σ² + ε), b̃ = β̃ − μ w̃
        layer: Any = network.layers[first]
        w, mean = w.ravel(), arrays[f"{first}.running_mean"]
        deviation = np.sqrt(arrays[f"{first}.running_var"].astype(np.float64) + layer.epsilon)
        found = {f"{first}.weight": w * deviation, f"{first}.bias": b + mean * w}
    elif norms:
        factor, shift = norm_of(network, step)
        kept, divisor = arrays[f"{first}.weight"], by_row(np.where(factor == 0, 1, factor), w.ndim)
        before, bias = 0 if own is None else own, f"{norms[0]}.bias"
        found = {
            f"{first}.weight": np.where(by_row(factor, w.ndim) == 0, kept, w / divisor),
            bias: b - before * factor - shift + arrays[bias],
        }
    else:
        found = {f"{first}.weight": w} | ({} if own is None else {f"{first}.bias": b})
    return {name: theta.astype(arrays[name].dtype) for name, theta in found.items()}


STEPS = (1e-7, 1e-5, 1e-3, 1e-2)


def departure(net: InTheLoop, objective: Objective, batch: Batch) -> list[tuple[float, float]]:
    """How far what the backward pass gives is the slope of what is computed, by length of step.

    The weights θ are moved along what it gives, g, forth and back by shares h of ‖θ‖. Of each h of
    STEPS the central difference of the loss, divided by the ‖g‖ that the backward pass claims it
    is. Of a gradient that would go to 1 as h becomes small.
    """
    params, start = net.params, {name: theta.copy() for name, theta in net.params.items()}

    def at(moved: float, grads: Params) -> tuple[float, Params]:
        for name, theta in params.items():
            theta[...] = start[name] + moved * grads[name]
        outputs, backward = net.features(batch.x, objective.layers)
        value, gradients, _ = objective(outputs, batch)
        return float(value), gradients if moved else backward(gradients, need_dx=False)[1]

    _, grads = at(0.0, start)
    of_g, of_theta = (
        math.sqrt(sum(float(np.vdot(a, a)) for a in some.values())) for some in (grads, start)
    )
    found = []
    for h in STEPS if of_g else ():
        moved = h * of_theta / of_g
        up, down = (at(sign * moved, grads)[0] for sign in (1, -1))
        found.append((h, (up - down) / (2 * moved * of_g**2)))
    at(0.0, start)
    return found
