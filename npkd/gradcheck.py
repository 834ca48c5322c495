"""Gradient checks for anyone's `function(*args) -> (y, backward)` or loss `-> (value, gradient)`.

    gradcheck.check(function, *args, rng=rng)                      # raises AssertionError
    result = gradcheck.compare(function, *args, rng=rng)           # tells
    gradcheck.check_contract(function, *args, rng=rng)

All checks compare the two sides of one identity, with J the derivative of the function at the
arguments and ⟨a, b⟩ = Σ a b, never conjugated:

    ⟨dy, J v⟩ = ⟨backward(dy), v⟩

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

This module imports nothing else of npkd, so that it can judge the rest.

Sources: Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions";
Ridders 1982, "Accurate computation of F'(x) and F'(x) F''(x)", for the choice of the step.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

METHODS = ("complex", "affine", "linear", "central")
STEP = 1e-30  # of the complex step
STEPS = 0.25 ** np.arange(1, 15)  # of central differences, 0.25 … 3.7e-9; see `_steps`
NEAR = 8  # STEPS[NEAR], 3.8e-6: kinks between x − h v and x + h v with this h are looked for
AT_THE_POINT = 1e-4  # of that h: a nearer kink cannot be told from one at the point itself
MOST_TO_LOCATE = 2000  # entries up to which a failure along a direction is traced to an entry


@dataclass(frozen=True)
class Crossing:
    """A kink of one output near the point: at x + t v its slope along v goes from one to another.

    output names the entry. at_the_point: t is too small to say on which side of it the point
    lies; any slope between the two is then accepted.
    """

    output: str
    t: float
    before: float
    after: float
    at_the_point: bool

    def __str__(self) -> str:
        text = f"{self.output} changes its slope from {self.before:.6g} to {self.after:.6g}"
        if self.at_the_point:
            return f"{text} at the point itself: any slope between was accepted"
        return f"{text} at t = {self.t:.3g}: the slope on the point's side was taken"


@dataclass(frozen=True)
class Result:
    """What a comparison found, at the worst of its directions.

    method         where J v came from
    argument       "argument 0", 'argument 1["fc1.bias"]', or "all arguments"
    index          the entry, or None for a random direction
    backward       ⟨backward(dy), v⟩, for an entry its gradient
    expected       ⟨dy, J v⟩
    scale          Σ |g v| + Σ |dy J v| + conditioning · Σ |v|, what rounding goes by
    tolerance      1e-14 along a direction, 1e-13 for an entry
    uncertainty    of `expected` beside that: of differences, their estimated error; otherwise 0
    directions     how many were compared
    crossings      kinks near the point, for "central"
    switched       units that decide otherwise at x − h v and x + h v, where `branches` was given
    notes          on failure, what else was found out
    """

    method: str
    argument: str
    index: tuple[int, ...] | None
    backward: float
    expected: float
    scale: float
    tolerance: float
    uncertainty: float = 0.0
    directions: int = 1
    crossings: tuple[Crossing, ...] = ()
    switched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """|expected − backward|."""
        return float(np.abs(self.expected - self.backward))

    @property
    def relative(self) -> float:
        """The error in units of `scale`: to be compared with `tolerance`."""
        return _ratio(self.error, self.scale)

    @property
    def allowed(self) -> float:
        """The largest error that is accepted."""
        return self.tolerance * self.scale + self.uncertainty

    @property
    def of_allowed(self) -> float:
        """The error in units of what is allowed."""
        return _ratio(self.error, self.allowed)

    @property
    def ok(self) -> bool:
        """Whether the two sides agree. NaN agrees with nothing."""
        return self.error <= self.allowed < np.inf

    @property
    def where(self) -> str:
        """The argument and the entry, or that it was a random direction."""
        if self.index is None:
            return f"along a random direction of {self.argument}"
        return f"{self.argument} at {self.index}"

    def __str__(self) -> str:
        verdict = "is right" if self.ok else "is wrong"
        worst = f", the worst of {self.directions}" if self.directions > 1 else ""
        why = f"{self.tolerance:g} of Σ|g v| + Σ|dy (J v)| + conditioning·Σ|v| = {self.scale:.3g}"
        if self.uncertainty:
            why += f", and {self.uncertainty:.3g} for what the difference is uncertain by"
        return "\n".join(
            [
                f"gradient {verdict}: {self.where}{worst}",
                f"    backward gives {self.backward:.17g}",
                f"    {_SAYS[self.method]} {self.expected:.17g}",
                f"    they differ by {self.error:.3g}, relatively {self.relative:.3g}; "
                f"allowed is {self.allowed:.3g} ({why})",
                *(f"    {line}" for line in self.notes),
                *(f"    {line}" for line in _some("kink: ", self.crossings)),
                *(f"    {line}" for line in _some("changes branch: ", self.switched)),
            ]
        )


_SAYS = {
    "complex": "the complex step gives",
    "affine": "a step of 1 gives",
    "linear": "the function itself gives",
    "central": "central differences give",
}


def check(function: Callable[..., Any], *args: Any, **options: Any) -> Result:
    """`compare`, raising AssertionError with the result's text unless the gradient is right."""
    result = compare(function, *args, **options)
    if not result.ok:
        raise AssertionError(str(result))
    return result


