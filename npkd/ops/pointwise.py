"""Functions of each entry for itself: ReLU6, sigmoid, tanh, SiLU, GELU, and dropout by a mask."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy
from numpy.typing import DTypeLike

from npkd.arguments import require_arrays, shown
from npkd.engine import memory, threads
from npkd.ops.contract import Op, require_gradient

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

    def forward(x: np.ndarray, y: np.ndarray, passes: np.ndarray) -> None:
        if np.iscomplexobj(x):
            y[...] = np.where(x.real <= 0, 0, np.where(x.real >= 6, 6, x))
        else:
            np.clip(x, 0, 6, out=y)
        np.logical_and(y != 0, y != 6, out=passes)  # NaN is neither

    return _pointwise("relu6", x, forward, lambda passes: passes, kind=np.bool_)


def sigmoid(x: np.ndarray) -> Op:
    """The logistic function, y = σ(x) = 1 / (1 + e⁻ˣ).

    Shapes
        x of any shape  →  y of the same

    Definition
        y = 1 / (1 + e⁻ˣ)

    Backward, given dy = ∂L/∂y
        σ'(x) = e⁻ˣ / (1 + e⁻ˣ)² = σ(x) · e⁻ˣ / (1 + e⁻ˣ), and the last factor is 1 − σ(x):
        dx = dy · y (1 − y)

    Where e⁻ˣ overflows, y is 0.

    Example
        >>> y, backward = ops.sigmoid(np.log([1.0, 3.0]))
        >>> print(y.round(6), backward(np.array([1.0, 1.0])).round(6))
        [0.5  0.75] [0.25   0.1875]
    """

    def forward(x: np.ndarray, y: np.ndarray, share: np.ndarray) -> None:
        y[...] = _sigmoid(x, out=share)

    return _pointwise("sigmoid", x, forward, lambda share: share * (1 - share))


def tanh(x: np.ndarray) -> Op:
    """The hyperbolic tangent, y = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).

    Shapes
        x of any shape  →  y of the same

    Definition
        y = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)

    Backward, given dy = ∂L/∂y
        With s and c the numerator and the denominator, s' = c and c' = s, so that by the quotient
        rule the slope is (c² − s²) / c²:
        dx = dy · (1 − y²)

    Example
        >>> y, backward = ops.tanh(np.log([1.0, 3.0]))
        >>> print(y.round(6), backward(np.array([1.0, 1.0])).round(6))
        [0.  0.8] [1.   0.36]
    """

    def forward(x: np.ndarray, y: np.ndarray, kept: np.ndarray) -> None:
        y[...] = np.tanh(x, out=kept)

    return _pointwise("tanh", x, forward, lambda kept: 1 - np.square(kept))


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
    return _gated("silu", x, _sigmoid, lambda share, x: share * (1 + x * (1 - share)))


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
    return _gated("gelu", x, *_GELU[approximate])


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

    (y,) = by_slices(np.multiply, x, mask)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient("dropout", dy, shape, dtype)
        return by_slices(np.multiply, dy, mask)[0]

    return y, backward


def by_slices(
    function: Callable[..., object], *arrays: np.ndarray, kinds: Sequence[DTypeLike] = ()
) -> list[np.ndarray]:
    """What function(*arrays, *results) writes, slice by slice, into arrays like the first one.

    kinds: the dtypes of the results; by default there is one, of the first array's dtype.
    """
    shape, make = arrays[0].shape, memory.layout_of(arrays[0])
    if not shape:
        of_one = (array.reshape(1) for array in arrays)
        return [result.reshape(()) for result in by_slices(function, *of_one, kinds=kinds)]
    results = [make(shape, kind) for kind in kinds or [arrays[0].dtype]]
    every: Sequence[np.ndarray] = (*arrays, *results)
    if all(memory.layout_of(array) is make for array in arrays):
        every = [*map(memory.rows, every)]  # quicker than several axes
    parts = threads.parts(shape[0], work=threads.MOVE * arrays[0].size)

    def work(part: slice) -> None:
        for n in threads.cached(part, results[0][:1].nbytes):
            function(*(array[n] for array in every))

    threads.run(work, parts)
    return results


def _pointwise(
    op: str,
    x: np.ndarray,
    forward: Callable[..., object],
    slope: Callable[..., np.ndarray],
    *,
    kind: DTypeLike | None = None,
    of_x: bool = False,
) -> Op:
    """The op of dx = dy · slope(kept), where forward(x, y, kept) writes y and what is kept.

    kind: the dtype of what is kept, by default that of x. of_x: the slope is slope(kept, x).
    """
    require_arrays(op, x=x)
    shape, dtype = x.shape, x.dtype
    y, *needed = by_slices(forward, x, kinds=[dtype, kind or dtype])
    if of_x:
        needed.append(x)

    def part_of_backward(*arrays: np.ndarray) -> None:
        *given, dy, dx = arrays
        np.multiply(dy, slope(*given), out=dx)

    def backward(dy: np.ndarray) -> np.ndarray:
        require_gradient(op, dy, shape, dtype)
        return by_slices(part_of_backward, *needed, dy, kinds=[dtype])[0]

    return y, backward


def _gated(
    op: str,
    x: np.ndarray,
    share_of: Callable[..., np.ndarray],
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Op:
    """The op of y = x share, the share of x written by share_of(x, out); slope(share, x)."""

    def forward(x: np.ndarray, y: np.ndarray, share: np.ndarray) -> None:
        np.multiply(x, share_of(x, out=share), out=y)

    return _pointwise(op, x, forward, slope, of_x=True)


def _sigmoid(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """σ(x) = 1 / (1 + e⁻ˣ); of complex numbers eˣ / (1 + eˣ) where Re x < 0, as 1 / ∞ is NaN."""
    if np.iscomplexobj(x):
        negative = x.real < 0
        e = np.exp(np.where(negative, x, -x))
        return np.divide(np.where(negative, e, 1), 1 + e, out=out)
    np.negative(x, out=out)
    with np.errstate(over="ignore"):  # 1 / ∞ is 0
        np.exp(out, out=out)
    out += 1
    return np.divide(1, out, out=out)


def _normal_share(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Φ(x)."""
    return scipy.special.ndtr(x, out)  # SciPy loads it when it is first asked


def _normal_slope(share: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Φ(x) + x φ(x)."""
    with np.errstate(over="ignore"):  # e^−∞ is 0
        density = np.exp(-0.5 * np.square(x)) / math.sqrt(2 * math.pi)
    return share + x * density


def _share_by_tanh(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """σ(2v), 2v = 2 √(2/π) (x + 0.044715 x³)."""
    x = _bounded(x)
    return _sigmoid(math.sqrt(8 / math.pi) * x * (1 + 0.044715 * np.square(x)), out)


def _slope_by_tanh(share: np.ndarray, x: np.ndarray) -> np.ndarray:
    """σ(2v) + x σ(2v) (1 − σ(2v)) 2v'."""
    of_v = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * np.square(_bounded(x)))
    return share + x * (share * (1 - share) * of_v)


def _bounded(x: np.ndarray) -> np.ndarray:
    """x, whose powers may overflow, held to where they change nothing any more."""
    return x if np.iscomplexobj(x) else np.clip(x, -BEYOND, BEYOND)


_GELU = {
    "none": (_normal_share, _normal_slope),
    "tanh": (_share_by_tanh, _slope_by_tanh),
}
