"""Whether a framework's results are those of a program, to within what rounding can do.

    report = compare(case, results)         # arrays by tensor
    report.check()                          # AssertionError, with the table, unless all is right
    report = judge([(case, results), …])    # many cases, those of one subject being its probes

Every operation is computed anew in float64 on the inputs that the framework itself recorded, so
that errors do not add up from one operation to the next; where an input was not recorded, on the
judge's own, whose bound is then carried along. What was found is compared entry by entry with the
bound of `rules`. A tensor's verdict is the first of these that holds:

    CONSISTENT  every entry is within the bound of the declared precision
    CONSISTENT  … of a lower precision, which is named: factors rounded to TF32, bfloat16 or
                float16. Its effective bits must agree, and the exact probes of the same operation
                must pass, so that a loose bound never excuses a bug. (What multiplies nothing
                needs none, but all its numbers must be ones of that precision.) A sum so long that
                its bound leaves room for these is named by its bits, where probes pass
    UNPROVEN    … but with fewer effective bits than such sums have, or than show a fault of a
                tenth; unless an exact probe of the same shapes and options passes, which is said
    UNPROVEN    only entries are farther off whose decision (ReLU's, max-pool's) lies within the
                bound of what is decided on; or all are within the bound of another formula for
                the same function; or within that of a transform (Winograd's, Fourier's), exact
                probes too, and no known fault gives just this. Or nothing there tells: no exact
                probe, or a bound that is infinite or larger than the numbers.
                So is what has no rule, and was called again in float64 (a replay): BUG, where the
                gradient check says that its backward pass is WRONG
    CONVENTION  another choice that is valid, such as a subgradient at a kink, and is named
    BUG         provably not rounding

An exact probe is a case on small integers and powers of two, of which no order of summation rounds
anything: any difference at all is a bug.

Beside the bound, which is of the worst case, stands the probabilistic band (`Arithmetic.band`): an
entry outside of it is `suspicious`, which proves nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from npkd.engine import threads
from npkd.validate.bounds.properties import PROPERTIES
from npkd.validate.bounds.rounding import ARITHMETICS
from npkd.validate.bounds.rules import RULES, is_sum_of_products
from npkd.validate.judging.causes import by_conventions, causes_of, with_known_faults
from npkd.validate.judging.trial import ASSUMED, FEWER, LEAST_BITS, Trial
from npkd.validate.judging.verdicts import BUG, CONSISTENT, UNPROVEN, Report, Verdict
from npkd.validate.program import OWN, REPLAYED, Arrays, Case, Operation

HALVES = ("float16", "bfloat16")
PROBE_SEES = "no term, tap or image is left out or misplaced"
MANY = 16  # numbers, whose random errors one factor does not explain


def compare(case: Case, results: Arrays, *, precision: str | None = None) -> Report:
    """The verdicts on a framework's results for one case.

    results: arrays by tensor; those that are not needed may be missing. precision: the declared
    one, "float32" and so on (by default that of each array's dtype).

    Raises ValueError for another precision, for a tensor that the case does not have, for what is
    no array of numbers, and for an operation that cannot be computed.

    Example
        >>> relu = validate.Operation("relu1", "relu", {"x": "x"}, {"y": "y"})
        >>> case = validate.Case("mine", "relu", "a ReLU", {"x": np.array([-1.0, 2.0])}, (relu,))
        >>> [validate.compare(case, {"y": np.array(y)}).ok for y in ([0.0, 2.0], [-1.0, 2.0])]
        [True, False]
    """
    return judge([(case, results)], precision=precision)


@threads.one_blas_thread()
@np.errstate(all="ignore")
def judge(
    results: Iterable[tuple[Case, Arrays]],
    *,
    precision: str | None = None,
    ulp: float | None = None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """The verdicts on a framework's results for many cases; see `compare`.

    ulp: by which the framework's exp, log and their like are off at most, as documented or as
    measured on every number. Without it 4 are assumed, and what rests on that is UNPROVEN.

    Numbers that overflow or are not finite make no warnings: the verdicts are about them.

    Example
        >>> relu = validate.Operation("relu1", "relu", {"x": "x"}, {"y": "y"})
        >>> case = validate.Case("mine", "relu", "a ReLU", {"x": np.array([-1.0, 2.0])}, (relu,))
        >>> validate.judge([(case, {"y": np.array([-1.0, 2.0])})]).first.verdict
        'BUG'
    """
    if precision is not None and precision not in ARITHMETICS:
        raise ValueError(
            f"validate: precision is {precision!r}, expected one of {', '.join(ARITHMETICS)}"
        )
    trials = [Trial(case, found, precision, ulp) for case, found in results]
    verdicts = _with_probes([one for trial in trials for one in trial.measured()])
    verdicts = with_known_faults(trials, verdicts)
    causes = tuple(causes_of(trials, verdicts))
    unjudged = [
        (f"{t.case.name}: {o.name}", o.options.get("function", o.op), o.options)
        for t in trials
        for o in t.case.operations
        if o.op not in RULES and o.op not in (*PROPERTIES, *REPLAYED, *OWN)
    ]
    return Report(
        tuple(by_conventions(verdicts, causes)),
        causes,
        tuple(f"{t.case.name}/{name}" for t in trials for name in t.missing),
        tuple(f"{name} ({what})" for name, what, _ in unjudged),
        dict(about or {}),
        own=tuple(name for name, _, given in unjudged if given.get("own")),
        asked=tuple(f"{name} ({what})" for name, what, given in unjudged if given.get("asked")),
    )


class Probe(NamedTuple):
    """Of an exact probe: whether it passes, and if not, what else it is.

    lower         "float16", "bfloat16": what comes of these
    by_transform  what a transform may give
    """

    passes: bool
    lower: frozenset[str]
    by_transform: bool


def _with_probes(measured: Sequence[tuple[Trial, Operation, Verdict]]) -> list[Verdict]:
    """The verdicts, where exact probes of the same operation have their say.

    A lower precision is accepted of an operation only if there are exact probes of it and they
    pass; a transform, which may round them, unless one of them is farther off than that.
    """
    probes: dict[tuple[str, str], list[Probe]] = {}
    for trial, operation, one in measured:
        if one.exact and operation.op in RULES:
            passes = one.verdict == CONSISTENT
            by_transform = not passes and bool(trial.by_transform(one.tensor))
            probe = Probe(passes, _halves(trial, operation, one), by_transform)
            probes.setdefault((one.op, one.result), []).append(probe)
    doubtful = [i for i, (_, _, one) in enumerate(measured) if _is_outside(one)]
    coarse = [i for i, (trial, _, one) in enumerate(measured) if _is_coarse(trial, one)]
    lower = {}
    for i in (*doubtful, *coarse):
        one = measured[i][2]
        if not one.exact:
            lower[i] = _accepted(measured[i], probes.get((one.op, one.result), []))
    common: dict[tuple[str, str], list[str]] = {}  # of all tensors of an operation
    for i, names in lower.items():
        key = measured[i][2].subject, measured[i][2].op
        common[key] = [name for name in common.get(key, names) if name in names]
    verdicts = [one for _, _, one in measured]
    for i in doubtful:
        trial, operation, one = measured[i]
        if one.exact:
            verdicts[i] = _of_exact(one, trial, operation)
        else:
            names = common[one.subject, one.op] or lower[i]
            verdicts[i] = _of_lower(one, trial, names, probes.get((one.op, one.result), []))
    for i in coarse:
        one = measured[i][2]
        names = common[one.subject, one.op] or lower[i]
        if not probes.get((one.op, one.result)):  # no lower precision without a probe that passes
            names = []
        verdicts[i] = replace(one, precision=" or ".join(names) or one.precision)
    for i, (trial, _, one) in enumerate(measured):
        if one.exact or verdicts[i] != one or one.verdict != CONSISTENT:
            continue
        least = max(LEAST_BITS, trial.usual_bits.get(one.tensor, 0.0) - FEWER)
        if one.bits < least:
            verdicts[i] = replace(one, **_with_few_bits(one, least, _alike(measured, i)))
    return _settled(verdicts)


def _halves(trial: Trial, operation: Operation, one: Verdict) -> frozenset[str]:
    """Of which formats of 16 bits an exact probe's tensor may come."""
    if one.verdict == CONSISTENT and not is_sum_of_products(one.op):
        return frozenset(HALVES)
    return frozenset(
        name
        for name in HALVES
        if trial.is_in(ARITHMETICS[name].stored, operation, one.tensor, one.result)
    )


def _is_outside(one: Verdict) -> bool:
    """Whether a tensor is out of its bound, and a lower precision or a transform may say why."""
    return (one.verdict, one.note) in ((BUG, ""), (UNPROVEN, ASSUMED))


def _alike(measured: Sequence[tuple[Trial, Operation, Verdict]], i: int) -> list[Verdict]:
    """The exact probes of the same operation, with the same shapes and options."""
    trial, operation, one = measured[i]
    shapes = trial.shapes(operation)
    return [
        probe
        for of, same, probe in measured
        if probe.exact
        and (probe.op, probe.result) == (one.op, one.result)
        and same.options == operation.options
        and of.shapes(same) == shapes
    ]


def _with_few_bits(one: Verdict, least: float, probes: Sequence[Verdict]) -> dict[str, Any]:
    """What is said of a tensor within its bound, where that leaves room for a fault."""
    few = f"within its bound, but of {one.bits:.1f} effective bits, fewer than the {least:.1f} "
    few += "that such sums keep" if least > LEAST_BITS else "without which a fault may hide"
    if probes and all(probe.verdict == CONSISTENT for probe in probes):
        return {"note": f"{few}; an exact probe of the same shapes passes: {PROBE_SEES}"}
    return {"verdict": UNPROVEN, "precision": "", "note": f"{few}, and no exact probe tells"}


def _is_coarse(trial: Trial, one: Verdict) -> bool:
    """Whether sums of products that are within their bound have far fewer bits than declared.

    The bound of a long sum is so wide that even factors of TF32 may stay within it.
    """
    if not is_sum_of_products(one.op) or one.exact or one.verdict != CONSISTENT:
        return False
    half = trial.arithmetic_of(one.tensor).stored.bits / 2 + 2
    return one.bits < max(half, trial.usual_bits.get(one.tensor, 0.0) - 2.5)


def _accepted(measured: tuple[Trial, Operation, Verdict], probes: Sequence[Probe]) -> list[str]:
    """The lower precisions that a tensor is consistent with, and that the probes do not refute."""
    trial, operation, one = measured
    pass_all = all(probe.passes for probe in probes)
    beyond_float16 = any(probe.passes and "float16" not in probe.lower for probe in probes)
    return [
        name
        for name in trial.lower(operation, one.tensor)
        if (pass_all and not (name == "float16" and beyond_float16))
        or (name in HALVES and all(name in probe.lower for probe in probes))
    ]


def _of_exact(one: Verdict, trial: Trial, operation: Operation) -> Verdict:
    """Of an exact probe that differs: by what 16 bits hold, by a transform, or by a bug."""
    if halves := _halves(trial, operation, one):
        names = " or ".join(name for name in HALVES if name in halves)
        return replace(one, verdict=CONSISTENT, precision=names)
    if note := trial.by_transform(one.tensor):
        return replace(one, verdict=UNPROVEN, note=note)
    return one


def _of_lower(one: Verdict, trial: Trial, names: Sequence[str], probes: Sequence[Probe]) -> Verdict:
    """Of a tensor that is out of its bound: a lower precision, a transform, or a bug."""
    precision = " or ".join(names)
    is_even = not math.isnan(one.factor) and trial.given[one.tensor].size >= MANY
    if is_even and names:
        note = f"found is {one.factor:.6g} times what is expected throughout; {precision} is hardly"
        return replace(one, verdict=UNPROVEN, note=f"{note} so even")
    if names and (probes or not is_sum_of_products(one.op)):
        return replace(one, verdict=CONSISTENT, precision=precision)
    notes = []
    if names:
        notes.append(f"as {precision} would have it, but no exact probe says that it is right")
    if all(probe.passes or probe.by_transform for probe in probes):
        notes.append(trial.by_transform(one.tensor))
    note = "; or ".join(filter(None, notes))
    return replace(one, verdict=UNPROVEN, note=note) if note else one


def _settled(verdicts: list[Verdict]) -> list[Verdict]:
    """An exact probe is in a lower precision only if its operation is, by ordinary numbers."""
    found: dict[str, set[str]] = {}
    for one in verdicts:
        if not one.exact:
            found.setdefault(one.op, set()).update(one.precision.split(" or "))
    settled = []
    for one in verdicts:
        if one.exact and one.ratio > 1 and one.verdict == CONSISTENT:
            names = found.get(one.op, set()).intersection(one.precision.split(" or "))
            verdict = CONSISTENT if names else BUG
            one = replace(one, verdict=verdict, precision=" or ".join(sorted(names)))
        settled.append(one)
    return settled
