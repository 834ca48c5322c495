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
                must pass, so that a loose bound never excuses a bug
    AMBIGUOUS   only entries are farther off whose decision (ReLU's, max-pool's) lies within the
                bound of what is decided on
    UNPROVEN    within a bound for the whole image, but not of every entry, and the exact probes
                pass: what transforms do (Winograd's, Fourier's)
    BUG         provably not rounding

An exact probe is a case on small integers and powers of two, of which no order of summation rounds
anything: any difference at all is a bug.

Effective bits: if the factors of y = Σ a b are rounded to t bits each, errors e against Q = √Σ a²b²
have a root mean square of about 0.60 · 2⁻ᵗ, so t is −log₂(rms(e/Q) / 0.60). Where there are no
products Q is |y|.

Beside the bound, which is of the worst case, stands the probabilistic band (`Arithmetic.band`): an
entry outside of it is `suspicious`, which proves nothing.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npkd.validate.faults import FAULTS, PROPERTIES, Context, Fault, Rule
from npkd.validate.program import Arrays, Case, Operation
from npkd.validate.rounding import (
    ARITHMETICS,
    FLOAT16,
    LOWER,
    Arithmetic,
    Precision,
    Rounded,
    exact,
)
from npkd.validate.rules import RULES, is_sum_of_products
from npkd.validate.verdicts import AMBIGUOUS, BUG, CONSISTENT, UNPROVEN, Cause, Report, Verdict

PER_ROUNDED_FACTOR = 0.60  # rms(e/Q) · 2ᵗ


def compare(case: Case, results: Arrays, *, precision: str | None = None) -> Report:
    """The verdicts on a framework's results for one case.

    results: arrays by tensor; those that are not needed may be missing. precision: the declared
    one, "float32" and so on (by default that of each array's dtype).

    Raises ValueError for another precision, or for a tensor that the case does not have.
    """
    return judge([(case, results)], precision=precision)


