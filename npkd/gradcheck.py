"""Gradient checks for anyone's `function(*args) -> (y, backward)` or loss `-> (value, gradient)`.

    gradcheck.check(function, *args, rng=rng)                      # raises unless it is right
    result = gradcheck.compare(function, *args, rng=rng)           # tells
    gradcheck.check_contract(function, *args, rng=rng)

All checks compare the two sides of one identity, with J the derivative of the function at the
arguments and ⟨a, b⟩ = Σ a b, never conjugated:

    s₁ = ⟨dy, J v⟩ = ⟨backward(dy), v⟩ = s₂

for a random dy, and for v either one random direction of all arguments together, or every unit
direction in turn (`entrywise`): one random direction dilutes a single wrong entry. They differ in
where J v comes from, without the backward pass:

    "complex"   J v = Im f(x + i h v) / h with h = 1e-30. For an analytic f nothing is subtracted,
                so it is exact to rounding, and no step crosses a kink: what decides (ReLU,
                max-pool) must do so by the real part. At an exact tie it sees the branch taken.
    "affine"    J v = f(x + v) − f(x), exact for a function that is affine in each argument alone.
    "linear"    J v = f(v), v in place of an argument in which the function is linear: the test of
                an adjoint, ⟨A v, dy⟩ = ⟨v, Aᵀ dy⟩. Takes complex arguments too.
    "central"   J v ≈ (f(x + h v) − f(x − h v)) / 2h, for functions that cannot take complex
                numbers, with the best of many steps, an estimate of its error, and the kinks near
                the point found and reported.

The answer is one of three. With B the difference that is allowed, S = Σ |gᵢ vᵢ| + Σ |dyⱼ (J v)ⱼ|:

    RIGHT       |s₁ − s₂| ≤ B, and B is small: a fault δg with |⟨δg, v⟩| ≥ power · S would have been
                seen, and power is reported, at most 1e-3 unless another is asked for
    WRONG       |s₁ − s₂| > B, or g is not finite while the value is
    UNDECIDED   everything else, with the reason and what would decide it; among it whatever gives
                other bits when it is called again at the same point: that is not a function

B is measured, not declared. What rounding does to s₁ − s₂ is not seen at one point, but it is
beside it. Along a ray x + t w from the point, t from some units in the last place on,

    rounding                     makes s₁ − s₂ jump from one point of the ray to the next
    a fault                      stays as it is, or changes as little as t does
    a kink at the point itself   makes a step between the point and the ray, and none along it

so B is 1e-14 S (1e-13 for an entry) and 32 times the steps of s₁ − s₂ along rays. A right backward
pass is right on both sides of a kink; at the point it is the branch taken that is compared.

Where both sides are but what rounding left of larger parts that cancel, as in the gradient of
Σ batch_norm(x), which is 0, S says nothing. Rounding then tells the parts: they are some 2⁵³ times
larger than it. Zero by cancellation is right if it is as small everywhere beside the point, if
rounding is as large near the point as far from it, and if differences find no derivative either.

The complex step and a backward pass may share one mistake: both lose |x|, whose imaginary part is
0. So central differences are always asked as well; they are weak and need nothing analytic.

This module imports nothing else of npkd, so that it can judge the rest.

Sources: Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions";
Ridders 1982, "Accurate computation of F'(x) and F'(x) F''(x)", for the choice of the step; Moré and
Wild 2011, "Estimating computational noise", for the tables of differences.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

RIGHT, WRONG, UNDECIDED = "RIGHT", "WRONG", "UNDECIDED"
METHODS = ("complex", "affine", "linear", "central")
POWER = 1e-3  # the largest fault, relative to S, that RIGHT may leave unseen
STEP = 1e-30  # of the complex step
STEPS = 0.25 ** np.arange(1, 15)  # of central differences, 0.25 … 3.7e-9; see `_steps`
NEAR = 8  # STEPS[NEAR], 3.8e-6: kinks between x − h v and x + h v with this h are looked for
AT_THE_POINT = 1e-4  # of that h: a nearer kink cannot be told from one at the point itself
MOST_TO_LOCATE = 2000  # entries up to which a failure along a direction is traced to an entry

ULP = 2.0**-52
DISTANCES = (2.0**-44, 2.0**-35, 2.0**-21, 2.0**-10)  # of points on a ray, relative to x
MOST_STRETCHED = 2.0**-21  # relative to v, which moves with x
RAYS = 4
DRAWS = 4  # of directions, of which the best is taken
OF_NOISE = 32  # how many times the rounding measured is allowed
FIRST = DISTANCES[2]  # does, on one ray, where both sides agree at once
SPACINGS = 2.0 ** np.array(
    [-44, -36, -28, -24, -20, -16, -13, -10, -8, -6]
)  # of tables of differences
OPINION = ((-6, -8, -10, -12), (-15, -18, -21, -24), (-28, -32, -36))  # steps 2^k of a difference


@dataclass(frozen=True)
class Crossing:
    """A kink of one output near the point: at x + t v its slope along v goes from one to another.

    output names the entry. at_the_point: t is too small to say on which side of it the point
    lies; any slope between the two may then be meant.
    """

    output: str
    t: float
    before: float
    after: float
    at_the_point: bool

    def __str__(self) -> str:
        text = f"{self.output} changes its slope from {self.before:.6g} to {self.after:.6g}"
        if self.at_the_point:
            return f"{text} at the point itself: any slope between is one"
        return f"{text} at t = {self.t:.3g}: the slope on the point's side was taken"


@dataclass(frozen=True)
class Result:
    """What a comparison found: along its direction, or at the worst of its entries.

    answer         RIGHT, WRONG or UNDECIDED; of all entries, WRONG if one is, RIGHT if all are
    reason         why, in a line, where it is not simply that the two sides agree or do not
    method         where J v came from
    argument       "argument 0", 'argument 1["fc1.bias"]', or "all arguments"
    index          the entry, or None for a random direction
    backward       s₂ = ⟨backward(dy), v⟩, for an entry its gradient
    expected       s₁ = ⟨dy, J v⟩
    scale          S = Σ |g v| + Σ |dy (J v)|
    tolerance      1e-14 along a direction, 1e-13 for an entry
    uncertainty    what is allowed beside tolerance · scale: what rounding was measured to do, and
                   for differences their estimated error
    opinion        the smallest ⟨δg, v⟩ that differences would have seen if the complex step shared
                   the mistake; 0 for the other methods, which have no such assumption
    smallest       the smallest |vᵢ| of the direction
    branch_only    the point is a kink, and it is the branch taken there that was compared
    directions     how many were compared
    entries        the results of all of them, if entrywise
    crossings      kinks near the point, for "central"
    switched       units that decide otherwise at x − h v and x + h v, where `branches` was given
    notes          what else was found out where the answer is not RIGHT
    """

    answer: str
    reason: str
    method: str
    argument: str = "all arguments"
    index: tuple[int, ...] | None = None
    backward: float = 0.0
    expected: float = 0.0
    scale: float = 0.0
    tolerance: float = 0.0
    uncertainty: float = 0.0
    opinion: float = 0.0
    smallest: float = 1.0
    branch_only: bool = False
    directions: int = 1
    entries: tuple["Result", ...] = ()
    crossings: tuple[Crossing, ...] = ()
    switched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the answer is RIGHT."""
        return self.answer == RIGHT

    @property
    def error(self) -> float:
        """|expected − backward|."""
        return float(np.abs(self.expected - self.backward))

    @property
    def relative(self) -> float:
        """The error in units of `scale`."""
        return _ratio(self.error, self.scale)

    @property
    def allowed(self) -> float:
        """B, the largest error that is accepted."""
        return self.tolerance * self.scale + self.uncertainty

    @property
    def of_allowed(self) -> float:
        """The error in units of what is allowed."""
        return _ratio(self.error, self.allowed)

    @property
    def power(self) -> float:
        """A fault δg with |⟨δg, v⟩| ≥ power · scale would have been seen.

        At the point the fault alone would make |s₁ − s₂| at least 2 B, or, if the complex step has
        it too, differences would disagree.
        """
        return _ratio(max(2 * self.allowed, self.opinion), self.scale)

    @property
    def power_if_analytic(self) -> float:
        """The same for a function that is known to be analytic on its branches: 2 B / scale."""
        return _ratio(2 * self.allowed, self.scale)

    @property
    def single_entry(self) -> float:
        """A fault of one entry of the gradient, from this size on, would have been seen."""
        return max(2 * self.allowed, self.opinion) / self.smallest

    @property
    def where(self) -> str:
        """The argument and the entry, or that it was a random direction."""
        if self.index is None:
            return f"along a random direction of {self.argument}"
        return f"{self.argument} at {self.index}"

    def __str__(self) -> str:
        worst = f", the worst of {self.directions}" if self.directions > 1 else ""
        counts = [(a, sum(e.answer == a for e in self.entries)) for a in (WRONG, UNDECIDED)]
        of = ", ".join(f"{count} {answer}" for answer, count in counts if count)
        lines = [f"gradient is {self.answer.lower()}: {self.where}{worst}{of and f' ({of})'}"]
        if self.reason:
            lines.append(f"    {self.reason}")
        if self.scale or self.error:
            why = f"{self.tolerance:g} of Σ|g v| + Σ|dy (J v)| = {self.scale:.3g}"
            if self.uncertainty:
                why += f", and {self.uncertainty:.3g} for what was measured beside the point"
            lines += [
                f"    backward gives {self.backward:.17g}",
                f"    {_SAYS[self.method]} {self.expected:.17g}",
                f"    they differ by {self.error:.3g}, relatively {self.relative:.3g}; "
                f"allowed is {self.allowed:.3g} ({why})",
            ]
        if self.ok and self.directions:
            lines.append(f"    {self._seen()}")
        if self.branch_only:
            lines.append("    the point is a kink: this holds on the branch taken only")
        return "\n".join(
            [
                *lines,
                *(f"    {line}" for line in self.notes),
                *(f"    {line}" for line in _some("kink: ", self.crossings)),
                *(f"    {line}" for line in _some("changes branch: ", self.switched)),
            ]
        )

    def _seen(self) -> str:
        """What would not have been right."""
        text = f"a fault of {self.power:.1g} of that sum would have been seen"
        if self.index is None:
            text += f", in a single entry of the gradient one of {self.single_entry:.1g}"
        if self.method == "complex" and self.power_if_analytic < self.power:
            text += f"; of {self.power_if_analytic:.1g} if the function is analytic"
        return text


