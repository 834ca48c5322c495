"""Stochastic gradient descent, and learning rates that change with the step."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from npkd.arguments import FLOATS, as_float, is_integer, shown
from npkd.engine import threads

Schedule = Callable[[int], float]

SQUARES_ARE_LOST = 1e-10  # a norm whose float32 squares may be below the smallest normal number


class SGD:
    """Gradient descent with momentum and weight decay.

    Definition (θ parameters, g gradients, v velocity, zero before the first step)
        v ← μ v + (g + λ θ)
        θ ← θ − lr v

    lr: the learning rate α, which may change before each step. momentum: μ. weight_decay: λ, the
    gradient of (λ/2)‖θ‖². With μ = λ = 0 this is the document's θ ← θ − α ∂L/∂θ.

    One SGD is for one network: v is kept by the parameters' names.

    Conventions: PyTorch's. The rate stands outside of v, so a change of lr acts at once on all that
    v has gathered; no factor (1 − μ); λ applies to every parameter, biases too.
    Raises ValueError if lr or λ is negative or not finite, or if μ is outside of [0, 1).

    Example
        >>> sgd, params = optim.SGD(lr=0.5, momentum=0.9), {"theta": np.array([1.0])}
        >>> for _ in range(2):
        ...     sgd.step(params, {"theta": np.array([2.0])})  # v = 2, then 0.9 · 2 + 2 = 3.8
        >>> print(params["theta"])  # 1 − ½ · 2 − ½ · 3.8
        [-1.9]
    """

    def __init__(self, lr: float, momentum: float = 0.0, weight_decay: float = 0.0):
        for name, value, below in (
            ("lr", lr, math.inf),
            ("momentum", momentum, 1.0),
            ("weight_decay", weight_decay, math.inf),
        ):
            if not 0 <= as_float(value) < below:
                raise ValueError(
                    f"SGD: {name} is {shown(value)}, expected a number in [0, {below})"
                )
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocity: dict[str, np.ndarray] = {}

    def step(self, params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> None:
        """Update `params` in place by `grads`, which has the same keys, shapes and dtypes.

        Raises ValueError if it has not; then nothing is updated.
        """
        _require_alike(params, grads)
        for name, v in self.velocity.items():
            if name not in params or params[name].shape != v.shape:
                raise ValueError(f"SGD: has the velocity of another network, with its own {name}")
        for name, theta in params.items():
            if self.momentum and name not in self.velocity:
                self.velocity[name] = np.zeros_like(theta)
            self._step_one(theta, grads[name], self.velocity.get(name))

    def _step_one(self, theta: np.ndarray, g: np.ndarray, v: np.ndarray | None) -> None:
        """One parameter, some rows at a time."""
        # Python's floats take on the arrays' dtype; NumPy's would take float32 arrays with them.
        lr, momentum, decay = float(self.lr), float(self.momentum), float(self.weight_decay)
        theta, g = np.atleast_1d(theta, g)
        v = None if v is None else np.atleast_1d(v)

        def update(part: slice) -> None:
            for chunk in threads.cached(part, theta[0].nbytes):
                step = g[chunk]
                if decay:
                    step = step + decay * theta[chunk]  # g + λ θ
                if v is not None:
                    v[chunk] *= momentum
                    v[chunk] += step
                    step = v[chunk]
                theta[chunk] -= lr * step

        threads.run(update, threads.parts(len(theta), work=threads.MOVE * theta.size))


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


def constant(lr: float, *, warmup: int = 0) -> Schedule:
    """The same rate at every step: lr(t) = lr, after a linear warm-up (see `warmed_up`).

    Example
        >>> [optim.constant(1.0, warmup=3)(t) for t in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    _require_rate("constant", lr)
    return warmed_up(lambda step: lr, warmup)


def stepwise(lr: float, *, every: int, factor: float = 0.1, warmup: int = 0) -> Schedule:
    """A rate that falls by `factor` every so many steps: lr(t) = lr · factor^⌊t / every⌋.

    Example
        >>> [optim.stepwise(1.0, every=2, factor=0.5)(t) for t in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    _require_rate("stepwise", lr)
    if not is_integer(every) or every < 1:
        raise ValueError(f"stepwise: every is {shown(every)}, expected at least 1")
    if not 0 <= as_float(factor) <= 1:
        raise ValueError(f"stepwise: factor is {shown(factor)}, expected a number from 0 to 1")
    return warmed_up(lambda step: lr * factor ** (step // every), warmup)


def cosine(lr: float, *, steps: int, warmup: int = 0) -> Schedule:
    """A rate that falls from lr to 0 along half a cosine wave, after the warm-up.

    lr(t) = lr · ½ (1 + cos(π (t − warmup) / (steps − warmup))) for t from warmup to steps, then 0.

    Source: Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts.

    Example
        >>> [round(optim.cosine(1.0, steps=4)(t), 4) for t in range(5)]
        [1.0, 0.8536, 0.5, 0.1464, 0.0]
    """
    _require_rate("cosine", lr)
    if not is_integer(steps) or not is_integer(warmup) or not 0 <= warmup < steps:
        raise ValueError(
            f"cosine: warmup is {shown(warmup)} of {shown(steps)} steps, expected fewer than steps"
        )

    def rate(step: int) -> float:
        done = min(1.0, (step - warmup) / (steps - warmup))
        return lr * 0.5 * (1 + math.cos(math.pi * done))

    return warmed_up(rate, warmup)


def warmed_up(schedule: Schedule, warmup: int) -> Schedule:
    """`schedule` after a warm-up: for t < warmup, its rate at `warmup` · (t + 1) / (warmup + 1).

    Source: Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2.

    Example
        >>> [optim.warmed_up(lambda t: 0.5**t, 1)(t) for t in range(4)]
        [0.25, 0.5, 0.25, 0.125]
    """
    if not is_integer(warmup) or warmup < 0:
        raise ValueError(f"warm-up is {shown(warmup)} steps, expected at least 0")
    return lambda step: (
        schedule(step) if step >= warmup else schedule(warmup) * (step + 1) / (warmup + 1)
    )


def _require_rate(schedule: str, lr: float) -> None:
    if not 0 <= as_float(lr) < math.inf:
        raise ValueError(f"{schedule}: lr is {shown(lr)}, expected a number from 0")


def _require_alike(params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> None:
    if params.keys() != grads.keys():
        differ = ", ".join(sorted(params.keys() ^ grads.keys()))
        raise ValueError(f"SGD: params and grads have different names: {differ}")
    for name, theta in params.items():
        g = grads[name]
        for what, array in ((name, theta), (f"the gradient of {name}", g)):
            if not isinstance(array, np.ndarray) or array.dtype not in FLOATS:
                raise ValueError(f"SGD: {what} is no NumPy array of a float dtype")
        if g.shape != theta.shape or g.dtype != theta.dtype:
            raise ValueError(
                f"SGD: {name} is {theta.dtype} {theta.shape}, its gradient {g.dtype} {g.shape}"
            )