def compare(
    function: Callable[..., Any],
    *args: Any,
    rng: np.random.Generator,
    method: str = "complex",
    entrywise: bool = False,
    sample: int | None = None,
    conditioning: float = 0.0,
    branches: Callable[..., Any] | None = None,
) -> Result:
    """Whether `backward` is the transpose of the derivative of `function` at `args`.

    function: called with arrays like `args`, it returns (y, backward), where backward(dy) is the
    gradient by the argument or a tuple of those by each; or, as losses do, (value, gradient), taken
    as that of the sum where `value` is an array. A framework's arrays are taken as NumPy takes
    them.

    args: arrays or dicts of arrays; y and dy may be dicts of arrays too. All are promoted to
    float64 (complex128 if one is complex, which only "linear" takes). rng draws dy and directions.

    entrywise: every entry of every argument, or of each array as many as `sample` says, drawn by
    rng; by default one random direction.

    conditioning: c, for gradients that are small differences of large numbers: 0 for what is linear
    or piecewise linear, 1/B for the mean of a softmax loss over B samples. Allowed is

        |⟨dy, J v⟩ − ⟨g, v⟩| ≤ 1e-14 (Σ |g v| + Σ |dy (J v)| + c Σ |v|)

    with 1e-13 for an entry (its g is one sum, and no average over many). Differences add what they
    are uncertain by: for "affine" the rounding of f(x + v) − f(x), for "central" its estimated
    error, which goes by the precision of what the function returns: one that computes in float32
    should return it.

    branches: branches(*args) gives what units decide (x > 0, say), as an array or a
    dict of arrays; those that decide otherwise on the two sides of the point are then named.

    On failure the result's notes say what a central difference says, so that a wrong backward pass
    can be told from a function that is not analytic (`abs`, `conj`, a cast to float), and, along a
    random direction, which entry is worst.

    Raises AssertionError where gradients have not the shapes of the arguments or are not finite,
    and ValueError for another method.
    """
    if method not in METHODS:
        raise ValueError(f"gradcheck: method is {method!r}, expected one of {METHODS}")
    x = _Vector.of_arguments(args)
    if np.iscomplexobj(x.values) and method != "linear":
        raise ValueError(f'gradcheck: complex arguments go with method "linear", not {method!r}')

    def f(values: np.ndarray) -> _Vector:
        return _Vector.of(_called(function, x.like(values))[0], "output")

    value, backward = _called(function, x.like(x.values))
    y = _Vector.of(value, "output")
    if callable(backward):
        dy = _normal(rng, y.values)
        given = backward(y.like(dy)[0])
    else:
        dy, given = np.ones_like(y.values), backward
    g = _gradient(given, x)

    derivative = {
        "complex": _complex_step,
        "affine": _unit_step,
        "linear": _in_place,
        "central": _central_difference,
    }[method]
    tolerance = 1e-13 if entrywise else 1e-14
    directions = (
        _unit_directions(x, rng, sample) if entrywise else _random_directions(x, rng, method)
    )
    worst = Result(method, "all arguments", None, 0.0, 0.0, 0.0, tolerance)  # of no entry at all
    count, worst_v = 0, x.values
    crossings: list[Crossing] = []
    switched: dict[str, None] = {}
    for argument, index, v, moved in directions:
        with np.errstate(all="ignore"):
            slope = derivative(f, x.values, v, moved)
        ours, theirs = g * v, dy * slope.value
        result = Result(
            method,
            argument,
            index,
            backward=np.sum(ours).item(),
            expected=np.sum(theirs).item(),
            scale=sum(float(np.sum(np.abs(terms))) for terms in (ours, theirs, conditioning * v)),
            tolerance=tolerance,
            uncertainty=float(np.sum(np.abs(dy) * slope.error(tolerance))),
        )
        count += 1
        crossings += slope.crossings
        if branches is not None:
            switched |= dict.fromkeys(_switched(branches, x, v))
        if count == 1 or result.of_allowed > worst.of_allowed:
            worst, worst_v = result, v
    notes = []
    if not worst.ok:
        notes += _located(function, args, rng, worst, conditioning)
        notes += _second_opinion(f, x.values, worst_v, dy, worst)
    return replace(
        worst,
        directions=count,
        crossings=tuple(crossings),
        switched=tuple(switched),
        notes=tuple(notes),
    )


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
        return cls._of_leaves(tuple(args), leaves)

    @classmethod
    def _of_leaves(cls, trees: tuple[Any, ...], leaves: list[tuple[str, np.ndarray]]) -> "_Vector":
        arrays = [array for _, array in leaves]
        dtype = np.result_type(np.float64, *arrays)
        flat = [np.ravel(array).astype(dtype) for array in arrays]
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
    bad = np.flatnonzero(~np.isfinite(gradients.values))
    if bad.size:
        raise AssertionError(
            f"the gradient by {x.entry(int(bad[0]))} is {gradients.values[bad[0]]}; "
            f"of {gradients.values.size} entries {bad.size} are not finite"
        )
    return gradients.values