_SAYS = {
    "complex": "the complex step gives",
    "affine": "a step of 1 gives",
    "linear": "the function itself gives",
    "central": "central differences give",
}


def check(function: Callable[..., Any], *args: Any, **options: Any) -> Result:
    """`compare`, raising AssertionError with the result's text unless the answer is RIGHT."""
    result = compare(function, *args, **options)
    if not result.ok:
        raise AssertionError(str(result))
    return result


def compare(
    function: Callable[..., Any],
    *args: Any,
    rng: np.random.Generator | int,
    method: str = "complex",
    entrywise: bool = False,
    sample: int | None = None,
    power: float = POWER,
    branches: Callable[..., Any] | None = None,
) -> Result:
    """Whether `backward` is the transpose of the derivative of `function` at `args`.

    function: called with arrays like `args`, it returns (y, backward), where backward(dy) is the
    gradient by the argument or a tuple of those by each; or, as losses do, (value, gradient), taken
    as that of the sum where `value` is an array. A framework's arrays are taken as NumPy takes
    them. It is called many times, at the point and beside it.

    args: arrays or dicts of arrays; y and dy may be dicts of arrays too. All are promoted to
    float64 (complex128 if one is complex, which only "linear" takes). rng, a Generator or a seed,
    draws dy and directions, whose entries are between ½ and 1½ in size, so that none is left out.

    entrywise: every entry of every argument, or of each array as many as `sample` says, drawn by
    rng, each with an answer of its own; by default one random direction.

    power: the largest fault, relative to S, that may remain unseen where the answer is RIGHT.

    branches: branches(*args) gives what units decide (x > 0, say), as an array or a
    dict of arrays; those that decide otherwise on the two sides of the point are then named.

    Where the answer is not RIGHT, the result's notes say what else was found: what a central
    difference gives, and, along a random direction, which entry is worst.

    Raises AssertionError where gradients have not the shapes of the arguments, TypeError where the
    function returns no pair, and ValueError for arguments that make no sense.

        >>> import numpy as np
        >>> x = np.array([0.5, -1.0, 2.0])
        >>> compare(lambda x: (x**3, lambda dy: 3 * x**2 * dy), x, rng=0).answer
        'RIGHT'
        >>> compare(lambda x: (x**3, lambda dy: 2 * x**2 * dy), x, rng=0).answer
        'WRONG'
    """
    rng = _generator(rng)
    _require_sense(method, sample, power)
    x = _Vector.of_arguments(args)
    if np.iscomplexobj(x.values) and method != "linear":
        raise ValueError(f'gradcheck: complex arguments go with method "linear", not {method!r}')
    trial = _Trial(function, x, rng, method, 1e-13 if entrywise else 1e-14, power)
    result = trial.without_comparison() or _worst(
        [
            trial.judged(direction)
            for direction in (
                _unit_directions(x, rng, sample)
                if entrywise
                else _random_directions(x, rng, method, trial.here.g)
            )
        ],
        method,
    )
    if not trial.same_again():
        return Result(UNDECIDED, NOT_A_FUNCTION, method)
    if branches is not None:
        units = [unit for _, _, v, _ in trial.compared for unit in _switched(branches, x, v)]
        result = replace(result, switched=tuple(dict.fromkeys(units)))
    return result


NOT_A_FUNCTION = (
    "not a function: called again at the same point it gives other bits; fix what it draws or "
    "remembers (a dropout mask, say)"
)


def _worst(results: list[Result], method: str) -> Result:
    """The worst of these, which speaks for all."""
    if not results:
        return Result(
            UNDECIDED, "nothing was compared: no argument has entries", method, directions=0
        )
    by_answer = {WRONG: 2, UNDECIDED: 1, RIGHT: 0}
    worst = max(results, key=lambda result: (by_answer[result.answer], result.of_allowed))
    crossings = tuple(crossing for result in results for crossing in result.crossings)
    entries = tuple(results) if worst.index is not None else ()
    return replace(worst, directions=len(results), entries=entries, crossings=crossings)


