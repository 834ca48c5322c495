"""Adam: steps by running means of gradients and of their squares."""

import math
from collections.abc import Sequence

import numpy as np

from npkd.arguments import shown
from npkd.optim.optimiser import Optimiser


class Adam(Optimiser):
    """Gradient descent at a rate of each entry's own: the mean gradient by its root mean square.

    Definition (θ parameters, g gradients, m and v zero before the first step, t steps with this)
        g ← g + λ θ
        m ← β₁ m + (1 − β₁) g         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²        v̂ = v / (1 − β₂ᵗ)
        θ ← θ − lr m̂ / (√v̂ + ε)

    lr: the learning rate, which may change before each step. betas: (β₁, β₂). epsilon: ε.
    weight_decay: λ, the gradient of (λ/2)‖θ‖². `decay_biases`: see `Optimiser`.

    Why m̂ and v̂: from zero on, m is (1 − β₁) Σ_s β₁^(t−s) g_s, weights that add up to 1 − β₁ᵗ only.
    Divided by that m̂ is a mean of the gradients, and so is v̂ of their squares. The first step is
    lr g / (|g| + ε), of the length lr whatever the size of g.

    Conventions: PyTorch's, without amsgrad. ε stands outside of the root, added to √v̂, not to √v;
    λ θ is divided by √v̂ as all of g is (see `AdamW`). Where v̂ and ε are 0 the result is NaN. For
    complex numbers too g² is no modulus.
    Raises ValueError if lr, λ or ε is negative or not finite, or if a β is outside of [0, 1).

    Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1.

    Example
        >>> adam, params = optim.Adam(lr=0.5), {"theta": np.array([1.0, 1.0])}
        >>> adam.step(params, {"theta": np.array([2.0, -0.01])})  # ½ against g, whatever its size
        >>> print(params["theta"].round(3))
        [0.5 1.5]
    """

    decoupled = False  # θ ← θ − lr λ θ in the place of g ← g + λ θ

    def __init__(
        self,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decay_biases: bool = True,
    ):
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            kind = type(self).__name__
            raise ValueError(f"{kind}: betas is {shown(betas)}, expected two numbers in [0, 1)")
        super().__init__(lr, weight_decay, decay_biases, beta1=betas[0], beta2=betas[1])
        self._require_below(math.inf, epsilon=epsilon)
        self.betas, self.epsilon = betas, epsilon

    def remembers(self) -> tuple[str, ...]:
        """The running means m and v."""
        return "m", "v"

    def _update(self, decay: float, theta: np.ndarray, g: np.ndarray, *kept: np.ndarray) -> None:
        (m, v), (beta1, beta2), t = kept, map(float, self.betas), self.updates
        lr = float(self.lr)
        if decay and self.decoupled:
            theta *= 1 - lr * decay
        elif decay:
            g = g + decay * theta
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        size = np.sqrt(v)
        size /= math.sqrt(1 - beta2**t)  # √v̂
        size += float(self.epsilon)
        theta -= lr / (1 - beta1**t) * (m / size)


class AdamW(Adam):
    """Adam with a weight decay that is decoupled from the gradients.

    Definition, with the rest as in `Adam`
        θ ← θ − lr λ θ    in the place of g ← g + λ θ

    So the decay of an entry does not depend on the size of its gradients: in Adam λ θ is divided by
    √v̂, and entries of large gradients hardly decay. With plain SGD the two are the same.

    Conventions: PyTorch's. The decay is multiplied by lr, as it changes, and comes first, from the
    θ before the step.

    Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2.

    Example
        >>> adamw, params = optim.AdamW(lr=0.5, weight_decay=0.1), {"theta": np.array([1.0])}
        >>> adamw.step(params, {"theta": np.array([2.0])})
        >>> print(params["theta"].round(3))  # 1 − ½ · 0.1 − ½
        [0.45]
    """

    decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        decay_biases: bool = True,
    ):
        super().__init__(lr, betas, epsilon, weight_decay, decay_biases=decay_biases)
