"""Gradients that are all shortened alike."""

import math
from collections.abc import Mapping

import numpy as np

from npkd.arguments import as_float, shown

SQUARES_ARE_LOST = 1e-10  # a norm whose float32 squares may be below the smallest normal number


@np.errstate(under="ignore")  # rounding, as in threads.run
def clipped(grads: Mapping[str, np.ndarray], norm: float) -> dict[str, np.ndarray]:
    """The gradients, all shortened alike if their common norm is above `norm`.

    Definition (‖g‖² = Σ over all gradients and entries of g²)
        g · min(1, norm / ‖g‖)

    Gradients that need no shortening, and those that are not finite, are returned as they are, not
    copied. Where squares would overflow or vanish, the norm is taken of g / 2ᵉ, which rounds
    nothing. Raises ValueError unless norm > 0.

    Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural
    networks", algorithm 1.

    Example
        >>> optim.clipped({"a": np.array([3.0]), "b": np.array([4.0])}, norm=1.0)
        {'a': array([0.6]), 'b': array([0.8])}
    """
    if not as_float(norm) > 0:
        raise ValueError(f"clipped: norm is {shown(norm)}, expected a number above 0")
    scale, total = 1.0, _common_norm(grads)
    if total < SQUARES_ARE_LOST or total == math.inf:
        largest = max((float(np.abs(g).max(initial=0)) for g in grads.values()), default=0.0)
        if 0 < largest < math.inf:
            scale = 2.0 ** (math.frexp(largest)[1] - 1)  # largest / scale is from 1 to 2
            scaled = {name: g / scale if g.any() else g for name, g in grads.items()}
            total = _common_norm(scaled)
    if not norm / scale < total < math.inf:
        return dict(grads)
    if scale != 1:
        grads = scaled
    return {name: g * float(norm / total) for name, g in grads.items()}


def _common_norm(grads: Mapping[str, np.ndarray]) -> float:
    with np.errstate(over="ignore"):  # the caller sees what comes of it
        return math.hypot(*(float(np.linalg.norm(g)) for g in grads.values()))