def check_contract(
    function: Callable[..., Any],
    *args: np.ndarray,
    rng: np.random.Generator,
    batched: Sequence[int] = (),
    views: bool = False,
) -> None:
    """Raise AssertionError unless the function keeps what npkd's ops and losses promise.

    - no argument is changed, nor dy
    - backward twice gives the same bits, another dy in between or not
    - calls know nothing of each other: one on other arguments changes no earlier value nor backward
      pass; nor does it change a backward pass if its value is written to (`views`: it may)
    - values and gradients have the dtype of the arguments, float32 and float64, gradients their
      shapes
    - arguments and dy may be read-only, which changes no bit, and lie in memory in any order
    - a batch of none gives values and gradients: arguments whose numbers are in `batched` are cut
      to none along their first axis, and gradients by the others are then 0
    - outputs are fresh: arguments, dy, values and the gradients of two calls share no memory
      (`views`: but for outputs that are views by intention)

    function and args: as for `compare`, args being arrays. Floats are given in their own dtype.
    """
    for dtype in (np.float32, np.float64):
        _Contract(function, [np.array(a, dtype) for a in args], rng).check(batched, views)


def _generator(rng: Any) -> np.random.Generator:
    """A Generator as it is, or that of a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool) and rng >= 0:
        return np.random.default_rng(rng)
    raise ValueError(f"gradcheck: rng is {rng!r}, expected a numpy Generator or a seed from 0")


def _require_sense(method: str, sample: int | None, power: float) -> None:
    if method not in METHODS:
        raise ValueError(f"gradcheck: method is {method!r}, expected one of {METHODS}")
    if sample is not None and (not isinstance(sample, int | np.integer) or sample < 1):
        raise ValueError(f"gradcheck: sample is {sample!r}, expected a whole number from 1")
    if not 0 < power < 1:
        raise ValueError(f"gradcheck: power is {power!r}, expected a number between 0 and 1")


# Vectors: all arguments, or all outputs, in a row


@dataclass
class _Vector:
    """Arrays, or dicts of arrays, as one flat vector; eps is the coarsest of their precisions."""

    trees: tuple[Any, ...]
    names: list[str]
    shapes: list[tuple[int, ...]]
    values: np.ndarray
    eps: float

    @classmethod
    def of(cls, tree: Any, name: str) -> "_Vector":
        return cls._of_leaves((tree,), list(_leaves(tree, name)))

    @classmethod
    def of_arguments(cls, args: Sequence[Any]) -> "_Vector":
        leaves = [leaf for k, arg in enumerate(args) for leaf in _leaves(arg, f"argument {k}")]
        for name, array in leaves:
            if array.dtype.kind not in "fciub":
                raise ValueError(
                    f"gradcheck: {name} holds {array.dtype}, expected numbers (give what is no "
                    "number to the function yourself: lambda x: function(x, labels))"
                )
        return cls._of_leaves(tuple(args), leaves)

    @classmethod
    def _of_leaves(cls, trees: tuple[Any, ...], leaves: list[tuple[str, np.ndarray]]) -> "_Vector":
        arrays = [array for _, array in leaves]
        dtype = np.result_type(np.float64, *arrays)
        flat = [np.ravel(array).astype(dtype, copy=False) for array in arrays]
        values = np.concatenate(flat) if flat else np.empty(0)
        eps = max((np.finfo(a.dtype).eps for a in arrays if a.dtype.kind in "fc"), default=0)
        names, shapes = [name for name, _ in leaves], [a.shape for a in arrays]
        return cls(trees, names, shapes, values, float(eps))

    def like(self, values: np.ndarray) -> list[Any]:
        """Other values in the same arrays and dicts, which may be written to."""
        arrays = (
            values[leaf].reshape(shape).copy()
            for leaf, shape in zip(self.leaves, self.shapes, strict=True)
        )
        return [
            {key: next(arrays) for key in tree} if isinstance(tree, Mapping) else next(arrays)
            for tree in self.trees
        ]

    @property
    def leaves(self) -> list[slice]:
        """Where each array lies."""
        ends = list(accumulate((math.prod(shape) for shape in self.shapes), initial=0))
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def arrays(self, values: np.ndarray) -> list[np.ndarray]:
        """The part of these values that lies in each array, in a row."""
        return [values[leaf] for leaf in self.leaves]

    def array(self, i: int) -> int:
        """The number of the array that holds entry i."""
        return next(k for k, leaf in enumerate(self.leaves) if i < leaf.stop)

    def index(self, i: int) -> tuple[int, ...]:
        """The index of entry i in its array."""
        k = self.array(i)
        index = np.unravel_index(i - self.leaves[k].start, self.shapes[k])
        return tuple(int(n) for n in index)

    def entry(self, i: int) -> str:
        """Entry i by the name of its array and its index there."""
        return f"{self.names[self.array(i)]} at {self.index(i)}"


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield f'{name}["{key}"]', np.asarray(value)
    else:
        yield name, np.asarray(tree)


def _called(function: Callable[..., Any], args: list[Any]) -> tuple[Any, Any]:
    result = function(*args)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(
            f"gradcheck: the function returned a {type(result).__name__}, "
            "expected (y, backward) or (value, gradient)"
        )
    return result[0], result[1]


def _gradient(given: Any, x: _Vector) -> np.ndarray:
    """The gradients in a row, one of its own shape for each argument.

    None at the end, for an argument that was not given, is left out.
    """
    found = list(given) if isinstance(given, tuple | list) else [given]
    while len(found) > len(x.trees) and found[-1] is None:
        found.pop()
    for k, gradient in enumerate(found):
        if gradient is None:
            raise AssertionError(f"the gradient by argument {k} is None")
    for k, (gradient, tree) in enumerate(zip(found, x.trees, strict=False)):
        if isinstance(gradient, Mapping) and isinstance(tree, Mapping):  # in the argument's order
            found[k] = {key: gradient[key] for key in [*tree, *gradient] if key in gradient}
    gradients = _Vector.of_arguments(found)
    if len(found) != len(x.trees) or gradients.shapes != x.shapes or gradients.names != x.names:
        got, expected = (
            ", ".join(f"{n} {s}" for n, s in zip(v.names, v.shapes, strict=True))
            for v in (gradients, x)
        )
        raise AssertionError(f"gradients are by {got}; expected {expected}")
    return gradients.values


def _weights(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """Numbers between ½ and 1½ in size, of either sign; complex ones have two such parts."""

    def real() -> np.ndarray:
        size = rng.uniform(-1, 1, like.shape)
        return np.copysign(0.5 + np.abs(size), size)

    return real() + 1j * real() if np.iscomplexobj(like) else real()


Direction = tuple[str, tuple[int, ...] | None, np.ndarray, slice]  # its name, entry, v, and array


def _unit_directions(
    x: _Vector, rng: np.random.Generator, sample: int | None
) -> Iterator[Direction]:
    """v = 1 at one entry and 0 elsewhere: for all entries, or for a sample of each array."""
    for k, leaf in enumerate(x.leaves):
        entries = np.arange(leaf.start, leaf.stop)
        if sample is not None and sample < len(entries):
            entries = np.sort(rng.choice(entries, sample, replace=False))
        for i in entries:
            v = np.zeros_like(x.values)
            v[i] = 1
            yield x.names[k], x.index(int(i)), v, leaf


def _random_directions(
    x: _Vector, rng: np.random.Generator, method: str, g: np.ndarray
) -> Iterator[Direction]:
    """v of all arguments together; for functions affine or linear in each alone, of each alone.

    Of a few that are drawn, that along which the terms of ⟨g, v⟩ cancel least: a gradient wrong by
    a factor is wrong by as much in what is compared.
    """

    def drawn(leaf: slice) -> np.ndarray:
        v = _weights(rng, x.values[leaf])
        turned = (np.roll(v, rng.integers(v.size)) if v.size else v for _ in range(DRAWS))
        return max(turned, key=lambda v: float(np.abs(np.vdot(g[leaf], v))))

    if method in ("affine", "linear"):
        for name, leaf in zip(x.names, x.leaves, strict=True):
            v = np.zeros_like(x.values)
            v[leaf] = drawn(leaf)
            yield name, None, v, leaf
    elif x.names:
        name = x.names[0] if len(x.names) == 1 else "all arguments"
        everything = slice(0, x.values.size)
        yield name, None, drawn(everything), everything


# Derivatives along v


@dataclass
class _Slope:
    """J v for each output, what a difference lost to rounding, and what else is uncertain."""

    value: np.ndarray
    subtracted: np.ndarray | float = 0.0  # the sizes of what was subtracted
    estimated: np.ndarray | float = 0.0
    eps: float = 0.0  # of the precision of what was subtracted
    unchanged: np.ndarray | bool = False  # outputs that no step along v changes at all
    crossings: tuple[Crossing, ...] = ()

    def error(self, tolerance: float) -> np.ndarray | float:
        return np.maximum(tolerance, 8 * self.eps) * self.subtracted + self.estimated


Function = Callable[[np.ndarray], _Vector]


def _complex_step(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> _Slope:
    try:
        return _Slope(np.imag(f(x + 1j * STEP * v).values) / STEP)
    except Exception as error:
        error.add_note(
            "gradcheck called the function with complex arguments, for the complex step; "
            'for one that cannot take them there is method="central"'
        )
        raise


def _unit_step(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> _Slope:
    after, before = f(x + v), f(x).values
    size = np.abs(after.values) + np.abs(before)
    return _Slope(after.values - before, size, eps=after.eps)


def _in_place(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> _Slope:
    x = x.copy()
    x[moved] = v[moved]
    return _Slope(f(x).values)


def _central_difference(
    f: Function, x: np.ndarray, v: np.ndarray, y: np.ndarray, outputs: _Vector, rounding: np.ndarray
) -> _Slope:
    """(f(x + h v) − f(x − h v)) / 2h at the best h for each output, and the kinks near x.

    y = f(x), whose entries `outputs` names, and what rounding does to each.
    """
    h = _steps(x, v)[:, None]
    after = np.array([f(x + step * v).values for step in h])  # (steps, outputs)
    before = np.array([f(x - step * v).values for step in h])
    noise = 8 * rounding / h

    value, error = _extrapolated((after - before) / (2 * h), (2,), noise)
    sides = (y - before) / h, (after - y) / h
    (left, left_error), (right, right_error) = (_extrapolated(s, (1, 2), noise) for s in sides)

    # By how much the slope changes across the point falls with h, but not where there is a kink.
    jump = np.abs(after - 2 * y + before) / h
    kinked = (jump[NEAR] > jump[NEAR - 1] / 2) & (jump[NEAR] > 4 * noise[NEAR])
    crossings = []
    for i in np.flatnonzero(kinked):
        t, a, b = _kink(y[i], after[:, i], before[:, i], h[:, 0])
        at_the_point = abs(t) <= AT_THE_POINT * h[NEAR, 0]
        if at_the_point:
            slopes = np.stack([side[:, i] for side in sides], axis=1)
            (a, b), errors = _extrapolated(slopes, (1, 2), noise[:, [i]], by_smaller=False)
            value[i] = (a + b) / 2
            error[i] = np.abs(a - b) / 2 + np.sum(errors)
        elif t > 0:
            a = value[i] = left[i]
            error[i] = left_error[i]
        else:
            b = value[i] = right[i]
            error[i] = right_error[i]
        crossings.append(Crossing(outputs.entry(int(i)), t, float(a), float(b), bool(at_the_point)))
    unchanged = ~np.any(after != before, axis=0) & ~np.any(after != y, axis=0)
    value[unchanged], error[unchanged] = 0.0, noise[0, unchanged]
    return _Slope(value, estimated=error, crossings=tuple(crossings), unchanged=unchanged)


def _steps(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """STEPS in the scale of the problem: h = 1 moves the arguments by about their size, or by 1."""
    size = max(1.0, np.max(np.abs(x[v != 0]), initial=0))
    return STEPS * size / np.max(np.abs(v), initial=1e-300)


def _extrapolated(
    slopes: np.ndarray, powers: tuple[int, ...], noise: np.ndarray, by_smaller: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The limit for h → 0 of slopes (steps, outputs) with errors c h^p + …, and its error.

    From one step to the next h is a quarter, so (4^p s(h/4) − s(h)) / (4^p − 1) is free of c h^p.
    Of these the one is chosen, for each output, that differs least from those at the steps before
    and after it, and whose rounding (noise) is small. With `by_smaller` it is judged by those at
    all smaller steps too, beyond their rounding: where kinks are nearer than the larger steps,
    these may agree on a slope that is not the point's.
    """
    for p in powers:
        slopes = (4**p * slopes[1:] - slopes[:-1]) / (4**p - 1)
    noise = noise[len(powers) :]
    errors = np.empty_like(slopes[1:-1])
    for i in range(1, len(slopes) - 1):
        # from here to the step before, here, the next, and those after it
        change = np.abs(slopes[i - 1 : None if by_smaller else i + 2] - slopes[i])
        change[3:] -= 2 * noise[i + 2 : i - 1 + len(change)]
        errors[i - 1] = np.max(change, axis=0) + noise[i]
    errors = np.where(np.isfinite(errors), errors, np.inf)
    best = np.argmin(errors, axis=0)
    outputs = np.arange(slopes.shape[1])
    return slopes[1:-1][best, outputs], errors[best, outputs]


