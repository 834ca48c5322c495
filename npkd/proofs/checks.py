"""What a check is and finds, and what checks of several subjects share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npkd import gradcheck
from npkd.gradcheck.answers import ratio
from npkd.proofs.cases import Drawn

VALUE = 1e-12  # max|a − b| ≤ VALUE · max|b|


@dataclass(frozen=True)
class Finding:
    """A check that was passed: the relative error at its worst place, which is named.

    power: of a gradient, the relative fault from which on it would not have passed; as npkd's
    functions are analytic on their branches, to a thousandth by differences.
    """

    relative: float = 0.0
    where: str = ""
    power: float = 0.0


Check = Callable[[Any, Drawn, np.random.Generator], Finding]


@dataclass(frozen=True)
class Proof:
    """What is judged, and the checks that it must pass.

    one_in: of so many examples asked for, one is run: above 1 where they are slow.
    """

    subject: Any
    checks: dict[str, Check]
    one_in: int = 1

    def examples(self, asked: int) -> int:
        """How many examples to run where so many are asked for."""
        return max(1, asked // self.one_in)


def described(case: Drawn) -> str:
    """A case in one line: its arrays' shapes and its options."""
    shapes = [f"{name} {shape}" for name, shape in case.shapes.items()]
    options = [f"{name}={' '.join(repr(value).split())}" for name, value in case.options.items()]
    return f"{case.op} of {', '.join([*shapes, *options])}"


def close(found: Any, expected: Any, what: str) -> Finding:
    """max|a − b| ≤ VALUE · max|b|, as `Finding`."""
    a, b = np.asarray(found), np.asarray(expected)
    if a.shape != b.shape:
        raise AssertionError(f"{what} has shape {a.shape}, expected {b.shape}")
    if a.size == 0:
        return Finding()
    errors, largest = np.abs(a - b), np.max(np.abs(b))
    index = tuple(int(n) for n in np.unravel_index(np.argmax(errors), a.shape))
    if not errors[index] <= VALUE * largest:
        raise AssertionError(
            f"{what} at {index} is {a[index]:.17g}, expected {b[index]:.17g}; they differ by "
            f"{errors[index]:.3g}, allowed is {VALUE * largest:.3g} ({VALUE:g} of the largest)"
        )
    return Finding(float(errors[index] / largest) if largest else 0.0, f"{what} at {index}")


def _worst(findings: list[Finding]) -> Finding:
    worst = max(findings, key=lambda finding: finding.relative)
    return replace(worst, power=max(finding.power for finding in findings))


def _gradients(
    function: Callable[..., Any], args: dict[str, Any], rng: np.random.Generator, **options: Any
) -> Finding:
    """`gradcheck.check`, with the arguments by name."""
    result = gradcheck.check(function, *args.values(), rng=rng, **options)
    where = result.where
    for k, name in enumerate(args):
        where = where.replace(f"argument {k}", name)
    compared = [each for each in result.entries or [result] if each.scale and not each.parts]
    relative = ratio(result.error, result.parts or result.scale)
    return Finding(relative, where, max((each.power_if_analytic for each in compared), default=0.0))
