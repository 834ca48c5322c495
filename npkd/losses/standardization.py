"""Logit standardization: a transform of logits that comes before a loss, with its backward pass."""

import numpy as np

from npkd.losses.arguments import in_range, not_negative
from npkd.losses.geometry import centred
from npkd.ops.contract import Op, is_integer, require_arrays, require_axes, require_gradient, shown


@in_range
def standardize(logits: np.ndarray, *, ddof: int = 0, epsilon: float = 1e-7) -> Op:
    """Each sample's logits brought to mean 0 and standard deviation 1.

        z, backward = losses.standardize(student)
        value, dz = losses.kl(z, losses.standardize(teacher)[0], temperature=2.0)
        gradient = backward(dz)

    Shapes
        logits x (B, C)  →  y (B, C)

    Definition (m[b] the mean of x[b,:])
        s[b] = √(Σ_c (x[b,c] − m[b])² / (C − ddof))
        y[b,c] = (x[b,c] − m[b]) / (ε + s[b])

    Backward, given dy = ∂L/∂y (c = x − m; sums and means along the classes)
        ∂s/∂c = c / ((C − ddof) s), so with e = c / s
        dc = dy / (ε + s) − e s Σ(dy e) / ((C − ddof) (ε + s)²),    dx = dc − mean(dc)
    The mean is subtracted from dy, as that of e is 0 already, and s / (ε + s) is 1 − ε / (ε + s):
        dx = (d − e along + e along ε / (ε + s)) / (ε + s),  d = dy − mean(dy),
        along = Σ(d e) / (C − ddof)
    of which the first two terms are what of d is across e, and nothing for two classes (ddof=0).

    Conventions: ddof as in NumPy. A row of equal logits becomes 0, and its gradient is
    (dy − mean dy)/ε, the limit, or 0 where ε is 0 too. A row with a class at −∞ has no deviation,
    and is NaN.

    Elsewhere: the paper's formula divides by C, as NumPy does; the authors' code calls torch.std,
    which divides by C − 1 (ddof=1) and makes y √((C − 1)/C) times as large: 5.4 % apart at C = 10.

    Raises ValueError unless logits are (B, C) with C above ddof, and ε not negative.

    Source: Sun, Ren, Li, Wang and Cao 2024, "Logit Standardization in Knowledge Distillation".
    """
    require_arrays("standardize", logits=logits)
    require_axes("standardize", "logits", logits, "B C")
    if not is_integer(ddof) or not 0 <= ddof < logits.shape[1]:
        raise ValueError(
            f"standardize: ddof is {shown(ddof)}, expected 0 or more, and fewer than the classes "
            f"in {logits.shape}"
        )
    epsilon = not_negative("standardize", "epsilon", epsilon)
    count = logits.shape[1] - int(ddof)
    c, constant = centred(logits)
    largest = np.where(constant, 1, np.abs(c.real).max(axis=1, keepdims=True))
    s = np.sqrt(((c / largest) ** 2).sum(axis=1, keepdims=True) / count)
    e = c / largest / np.where(constant, 1, s)
    by = epsilon + s * largest
    none = by == 0
    by = np.where(none, 1, by)

    @in_range
    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("standardize", dy, c.shape, c.dtype)
        d, _ = centred(dy)
        along = e * (d * e).sum(axis=1, keepdims=True) / count
        return np.where(none, 0, (d - along + along * (epsilon / by)) / by)

    return c / by, backward