def _kink(
    y: float, after: np.ndarray, before: np.ndarray, h: np.ndarray
) -> tuple[float, float, float]:
    """Where along v the kink lies, and the slopes a before and b after it.

    On both sides the function is continued to the point by a parabola through its values at the
    step NEAR and the next two larger ones, 4 and 16 times as large. One of the two passes through
    the point; the other one misses it by (b − a) t, nearly.
    """
    to_the_point = np.array([1, -20, 64]) / 45  # Lagrange's weights at 0 of values at 16, 4, 1
    three = slice(NEAR - 2, NEAR + 1)
    b = (after[NEAR - 1] - after[NEAR]) / (h[NEAR - 1] - h[NEAR])
    a = (before[NEAR] - before[NEAR - 1]) / (h[NEAR - 1] - h[NEAR])
    missed_by_right = y - to_the_point @ after[three]  # (b − a) t if t > 0, else 0
    missed_by_left = to_the_point @ before[three] - y  # (b − a) t if t < 0, else 0
    t = (missed_by_right + missed_by_left) / (b - a) if a != b else 0.0
    return float(t), float(a), float(b)


def _switched(branches: Callable[..., Any], x: _Vector, v: np.ndarray) -> list[str]:
    """The units that decide otherwise at x − h v and x + h v."""
    step = _steps(x.values, v)[NEAR] * v
    before, after = (
        dict(_leaves(branches(*x.like(values)), "unit"))
        for values in (x.values - step, x.values + step)
    )
    return [
        f"{name} at {tuple(map(int, index))}"
        for name in before
        for index in np.argwhere(before[name] != after[name])
    ]


