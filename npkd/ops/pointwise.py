"""Functions of each entry for itself: ReLU6, sigmoid, tanh, SiLU, GELU, and dropout by a mask."""

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from npkd.arguments import require_arrays, shown
from npkd.engine import memory, threads
from npkd.ops.contract import Op, require_gradient

SLICES = 4  # so many arrays of a slice's size stay in a core's cache together
BEYOND = 30.0  # where the sigmoid in GELU's tanh form is 0 or 1, to the last bit


def relu6(x: np.ndarray) -> Op:
    """The entries held between 0 and 6, y = min(max(x, 0), 6).

    Shapes
        x of any shape  →  y of the same

    Definition
        y = 0 where x ≤ 0, 6 where x ≥ 6, else x. Complex entries are decided on by their real part.
        NaN stays NaN.

    Backward, given dy = ∂L/∂y
        ∂y/∂x is 1 where 0 < x < 6, and 0 where y does not move:
        dx = dy · [0 < x < 6]

    Convention: at both kinks the slope is 0. NaN is seen on both ways, as by `relu`.
    Source: Krizhevsky 2010, "Convolutional Deep Belief Networks on CIFAR-10"; slopes as in
    torch.nn.functional.relu6.

    Example
        >>> y, backward = ops.relu6(np.array([-1.0, 2.0, 7.0]))
        >>> print(y, backward(np.array([5.0, 5.0, 5.0])))
        [0. 2. 6.] [0. 5. 0.]
    """

    def value(x: np.ndarray, out: np.ndarray) -> None:
        if np.iscomplexobj(x):
            out[...] = np.where(x.real <= 0, 0, np.where(x.real >= 6, 6, x))
        else:
            np.clip(x, 0, 6, out=out)

    def slope(x: np.ndarray) -> np.ndarray:
        return ~((x.real <= 0) | (x.real >= 6))  # NaN is neither

    return _pointwise("relu6", x, value, slope)


def sigmoid(x: np.ndarray) -> Op:
    """The logistic function, y = σ(x) = 1 / (1 + e⁻ˣ).

    Shapes
        x of any shape  →  y of the same

    Definition
        y = 1 / (1 + e⁻ˣ)

    Backward, given dy = ∂L/∂y
        σ'(x) = e⁻ˣ / (1 + e⁻ˣ)² = σ(x) (1 − σ(x)), which does not depend on the sign of x:
        dx = dy · e / (1 + e)²,  e = e^−|x|

    In this form the slope keeps its digits where σ is close to 1. Where e⁻ˣ overflows, y is 0.

    Example
        >>> y, backward = ops.sigmoid(np.log([1.0, 3.0]))
        >>> print(y.round(6), backward(np.array([1.0, 1.0])).round(6))
        [0.5  0.75] [0.25   0.1875]
    """
    return _pointwise("sigmoid", x, _sigmoid, _sigmoid_slope)


def tanh(x: np.ndarray) -> Op:
    """The hyperbolic tangent, y = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).

    Shapes
        x of any shape  →  y of the same

    Definition
        y = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)

    Backward, given dy = ∂L/∂y
        y = 2 σ(2x) − 1 by the sigmoid σ, so that its slope, 1 − y², is 4 σ'(2x):
        dx = dy · 4 e / (1 + e)²,  e = e^−2|x|

    In this form the slope keeps its digits where y² is close to 1.

    Example
        >>> y, backward = ops.tanh(np.log([1.0, 3.0]))
        >>> print(y.round(6), backward(np.array([1.0, 1.0])).round(6))
        [0.  0.8] [1.   0.36]
    """
    return _pointwise("tanh", x, np.tanh, lambda x: 4 * _sigmoid_slope(2 * x))