def judge(
    results: Iterable[tuple[Case, Arrays]],
    *,
    precision: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """The verdicts on a framework's results for many cases; see `compare`."""
    if precision is not None and precision not in ARITHMETICS:
        raise ValueError(
            f"validate: precision is {precision!r}, expected one of {', '.join(ARITHMETICS)}"
        )
    trials = [Trial(case, found, precision) for case, found in results]
    verdicts = _with_probes([one for trial in trials for one in trial.measured()])
    return Report(
        tuple(verdicts),
        tuple(_causes(trials, verdicts)),
        tuple(f"{t.case.name}/{name}" for t in trials for name in t.missing),
        tuple(
            f"{t.case.name}: {o.name} ({o.options.get('function', o.op)})"
            for t in trials
            for o in t.case.operations
            if o.op not in RULES and o.op not in PROPERTIES
        ),
        dict(about or {}),
    )


# One case


class Trial:
    """A case with a framework's results for it, computed anew.

    Raises ValueError for a tensor that the case does not have.
    """

    def __init__(self, case: Case, found: Arrays, precision: str | None = None):
        self.case = case
        tensors = set(case.tensors())
        unknown = sorted(found.keys() - tensors)
        if unknown:
            raise ValueError(
                f"validate: {case.name} has no tensor {unknown[0]!r}; it has {sorted(tensors)}"
            )
        self.missing = sorted(case.needed - found.keys())
        self.given = {name: np.asarray(array) for name, array in found.items()}
        self.declared = precision
        self.arithmetic = ARITHMETICS[precision or _highest(self.given)]
        self.usable = dict(self.given)  # as inputs of later operations: of the right shape
        self._known: dict[str, dict[str, Rounded]] = {}
        self._known[self.arithmetic.name] = self._computed(self.arithmetic)

    def arithmetic_of(self, tensor: str) -> Arithmetic:
        """The one in which a tensor is declared to have been computed."""
        return ARITHMETICS.get(self.declared or self.given[tensor].dtype.name, self.arithmetic)

    def known(self, arithmetic: Arithmetic) -> dict[str, Rounded]:
        """All tensors as this arithmetic may have them."""
        if arithmetic.name not in self._known:
            self._known[arithmetic.name] = self._computed(arithmetic)
        return self._known[arithmetic.name]

    def _computed(self, arithmetic: Arithmetic) -> dict[str, Rounded]:
        known = {name: exact(array) for name, array in self.case.inputs.items()}
        for operation in self.case.operations:
            known.update(self._results(arithmetic, operation, known, None))
        return known

    def _results(
        self,
        arithmetic: Arithmetic,
        operation: Operation,
        known: dict[str, Rounded],
        fault: Rule | None,
    ) -> dict[str, Rounded]:
        """The tensors that an operation makes, by a fault's rule if it has one."""
        if operation.op not in RULES:
            return {
                tensor: exact(self.given[tensor])
                for tensor in operation.outputs.values()
                if tensor in self.given
            }
        context = Context(self.case, operation, self.usable, known)
        inputs = {name: context.tensor(tensor) for name, tensor in operation.inputs.items()}
        with np.errstate(all="ignore"):
            if fault is None:
                results = RULES[operation.op](arithmetic, inputs, operation.options)
            else:
                results = fault(RULES[operation.op], arithmetic, inputs, operation.options, context)
        made = {tensor: results[name] for name, tensor in operation.outputs.items()}
        for tensor, outcome in made.items():
            if tensor in self.usable and np.shape(self.usable[tensor]) != outcome.value.shape:
                del self.usable[tensor]
        return made

    def measured(self) -> Iterator[tuple["Trial", Operation, Verdict]]:
        """A verdict for each tensor that was given, as far as this case alone can tell."""
        for operation in self.case.operations:
            for result, tensor in operation.outputs.items():
                if tensor not in self.given:
                    continue
                known = self.known(self.arithmetic_of(tensor))
                if operation.op in PROPERTIES:
                    yield self, operation, self._of_property(operation, result, tensor)
                elif operation.op in RULES:
                    measure = Measure.of(self.given[tensor], known[tensor], self)
                    yield self, operation, self._verdict(operation, result, tensor, measure)

    def _verdict(
        self, operation: Operation, result: str, tensor: str, measure: "Measure"
    ) -> Verdict:
        verdict = BUG
        if measure.within:
            verdict = CONSISTENT
        elif measure.with_jump:
            verdict = AMBIGUOUS
        return Verdict(
            self.case.name,
            self.case.subject,
            operation.name,
            operation.op,
            result,
            tensor,
            self.case.exact,
            verdict,
            self.arithmetic_of(tensor).name if verdict == CONSISTENT else "",
            **measure.figures(),
        )

    def _of_property(self, operation: Operation, result: str, tensor: str) -> Verdict:
        wrong = PROPERTIES[operation.op].check(self.given[tensor], operation.options)
        nothing = {"error": 0.0, "bound": 0.0, "ratio": math.inf if wrong else 0.0, "index": ()}
        numbers = {"found": math.nan, "expected": math.nan, "bits": math.inf, "band": 0.0}
        return Verdict(
            self.case.name,
            self.case.subject,
            operation.name,
            operation.op,
            result,
            tensor,
            self.case.exact,
            BUG if wrong else CONSISTENT,
            "" if wrong else self.arithmetic_of(tensor).name,
            **nothing,  # type: ignore[arg-type]
            **numbers,  # type: ignore[arg-type]
            note=wrong,
        )

    def lower(self, operation: Operation, tensor: str) -> list[str]:
        """The lower precisions whose bound a tensor is within, and whose bits it has."""
        found = self.given[tensor]
        fitting = []
        for arithmetic in LOWER[self.arithmetic_of(tensor).name]:
            outcome = self.known(arithmetic)[tensor]
            measure = Measure.of(found, outcome, self)
            if not (measure.within or measure.with_jump):
                continue
            lost = arithmetic.stored.bits - 6  # bits that are left where some were lost on the way
            if arithmetic.factors is None:  # float32 in the place of float64, or of sums
                agrees = measure.bits > lost
            elif is_sum_of_products(operation.op) and outcome.scale is not None:
                agrees = _agrees(measure.bits, arithmetic.factors.bits, found.size)
            else:
                agrees = _is_stored_in(arithmetic.stored, found) and measure.bits > lost
            if agrees:
                fitting.append(arithmetic.name)
        return fitting

    def is_float16(self, operation: Operation, tensor: str, result: str) -> bool:
        """Whether an exact probe's tensor is what comes of factors in float16.

        That is right, but not finite where float16 cannot hold a factor; there it need not be NaN
        or infinite at the same places, since 0 · ∞ may have been left out.
        """
        context = Context(self.case, operation, self.usable, self.known(self.arithmetic))
        inputs = {
            name: Rounded(FLOAT16.round(context.tensor(at).value))
            for name, at in operation.inputs.items()
        }
        with np.errstate(all="ignore"):
            in_float16 = RULES[operation.op](self.arithmetic, inputs, operation.options)[result]
        found, right = self.given[tensor], self.known(self.arithmetic)[tensor].value
        if found.shape != right.shape:
            return False
        beyond, finite = ~np.isfinite(in_float16.value), np.isfinite(found)
        is_right = np.all(np.where(finite, found == right, beyond))
        return bool(is_right) and not (np.any(beyond) and np.all(finite))

    def normwise(self, tensor: str) -> bool:
        """Whether a tensor is within the bound for whole images."""
        outcome = self.known(self.arithmetic)[tensor]
        if outcome.norm is None:
            return False
        errors = _errors(self.given[tensor], outcome.value)
        bound = self.arithmetic.gamma_of_sum(outcome.roundings) * outcome.norm()
        return errors is not None and bool(np.all(errors <= bound + outcome.total))

    def explained(self, rules: Mapping[str, Rule]) -> set[str] | None:
        """The tensors that are as the rules of a fault have them, and not as they should be.

        rules: by op. Operations that depend on what is not recorded are computed anew too. None if
        anything is not as they have it.
        """
        known = dict(self.known(self.arithmetic))
        touched: set[str] = set()
        tensors: set[str] = set()
        for operation in self.case.operations:
            rule = rules.get(operation.op)
            if rule is None and touched.isdisjoint(operation.inputs.values()):
                continue
            try:
                made = self._results(self.arithmetic, operation, known, rule)
            except (ValueError, IndexError, KeyError):  # the fault makes no sense here
                return None
            known.update(made)
            for tensor, outcome in made.items():
                if tensor not in self.given:
                    touched.add(tensor)
                    continue
                if not _lies_within(self.given[tensor], outcome):
                    return None
                if not _lies_within(self.given[tensor], self.known(self.arithmetic)[tensor]):
                    tensors.add(tensor)
        return tensors


def _lies_within(found: np.ndarray, outcome: Rounded) -> bool:
    errors = _errors(found, outcome.value)
    return errors is not None and bool(np.all((errors <= outcome.total) | (errors == 0)))


def _highest(found: Arrays) -> str:
    """The highest precision among arrays: that in which a framework says to have computed."""
    kinds = {array.dtype.name for array in found.values()} & ARITHMETICS.keys()
    order = list(ARITHMETICS)
    return min(kinds, key=order.index) if kinds else "float32"


@dataclass(frozen=True)
class Measure:
    """How far a tensor is from what it should be."""

    within: bool
    with_jump: bool
    worst: Mapping[str, Any]
    bits: float
    band: float
    note: str = ""

    @classmethod
    def of(cls, found: np.ndarray, outcome: Rounded, trial: Trial) -> "Measure":
        errors = _errors(found, outcome.value)
        if errors is None:
            note = f"has shape {found.shape}, expected {outcome.value.shape}"
            nothing = {"error": np.inf, "bound": 0.0, "ratio": np.inf, "index": ()}
            numbers = {"found": np.nan, "expected": np.nan}
            return cls(False, False, nothing | numbers, 0.0, np.inf, note)
        recorded = trial.case.exact and not np.any(outcome.jump)
        bound = np.broadcast_to(0.0 if recorded else outcome.error, errors.shape)
        bound = np.where(np.isnan(bound), 0.0, bound)  # where NaN is right, and nothing else
        ratios = _ratios(errors, bound)
        worst = int(np.argmax(ratios)) if errors.size else 0
        figures = {
            "error": _at(errors, worst),
            "bound": _at(bound, worst),
            "ratio": _at(ratios, worst),
            "index": tuple(int(i) for i in np.unravel_index(worst, errors.shape))
            if errors.size
            else (),
            "found": _at(found, worst),
            "expected": _at(outcome.value, worst),
        }
        share = trial.arithmetic.band(outcome.roundings)
        return cls(
            within=bool(np.all(errors <= bound)),
            with_jump=bool(np.all(errors <= bound + outcome.jump)) and bool(np.any(outcome.jump)),
            worst=figures,
            bits=_bits(errors, outcome),
            band=_at(ratios, worst) / share,
        )

    def figures(self) -> dict[str, Any]:
        """What goes into a verdict."""
        return {**self.worst, "bits": self.bits, "band": self.band, "note": self.note}


def _at(array: np.ndarray, place: int) -> float:
    """An entry; 0 of an array that has none."""
    return float(array.flat[place]) if array.size else 0.0


def _errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
    """|found − expected|: 0 where both are the same infinity or both NaN; None for other shapes."""
    if found.shape != expected.shape:
        return None
    found = found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        errors = np.abs(found - expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isnan(errors), np.inf, errors))