# The trial: both sides at the point, and beside it


@dataclass
class _Point:
    """The arguments there, what v is multiplied by there, the value, and the gradient for dy."""

    x: np.ndarray
    stretch: np.ndarray | float
    y: np.ndarray
    g: np.ndarray


@dataclass(frozen=True)
class _Sides:
    """s₂ and s₁ at a point, S there, and what s₁ lost to rounding where it subtracted."""

    backward: Any
    expected: Any
    scale: float
    rounding: float
    slope: "_Slope"

    @property
    def difference(self) -> Any:
        return self.expected - self.backward

    @property
    def error(self) -> float:
        return float(np.abs(self.difference))

    @property
    def size(self) -> float:
        return float(max(np.abs(self.backward), np.abs(self.expected)))


@dataclass(frozen=True)
class _Opinion:
    """What central differences say of s₁: value ± uncertainty, where s₁ and s₂ are those of sides.

    at_kink: that is beside the point, since at the point itself they cannot agree.
    """

    value: float
    uncertainty: float
    sides: _Sides
    power: float
    at_kink: bool = False

    @property
    def agrees(self) -> bool:
        """With the complex step."""
        return abs(self.value - self.sides.expected) <= self.uncertainty

    @property
    def against_backward(self) -> bool:
        return abs(self.value - self.sides.backward) > self.uncertainty

    @property
    def resolved(self) -> bool:
        """Whether it is precise enough to have seen a fault."""
        return self.uncertainty <= self.power * max(self.sides.scale, abs(self.value))


