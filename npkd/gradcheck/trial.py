"""Both sides of the identity at the point and beside it, and what follows from them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from npkd.gradcheck.answers import RIGHT, UNDECIDED, WRONG, Result, ratio
from npkd.gradcheck.differences import (
    LEAST,
    STEP,
    Scale,
    Slope,
    central_difference,
    complex_step,
    computational_noise,
    in_place,
    scalar_difference,
    unit_step,
)
from npkd.gradcheck.vectors import (
    Direction,
    Vector,
    bits,
    called,
    gradient,
    not_finite,
    typical,
    unit_directions,
    weights,
)

POWER = 1e-3  # the largest fault, relative to S, that RIGHT may leave unseen
EXACT_POWER = 1e-8  # the same where nothing is rounded to less than double precision
MOST_TO_LOCATE = 2000  # entries up to which a failure along a direction is traced to an entry
ULP = 2.0**-52
DISTANCES = (2.0**-44, 2.0**-35, 2.0**-21, 2.0**-10)  # of points on a ray, relative to x
FIRST = DISTANCES[2]  # does, on one ray, where both sides agree at once
MOST_STRETCHED = 2.0**-21  # relative to v, which moves with x
RAYS = 4
AWAY = 2.0**-14  # relative to the size of the arrays
OF_NOISE = 32  # how many times the rounding measured is allowed

NOT_A_FUNCTION = (
    "not a function: called again at the same point it gives other bits; fix what it draws or "
    "remembers (a dropout mask, say)"
)


@dataclass
class _Point:
    """The arguments, what v is multiplied by, dy, the value, and the gradient for that dy."""

    x: np.ndarray
    stretch: np.ndarray | float
    dy: np.ndarray
    y: np.ndarray
    g: np.ndarray


@dataclass(frozen=True)
class _Sides:
    """s₂ and s₁ at a point, S there, and what s₁ lost to rounding where it subtracted."""

    backward: Any
    expected: Any
    scale: float
    rounding: float
    slope: Slope

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
        return self.uncertainty <= POWER * max(self.sides.scale, abs(self.value))


@dataclass(frozen=True)
class _Beside:
    """Both sides at points beside the point, and the steps that rounding makes s₁ − s₂ take there.

    noise, near: as most rays have it, along all of a ray and between its two nearest points.
    most, most_near: the most on any ray. agree: whether no more points need be asked.
    """

    rays: list[list[_Sides]]
    noise: float
    near: float
    most: float
    most_near: float
    agree: bool = False

    @property
    def sides(self) -> list[_Sides]:
        return [sides for ray in self.rays for sides in ray]


class Trial:
    """One function at one point, for one dy."""

    def __init__(
        self,
        function: Callable[..., Any],
        x: Vector,
        rng: np.random.Generator,
        method: str,
        tolerance: float,
        power: float | None,
    ):
        self.function, self.x, self.method, self.tolerance = function, x, method, tolerance
        value, backward = called(function, x.like(x.values.copy()))
        self.y = Vector.of(value, "output")
        if not self.y.values.size:
            raise ValueError(
                "gradcheck: the function returned no numbers, so there is nothing to compare "
                "(a batch of none is a case for check_contract)"
            )
        if np.iscomplexobj(self.y.values) and not np.iscomplexobj(x.values):
            raise ValueError(
                "gradcheck: the function returned complex numbers for real arguments; have it "
                "return their real and imaginary parts"
            )
        exact = method != "central" and self.y.eps <= ULP
        self.power = power or (EXACT_POWER if exact else POWER)
        self.dy = (
            weights(rng, self.y.values) if callable(backward) else np.ones(self.y.values.shape)
        )
        g = self._gradient(backward, self.dy)
        coarse = max(self.y.eps, g.eps)
        self.coarse = coarse if coarse > ULP else 0.0  # what was rounded, and known to be
        self.here = _Point(x.values, 1.0, self.dy, self.y.values, g.values)
        self._seed, self._points = int(rng.integers(2**63)), dict[tuple[int, float], _Point]()
        self.compared: list[Direction] = []

    def f(self, values: np.ndarray) -> Vector:
        """The function's value, which may write to what it is given."""
        return self._called(values)[0]

    def _called(self, values: np.ndarray) -> tuple[Vector, Any]:
        try:
            value, backward = called(self.function, self.x.like(values))
        except Exception as error:
            error.add_note("gradcheck called the function beside the arguments that it was given")
            raise
        y = Vector.of(value, "output")
        if y.shapes != self.y.shapes:
            raise ValueError(
                f"gradcheck: the function returned {y.shapes}, and {self.y.shapes} before"
            )
        return y, backward

    def _gradient(self, backward: Any, dy: np.ndarray) -> Vector:
        given = backward(self.y.like(dy.copy())[0]) if callable(backward) else backward
        return gradient(given, self.x)

    def _point(self, values: np.ndarray, stretch: Any = 1.0, of_dy: Any = 1.0) -> _Point:
        """v and dy are multiplied by stretch and of_dy there; a loss has no dy that could be."""
        y, backward = self._called(values.copy())
        dy = self.dy * of_dy if callable(backward) else self.dy
        return _Point(values, stretch, dy, y.values, self._gradient(backward, dy).values)

    def _beside(self, ray: int, distance: float) -> _Point:
        """The point of a ray at this distance, relative to each argument; v moves as much.

        Rays come in pairs of opposite ones, so that both sides of a kink are seen.
        """
        if (ray, distance) not in self._points:
            rng, x = np.random.default_rng([self._seed, ray // 2]), self.x.values
            w, of_v = weights(rng, x.real) * (-1) ** ray, weights(rng, x.real)
            moved = x + distance * w * np.where(x == 0, self.sizes, x)
            little, of_dy = min(distance, MOST_STRETCHED), weights(rng, self.dy.real)
            with np.errstate(all="ignore"):
                self._points[ray, distance] = self._point(
                    moved, 1 + little * of_v, 1 + little * of_dy
                )
        return self._points[ray, distance]

    def _away(self) -> _Point:
        """A point so far away that differences see no kink of the point's, and no farther.

        That of a ray may be as near to 0 as the point is.
        """
        if (RAYS, AWAY) not in self._points:
            x = self.x.values
            w = self._direction_of_all(0).real
            with np.errstate(all="ignore"):
                self._points[RAYS, AWAY] = self._point(x + AWAY * w * self.sizes)
        return self._points[RAYS, AWAY]

    @cached_property
    def sizes(self) -> np.ndarray:
        """For each entry the typical size of its array."""
        return self.x.sizes

    def _scale(self, v: np.ndarray) -> Scale:
        return Scale.of(self.x.values, v, self.sizes)

    def same_again(self) -> bool:
        """Whether value and gradient are, to the bit, what they were at first."""
        again = self._point(self.x.values)
        return bits([again.y, again.g]) == bits([self.here.y, self.here.g])

    def without_comparison(self) -> Result | None:
        """What can be said before anything is compared."""
        if not self.same_again():
            return Result(UNDECIDED, NOT_A_FUNCTION, self.method)
        if bad := not_finite(self.y, self.here.y, "the value, "):
            return Result(UNDECIDED, f"{bad}: there is no derivative to compare with", self.method)
        if bad := not_finite(self.x, self.here.g, "the gradient by "):
            if self._infinite_too():
                reason = f"{bad}, and so is the derivative: take another point"
                return Result(UNDECIDED, reason, self.method)
            return Result(WRONG, bad, self.method)
        return None

    def _infinite_too(self) -> bool:
        """Whether the derivative is not finite either, at the first entry where g is not."""
        v = np.zeros_like(self.x.values)
        v[np.flatnonzero(~np.isfinite(self.here.g))[0]] = 1
        leaf = next(leaf for leaf in self.x.leaves if np.any(v[leaf]))
        with np.errstate(all="ignore"):
            sides = self._simple_sides(("", (), v, leaf))
        return not np.isfinite(sides.expected) or not np.isfinite(sides.rounding)

    def judged(self, direction: Direction) -> Result:
        """The answer along one direction."""
        self.compared.append(direction)
        with np.errstate(all="ignore"):
            if self.method == "central":
                return self._by_differences(direction)
            return self._exactly(direction)

    def _sides(self, point: _Point, direction: Direction) -> _Sides:
        _, _, v, moved = direction
        v = v * point.stretch
        derivative = {"complex": complex_step, "affine": unit_step, "linear": in_place}
        return self._compared(point, v, derivative[self.method](self.f, point.x, v, moved))

    def _compared(self, point: _Point, v: np.ndarray, slope: Slope) -> _Sides:
        ours, theirs = point.g * v, point.dy * slope.value
        return _Sides(
            np.sum(ours).item(),
            np.sum(theirs).item(),
            sum(float(np.sum(np.abs(terms))) for terms in (ours, theirs)),
            float(np.sum(np.abs(point.dy) * slope.error(self.tolerance))),
            slope,
        )

    def _allowed(self, sides: _Sides) -> float:
        return (self.tolerance + 8 * self.coarse) * sides.scale + sides.rounding

    # Methods that are exact to rounding

    def _exactly(self, direction: Direction) -> Result:
        here = self._sides(self.here, direction)
        opinion = self._opinion(direction, here) if self.method == "complex" else None
        resolved = opinion is None or opinion.resolved
        beside = self._first(here, direction)
        if not beside.agree or (opinion and not (opinion.agrees and resolved)):
            beside = self._along_rays(direction)
        # Where both sides are exactly 0, those beside tell what is small, or all arguments' move.
        size = here.scale or max(sides.scale for sides in beside.sides) or self._moved
        if opinion and here.scale == 0:
            resolved |= opinion.uncertainty <= POWER * size
        bound = self._allowed(here) + OF_NOISE * beside.noise
        allowed = [self._allowed(s) + OF_NOISE * beside.noise for s in beside.sides]
        strays = [
            s.error for s, most in zip(beside.sides, allowed, strict=True) if not s.error <= most
        ]

        beyond = bound - self.tolerance * here.scale
        result = self._result(direction, here, beyond)
        if opinion is not None:
            result = replace(result, opinion=4 * opinion.uncertainty, branch_only=opinion.at_kink)
            if not opinion.agrees:
                left = self._cancelled(direction, here, beside)
                return left or self._not_analytic(result, opinion)
        elif bend := self._bend(direction, here, beside.noise):
            return replace(result, reason=bend)

        if not np.isfinite(here.error):
            return replace(result, reason="the derivative is not finite: take another point")
        if here.error <= bound and 2 * bound <= self.power * size and resolved and not strays:
            return replace(result, answer=RIGHT)
        if opinion is not None and (left := self._cancelled(direction, here, beside)):
            return left
        if self._proved_wrong(direction, here, beside, resolved):
            return self._with_notes(replace(result, answer=WRONG), direction)
        if opinion is not None and not resolved:
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
                f"right at the point, but beside it the two sides differ by {max(strays):.2g}: is "
                "it a function, and right everywhere?"
            )
        else:
            reason = (
                f"the difference that rounding explains here, {bound:.2g}, is not small against "
                f"what is compared, {here.scale:.2g}: take another point, dy or direction, or "
                "give values in their own precision"
            )
        return replace(result, reason=reason)

    def _first(self, here: _Sides, direction: Direction) -> "_Beside":
        """One point beside, which does where both sides agree at once, there and at the point."""
        sides = self._sides(self._beside(0, FIRST), direction)
        agree = all(s.error <= self._allowed(s) for s in (here, sides))
        noise = float(np.abs(sides.difference - here.difference))
        return _Beside([[sides]], noise, noise, 0.0, 0.0, agree)

    def _along_rays(self, direction: Direction) -> "_Beside":
        """Points on several rays; of what one or two of the rays see, as a kink, no notice."""
        rays = [
            [self._sides(self._beside(ray, distance), direction) for distance in DISTANCES]
            for ray in range(RAYS)
        ]
        steps = np.abs(np.diff([[sides.difference for sides in ray] for ray in rays], axis=1))
        noise, near = np.median(np.max(steps, axis=1)), np.median(steps[:, 0])
        most, most_near = np.max(steps), np.max(steps[:, 0])
        return _Beside(rays, float(noise), float(near), float(most), float(most_near))

    def _proved_wrong(
        self, direction: Direction, here: _Sides, beside: "_Beside", resolved: bool
    ) -> bool:
        """Whether rounding does nowhere beside the point what the two sides differ by.

        Or not near it, where differences speak for the complex step and against backward.
        """
        allowed = self._allowed(here)
        least = max(allowed + OF_NOISE * beside.noise, self._unresolvable(direction, here))
        if here.error > least and resolved:
            return True
        if self.method != "complex" or not here.error > allowed + OF_NOISE * beside.near:
            return False
        own = self._opinion_along(direction)
        return own.resolved and own.agrees and own.against_backward

    def _result(self, direction: Direction, sides: _Sides, uncertainty: float) -> Result:
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
            reason = (
                f"differences give {found}, the complex step {opinion.sides.expected:.12g}: is the "
                'function analytic? judge it by method="central"'
            )
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

    def _cancelled(self, direction: Direction, here: _Sides, beside: "_Beside") -> Result | None:
        """RIGHT where both sides are what rounding left of known parts, otherwise None."""
        noise, everywhere = beside.most, [here, *beside.sides]
        parts = noise / ULP
        small = max(sides.size for sides in everywhere) <= 1e-6 * parts
        alike = max(sides.error for sides in everywhere) <= OF_NOISE * noise
        if not (0 < noise <= 1e3 * beside.most_near and small and alike):
            return None
        values = [np.abs(np.sum(self.dy * (p.y - self.here.y))) for p in self._points.values()]
        of_value = float(max(values) + ULP * np.sum(np.abs(self.dy * self.here.y)))
        opinion = self._opinion_at(self.here, direction, here)
        uncertain = opinion.uncertainty + OF_NOISE * noise
        if abs(opinion.value) > uncertain or noise > 1e4 * self._rate(direction) * of_value:
            return None
        reason = (
            "zero by cancellation: both sides are what rounding left of parts that cancel, of "
            f"about {parts:.0g} (rounding moves them by {noise:.1g})"
        )
        result = self._result(direction, here, OF_NOISE * noise)
        return replace(result, answer=RIGHT, reason=reason, opinion=4 * uncertain, parts=parts)

    def _rate(self, direction: Direction) -> float:
        """How much larger v is than the arguments."""
        return max(
            float(np.max(np.abs(along), initial=0)) / typical(a)
            for along, a in zip(
                self.x.arrays(direction[2]), self.x.arrays(self.x.values), strict=True
            )
        )

    def _unresolvable(self, direction: Direction, here: _Sides) -> float:
        """The change of s₁ that over the size of the arguments is a rounding of the values."""
        value, touched = np.abs(self.dy * self.here.y), np.asarray(here.slope.value) != 0
        touching = value[touched] if touched.any() else value
        lost = LEAST / STEP * float(np.sum(np.abs(self.dy)))  # slopes that the step makes 0
        return float(4 * ULP * self._rate(direction) * np.sum(touching)) + 2 * lost

    def _bend(self, direction: Direction, here: _Sides, noise: float) -> str:
        """That the function is not affine, or linear, along a direction; "" if it is."""
        _, _, v, moved = direction
        x, y, r = self.x.values, self.here.y, np.zeros_like(v)
        r[moved] = (self._direction_of_all(0) * self.sizes)[moved]
        if self.method == "affine":
            others = [self.f(x + v).values, self.f(x + r).values, -self.f(x + v + r).values, -y]
        else:
            points = [x.copy() for _ in range(3)]
            for point, at in zip(points, (v + r, v, r), strict=True):
                point[moved] = at[moved]
            both, *alone = (self.f(point).values for point in points)
            others = [-both, *alone]
        size = float(np.abs(np.sum(self.dy * sum(others))))
        rounding = max(self.tolerance, 8 * self.y.eps) * float(
            sum(np.sum(np.abs(self.dy * other)) for other in others)
        )
        if size <= 4 * (here.rounding + rounding) + 8 * noise:
            return ""
        return (
            f"the function is not {self.method} in {direction[0]}: it bends by {size:.2g} along "
            'the direction; judge it by method="complex" or "central"'
        )

    # The second opinion on the complex step

    def _opinion(self, direction: Direction, here: _Sides) -> _Opinion:
        """That along the direction; for entries that along one random direction, if it agrees."""
        if direction[1] is not None and self._opinion_of_all.agrees:
            return self._opinion_of_all
        return self._opinion_along(direction, here)

    @cached_property
    def _opinion_of_all(self) -> _Opinion:
        v = self._direction_of_all(0)
        return self._opinion_along(("all arguments", None, v, slice(0, v.size)))

    def _direction_of_all(self, number: int) -> np.ndarray:
        return weights(np.random.default_rng([self._seed, RAYS + number]), self.x.values)

    def _opinion_along(self, direction: Direction, here: _Sides | None = None) -> _Opinion:
        opinion = self._opinion_at(self.here, direction, here)
        if opinion.agrees and np.isfinite(opinion.uncertainty):
            return opinion
        beside = self._opinion_at(self._away(), direction)
        return replace(beside, at_kink=beside.agrees and bool(np.isfinite(beside.uncertainty)))

    def _opinion_at(
        self, point: _Point, direction: Direction, sides: _Sides | None = None
    ) -> _Opinion:
        """At a point, for both sides there, which may be known."""
        sides = sides or self._sides(point, direction)
        v = direction[2] * point.stretch
        w = DISTANCES[0] * self._direction_of_all(0).real
        near = self.f(point.x + w * np.where(point.x == 0, self.sizes, point.x)).values - point.y
        of_values = np.abs(near) + 2 * max(ULP, self.y.eps) * np.abs(point.y)
        rounding = float(np.sum(np.abs(self.dy) * of_values))
        like, scale = (sides.expected, sides.scale), self._scale(direction[2])
        found = scalar_difference(self.f, point.x, v, point.dy, rounding, like, scale)
        return _Opinion(*found, sides)

    def _with_notes(self, result: Result, direction: Direction) -> Result:
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

    def _located(self, result: Result, direction: Direction) -> list[str]:
        """Which entry is worst, where a random direction failed."""
        entries = self.x.values.size
        if result.index is not None or entries > MOST_TO_LOCATE:
            return []
        by_entry = [
            self._result(unit, sides, sides.rounding)
            for unit in unit_directions(self.x, np.random.default_rng(0), None)
            for sides in [self._simple_sides(unit)]
        ]
        worst = max(by_entry, key=lambda of: of.of_allowed)
        return [
            f"the worst of {entries} entries is {worst.where}: "
            f"backward gives {worst.backward:.17g}, expected is {worst.expected:.17g}"
        ]

    def _simple_sides(self, direction: Direction) -> _Sides:
        """Both sides at the point, by the method."""
        if self.method != "central":
            return self._sides(self.here, direction)
        return self._compared(self.here, direction[2], self._difference(direction[2]))

    # Differences

    def _difference(self, v: np.ndarray) -> Slope:
        return self._difference_by(v, self._scale(v).steps)

    def _difference_by(self, v: np.ndarray, h: np.ndarray) -> Slope:
        x, y = self.x.values, self.here.y
        return central_difference(self.f, x, v, y, self.y, self._noise, h)

    @cached_property
    def _noise(self) -> np.ndarray:
        """What rounding does to each output, measured once along a direction of all arguments."""
        v = self._direction_of_all(0)
        measured = computational_noise(self.f, self.x.values, v, self._scale(v).largest)
        return np.maximum(self.y.eps * np.abs(self.here.y) + LEAST, measured)

    def _by_differences(self, direction: Direction) -> Result:
        v = direction[2]
        h = self._scale(v).steps
        result = self._against(direction, self._difference_by(v, h))
        bound = result.allowed
        if not np.isfinite(bound) or not np.isfinite(result.error):
            reason = (
                f"differences come to no value: {result.expected:.3g}; take a point around which "
                "the function is defined"
            )
            return replace(result, reason=reason)
        if result.error > bound:
            # A lucky step may look surer than it is, most so in less than double precision, where
            # few are left between rounding and kinks: other steps must say the same, by far.
            again = self._against(direction, self._difference_by(v, 0.6 * h))
            apart = abs(again.expected - result.expected)
            by = 16 if self.coarse else 4
            least = [
                by * each.allowed - (by - 1) * each.between + apart for each in (result, again)
            ]
            if result.error > least[0] and again.error > least[1]:
                return self._with_notes(replace(result, answer=WRONG), direction)
            reason = (
                f"differences by other steps give {again.expected:.9g}: see what it does nearby"
            )
            return replace(result, reason=reason)
        if 2 * bound <= self.power * result.scale:
            return replace(result, answer=RIGHT)
        if result.scale == 0 and 2 * bound <= self.power * self._natural:
            reason = "both sides are 0, and the value does not change at all"
            return replace(result, answer=RIGHT, reason=reason)
        why = "the point is at a kink, and any slope between its two is one; take another point"
        if not any(crossing.at_the_point for crossing in result.crossings):
            why = (
                "the function is too coarse, too curved or too steep here, or nothing changes; "
                "take another point, a higher precision or the complex step, or ask for less power "
                f"({2 * ratio(bound, result.scale):.1g})"
            )
        reason = f"differences are uncertain by {bound:.2g}, of {result.scale:.2g} compared: {why}"
        return replace(result, reason=reason)

    def _against(self, direction: Direction, slope: Slope) -> Result:
        """The gradient against differences, undecided as yet."""
        v = direction[2]
        here = self._compared(self.here, v, slope)
        near, far = DISTANCES[:2]
        moves = [
            abs(np.sum((self._beside(ray, far).g - self._beside(ray, near).g) * v))
            for ray in range(RAYS - 1)
        ]
        errors = np.abs(self.dy) * slope.error(0.0)
        # of outputs that do not change there is rounding only, at random
        still = np.sqrt(np.sum(errors**2, where=slope.unchanged))
        rounding = float(np.sum(errors, where=np.logical_not(slope.unchanged)) + 4 * still)
        kinks = float(np.sum(np.abs(self.dy) * slope.between))
        of_gradient = OF_NOISE * float(np.median(moves)) + 2 * self.coarse * here.scale
        result = self._result(direction, here, 2 * rounding + kinks + of_gradient)
        return replace(result, crossings=slope.crossings, between=kinks)

    @cached_property
    def _moved(self) -> float:
        """By how much the outputs move if all arguments do, by about their size."""
        moved = self.f(self.x.values + self._direction_of_all(0) * self.sizes).values
        return float(np.sum(np.abs(self.dy * (moved - self.here.y))))

    @cached_property
    def _natural(self) -> float:
        """The size of a derivative by one entry, averaged over all, as differences have it."""
        slope = self._difference(self._direction_of_all(1))
        return float(np.sum(np.abs(self.dy * slope.value))) / self.x.values.size