def _normal(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """Normal numbers; complex ones have two normal parts."""
    values = rng.standard_normal(like.shape)
    return values + 1j * rng.standard_normal(like.shape) if np.iscomplexobj(like) else values


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


def _random_directions(x: _Vector, rng: np.random.Generator, method: str) -> Iterator[Direction]:
    """v of all arguments together; for functions affine or linear in each alone, of each alone."""
    if method in ("affine", "linear"):
        for name, leaf in zip(x.names, x.leaves, strict=True):
            v = np.zeros_like(x.values)
            v[leaf] = _normal(rng, x.values[leaf])
            yield name, None, v, leaf
    elif x.names:
        name = x.names[0] if len(x.names) == 1 else "all arguments"
        yield name, None, _normal(rng, x.values), slice(0, x.values.size)


# Derivatives along v


@dataclass
class _Slope:
    """J v for each output, what a difference lost to rounding, and what else is uncertain."""

    value: np.ndarray
    subtracted: np.ndarray | float = 0.0  # the sizes of what was subtracted
    estimated: np.ndarray | float = 0.0
    crossings: tuple[Crossing, ...] = ()

    def error(self, tolerance: float) -> np.ndarray | float:
        return tolerance * self.subtracted + self.estimated


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
    after, before = f(x + v).values, f(x).values
    return _Slope(after - before, np.abs(after) + np.abs(before))


def _in_place(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> _Slope:
    x = x.copy()
    x[moved] = v[moved]
    return _Slope(f(x).values)


def _central_difference(f: Function, x: np.ndarray, v: np.ndarray, moved: slice) -> _Slope:
    """(f(x + h v) − f(x − h v)) / 2h at the best h for each output, and the kinks near x."""
    h = _steps(x, v)[:, None]
    y = f(x)
    after = np.array([f(x + step * v).values for step in h])  # (steps, outputs)
    before = np.array([f(x - step * v).values for step in h])
    size = np.sqrt(np.sum(y.values**2) / max(1, y.values.size))
    noise = 8 * y.eps * (np.abs(y.values) + size) / h

    value, error = _extrapolated((after - before) / (2 * h), (2,), noise)
    sides = (y.values - before) / h, (after - y.values) / h
    (left, left_error), (right, right_error) = (_extrapolated(s, (1, 2), noise) for s in sides)

    # By how much the slope changes across the point falls with h, but not where there is a kink.
    jump = np.abs(after - 2 * y.values + before) / h
    kinked = (jump[NEAR] > jump[NEAR - 1] / 2) & (jump[NEAR] > 4 * noise[NEAR])
    crossings = []
    for i in np.flatnonzero(kinked):
        t, a, b = _kink(y.values[i], after[:, i], before[:, i], h[:, 0])
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
        crossings.append(Crossing(y.entry(int(i)), t, float(a), float(b), bool(at_the_point)))
    return _Slope(value, estimated=error, crossings=tuple(crossings))


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


# What a failure means


def _ratio(part: float, whole: float) -> float:
    """part / whole; 0 of nothing is 0, more of it is infinitely much, and so are ∞ and NaN."""
    if part == 0:
        return 0.0
    return part / whole if whole and part < math.inf else math.inf


def _located(
    function: Callable[..., Any],
    args: Sequence[Any],
    rng: np.random.Generator,
    result: Result,
    conditioning: float,
) -> list[str]:
    """Which entry is worst, where a random direction failed."""
    entries = _Vector.of_arguments(args).values.size
    if result.index is not None or entries > MOST_TO_LOCATE:
        return []
    options: dict[str, Any] = {"method": result.method, "conditioning": conditioning}
    worst = compare(function, *args, rng=rng, entrywise=True, **options)
    return [
        f"the worst of {entries} entries, for another dy, is {worst.where}: "
        f"backward gives {worst.backward:.17g}, expected is {worst.expected:.17g}"
    ]


def _second_opinion(
    f: Function, x: np.ndarray, v: np.ndarray, dy: np.ndarray, result: Result
) -> list[str]:
    """What a central difference says where the complex step and backward do not agree."""
    if result.method != "complex":
        return []
    with np.errstate(all="ignore"):
        slope = _central_difference(f, x, v, slice(0, x.size))
    value = float(np.sum(dy * slope.value))
    uncertain = float(np.sum(np.abs(dy) * slope.error(0.0))) + 1e-12 * result.scale
    with_complex = abs(value - result.expected) <= uncertain
    with_backward = abs(value - result.backward) <= uncertain
    if with_complex and with_backward:
        verdict = "which agrees with both: the error is too small for it to judge"
    elif with_complex:
        verdict = "as the complex step does: the backward pass is wrong"
    elif with_backward:
        verdict = (
            "as backward does: the function is not analytic, so the complex step misleads "
            "(abs, conj, norm, a cast to float, a decision not by the real part?)"
        )
    else:
        verdict = "which agrees with neither: look at both, or for a kink at the point"
    return [f"a central difference gives {value:.12g} ± {uncertain:.2g}, {verdict}"]


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