def _ratios(errors: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """errors / bound; 0 where there is no error, infinite where none is allowed."""
    with np.errstate(all="ignore"):
        ratios = np.where(errors > 0, errors / bound, 0.0)
    return np.where(np.isnan(ratios), np.inf, ratios)


def _bits(errors: np.ndarray, outcome: Rounded) -> float:
    """The effective precision."""
    if not np.any(errors > 0):
        return math.inf
    if outcome.scale is not None:
        q = outcome.scale()
    else:
        q = np.full(errors.shape, np.sqrt(np.mean(np.square(outcome.value.astype(np.float64)))))
    counted = (q > 0) & np.isfinite(errors)
    if not np.any(counted):
        return 0.0
    rms = math.sqrt(np.mean(np.square(errors[counted] / q[counted])))
    return -math.log2(rms / PER_ROUNDED_FACTOR) if rms > 0 else math.inf


def _is_stored_in(precision: Precision, found: np.ndarray) -> bool:
    """Whether a precision below the array's own holds all its numbers, which are not all 0."""
    values = found.astype(np.float64)
    below = precision.bits < np.finfo(found.dtype).nmant + 1
    return below and bool(np.any(values)) and bool(np.array_equal(precision.round(values), values))


def _agrees(bits: float, of_precision: int, count: int) -> bool:
    """Whether effective bits are those of a precision, as well as so many entries can tell.

    The logarithm of a root mean square of n errors scatters by about 1/√n bits; where one factor of
    two is rounded there is half a bit more.
    """
    scatter = 3 / math.sqrt(count)
    return -0.5 - scatter <= bits - of_precision <= 1.0 + scatter


# All cases together


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
        verdicts[i] = replace(one, precision=" or ".join(names) or one.precision)
    return _settled(verdicts)


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
    outcome = trial.known(trial.arithmetic)[one.tensor]
    errors = _errors(trial.given[one.tensor], outcome.value)
    if outcome.norm is not None and errors is not None and np.all(errors <= outcome.error):
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


def _causes(trials: Sequence[Trial], verdicts: Sequence[Verdict]) -> Iterator[Cause]:
    """For each subject with bugs, the faults that fit all its probes and explain what is wrong.

    First those that alone explain everything that is wrong with the subject; if there are none,
    those that explain what is wrong with each operation.
    """
    wrong: dict[str, dict[str, set[tuple[str, str]]]] = {}  # by subject and op: case and tensor
    for one in verdicts:
        if one.verdict == BUG:
            tensors = wrong.setdefault(one.subject, {}).setdefault(one.op, set())
            tensors.add((one.case, one.tensor))
    for subject, ops in wrong.items():
        own = [trial for trial in trials if trial.case.subject == subject]
        present = {operation.op for trial in own for operation in trial.case.operations}
        candidates = [fault for fault in FAULTS if not present.isdisjoint(fault.rules)]
        everything = set().union(*ops.values())
        whole = [f for f in candidates if _explains(f.rules, own, everything)]
        if whole:
            yield _cause(subject, next(iter(ops)), whole)
            continue
        for op, tensors in ops.items():
            if op in PROPERTIES:
                yield Cause(subject, op, (PROPERTIES[op].fault,), pipeline=True)
                continue
            fitting = [
                f
                for f in candidates
                if op in f.rules and _explains({op: f.rules[op]}, own, tensors)
            ]
            yield _cause(subject, op, fitting)


def _cause(subject: str, op: str, faults: Sequence[Fault]) -> Cause:
    names = tuple(fault.name for fault in faults)
    return Cause(subject, op, names, bool(faults) and all(fault.pipeline for fault in faults))


def _explains(
    rules: Mapping[str, Rule], trials: Sequence[Trial], wrong: set[tuple[str, str]]
) -> bool:
    """Whether these rules fit all of the trials, and explain all tensors that are wrong."""
    explained: set[tuple[str, str]] = set()
    for trial in trials:
        tensors = trial.explained(rules)
        if tensors is None:
            return False
        explained |= {(trial.case.name, tensor) for tensor in tensors}
    return wrong <= explained
