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
                the same function; or within a bound for the whole image, but not of every entry,
                and the exact probes pass: what transforms do (Winograd's, Fourier's). Or nothing
                there tells: no exact probe, or a bound that is infinite or larger than the numbers
    CONVENTION  another choice that is valid, such as a subgradient at a kink, and is named
    BUG         provably not rounding

An exact probe is a case on small integers and powers of two, of which no order of summation rounds
anything: any difference at all is a bug.

Beside the bound, which is of the worst case, stands the probabilistic band (`Arithmetic.band`): an
entry outside of it is `suspicious`, which proves nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npkd.engine import threads
from npkd.validate.bounds.properties import PROPERTIES
from npkd.validate.bounds.rounding import ARITHMETICS
from npkd.validate.bounds.rules import RULES, is_sum_of_products
from npkd.validate.judging.causes import by_conventions, causes_of
from npkd.validate.judging.trial import LEAST_BITS, Trial
from npkd.validate.judging.verdicts import BUG, CONSISTENT, UNPROVEN, Report, Verdict
from npkd.validate.program import Arrays, Case, Operation

PROBE_SEES = "no term, tap or image is left out or misplaced"


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
    causes = tuple(causes_of(trials, verdicts))
    return Report(
        tuple(by_conventions(verdicts, causes)),
        causes,
        tuple(f"{t.case.name}/{name}" for t in trials for name in t.missing),
        tuple(
            f"{t.case.name}: {o.name} ({o.options.get('function', o.op)})"
            for t in trials
            for o in t.case.operations
            if o.op not in RULES and o.op not in PROPERTIES
        ),
        dict(about or {}),
        tuple(
            f"{t.case.name}: {o.name}"
            for t in trials
            for o in t.case.operations
            if o.op not in RULES and o.options.get("own")
        ),
    )


def _with_probes(measured: Sequence[tuple[Trial, Operation, Verdict]]) -> list[Verdict]:
    """The verdicts, where exact probes of the same operation have their say.

    A lower precision, or a transform, is accepted of an operation only if there are exact probes of
    it and they pass.
    """
    # Of each op's results: whether a probe passes, and whether it is what float16 gives.
    probes: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for trial, operation, one in measured:
        if one.exact and operation.op in RULES:
            passes = one.verdict == CONSISTENT
            in_float16 = passes
            if is_sum_of_products(one.op):
                in_float16 = trial.is_float16(operation, one.tensor, one.result)
            probes.setdefault((one.op, one.result), []).append((passes, in_float16))
    doubtful = [i for i, (_, _, one) in enumerate(measured) if one.verdict == BUG and not one.note]
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
        if one.bits < trial.least_bits.get(one.tensor, 0.0):
            least = trial.least_bits[one.tensor]
            verdicts[i] = replace(one, **_with_few_bits(one, least, _alike(measured, i)))
    return _settled(verdicts)


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
    of_products = is_sum_of_products(one.op) and not one.exact
    bits = trial.arithmetic_of(one.tensor).stored.bits
    return of_products and one.verdict == CONSISTENT and one.bits < bits / 2 + 2


def _accepted(
    measured: tuple[Trial, Operation, Verdict], probes: Sequence[tuple[bool, bool]]
) -> list[str]:
    """The lower precisions that a tensor is consistent with, and that the probes do not refute."""
    trial, operation, one = measured
    pass_all = all(passes for passes, _ in probes)
    beyond_float16 = any(passes and not in_float16 for passes, in_float16 in probes)
    all_in_float16 = all(in_float16 for _, in_float16 in probes)
    return [
        name
        for name in trial.lower(operation, one.tensor)
        if (pass_all and not (name == "float16" and beyond_float16))
        or (name == "float16" and all_in_float16)
    ]


def _of_exact(one: Verdict, trial: Trial, operation: Operation) -> Verdict:
    """Of an exact probe that differs: by float16's range, by a transform, or by a bug."""
    if is_sum_of_products(one.op) and trial.is_float16(operation, one.tensor, one.result):
        return replace(one, verdict=CONSISTENT, precision="float16")
    if trial.normwise(one.tensor):
        note = "not exact, as sums of products would be: a transform?"
        return replace(one, verdict=UNPROVEN, note=note)
    return one


def _of_lower(
    one: Verdict, trial: Trial, names: Sequence[str], probes: Sequence[tuple[bool, bool]]
) -> Verdict:
    """Of a tensor that is out of its bound: a lower precision, a transform, or a bug."""
    precision = " or ".join(names)
    if names and (probes or not is_sum_of_products(one.op)):
        return replace(one, verdict=CONSISTENT, precision=precision)
    if probes and all(passes for passes, _ in probes) and trial.normwise(one.tensor):
        return replace(one, verdict=UNPROVEN)
    if names:
        note = f"as {precision} would have it, but no exact probe says that it is right"
        return replace(one, verdict=UNPROVEN, note=note)
    return one


def _settled(verdicts: list[Verdict]) -> list[Verdict]:
    """An exact probe is in float16 only if nothing else of its operation says otherwise."""
    in_float16 = {one.op for one in verdicts if not one.exact and "float16" in one.precision}
    return [
        replace(one, verdict=BUG, precision="")
        if one.exact and one.precision == "float16" and one.op not in in_float16
        else one
        for one in verdicts
    ]