def silu(x: np.ndarray) -> Op:
    """The sigmoid linear unit, or swish, y = x σ(x).

    Shapes
        x of any shape  →  y of the same

    Definition
        y = x σ(x), σ(x) = 1 / (1 + e⁻ˣ)

    Backward, given dy = ∂L/∂y
        By the product rule and σ' = σ (1 − σ) the slope is σ + x σ (1 − σ):
        dx = dy · σ(x) (1 + x (1 − σ(x)))

    Source: Hendrycks, Gimpel 2016, "Gaussian Error Linear Units (GELUs)".

    Example
        >>> y, backward = ops.silu(np.log([1.0, 3.0]))
        >>> print(y.round(6), backward(np.array([1.0, 1.0])).round(6))
        [0.       0.823959] [0.5     0.95599]
    """

    def value(x: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, _sigmoid(x), out=out)

    def slope(x: np.ndarray) -> np.ndarray:
        share = _sigmoid(x)
        return share * (1 + x * (1 - share))

    return _pointwise("silu", x, value, slope)


def gelu(x: np.ndarray, approximate: str = "none") -> Op:
    """The Gaussian error linear unit, y = x Φ(x), Φ the standard normal distribution.

    Shapes
        x of any shape  →  y of the same

    Definition
        "none"  y = x Φ(x),  Φ(x) = ½ (1 + erf(x / √2))
        "tanh"  y = ½ x (1 + tanh v) = x σ(2v),  v = √(2/π) (x + 0.044715 x³), σ the sigmoid

    Backward, given dy = ∂L/∂y
        "none"  Φ'(x) = φ(x) = e^(−x²/2) / √(2π), so by the product rule
                dx = dy · (Φ(x) + x φ(x))
        "tanh"  by σ' = σ (1 − σ), with v' = √(2/π) (1 + 3 · 0.044715 x²) and σ = σ(2v),
                dx = dy · (σ + x σ (1 − σ) 2 v')

    Φ and σ keep their digits where they are close to 0, as 1 + erf and 1 + tanh do not. The first
    form is the one op here that SciPy computes (`scipy.special.ndtr`).

    Raises ValueError for another `approximate`.
    Source: Hendrycks, Gimpel 2016, "Gaussian Error Linear Units (GELUs)"; names of the two forms as
    in torch.nn.functional.gelu.

    Example
        >>> y, backward = ops.gelu(np.array([-1.0, 0.0, 1.0]))
        >>> print(y.round(4), backward(np.ones(3)).round(4))
        [-0.1587  0.      0.8413] [-0.0833  0.5     1.0833]
    """
    if not isinstance(approximate, str) or approximate not in _GELU:
        raise ValueError(
            f"gelu: approximate is {shown(approximate)}, expected {' or '.join(map(repr, _GELU))}"
        )
    share, slope = _GELU[approximate]

    def value(x: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, share(x), out=out)

    return _pointwise("gelu", x, value, slope)


def dropout(x: np.ndarray, mask: np.ndarray) -> Op:
    """The entries times those of a mask, y = x · mask.

    Shapes
        x of any shape, mask the same  →  y the same

    Arguments
        mask: floats, 0 where an entry is dropped and 1 / (1 − p) where it stays, p the chance to be
        dropped, so that y is x on average: mask = (rng.random(x.shape) >= p) / (1 − p). They are
        rounded to x's precision.

    Definition
        y = x · mask

    Backward, given dy = ∂L/∂y
        ∂y/∂x is the mask, which is given and has no gradient of its own:
        dx = dy · mask

    NaN and infinite entries that are dropped give NaN.
    Raises ValueError for a mask of another shape, or not of floats: bool has no 1 / (1 − p).
    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", scaled in training, as torch.nn.functional.dropout does.

    Example
        >>> y, backward = ops.dropout(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
        >>> print(y, backward(np.ones(2)))
        [0. 8.] [0. 4.]
    """
    require_arrays("dropout", x=x)
    if not isinstance(mask, np.ndarray) or not (mask.dtype.kind == "f" or mask.dtype == x.dtype):
        found = mask.dtype if isinstance(mask, np.ndarray) else f"a {type(mask).__name__}"
        raise ValueError(f"dropout: mask is {found}, expected floats, 0 or 1 / (1 − p)")
    if mask.shape != x.shape:
        raise ValueError(f"dropout: mask has shape {mask.shape}, expected x's {x.shape}")
    shape, dtype = x.shape, x.dtype
    mask = mask.astype(dtype if mask.dtype.kind == "c" else x.real.dtype, copy=False)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("dropout", dy, shape, dtype)
        return by_slices(np.multiply, dy, mask)

    return by_slices(np.multiply, x, mask), backward


