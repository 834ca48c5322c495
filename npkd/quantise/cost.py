"""What eight bits cost a net, image by image: how far its outputs move, and which steps move them.

Each step k of the net in eight bits makes an error of its own: its output as a number, less what
the net's layers make of the same inputs,

    e_k = dequantised(q_k) − f_k(dequantised(q_i), …)        e_x = dequantised(q_x) − x

To first order the errors add up in the outputs z, each times the sensitivity of these to y_k, which
the backward pass from z_c gives:

    z_c(eight bits) − z_c ≈ Σ_k ⟨∂z_c/∂y_k, e_k⟩

The rest is of second order: of kinks that were crossed, and of errors that act on one another.
"""

from dataclasses import dataclass

import numpy as np

from npkd.nets.network import IMAGES
from npkd.quantise.network import Quantised, apply, back

BATCH = 100


@dataclass(frozen=True)
class Cost:
    """Of B images, with K outputs each.

    y        the net's own outputs (B, K)
    found    those in eight bits
    shares   by the name of a step, or "x" for the images: what its error moves them by, to first
             order
    """

    y: np.ndarray
    found: np.ndarray
    shares: dict[str, np.ndarray]

    @property
    def estimate(self) -> np.ndarray:
        """What all steps move the outputs by, to first order, (B, K)."""
        return np.sum(list(self.shares.values()), axis=0)

    @property
    def changed(self) -> np.ndarray:
        """Whether an image's class is another one, (B,)."""
        return self.y.argmax(axis=1) != self.found.argmax(axis=1)


def cost(quantised: Quantised, x: np.ndarray) -> Cost:
    """What it costs for images (B, C, H, W), as the net takes them; its outputs are (B, K).

    Raises ValueError for no images, and for a net of other outputs.
    """
    shape = quantised(x[:1]).shape
    if len(shape) != 2 or not len(x):
        raise ValueError(
            f"outputs are {shape[1:]} for {len(x)} images, expected numbers in a row, of images"
        )
    parts = [_of_batch(quantised, x[at : at + BATCH]) for at in range(0, len(x), BATCH)]
    joined = {
        name: np.concatenate([part.shares[name] for part in parts]) for name in parts[0].shares
    }
    y, found = (np.concatenate([getattr(p, key) for p in parts]) for key in ("y", "found"))
    return Cost(y, found, joined)


def _of_batch(quantised: Quantised, x: np.ndarray) -> Cost:
    network, steps = quantised.network, quantised.steps
    last = steps[-1].name
    outputs, backwards = {IMAGES: x}, {}
    for step in steps:
        taken = [outputs[name] for name in step.takes]
        outputs[step.name], backwards[step.name] = apply(network, step, taken)
    numbers, _ = quantised.features(x, [IMAGES, *(step.name for step in steps)])
    errors = {IMAGES: numbers[IMAGES] - x}
    for step in steps:
        right, _ = apply(network, step, [numbers[name] for name in step.takes])
        errors[step.name] = numbers[step.name] - right
    shares = {name: np.zeros_like(outputs[last]) for name in errors}
    for c in range(outputs[last].shape[1]):
        dy = np.zeros_like(outputs[last])
        dy[:, c] = 1
        dys, _ = back(steps, backwards, {last: dy})
        for name, error in errors.items():
            products = dys[name] * error if name in dys else np.zeros_like(error)
            shares[name][:, c] = products.reshape(len(x), -1).sum(axis=1)
    return Cost(outputs[last], numbers[last], shares)
