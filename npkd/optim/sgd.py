"""Stochastic gradient descent."""

import numpy as np

from npkd.optim.optimiser import Arrays, Optimiser


class SGD(Optimiser):
    """Gradient descent with momentum and weight decay.

    Definition (θ parameters, g gradients, v velocity, zero before the first step)
        v ← μ v + (g + λ θ)
        θ ← θ − lr v
        θ ← θ − lr (g + λ θ + μ v)    in the place of that, with `nesterov`

    lr: the learning rate α, which may change before each step. momentum: μ. weight_decay: λ, the
    gradient of (λ/2)‖θ‖². With μ = λ = 0 this is the document's θ ← θ − α ∂L/∂θ. Nesterov's
    momentum has the gradient at φ = θ − lr μ v, where momentum alone leads; it is written for φ
    here, which is then (θ − lr v) − lr μ v = φ − lr (g + μ v), with the new v.

    One SGD is for one network: v is kept by the parameters' names. `decay_biases`: see `Optimiser`.

    Conventions: PyTorch's. The rate stands outside of v, so a change of lr acts at once on all that
    v has gathered; no factor (1 − μ); λ applies to every parameter, biases too.
    Raises ValueError if lr or λ is negative or not finite, if μ is outside of [0, 1), or, with
    `nesterov`, 0.

    Source of Nesterov's: Sutskever et al. 2013, "On the importance of initialization and momentum
    in deep learning", section 2; for φ, Bengio et al. 2013, "Advances in optimizing recurrent
    networks", section 3.5.

    Example
        >>> sgd, params = optim.SGD(lr=0.5, momentum=0.9), {"theta": np.array([1.0])}
        >>> for _ in range(2):
        ...     sgd.step(params, {"theta": np.array([2.0])})  # v = 2, then 0.9 · 2 + 2 = 3.8
        >>> print(params["theta"])  # 1 − ½ · 2 − ½ · 3.8
        [-1.9]
    """

    def __init__(
        self,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        decay_biases: bool = True,
    ):
        super().__init__(lr, weight_decay, decay_biases, momentum=momentum)
        if nesterov and not momentum:
            raise ValueError("SGD: momentum is 0, expected more with nesterov")
        self.momentum, self.nesterov = momentum, nesterov

    def remembers(self) -> tuple[str, ...]:
        """The velocity, if there is momentum."""
        return ("velocity",) if self.momentum else ()

    @property
    def velocity(self) -> Arrays:
        """v, by the parameters' names; empty before the first step."""
        return self.memory.get("velocity", {})

    def _update(self, decay: float, theta: np.ndarray, g: np.ndarray, *kept: np.ndarray) -> None:
        # Python's floats take on the arrays' dtype; NumPy's would take float32 arrays with them.
        lr, momentum = float(self.lr), float(self.momentum)
        step = g + decay * theta if decay else g  # g + λ θ
        for v in kept:
            v *= momentum
            v += step
            step = step + momentum * v if self.nesterov else v
        theta -= lr * step
