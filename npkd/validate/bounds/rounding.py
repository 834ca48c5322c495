"""How far rounding may take a computation: numbers that carry their bound with them.

The model of Higham 2002, section 2.2: an operation on two floating-point numbers gives the exact
result times (1 + δ), |δ| ≤ u, with u = 2⁻ᵗ for t significant bits; a fused multiply-add rounds once
where two operations round twice. A term that goes through k roundings is so off by a factor between
(1 − u)ᵏ and (1 + u)ᵏ, that is by at most

    γ_k = k u / (1 − k u)

of itself (lemma 3.1). A sum of n products, in whatever order it is added up, in blocks or by
threads, takes each term through at most n roundings: one for the product, n − 1 for the additions.

    |ŷ − y| ≤ γ_n Σ |a_i b_i|

Numbers below the smallest normal one may be flushed to zero, which is an error of their size; a sum
of n products is off by n times that, at most, besides. Where sums of absolute values come near the
largest number, nothing is promised: the bound is infinite there.

What a bound is compared with is computed in float64. Its own error, γ_k with u = 2⁻⁵³, is part of
`gamma`.

Sources: Higham 2002, "Accuracy and Stability of Numerical Algorithms"; Blanchard, Higham and Higham
2021, "Accurately computing the log-sum-exp and softmax functions"; Higham and Mary 2019, "A new
approach to probabilistic rounding error analysis", for `band`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

U64 = 2.0**-53
ULP = 4.0  # by which exp, log and their like are off at most: an assumption
WORST_ULP = 64.0  # beyond the worst that is known of a library's exp, 62 in MLX
CHANCE = 1e-6  # with which an entry may lie outside of the probabilistic band

Error = np.ndarray | float


@dataclass(frozen=True)
class Precision:
    """A floating-point format: significant bits, the hidden one counted, and its range."""

    name: str
    bits: int
    largest: float
    smallest: float  # normal number

    @property
    def u(self) -> float:
        """The unit roundoff, half the distance from 1 to the next number."""
        return 2.0**-self.bits

    def round(self, x: np.ndarray) -> np.ndarray:
        """x in float64, rounded to so many bits, fewer below the smallest; ∞ beyond the largest."""
        _, exponent = np.frexp(x)
        last = np.maximum(exponent, np.frexp(self.smallest)[1]) - self.bits  # 2^last is the unit
        rounded = np.ldexp(np.round(np.ldexp(x, -last)), last)
        return np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, x), rounded)


FLOAT64 = Precision("float64", 53, 2.0**1023 * (2 - 2.0**-52), 2.0**-1022)
FLOAT32 = Precision("float32", 24, 2.0**127 * (2 - 2.0**-23), 2.0**-126)
TF32 = Precision("TF32", 11, 2.0**127 * (2 - 2.0**-10), 2.0**-126)
FLOAT16 = Precision("float16", 11, 65504.0, 2.0**-14)
BFLOAT16 = Precision("bfloat16", 8, 2.0**127 * (2 - 2.0**-7), 2.0**-126)


@dataclass(frozen=True)
class Arithmetic:
    """In which precisions a computation is done.

    stored    of the tensors, and of operations entry by entry
    summed    of what sums are kept in before they are stored; it is not below `stored`
    factors   to which the factors of sums of products are rounded before, or None if they are not:
              what TF32 and its like do silently
    measured  the effective bits of few products, if not those of their factors
    transforms  whether convolutions may be done by any transform
    ulp       by which exp, log and their like are off, at most
    """

    name: str
    stored: Precision
    summed: Precision
    factors: Precision | None = None
    measured: float | None = None
    transforms: bool = False
    ulp: float = ULP

    @property
    def keeps(self) -> float:
        """The effective bits of a sum of few products."""
        return self.measured or (self.factors or self.stored).bits

    @property
    def of_exp(self) -> int:
        """The roundings that exp, log and their like count for: an ulp is up to 2 u."""
        return math.ceil(2 * self.ulp)

    def gamma(self, k: float | np.ndarray) -> Error:
        """γ_k of operations entry by entry, and of the reference's float64."""
        return _gamma(k, self.stored.u) + _gamma(k, U64)

    def gamma_of_sum(self, k: float | np.ndarray, stores: int = 1) -> Error:
        """γ_k of a sum's terms, and of storing it, once or with a bias twice."""
        store = 0.0 if self.stored is self.summed else _gamma(stores, self.stored.u)
        return _gamma(k, self.summed.u) + store + _gamma(k, U64)

    def band(self, k: float) -> float:
        """What √k λ u is of γ_k: errors of rounding, if they are random, stay within this share.

        λ = √(2 ln(2 k / CHANCE)), Higham and Mary 2019, theorem 2.4.
        """
        return min(1.0, math.sqrt(2 * math.log(2 * max(k, 1) / CHANCE)) / math.sqrt(max(k, 1)))


