"""Known faults: what a wrong program would give in the place of a right one.

A fault is a set of rules, by operation, that take the place of those in `rules.RULES`: the same
operation with another option, on another input, or followed by another step. The judge names a
fault as the cause only if it, and no other one, gives what was found on every probe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npkd.validate.bounds.rounding import Arithmetic, Rounded, exact
from npkd.validate.bounds.rules import Inputs, Options
from npkd.validate.bounds.rules import Rule as RightRule
from npkd.validate.program import Arrays, Case, Operation

Results = dict[str, Rounded]


@dataclass(frozen=True)
class Context:
    """Where in its program an operation stands: what some faults depend on."""

    case: Case
    operation: Operation
    found: Arrays
    known: Mapping[str, Rounded]

    def tensor(self, name: str) -> Rounded:
        """A tensor of the program as found, or else as computed."""
        return exact(self.found[name]) if name in self.found else self.known[name]

    def alike(self) -> list[Operation]:
        """All operations of the same kind in the program, in order."""
        return [one for one in self.case.operations if one.op == self.operation.op]


Rule = Callable[[RightRule, Arithmetic, Inputs, Options, Context], Results]


@dataclass(frozen=True)
class Fault:
    """A known fault: its name, the rules by which a program that has it goes, and where it lies.

    pipeline: in how data are prepared. convention: where it is none, but another choice that is
    valid, such as a subgradient at a kink: who has it so.
    """

    name: str
    rules: Mapping[str, Rule]
    pipeline: bool = False
    convention: str = ""


# Making rules


def options(change: Callable[[Options], dict[str, Any]] | None = None, **changes: Any) -> Rule:
    """The operation with other options."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        return right(a, x, {**given, **changes, **(change(given) if change else {})})

    return rule


def inputs(**changes: Callable[[np.ndarray], np.ndarray]) -> Rule:
    """The operation on other inputs, each made from the right one by moving entries."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        return right(a, {**x, **_moved(x, changes)}, given)

    return rule


def _moved(x: Inputs, moves: Mapping[str, Callable[[np.ndarray], np.ndarray]]) -> Results:
    return {name: moved_entries(x[name], move) for name, move in moves.items() if name in x}


def moved_entries(x: Rounded, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
    error, jump = (move(np.asarray(e)) if np.ndim(e) else e for e in (x.error, x.jump))
    return replace(x, value=move(x.value), error=error, jump=jump, scale=None, transforms=None)


def _both(forward: Rule, backward: Rule, *ops: str) -> dict[str, Rule]:
    """Rules for operations and for their backward passes."""
    return dict.fromkeys(ops, forward) | {f"{op}_backward": backward for op in ops}


def both_ways(rule: Rule, *ops: str) -> dict[str, Rule]:
    return _both(rule, rule, *ops)
