"""What optimisers share: parameters updated in place, part by part, and what is remembered."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from npkd.arguments import FLOATS, as_float, is_integer, shown
from npkd.engine import threads

Arrays = dict[str, np.ndarray]


class Optimiser(ABC):
    """Updates parameters by gradients, and remembers arrays of their shapes from step to step.

    lr: the learning rate, which may change before each step. weight_decay: λ. decay_biases: if
    False, λ is 0 for arrays of fewer than two axes, which are biases, and the scales and shifts of
    norms. updates: how many steps were made. One optimiser is for one network: what it remembers is
    kept by the parameters' names.

    Raises ValueError if a number is negative, not finite, or, of a share, 1 or more.

    Example
        >>> adam, params = optim.Adam(lr=0.1), {"theta": np.array([1.0])}
        >>> adam.step(params, {"theta": np.array([2.0])})
        >>> again = optim.Adam(lr=0.1)
        >>> again.load(adam.state(), adam.updates)  # and goes on where the other one stands
        >>> list(again.state()), again.updates
        (['m/theta', 'v/theta'], 1)
    """

    def __init__(self, lr: float, weight_decay: float, decay_biases: bool, **shares: float):
        self._require_below(math.inf, lr=lr, weight_decay=weight_decay)
        self._require_below(1.0, **shares)
        self.lr, self.weight_decay, self.decay_biases = lr, weight_decay, decay_biases
        self.updates = 0
        self.memory: dict[str, Arrays] = {}

    @abstractmethod
    def remembers(self) -> tuple[str, ...]:
        """The names of what is remembered of each parameter."""

    def step(self, params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> None:
        """Update `params` in place by `grads`, which has the same keys, shapes and dtypes.

        Raises ValueError if it has not; then nothing is updated.
        """
        kind, kept = type(self).__name__, self.remembers()
        _require_alike(kind, params, grads)
        for what in kept:
            if not self.memory.get(what):
                self.memory[what] = {name: np.zeros_like(theta) for name, theta in params.items()}
            elif differ := _kinds(self.memory[what]) ^ _kinds(params):
                name, *_ = min(differ)
                raise ValueError(f"{kind}: has the {what} of another network, with its own {name}")
        self.updates += 1
        for name, theta in params.items():
            decay = self.weight_decay if self.decay_biases or theta.ndim > 1 else 0.0
            memory = (self.memory[what][name] for what in kept)
            self._step_one(float(decay), np.atleast_1d(theta, grads[name], *memory))

    def _step_one(self, decay: float, arrays: tuple[np.ndarray, ...]) -> None:
        """One parameter, some rows at a time."""
        theta, *others = arrays

        def update(part: slice) -> None:
            for chunk in threads.cached(part, len(others) * theta[0].nbytes):
                self._update(decay, *(array[chunk] for array in arrays))

        threads.run(update, threads.parts(len(theta), work=threads.MOVE * theta.size))

    @abstractmethod
    def _update(self, decay: float, theta: np.ndarray, g: np.ndarray, *kept: np.ndarray) -> None:
        """Rows of a parameter, and of what is remembered of it, in place."""

    def state(self) -> Arrays:
        """What is remembered, as "velocity/conv1.weight": the arrays themselves, not copies."""
        arrays = {what: self.memory.get(what, {}) for what in self.remembers()}
        return {f"{what}/{name}": v for what, of in arrays.items() for name, v in of.items()}

    def load(self, arrays: Mapping[str, np.ndarray], updates: int) -> None:
        """Go on from copies of arrays that `state` gave, after so many updates.

        Raises ValueError if they are not those that such an optimiser has then.
        """
        kind, kept = type(self).__name__, self.remembers()
        if not is_integer(updates) or not 0 <= as_float(updates) < math.inf:
            raise ValueError(f"{kind}: updates is {shown(updates)}, expected a whole number from 0")
        _require_floats(kind, arrays)
        names = list(dict.fromkeys(key.partition("/")[2] for key in arrays))
        expected = {f"{what}/{name}" for what in kept for name in names}
        if arrays.keys() != expected or (kept and updates and not names):
            raise ValueError(
                f"{kind}: has {shown(sorted(arrays))} after {updates} updates, expected "
                f"{' and '.join(kept) or 'nothing'} of each parameter"
            )
        self.memory = {what: {n: arrays[f"{what}/{n}"].copy() for n in names} for what in kept}
        self.updates = int(updates)

    def _require_below(self, below: float, **numbers: float) -> None:
        for name, value in numbers.items():
            if not 0 <= as_float(value) < below:
                raise ValueError(
                    f"{type(self).__name__}: {name} is {shown(value)}, "
                    f"expected a number in [0, {below})"
                )


def _kinds(arrays: Mapping[str, np.ndarray]) -> set[tuple[str, tuple[int, ...], str]]:
    return {(name, array.shape, array.dtype.name) for name, array in arrays.items()}


def _require_floats(kind: str, arrays: Mapping[str, np.ndarray]) -> None:
    for what, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype not in FLOATS:
            raise ValueError(f"{kind}: {what} is no NumPy array of a float dtype")


def _require_alike(
    kind: str, params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]
) -> None:
    if params.keys() != grads.keys():
        differ = ", ".join(sorted(params.keys() ^ grads.keys()))
        raise ValueError(f"{kind}: params and grads have different names: {differ}")
    _require_floats(kind, params)
    _require_floats(kind, {f"the gradient of {name}": g for name, g in grads.items()})
    for name, theta in params.items():
        g = grads[name]
        if not theta.flags.writeable:
            raise ValueError(f"{kind}: {name} is read-only, as those of a frozen network are")
        if g.shape != theta.shape or g.dtype != theta.dtype:
            raise ValueError(
                f"{kind}: {name} is {theta.dtype} {theta.shape}, its gradient {g.dtype} {g.shape}"
            )