class _Trial:
    """One function at one point, for one dy."""

    def __init__(
        self,
        function: Callable[..., Any],
        x: "_Vector",
        rng: np.random.Generator,
        method: str,
        tolerance: float,
        power: float,
    ):
        self.function, self.x, self.method = function, x, method
        self.tolerance, self.power = tolerance, power
        value, backward = _called(function, x.like(x.values))
        self.y = _Vector.of(value, "output")
        if not self.y.values.size:
            raise ValueError(
                "gradcheck: the function returned no numbers, so there is nothing to compare "
                "(a batch of none is a case for check_contract)"
            )
        self.dy = (
            _weights(rng, self.y.values) if callable(backward) else np.ones(self.y.values.shape)
        )
        self.here = _Point(x.values, 1.0, self.y.values, self._gradient(backward))
        self._seed, self._points = int(rng.integers(2**63)), dict[tuple[int, float], _Point]()
        self.compared: list[Direction] = []
        self._opinions: dict[str, _Opinion] = {}

    def f(self, values: np.ndarray) -> "_Vector":
        """The function's value."""
        return _Vector.of(_called(self.function, self.x.like(values))[0], "output")

    def _gradient(self, backward: Any) -> np.ndarray:
        given = backward(self.y.like(self.dy)[0]) if callable(backward) else backward
        return _gradient(given, self.x)

    def _point(self, values: np.ndarray, stretch: np.ndarray | float = 1.0) -> _Point:
        value, backward = _called(self.function, self.x.like(values))
        return _Point(values, stretch, _Vector.of(value, "output").values, self._gradient(backward))

    def _beside(self, ray: int, distance: float) -> _Point:
        """The point of a ray at this distance, relative to each argument; v moves as much."""
        if (ray, distance) not in self._points:
            rng, x = np.random.default_rng([self._seed, ray]), self.x.values
            w, stretch = _weights(rng, x.real), _weights(rng, x.real)
            typical = np.concatenate([np.full(a.shape, _typical(a)) for a in self.x.arrays(x)])
            moved = x + distance * w * np.where(x == 0, typical, x)
            with np.errstate(all="ignore"):
                self._points[ray, distance] = self._point(
                    moved, 1 + min(distance, MOST_STRETCHED) * stretch
                )
        return self._points[ray, distance]

    def same_again(self) -> bool:
        """Whether value and gradient are, to the bit, what they were at first."""
        again = self._point(self.x.values)
        return _bits([again.y, again.g]) == _bits([self.here.y, self.here.g])

    def without_comparison(self) -> Result | None:
        """What can be said before anything is compared."""
        if not self.same_again():
            return Result(UNDECIDED, NOT_A_FUNCTION, self.method)
        if bad := _not_finite(self.y, self.here.y, "the value, "):
            return Result(UNDECIDED, f"{bad}: there is no derivative to compare with", self.method)
        if bad := _not_finite(self.x, self.here.g, "the gradient by "):
            return Result(WRONG, bad, self.method)
        return None

    def judged(self, direction: "Direction") -> Result:
        """The answer along one direction."""
        self.compared.append(direction)
        with np.errstate(all="ignore"):
            if self.method == "central":
                return self._by_differences(direction)
            return self._exactly(direction)

    def _sides(self, point: _Point, direction: "Direction") -> _Sides:
        _, _, v, moved = direction
        v = v * point.stretch
        derivative = {"complex": _complex_step, "affine": _unit_step, "linear": _in_place}
        return self._compared(point, v, derivative[self.method](self.f, point.x, v, moved))

    def _compared(self, point: _Point, v: np.ndarray, slope: "_Slope") -> _Sides:
        ours, theirs = point.g * v, self.dy * slope.value
        return _Sides(
            np.sum(ours).item(),
            np.sum(theirs).item(),
            sum(float(np.sum(np.abs(terms))) for terms in (ours, theirs)),
            float(np.sum(np.abs(self.dy) * slope.error(self.tolerance))),
            slope,
        )

    def _allowed(self, sides: _Sides) -> float:
        return self.tolerance * sides.scale + sides.rounding

    # Methods that are exact to rounding

    def _exactly(self, direction: "Direction") -> Result:
        here = self._sides(self.here, direction)
        beside = [self._sides(self._beside(0, FIRST), direction)]
        noise = near = abs(beside[0].difference - here.difference)
        opinion = self._opinion(direction) if self.method == "complex" else None
        at_once = all(sides.error <= self._allowed(sides) for sides in (here, *beside))
        rays: list[list[_Sides]] = []
        if not at_once or (opinion and not (opinion.agrees and opinion.resolved)):
            rays = [
                [self._sides(self._beside(ray, distance), direction) for distance in DISTANCES]
                for ray in range(RAYS)
            ]
            beside = [sides for ray in rays for sides in ray]
            steps = np.abs(np.diff([[sides.difference for sides in ray] for ray in rays], axis=1))
            noise = float(np.median(np.max(steps, axis=1)))
            near = float(np.median(steps[:, 0]))
        bound = self._allowed(here) + OF_NOISE * noise
        strays = [s for s in beside if not s.error <= self._allowed(s) + OF_NOISE * noise]
        seen = here.scale == 0 or 2 * bound <= self.power * here.scale
        resolved = opinion is None or opinion.resolved

        result = self._result(direction, here, OF_NOISE * noise + here.rounding)
        if opinion is not None:
            result = replace(result, opinion=4 * opinion.uncertainty, branch_only=opinion.at_kink)
            if not opinion.agrees:
                left = self._cancelled(direction, here, rays)
                return left or self._not_analytic(result, opinion)
        elif bend := self._bend(direction, here, noise):
            return replace(result, reason=bend)

        if not np.isfinite(here.error):
            return replace(result, reason="the derivative is not finite: take another point")
        if here.error <= bound and seen and resolved and not strays:
            return replace(result, answer=RIGHT)
        if opinion is not None and rays and (left := self._cancelled(direction, here, rays)):
            return left
        if here.error > bound and here.error > self._unresolvable(direction, here) and resolved:
            return self._with_notes(replace(result, answer=WRONG), direction)
        own = self._opinion_along(direction) if opinion is not None else None
        proved = own and own.resolved and own.agrees and own.against_backward
        if proved and here.error > self._allowed(here) + OF_NOISE * near:
            return self._with_notes(replace(result, answer=WRONG), direction)
        if not resolved:
            assert opinion is not None
            reason = (
                f"whether the complex step is right is not seen: differences give "
                f"{opinion.value:.3g} ± {opinion.uncertainty:.2g}; smaller values, or a point "
                "where the function is less curved, would decide it"
            )
        elif here.error > bound:
            reason = (
                f"the two sides differ by {here.error:.2g}, which over the whole size of the "
                "arguments changes the value by less than its rounding"
            )
        elif strays:
            reason = (
                "right at the point, but beside it the two sides differ by "
                f"{max(s.error for s in strays):.2g}: is it a function, and right everywhere?"
            )
        else:
            reason = (
                f"the difference that rounding explains here, {bound:.2g}, is not small against "
                f"what is compared, {here.scale:.2g}: take another point, dy or direction"
            )
        return replace(result, reason=reason)

    def _result(self, direction: "Direction", sides: _Sides, uncertainty: float) -> Result:
        name, index, v, moved = direction
        return Result(
            UNDECIDED,
            "",
            self.method,
            name,
            index,
            sides.backward,
            sides.expected,
            sides.scale,
            self.tolerance,
            uncertainty,
            smallest=float(np.min(np.abs(v[moved]))) if index is None else 1.0,
        )

    def _not_analytic(self, result: Result, opinion: _Opinion) -> Result:
        found = f"{opinion.value:.12g} ± {opinion.uncertainty:.2g}"
        if not opinion.resolved:
            reason = f"differences give {found}, which is not the complex step's: look at both"
            return replace(result, reason=reason)
        reason = (
            f"a central difference gives {found}, the complex step {opinion.sides.expected:.12g}: "
            "the function is not analytic (abs, conj, norm, a cast to float, a decision not by "
            "the real part?)"
        )
        if opinion.against_backward:
            reason += f", and backward gives {opinion.sides.backward:.12g}"
            return replace(result, answer=WRONG, reason=reason)
        return replace(result, reason=f'{reason}; judge it by method="central"')

    def _cancelled(
        self, direction: "Direction", here: _Sides, rays: list[list[_Sides]]
    ) -> Result | None:
        """RIGHT where both sides are what rounding left of known parts, otherwise None."""
        steps = np.abs(np.diff([[sides.difference for sides in ray] for ray in rays], axis=1))
        noise, near = float(np.max(steps)), float(np.max(steps[:, 0]))
        parts = noise / ULP
        everywhere = [here, *(sides for ray in rays for sides in ray)]
        small = max(sides.size for sides in everywhere) <= 1e-6 * parts
        alike = max(sides.error for sides in everywhere) <= OF_NOISE * noise
        if not (0 < noise <= 1e3 * near and small and alike):
            return None
        values = [np.abs(np.sum(self.dy * (p.y - self.here.y))) for p in self._points.values()]
        of_value = float(max(values) + ULP * np.sum(np.abs(self.dy * self.here.y)))
        opinion = self._opinion_at(self.here, direction)
        uncertain = opinion.uncertainty + OF_NOISE * noise
        if abs(opinion.value) > uncertain or noise > 1e4 * self._rate(direction) * of_value:
            return None
        reason = (
            "zero by cancellation: both sides are what rounding left of parts that cancel, of "
            f"about {parts:.0g} (rounding moves them by {noise:.1g})"
        )
        result = self._result(direction, here, OF_NOISE * noise)
        return replace(result, answer=RIGHT, reason=reason, opinion=4 * uncertain)

    def _rate(self, direction: "Direction") -> float:
        """How much larger v is than the arguments."""
        return max(
            float(np.max(np.abs(along), initial=0)) / _typical(a)
            for along, a in zip(
                self.x.arrays(direction[2]), self.x.arrays(self.x.values), strict=True
            )
        )

    def _unresolvable(self, direction: "Direction", here: _Sides) -> float:
        """The change of s₁ that over the size of the arguments is a rounding of the values."""
        value, touched = np.abs(self.dy * self.here.y), np.asarray(here.slope.value) != 0
        touching = value[touched] if touched.any() else value
        return float(4 * ULP * self._rate(direction) * np.sum(touching))

    def _bend(self, direction: "Direction", here: _Sides, noise: float) -> str:
        """That the function is not affine, or linear, along a direction; "" if it is."""
        _, _, v, moved = direction
        x, y = self.x.values, self.here.y
        if self.method == "affine":
            bend = self.f(x + v).values - 2 * y + self.f(x - v).values
        else:
            at_v, both = x.copy(), x.copy()
            at_v[moved], both[moved] = v[moved], x[moved] + v[moved]
            bend = self.f(both).values - self.f(at_v).values - y
        size = float(np.abs(np.sum(self.dy * bend)))
        rounding = max(self.tolerance, 8 * self.y.eps) * float(np.sum(np.abs(self.dy * y)))
        if size <= 4 * (here.rounding + rounding) + 8 * noise:
            return ""
        return (
            f"the function is not {self.method} in {direction[0]}: it bends by {size:.2g} along "
            'the direction; judge it by method="complex" or "central"'
        )

    # The second opinion on the complex step

    def _opinion(self, direction: "Direction") -> _Opinion:
        """That along the direction; for entries that along one random direction, if it agrees."""
        if direction[1] is None:
            return self._opinion_along(direction)
        if "all" not in self._opinions:
            v = _weights(np.random.default_rng([self._seed, RAYS]), self.x.values)
            self._opinions["all"] = self._opinion_along(("", None, v, slice(0, v.size)))
        opinion = self._opinions["all"]
        return opinion if opinion.agrees else self._opinion_along(direction)

    def _opinion_along(self, direction: "Direction") -> _Opinion:
        opinion = self._opinion_at(self.here, direction)
        if opinion.agrees:
            return opinion
        beside = self._opinion_at(self._beside(0, DISTANCES[-1]), direction)
        return replace(beside, at_kink=beside.agrees and beside.resolved)

    def _opinion_at(self, point: _Point, direction: "Direction") -> _Opinion:
        sides, v = self._sides(point, direction), direction[2] * point.stretch
        near = self._beside(0, DISTANCES[0]).y - self.here.y
        rounding = float(np.sum(np.abs(self.dy) * (np.abs(near) + 2 * ULP * np.abs(self.here.y))))
        found = _scalar_difference(self.f, point.x, v, self.dy, rounding, sides)
        return _Opinion(*found, sides, self.power)

    def _with_notes(self, result: Result, direction: "Direction") -> Result:
        """With what a difference says, and the worst entry."""
        notes = self._located(result, direction)
        if self.method == "complex":
            opinion = self._opinion_along(direction)
            if not opinion.against_backward:
                verdict = "which agrees with both: the error is too small for it to judge"
            else:
                verdict = "as the complex step does: the backward pass is wrong"
            notes.append(
                f"a central difference gives {opinion.value:.12g} ± {opinion.uncertainty:.2g}"
                f"{' beside the point' if opinion.at_kink else ''}, {verdict}"
            )
        return replace(result, notes=tuple(notes))

    def _located(self, result: Result, direction: "Direction") -> list[str]:
        """Which entry is worst, where a random direction failed."""
        entries = self.x.values.size
        if result.index is not None or entries > MOST_TO_LOCATE:
            return []
        by_entry = [
            self._result(unit, sides, sides.rounding)
            for unit in _unit_directions(self.x, np.random.default_rng(0), None)
            for sides in [self._simple_sides(unit)]
        ]
        worst = max(by_entry, key=lambda of: of.of_allowed)
        return [
            f"the worst of {entries} entries is {worst.where}: "
            f"backward gives {worst.backward:.17g}, expected is {worst.expected:.17g}"
        ]

    def _simple_sides(self, direction: "Direction") -> _Sides:
        """Both sides at the point, by the method."""
        if self.method != "central":
            return self._sides(self.here, direction)
        return self._compared(self.here, direction[2], self._difference(direction[2]))

    # Differences

    def _difference(self, v: np.ndarray) -> "_Slope":
        return _central_difference(self.f, self.x.values, v, self.here.y, self.y, self._noise())

    def _noise(self) -> np.ndarray:
        """What rounding does to each output, measured once along a direction of all arguments."""
        if not hasattr(self, "_measured"):
            v = _weights(np.random.default_rng([self._seed, RAYS]), self.x.values)
            floor = self.y.eps * np.abs(self.here.y)
            self._measured = np.maximum(floor, _computational_noise(self.f, self.x.values, v))
        return self._measured

    def _by_differences(self, direction: "Direction") -> Result:
        v = direction[2]
        slope = self._difference(v)
        here = self._compared(self.here, v, slope)
        moves = [
            abs(np.sum((self._beside(ray, far).g - self._beside(ray, near).g) * v))
            for ray in range(RAYS - 1)
            for near, far in [DISTANCES[:2]]
        ]
        errors = np.abs(self.dy) * slope.error(0.0)
        # of outputs that do not change there is rounding only, at random
        still = np.sqrt(np.sum(errors**2, where=slope.unchanged))
        rounding = float(np.sum(errors, where=np.logical_not(slope.unchanged)) + 4 * still)
        uncertainty = 2 * rounding + OF_NOISE * float(np.median(moves))
        result = replace(self._result(direction, here, uncertainty), crossings=slope.crossings)
        bound = result.allowed
        if not np.isfinite(bound) or not np.isfinite(here.error):
            return replace(result, reason=f"differences come to no value: {here.expected:.3g}")
        if here.error > bound:
            return self._with_notes(replace(result, answer=WRONG), direction)
        if 2 * bound <= self.power * here.scale:
            return replace(result, answer=RIGHT)
        if here.size == 0 and 2 * bound <= self.power * self._natural():
            reason = "both sides are 0, and the value does not change at all"
            return replace(result, answer=RIGHT, reason=reason)
        why = "the point is at a kink, and any slope between its two is one; take another point"
        if not any(crossing.at_the_point for crossing in slope.crossings):
            why = (
                "the function is too coarse, too curved or too steep here, or nothing changes; "
                "take another point, a higher precision, or the complex step"
            )
        reason = f"differences are uncertain by {bound:.2g}, of {here.scale:.2g} compared: {why}"
        return replace(result, reason=reason)

    def _natural(self) -> float:
        """The size of a derivative by one entry, averaged over all, as differences have it."""
        if not hasattr(self, "_average"):
            v = _weights(np.random.default_rng([self._seed, RAYS + 1]), self.x.values)
            slope = self._difference(v)
            self._average = float(np.sum(np.abs(self.dy * slope.value))) / v.size
        return self._average