def by_slices(function: Callable[..., object], *arrays: np.ndarray) -> np.ndarray:
    """What function(*arrays, out=y) writes, slice by slice, y in memory as the first array is."""
    shape, dtype, make = arrays[0].shape, arrays[0].dtype, memory.layout_of(arrays[0])
    if not shape:
        return by_slices(function, *(array.reshape(1) for array in arrays)).reshape(())
    y = make(shape, dtype)
    parts = threads.parts(len(y), work=threads.MOVE * y.size)

    def work(part: slice) -> None:
        for n in threads.cached(part, SLICES * y[:1].nbytes):
            function(*(array[n] for array in arrays), out=y[n])

    threads.run(work, parts)
    return y


def _pointwise(
    op: str,
    x: np.ndarray,
    value: Callable[..., object],
    slope: Callable[[np.ndarray], np.ndarray],
) -> Op:
    """The op of y = value(x), which is written to `out`, and dx = dy · slope(x)."""
    require_arrays(op, x=x)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient(op, dy, x.shape, x.dtype)
        return by_slices(lambda x, dy, out: np.multiply(dy, slope(x), out=out), x, dy)

    return by_slices(value, x), backward


def _sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """σ(x) = 1 / (1 + e⁻ˣ); of complex numbers eˣ / (1 + eˣ) where Re x < 0, as 1 / ∞ is NaN."""
    if np.iscomplexobj(x):
        e = _falling(x)
        return np.divide(np.where(x.real < 0, e, 1), 1 + e, out=out)
    e = np.negative(x)
    with np.errstate(over="ignore"):  # 1 / ∞ is 0
        np.exp(e, out=e)
    e += 1
    return np.divide(1, e, out=out)


def _sigmoid_slope(x: np.ndarray) -> np.ndarray:
    """σ'(x) = e / (1 + e)², e = e^−|x|."""
    e = _falling(x)
    square = np.square(1 + e)
    return np.divide(e, square, out=square)


def _falling(x: np.ndarray) -> np.ndarray:
    """e^−|x|, |x| by the sign of the real part."""
    e = np.where(x.real < 0, x, -x) if np.iscomplexobj(x) else np.minimum(x, -x)
    return np.exp(e, out=e)


def _normal_slope(x: np.ndarray) -> np.ndarray:
    """Φ(x) + x φ(x)."""
    with np.errstate(over="ignore"):  # e^−∞ is 0
        density = np.exp(-0.5 * np.square(x)) / math.sqrt(2 * math.pi)
    return special.ndtr(x) + x * density


def _share_by_tanh(x: np.ndarray) -> np.ndarray:
    """σ(2v), 2v = 2 √(2/π) (x + 0.044715 x³)."""
    x = _bounded(x)
    return _sigmoid(math.sqrt(8 / math.pi) * x * (1 + 0.044715 * np.square(x)))


def _slope_by_tanh(x: np.ndarray) -> np.ndarray:
    """σ(2v) + x σ(2v) (1 − σ(2v)) 2v'."""
    share = _share_by_tanh(x)
    of_v = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * np.square(_bounded(x)))
    return share + x * (share * (1 - share) * of_v)


def _bounded(x: np.ndarray) -> np.ndarray:
    """x, whose powers may overflow, held to where they change nothing any more."""
    return x if np.iscomplexobj(x) else np.clip(x, -BEYOND, BEYOND)


_GELU = {
    "none": (special.ndtr, _normal_slope),
    "tanh": (_share_by_tanh, _slope_by_tanh),
}
