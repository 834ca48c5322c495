"""Batch normalisation, alone and in one with what stands around it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npkd.arguments import as_float, require_arrays, shown
from npkd.engine import memory, threads
from npkd.ops.activation import positive_part
from npkd.ops.contract import require_gradient
from npkd.ops.conv import conv2d, convolve

SUMMED = 32  # rows whose sum is taken in the arrays' precision; such sums are added in double
LONG = 8192  # numbers of a row from which on NumPy does not copy one that meets many


def batch_norm(
    x: np.ndarray,
    w: np.ndarray | None = None,
    b: np.ndarray | None = None,
    mean: np.ndarray | None = None,
    variance: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
) -> Any:
    """Each channel less its mean, over its deviation; then scaled and shifted.

    Shapes
        x (N, C) or (N, C, H, W), each other array (C,) or None  →  y as x

    Definition (i runs over the m = N·H·W numbers of channel c)
        y[i,c] = (x[i,c] − μ[c]) r[c] w[c] + b[c],  r[c] = 1 / √(σ²[c] + ε)
        Without w it is 1, without b 0.

    Evaluation: mean and variance are given, and are μ and σ²
        y, backward = ops.batch_norm(x, w, b, mean, variance)
        dx, dw, db, dmean, dvariance = backward(dy)

    Training: neither is given, and both are those of x, which come third
        μ[c] = Σ_i x[i,c] / m,  σ²[c] = Σ_i (x[i,c] − μ[c])² / m
        y, backward, (mean, variance) = ops.batch_norm(x, w, b)
        dx, dw, db = backward(dy)
        This variance is the biased one, by which y is divided. What PyTorch keeps for evaluation
        (running_var) is made of the unbiased one, variance · m / (m − 1).

    Backward, given dy = ∂L/∂y; with x̂ = (x − μ) r, by channel
        y = x̂ w + b:          dw = Σ_i dy[i] x̂[i],  db = Σ_i dy[i]
        ∂y[i]/∂x[i] = r w:    dx[i] = r w dy[i]
        ∂y[i]/∂μ = −r w:      dμ = −r w Σ_i dy[i] = −r w db
        ∂r/∂σ² = −½ r³:       dσ² = −½ r³ w Σ_i dy[i] (x[i] − μ) = −½ r² w dw
        That is evaluation. In training x[i] reaches L through μ and σ² as well:
        ∂μ/∂x[i] = 1/m;  ∂σ²/∂x[i] = 2 (x[i] − μ)/m, as Σ_j (x[j] − μ) = 0 leaves nothing by way
        of μ. So dx[i] = r w dy[i] + dμ/m + 2 (x[i] − μ)/m dσ², and with the lines above
        dx[i] = r w (dy[i] − (db + x̂[i] dw)/m)

    `backward(dy, need_dx=False)` gives None for dx; what belongs to an argument that is None is
    None. NaN stays in its channel. Of complex numbers σ² is the sum of squares as they are, nothing
    is conjugated.

    The statistics take two passes, one for each sum, so that no digits are lost where the mean is
    large. Sums are of SUMMED rows, in double precision from there on.

    Raises ValueError if shapes or dtypes do not go together, if only one of mean and variance is
    given, if epsilon is no number of 0 or more, or in training if a channel has fewer than two
    numbers.
    Source: Ioffe and Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift"; the definition is that of torch.nn.functional.batch_norm.

    Example
        >>> y, backward, (mean, variance) = ops.batch_norm(np.array([[1.0], [5.0]]), epsilon=0.0)
        >>> dx, _, _ = backward(np.array([[1.0], [0.0]]))
        >>> print(y.ravel(), mean, variance, dx.ravel())
        [-1.  1.] [3.] [4.] [0. 0.]
        >>> y, backward = ops.batch_norm(np.array([[1.0]]), None, None, mean, variance, epsilon=0.0)
        >>> print(y, [g.item() for g in backward(np.array([[2.0]])) if g is not None])
        [[-1.]] [1.0, -1.0, 0.25]
    """
    return _normalise(x, w, b, mean, variance, epsilon=epsilon)


def batch_norm_relu(x: np.ndarray, *by_channel: np.ndarray | None, **options: Any) -> Any:
    """`batch_norm` and `relu` in turn, to the same bits: ReLU is taken of a tile that is at hand.

    y = max(batch_norm(x, …), 0); in the backward pass dy · [y > 0] takes the place of dy.
    """
    return _normalise(x, *by_channel, **options, with_relu=True)


def conv2d_norm(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    by_channel: tuple[np.ndarray, ...],
    *,
    epsilon: float = 1e-5,
    with_relu: bool = False,
    **options: Any,
) -> tuple[np.ndarray, Callable[..., Any]]:
    """`conv2d`, `batch_norm` in evaluation, and perhaps `relu` in turn, to the same bits, in one.

    by_channel: weight, bias, mean and variance. What lies between is not kept: the backward pass
    computes it again. It gives the gradients of `conv2d`, and those by `by_channel`.
    """
    scale, shift, mean, variance = by_channel
    named = {"w": scale, "b": shift, "mean": mean, "variance": variance}
    require_arrays("batch_norm", "", x=x, **named)
    r = _per_deviation(variance, epsilon)

    def finish(cells: int) -> Callable[[np.ndarray], None]:
        factor = (r * scale).astype(x.dtype)
        mu, factor, b = (np.tile(v, cells) for v in (mean, factor, shift))

        def of_rows(values: np.ndarray) -> None:
            values -= mu
            values *= factor
            values += b
            if with_relu:
                positive_part(values, out=values)

        return of_rows

    y, _ = convolve(x, w, b, **options, finish=finish)

    def backward(dy: np.ndarray, need_dx: bool = True) -> tuple[Any, Any]:
        z, backward_of_conv = conv2d(x, w, b, **options)
        _, backward_of_norm = _normalise(z, *by_channel, epsilon=epsilon, with_relu=with_relu)
        dz, *gradients = backward_of_norm(dy)
        return backward_of_conv(dz, need_dx), tuple(gradients)

    return y, backward


def _per_deviation(variance: np.ndarray, epsilon: float) -> np.ndarray:
    """r = 1/√(σ² + ε), in double precision."""
    return 1 / np.sqrt(variance.astype(np.result_type(variance, np.float64)) + float(epsilon))


class _Channels:
    """An array x (N, C, …) as `rows` of its memory, in each of which every channel has cells.

    Where channels are last in memory, a row is some cells with C channels each, at least the W of a
    row of an image; else it is an image, the cells of a channel after those of the other.
    """

    def __init__(self, x: np.ndarray):
        self.last = memory.layout_of(x) is memory.channels_last
        self.in_turn = self.last or x.ndim == 2
        self.count, self.cells = x.shape[1], math.prod(x.shape[3:] if self.last else x.shape[2:])
        self.size = self.count * self.cells  # what is summed: a row of an image, or all of it
        number = x.size // max(1, self.size)
        self.joined = _divisor(number, LONG // max(1, self.size)) if self.in_turn else 1
        self.shape = number // self.joined, self.joined * self.size
        self.double = np.result_type(x.dtype, np.float64)
        self.rows = self.rows_of(x)
        self.parts = threads.parts(max(1, len(self.rows)), work=threads.MOVE * x.size)

    def rows_of(self, x: np.ndarray) -> np.ndarray:
        """An array as rows in this order: a view if it has x's layout."""
        return (x.transpose(0, 2, 3, 1) if self.last else x).reshape(self.shape)

    def tiles(self, part: slice) -> list[slice]:
        """Some rows at a time, which stay in the cache with what is made of them."""
        return threads.cached(part, self.rows[:1].nbytes)

    def spread(self, v: np.ndarray) -> np.ndarray:
        """Numbers (C,) of channels as a row, in the precision of x."""
        cells = self.joined * self.cells
        if self.in_turn:
            row = np.broadcast_to(v, (cells, self.count))
        else:
            row = np.broadcast_to(v[:, None], (self.count, cells))
        return row.astype(self.rows.dtype, order="C").ravel()

    def add_up(self, of: Callable[[slice], list[np.ndarray]]) -> np.ndarray:
        """Sums (…, C) in double precision, from the `sums` that `of` gives for each tile."""

        def of_part(part: slice) -> list[np.ndarray]:
            of_tiles = zip(*[of(tile) for tile in self.tiles(part)], strict=True)
            return [np.concatenate(sums).sum(axis=0, dtype=self.double) for sums in of_tiles]

        sums = np.sum(threads.run(of_part, self.parts), axis=0)
        if self.in_turn:
            return sums.reshape(len(sums), self.cells, self.count).sum(axis=1)
        return sums.reshape(len(sums), self.count, self.cells).sum(axis=2)

    def sums(self, *factors: np.ndarray) -> np.ndarray:
        """Of rows, or of the products of two arrays' rows, sums of some each."""
        number = len(factors[0]) * self.joined
        some = _divisor(number, SUMMED)
        groups = [rows.reshape(number // some, some, self.size) for rows in factors]
        return np.einsum("gik,gik->gk" if len(groups) == 2 else "gik->gk", *groups)


def _divisor(number: int, most: int) -> int:
    """The largest divisor that is not above `most`."""
    return next((d for d in range(min(number, most), 0, -1) if number % d == 0), 1)


@np.errstate(under="ignore")  # rounding, as in threads.run
def _normalise(
    x: np.ndarray,
    w: np.ndarray | None = None,
    b: np.ndarray | None = None,
    mean: np.ndarray | None = None,
    variance: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
    with_relu: bool = False,
) -> Any:
    """Both. All that is (C,) is computed in double precision; r is 1/√(σ² + ε)."""
    require_arrays("batch_norm", "w b mean variance", x=x, w=w, b=b, mean=mean, variance=variance)
    m = _numbers_of_a_channel(x, w=w, b=b, mean=mean, variance=variance)
    if not 0 <= as_float(epsilon) < math.inf:
        raise ValueError(f"batch_norm: epsilon is {shown(epsilon)}, expected a number of 0 or more")
    channels, make, dtype, shape = _Channels(x), memory.layout_of(x), x.dtype, x.shape
    y = make(shape, dtype)
    X, Y = channels.rows, channels.rows_of(y)
    training = mean is None or variance is None
    if mean is None:
        mean = (channels.add_up(lambda tile: [channels.sums(X[tile])])[0] / m).astype(dtype)
    mu = channels.spread(mean)

    def squares(tile: slice) -> list[np.ndarray]:
        deviations = np.subtract(X[tile], mu, out=Y[tile])  # which stay there
        return [channels.sums(deviations, deviations)]

    if variance is None:
        variance = (channels.add_up(squares)[0] / m).astype(dtype)
    r = _per_deviation(variance, epsilon)
    rw = r if w is None else r * w
    scale, shift = channels.spread(rw), None if b is None else channels.spread(b)
    positive = memory.empty(X.shape, np.bool_) if with_relu else None

    def forward(part: slice) -> None:
        for tile in channels.tiles(part):
            values = Y[tile] if training else np.subtract(X[tile], mu, out=Y[tile])
            values *= scale  # y = (x − μ) r w + b
            if shift is not None:
                values += shift
            if positive is not None:
                positive_part(values, out=values)
                np.not_equal(values, 0, out=positive[tile])  # NaN is not 0

    threads.run(forward, channels.parts)

    @np.errstate(under="ignore")
    def backward(dy: np.ndarray, need_dx: bool = True) -> tuple[np.ndarray | None, ...]:
        require_gradient("batch_norm", dy, shape, dtype)
        dY, mu, scale = channels.rows_of(dy), channels.spread(mean), channels.spread(rw)
        dZ = dY if positive is None else memory.empty(dY.shape, dtype)  # what ReLU leaves of it
        dx = make(shape, dtype)
        dX = channels.rows_of(dx)

        def summands(tile: slice) -> list[np.ndarray]:
            if positive is not None:
                np.multiply(dY[tile], positive[tile], out=dZ[tile])
            deviations = np.subtract(X[tile], mu, out=dX[tile])  # which stay there
            return [channels.sums(dZ[tile]), channels.sums(dZ[tile], deviations)]

        db, products = channels.add_up(summands)
        dw = products * r
        dmu, dvar = -rw * db, -0.5 * rw * r * dw
        of_all = m or 1  # of no image there is no mean, and none is needed
        db_m, r_dw_m = channels.spread(db / of_all), channels.spread(r * dw / of_all)

        def part_of_backward(part: slice) -> None:
            for tile in channels.tiles(part):
                gradient = dX[tile]
                if training:  # dx = r w (dy − (db + x̂ dw)/m)
                    gradient *= r_dw_m
                    np.subtract(dZ[tile], gradient, out=gradient)
                    gradient -= db_m
                    gradient *= scale
                else:
                    np.multiply(dZ[tile], scale, out=gradient)

        if need_dx:
            threads.run(part_of_backward, channels.parts)
        gradients = [
            None if of is None else gradient.astype(dtype)
            for of, gradient in ((w, dw), (b, db), (mean, dmu), (variance, dvar))
        ]
        return (dx if need_dx else None, *(gradients[:2] if training else gradients))

    return (y, backward, (mean.copy(), variance)) if training else (y, backward)


def _numbers_of_a_channel(x: np.ndarray, **by_channel: np.ndarray | None) -> int:
    """N·H·W, or ValueError if shapes or what is given do not go together."""
    if x.ndim not in (2, 4):
        raise ValueError(f"batch_norm: x has shape {x.shape}, expected (N, C) or (N, C, H, W)")
    for name, array in by_channel.items():
        if array is not None and array.shape != (x.shape[1],):
            raise ValueError(
                f"batch_norm: {name} has shape {array.shape}, expected ({x.shape[1]},) as x is "
                f"{x.shape}"
            )
    mean, variance = by_channel["mean"], by_channel["variance"]
    if (mean is None) != (variance is None):
        given, other = ("variance", "mean") if mean is None else ("mean", "variance")
        raise ValueError(f"batch_norm: {given} is given without {other}, expected both or neither")
    m = len(x) * math.prod(x.shape[2:])
    if mean is None and m < 2:
        raise ValueError(
            f"batch_norm: x of shape {x.shape} has {m} in a channel, expected 2 numbers or more "
            "(or mean and variance)"
        )
    return m