def _typical(array: np.ndarray) -> float:
    """The root mean square of an array; 1 where it is 0."""
    size = float(np.sqrt(np.mean(np.abs(array) ** 2))) if array.size else 0.0
    return size or 1.0


def _not_finite(of: "_Vector", values: np.ndarray, what: str) -> str:
    """That an entry is not finite, which, and how many; "" if all are."""
    bad = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return ""
    return (
        f"{what}{of.entry(int(bad[0]))} is {values[bad[0]]}; "
        f"of {values.size} entries {bad.size} are not finite"
    )


def _scalar_difference(
    f: Function, x: np.ndarray, v: np.ndarray, dy: np.ndarray, rounding: float, sides: _Sides
) -> tuple[float, float]:
    """⟨dy, J v⟩ by central differences, and what it is uncertain by.

    From two neighbouring steps, a factor q apart, (q² c(h/q) − c(h)) / (q² − 1) is free of the
    error c h². It is believed as far as that of the step before and those of all smaller steps,
    beyond what rounding does to them, let it: a function that swings within a step looks flat to
    it. Where the first few agree with the other opinion, smaller steps are not asked.
    """
    unit = _steps(x, v)[0] / STEPS[0]
    h, c = np.empty(0), np.empty(0)
    best, unchanged = (math.nan, math.inf), True
    for powers in OPINION:
        for power in powers:
            step = unit * 2.0**power
            change = f(x + step * v).values - f(x - step * v).values
            unchanged &= not np.any(change)
            h, c = np.append(h, step), np.append(c, np.sum(dy * change) / (2 * step))
        if unchanged:
            continue
        q = (h[:-1] / h[1:]) ** 2
        limits, noise = (q * c[1:] - c[:-1]) / (q - 1), 2 * rounding / h[1:]
        best = math.nan, math.inf
        for k in range(1, len(limits) - 1):
            apart = np.abs(limits[k - 1 :] - limits[k])
            apart[3:] -= 2 * noise[k + 2 :]
            uncertain = float(2 * np.max(apart) + 2 * noise[k] + 1e-12 * sides.scale)
            if uncertain < best[1]:
                best = float(limits[k]), uncertain
        if abs(best[0] - sides.expected) <= best[1] <= 1e-6 * sides.scale:
            break
    if unchanged:
        return 0.0, 2 * rounding / h[0] if sides.expected else 0.0
    return best


