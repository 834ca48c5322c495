"""What a gradient check answers: RIGHT, WRONG or UNDECIDED, with the figures it stands on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RIGHT, WRONG, UNDECIDED = "RIGHT", "WRONG", "UNDECIDED"


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
    between        of that, half of what lies between the two slopes of kinks at the point
    opinion        the smallest ⟨δg, v⟩ that differences would have seen if the complex step shared
                   the mistake; 0 for the other methods, which have no such assumption
    parts          of what size the parts are that cancel, where both sides are what rounding left
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
    between: float = 0.0
    opinion: float = 0.0
    parts: float = 0.0
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
        return ratio(self.error, self.scale)

    @property
    def allowed(self) -> float:
        """B, the largest error that is accepted."""
        return self.tolerance * self.scale + self.uncertainty

    @property
    def of_allowed(self) -> float:
        """The error in units of what is allowed."""
        return ratio(self.error, self.allowed)

    @property
    def seen(self) -> float:
        """The smallest ⟨δg, v⟩ of a fault δg that would have been seen."""
        return max(2 * self.allowed, self.opinion)

    @property
    def power(self) -> float:
        """A fault δg with |⟨δg, v⟩| ≥ power · scale would have been seen.

        At the point the fault alone would make |s₁ − s₂| at least 2 B, or, if the complex step has
        it too, differences would disagree.
        """
        return ratio(self.seen, self.scale)

    @property
    def power_if_analytic(self) -> float:
        """The same for a function that is known to be analytic on its branches: 2 B / scale."""
        return ratio(2 * self.allowed, self.scale)

    @property
    def single_entry(self) -> float:
        """A fault of one entry of the gradient, from this size on, would have been seen."""
        return self.seen / self.smallest

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
                *(f"    {line}" for line in some("kink: ", self.crossings)),
                *(f"    {line}" for line in some("changes branch: ", self.switched)),
            ]
        )

    def _seen(self) -> str:
        """What would not have been right."""
        if self.parts:
            of_parts = self.seen / self.parts
            return f"a fault of {self.seen:.1g}, {of_parts:.1g} of the parts, would have been seen"
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


def ratio(part: float, whole: float) -> float:
    """part / whole; 0 of nothing is 0, more of it is infinitely much, and so are ∞ and NaN."""
    if part == 0:
        return 0.0
    return part / whole if whole and part < math.inf else math.inf


def some(prefix: str, items: Sequence[Any], most: int = 5) -> list[str]:
    lines = [f"{prefix}{item}" for item in items[:most]]
    return lines + ([f"{prefix}… and {len(items) - most} more"] if len(items) > most else [])
