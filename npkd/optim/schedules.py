"""Learning rates that change with the step."""

import math
from collections.abc import Callable

from npkd.arguments import as_float, is_integer, shown

Schedule = Callable[[int], float]


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