def _computational_noise(f: "Function", x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The standard deviation of the rounding of each output, from tables of its differences.

    Over equally spaced points the fourth differences of a smooth function vanish with the fourth
    power of the spacing, and those of independent rounding errors have √70 times their deviation
    (Moré and Wild 2011). The spacing is the first at which an output changes from most points to
    the next; where a function works in a lower precision, or rounds, that is a wide one.
    """
    unit = _steps(x, v)[0] / STEPS[0]

    def table(spacing: float) -> np.ndarray:
        return np.array([f(x + k * spacing * unit * v).values for k in range(-4, 5)])

    wide = table(SPACINGS[-1])
    changing = np.diff(wide, axis=0) != 0  # (8, outputs)
    unknown = np.any(changing, axis=0)
    noise = np.zeros(wide.shape[1])
    finer = 0.0
    for spacing in SPACINGS:
        if not unknown.any():
            break
        values = table(spacing)
        moving = np.count_nonzero(np.diff(values, axis=0), axis=0) > len(changing) // 2
        fourth = np.diff(values, n=4, axis=0)
        found = np.sqrt(np.mean(np.abs(fourth) ** 2, axis=0) / 70)
        # of a staircase, which did not move over the finer spacing, at least that much
        found = np.maximum(found, np.abs(values[-1] - values[0]) * (finer / spacing))
        noise[unknown & moving] = found[unknown & moving]
        unknown &= ~moving
        finer = spacing
    # What changes and rests in turn is a staircase; a kink has it rest on one side only.
    stairs = unknown & (np.count_nonzero(np.diff(changing, axis=0), axis=0) > 1)
    noise[stairs] = np.max(np.abs(np.diff(wide, axis=0)), axis=0)[stairs]
    return noise


# Texts


def _ratio(part: float, whole: float) -> float:
    """part / whole; 0 of nothing is 0, more of it is infinitely much, and so are ∞ and NaN."""
    if part == 0:
        return 0.0
    return part / whole if whole and part < math.inf else math.inf


def _some(prefix: str, items: Sequence[Any], most: int = 5) -> list[str]:
    lines = [f"{prefix}{item}" for item in items[:most]]
    return lines + ([f"{prefix}… and {len(items) - most} more"] if len(items) > most else [])


# The contract


@dataclass
class _Contract:
    """One function on arrays of one dtype."""

    function: Callable[..., Any]
    args: list[np.ndarray]
    rng: np.random.Generator

    def check(self, batched: Sequence[int], views: bool) -> None:
        y, gradients = self.call([a.copy() for a in self.args])
        self.dy = self.rng.standard_normal(y.shape).astype(y.dtype)
        self.kept_dtypes_and_shapes(y, gradients(self.dy.copy()))
        self.unchanged_arguments()
        y, gradients = self.call(self.args)
        self.same_bits_again(gradients)
        self.independent_calls(views)
        self.read_only()
        self.any_layout(y, gradients(self.dy))
        if batched:
            self.empty_batch(batched)
        if not views:
            self.fresh_outputs()

    def call(self, args: Sequence[np.ndarray]) -> tuple[np.ndarray, Callable[..., Any]]:
        """The value, and its gradients as a list, by dy (which a loss ignores)."""
        y, backward = self.function(*args)

        def gradients(dy: np.ndarray) -> list[np.ndarray]:
            given = backward(dy) if callable(backward) else self.function(*args)[1]
            found = given if isinstance(given, tuple | list) else [given]
            return [gradient for gradient in found if gradient is not None]

        return y, gradients

    def kept_dtypes_and_shapes(self, y: np.ndarray, gradients: list[np.ndarray]) -> None:
        expected = [(a.dtype, a.shape) for a in self.args]
        got = [(g.dtype, g.shape) for g in gradients]
        if y.dtype != self.args[0].dtype or got != expected:
            raise AssertionError(
                f"for arguments {_described(expected)} the value is {y.dtype}, "
                f"the gradients {_described(got)}"
            )

    def unchanged_arguments(self) -> None:
        args, dy = [a.copy() for a in self.args], self.dy.copy()
        _, gradients = self.call(args)
        gradients(dy)
        for k, (array, original) in enumerate(zip(args, self.args, strict=True)):
            if _bits([array]) != _bits([original]):
                raise AssertionError(f"argument {k} was changed")
        if _bits([dy]) != _bits([self.dy]):
            raise AssertionError("dy was changed by the backward pass")

    def same_bits_again(self, gradients: Callable[..., Any]) -> None:
        first = _bits(gradients(self.dy))
        gradients(self.rng.standard_normal(self.dy.shape).astype(self.dy.dtype))
        if _bits(gradients(self.dy)) != first:
            raise AssertionError("the backward pass called again gives other bits")

    def independent_calls(self, views: bool) -> None:
        y, gradients = self.call(self.args)
        value, first = _bits([y]), _bits(gradients(self.dy))
        shuffled = [self.rng.permutation(a.ravel()).reshape(a.shape) for a in self.args]
        self.call(shuffled)[1](self.dy)
        if _bits([y]) != value:
            raise AssertionError("a later call changes the value of an earlier one")
        if _bits(gradients(self.dy)) != first:
            raise AssertionError("a later call changes the backward pass of an earlier one")
        if isinstance(y, np.ndarray) and not views:
            y[...] = 7
            if _bits(gradients(self.dy)) != first:
                raise AssertionError("the backward pass changes if the value is written to")

    def read_only(self) -> None:
        y, gradients = self.call(self.args)
        expected = _bits([y, *gradients(self.dy)])
        locked = [a.copy() for a in (*self.args, self.dy)]
        for array in locked:
            array.flags.writeable = False
        try:
            y, gradients = self.call(locked[:-1])
            found = _bits([y, *gradients(locked[-1])])
        except ValueError as error:
            raise AssertionError(f"read-only arguments are not taken: {error}") from error
        if found != expected:
            raise AssertionError("read-only arguments give other bits")

    def any_layout(self, y: np.ndarray, expected: list[np.ndarray]) -> None:
        tolerance = 1000 * np.finfo(y.dtype).eps
        for name, lay_out in _LAYOUTS.items():
            laid_out_y, gradients = self.call([lay_out(a) for a in self.args])
            found = [laid_out_y, *gradients(lay_out(self.dy))]
            for a, b in zip(found, (y, *expected), strict=True):
                if not np.max(np.abs(a - b), initial=0) <= tolerance * np.max(np.abs(b), initial=0):
                    raise AssertionError(f"{name} arguments give another value or gradient")

    def empty_batch(self, batched: Sequence[int]) -> None:
        full, _ = self.call(self.args)
        y, gradients = self.call([a[:0] if k in batched else a for k, a in enumerate(self.args)])
        if y.shape != (0, *full.shape[1:]):
            raise AssertionError(
                f"for a batch of none the value is {y.shape}, expected {(0, *full.shape[1:])}"
            )
        for k, (gradient, a) in enumerate(zip(gradients(y.copy()), self.args, strict=True)):
            expected = np.zeros_like(a[:0] if k in batched else a)
            if not np.array_equal(gradient, expected):
                raise AssertionError(f"for a batch of none the gradient by argument {k} is not 0")

    def fresh_outputs(self) -> None:
        y, gradients = self.call(self.args)
        seen = [(f"argument {k}", a) for k, a in enumerate(self.args)] + [("dy", self.dy)]
        for name, output in (
            ("the value", y),
            *(("a gradient", gradient) for gradient in gradients(self.dy)),
            *(("a gradient by the second call", gradient) for gradient in gradients(self.dy)),
        ):
            for other_name, other in seen:
                if np.shares_memory(output, other):
                    raise AssertionError(f"{name} shares memory with {other_name}")
            seen.append((name, output))


_LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "transposed": lambda a: a.T.copy().T,
    "reversed": lambda a: np.flip(np.flip(a).copy()),
}


def _bits(arrays: Sequence[np.ndarray]) -> list[bytes]:
    return [np.asarray(array).tobytes() for array in arrays]


def _described(arrays: list[tuple[np.dtype, tuple[int, ...]]]) -> str:
    return ", ".join(f"{dtype} {shape}" for dtype, shape in arrays)
