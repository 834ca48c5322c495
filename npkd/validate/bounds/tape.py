"""The words of formulas on numbers that carry their bound."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from npkd.validate.bounds import traced
from npkd.validate.bounds.formulas.words import Words
from npkd.validate.bounds.rounding import Arithmetic
from npkd.validate.bounds.traced import Traced


class Tape(Words):
    """The words on `Traced` arrays: their bounds hold for everyone who computes in an arithmetic.

    Labels are NumPy's. If a step is also commonly written otherwise, the bound covers that too.
    """

    def __init__(self, arithmetic: Arithmetic):
        self.arithmetic = arithmetic
        self.exp, self.log, self.abs, self.sqrt = Traced.exp, Traced.log, Traced.abs, Traced.sqrt
        self.sum, self.matmul = Traced.sum, Traced.__matmul__

    root: Any = staticmethod(Traced.sqrt)
    mean: Any = staticmethod(Traced.mean)
    power: Any = staticmethod(Traced.power)
    huber: Any = staticmethod(Traced.huber)
    softplus: Any = staticmethod(Traced.softplus)
    softmax: Any = staticmethod(traced.softmax)
    log_softmax: Any = staticmethod(traced.log_softmax)
    log_sum_exp: Any = staticmethod(traced.log_sum_exp)
    added: Any = staticmethod(traced.summed)

    def array(self, x: np.ndarray) -> np.ndarray:
        return x

    def number(self, x: Any, *, exponentials: int = 0, roundings: float = 0) -> Traced:
        y = traced.constant(self.arithmetic, x)
        k = self.arithmetic.of_exp * exponentials + roundings
        return y.allowing(self.arithmetic.gamma(k) * y.value)

    def reshape(self, x: Traced, shape: Sequence[int]) -> Traced:
        return x.reshape(*shape)

    def permute(self, x: Traced, axes: Sequence[int]) -> Traced:
        return x.transpose(*axes)

    def concatenate(self, parts: Sequence[Traced], axis: int) -> Traced:
        """Columns (B, 1) side by side."""
        places = np.eye(len(parts))[:, np.newaxis]
        y = parts[0] * places[0]
        for part, place in zip(parts[1:], places[1:], strict=True):
            y = y + part * place
        return y

    def stop_gradient(self, x: Traced) -> Traced:
        return x.fixed

    def over(self, x: Traced, n: Traced, epsilon: float = 0.0) -> Traced:
        return x.over(n + epsilon * np.where(n.is_zero, 0, 1) if epsilon else n)

    def centred(self, x: Traced) -> Traced:
        """Rows whose variation is within rounding may be taken for constant."""
        n = x.shape[-1]
        if n == 1:
            return traced.constant(self.arithmetic, np.zeros(x.shape))
        c = super().centred(x)
        varies, largest = (np.max(of, axis=-1, keepdims=True) for of in (c.size - c.error, x.most))
        constant = varies <= 2 * n * self.arithmetic.stored.u * largest
        return c.allowing(c.error + np.where(constant, c.size, 0))

    def differences(self, x: Traced) -> Traced:
        """A sample's difference from itself is exactly 0."""
        return super().differences(x) * (1 - np.eye(x.shape[0])[:, :, np.newaxis])

    def mean_above_0(self, d: Traced) -> Traced:
        """No bound where rounding could change which entries count."""
        mean = d.sum() / float(np.count_nonzero(d.value > 0) or 1)
        return mean.unknown() if np.any((d.error >= d.value) & (d.error > 0)) else mean

    def divergence(self, log_p: Traced, log_q: Traced) -> Traced:
        """Also allows for npkd's own form, p φ(u), u = log q − log p.

        φ(u) = e^u − 1 − u, and from u = 1 on p φ(u) = q − p − p u. Those terms are others, but
        their sum is the same, and where p and q are functions of logits its gradient is.
        """
        p = log_p.exp()
        terms = p * (log_p - log_q)
        p, u, q = p.fixed, (log_q - log_p).fixed, log_q.fixed.exp()
        near, far = p * (u.expm1() - u), q - p - p * u
        error = np.where(
            u.value < 1 - u.error,
            near.error,
            np.where(u.value > 1 + u.error, far.error, np.maximum(near.error, far.error)),
        )
        # φ's terms are larger where q is: what their sum's additions round is counted as well.
        n = terms.value.size
        size = np.where(u.value <= 1, near.most, far.most)
        return terms.allowing(error + self.arithmetic.gamma_of_sum(n) * size)

    def of_label(self, z: Traced, labels: np.ndarray) -> Traced:
        return z[np.arange(len(labels)), labels]

    def of_others(self, z: Traced, labels: np.ndarray) -> Traced:
        count, classes = z.shape
        return z[np.arange(classes) != labels[:, np.newaxis]].reshape(count, classes - 1)