def _gamma(k: float | np.ndarray, u: float) -> Error:
    """k u / (1 − k u); infinite from k u = 1 on."""
    if np.ndim(k) == 0:
        one = float(k) * u
        return one / (1 - one) if one < 1 else np.inf
    ku = np.multiply(k, u)
    with np.errstate(divide="ignore"):
        return np.where(ku < 1, ku / np.maximum(1 - ku, 0), np.inf)


ARITHMETICS = {
    "float64": Arithmetic("float64", FLOAT64, FLOAT64),
    "float32": Arithmetic("float32", FLOAT32, FLOAT32),
    "float16": Arithmetic("float16", FLOAT16, FLOAT32),
    "bfloat16": Arithmetic("bfloat16", BFLOAT16, FLOAT32),
}
# What a computation that says it is in one of these may be in without saying so.
LOWER: dict[str, tuple[Arithmetic, ...]] = {
    "float64": (
        ARITHMETICS["float32"],
        Arithmetic("TF32", FLOAT32, FLOAT32, TF32),
        Arithmetic("float16", FLOAT16, FLOAT32, FLOAT16),
        Arithmetic("bfloat16", BFLOAT16, FLOAT32, BFLOAT16),
    ),
    "float16": (Arithmetic("float16 in sums", FLOAT16, FLOAT16),),
    "bfloat16": (Arithmetic("bfloat16 in sums", BFLOAT16, BFLOAT16),),
}


def _emulated(parts: str, products: str, bits: int, measured: float) -> Arithmetic:
    """float32 by products of parts in a lower precision, as if factors had so many bits."""
    name = f"float32 by {products} {parts} products"
    return Arithmetic(name, FLOAT32, FLOAT32, replace(FLOAT32, name=name, bits=bits), measured)


# A factor of two parts of t bits each is off by 2⁻²ᵗ of itself, and the product of the second
# parts is left out: 3 · 2⁻²ᵗ of each term, less than by two factors of 2t − 1 bits. Six products of
# three parts of 8 bits leave out 2 · 2⁻²⁴, and each factor 2⁻²⁴. The effective bits are those of
# products of normal numbers, simulated by `benchmarks.verdicts.forms`.
EMULATED = (
    _emulated("bfloat16", "six", 22, 24.0),
    _emulated("TF32", "three", 21, 22.5),
    _emulated("bfloat16", "three", 15, 17.0),
)
LOWER["float32"] = EMULATED + LOWER["float64"][1:]


@dataclass(eq=False)
class Rounded:
    """An array as exact arithmetic has it, and how far from it a right computation may be.

    value      in float64 (labels and the like: integers)
    error      the bound, entry by entry, or one number for all
    jump       how much farther, where a decision (ReLU's, max-pool's) is within its bound, or by
               another formula for the same function
    roundings  that a term goes through, at most: for the probabilistic band
    scale      gives Q = √Σ a² b², where the value is a sum of products: for the effective precision
    transforms gives, by name, how far a transform may be off (Winograd's, Fourier's), where there
               are some
    """

    value: np.ndarray
    error: Error = 0.0
    jump: Error = 0.0
    roundings: int = 0
    scale: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    transforms: Callable[[], dict[str, np.ndarray]] | None = field(default=None, repr=False)

    @property
    def total(self) -> Error:
        """Error and jump."""
        return self.error + self.jump

    @property
    def most(self) -> np.ndarray:
        """The largest absolute value that a right computation may have here."""
        return np.abs(self.value) + self.total


def exact(array: np.ndarray) -> Rounded:
    """Given numbers: floats in float64, integers and complex ones as they are."""
    array = np.asarray(array)
    return Rounded(array if array.dtype.kind in "iubc" else array.astype(np.float64))


Operation = Callable[..., list[np.ndarray]]


def sums_of_products(
    arithmetic: Arithmetic,
    operation: Operation,
    inputs: list[Rounded],
    roundings: list[int],
    *,
    factors: int | None = None,
    divisor: float = 1,
) -> list[Rounded]:
    """What an operation gives whose results are sums of products of its inputs.

    operation(*arrays) gives the results; given absolute values, it gives the sums of those of the
    terms. Results off by E at most in their inputs, and with k roundings, are off by at most

        op(|a| + E_a, |b| + E_b) − op(|a|, |b|) + γ_k op(|a| + E_a, |b| + E_b)

    roundings: k of each result. factors: how many of the inputs, the first ones, are factors of
    products, which `arithmetic.factors` rounds (all, by default); a bias is none. divisor: by which
    sums are divided, at most; before that they may come near the largest number.
    """
    values = [x.value for x in inputs]
    count = len(inputs) if factors is None else factors
    errors = [
        _error_of_input(arithmetic, x, i < count and arithmetic.factors is not None)
        for i, x in enumerate(inputs)
    ]
    results = operation(*values)
    sums = [np.abs(x) for x in operation(*map(np.abs, values))]  # a divisor may be negative
    totals = sums
    if any(np.any(error) for error in errors):
        most = [np.abs(x) + e for x, e in zip(values, errors, strict=True)]
        totals = [np.abs(x) for x in operation(*most)]

    def scale(i: int) -> Callable[[], np.ndarray]:
        squares = [
            np.zeros_like(x) if 0 < count <= k else np.square(x) for k, x in enumerate(values)
        ]
        return lambda: np.sqrt(np.abs(operation(*squares)[i]))

    outcome = []
    for i, k in enumerate(roundings):
        gamma = arithmetic.gamma_of_sum(k, stores=2 if count < len(inputs) else 1)
        error = totals[i] - sums[i] + gamma * totals[i] + k * arithmetic.stored.smallest
        largest = arithmetic.stored.largest / max(abs(divisor), 1)
        error = np.where(totals[i] + error > largest, np.inf, error)
        if not all(np.all(np.isfinite(x)) for x in values):
            for_sure = np.isfinite(results[i]) | _not_finite(operation, values, count, i)
            error = np.where(for_sure, error, np.inf)  # 0 · ∞ may have been left out
        outcome.append(Rounded(results[i], error, roundings=k, scale=scale(i)))
    return outcome


def _not_finite(
    operation: Operation, values: list[np.ndarray], count: int, result: int
) -> np.ndarray:
    """Where a number that is not finite meets none that is 0: no order of summation leaves it out.

    count: how many of the values, the first ones, are factors; a bias is added.
    """
    sizes = [np.nan_to_num(np.abs(x), nan=1.0, posinf=1.0) for x in values]
    reached: np.ndarray | bool = False
    for i, x in enumerate(values):
        is_factor = i < count or count == 0
        given = [
            (~np.isfinite(x)).astype(np.float64)
            if k == i
            else size
            if is_factor and (k < count or count == 0)
            else np.zeros_like(size)
            for k, size in enumerate(sizes)
        ]
        reached = reached | (operation(*given)[result] != 0)
    return np.asarray(reached)


def _error_of_input(arithmetic: Arithmetic, x: Rounded, is_rounded: bool) -> np.ndarray:
    """Its error, its flush to zero, and its rounding as a factor."""
    size = np.abs(x.value)
    error = np.where(size < arithmetic.stored.smallest, size, 0.0) + x.total
    if is_rounded and arithmetic.factors is not None:
        lower = arithmetic.factors
        error = error + lower.u * (size + error) + np.where(size < lower.smallest, size, 0.0)
    return error
