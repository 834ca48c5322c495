"""Which known fault explains what is wrong."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from npkd.validate.bounds.properties import PROPERTIES
from npkd.validate.bounds.rules import is_sum_of_products
from npkd.validate.faults.fault import Fault, Rule
from npkd.validate.faults.known import FAULTS
from npkd.validate.judging.trial import Trial, place_of
from npkd.validate.judging.verdicts import BUG, CONVENTION, UNPROVEN, Cause, Verdict
from npkd.validate.program import OWN, REPLAYED

Place = tuple[str, str]  # case and tensor

NOT_FINITE = "not finite where numbers are large or small: exp or log without the maximum taken off"


def causes_of(trials: Sequence[Trial], verdicts: Sequence[Verdict]) -> Iterator[Cause]:
    """For each subject with bugs, the faults that fit all its probes and explain what is wrong.

    First those that alone explain everything that is wrong with the subject; if there are none,
    those that explain what is wrong with each operation. Where results are not finite and should
    be, nothing can be told from them: if no fault explains these too, the other probes are asked.
    """
    wrong: dict[str, dict[str, set[Place]]] = {}  # by subject and op
    for one in verdicts:
        if one.verdict == BUG and one.op not in (*REPLAYED, *OWN):  # of which a note says why
            tensors = wrong.setdefault(one.subject, {}).setdefault(one.op, set())
            tensors.add((one.case, one.tensor))
    overflown = {one.case for one in verdicts if _is_overflown(one)}
    for subject, ops in wrong.items():
        own = [trial for trial in trials if trial.case.subject == subject]
        whole = _of_subject(subject, ops, own, verdicts)
        if not whole and not overflown.isdisjoint(trial.case.name for trial in own):
            own = [trial for trial in own if trial.case.name not in overflown]
            first = next(iter(ops))
            ops = {
                op: finite
                for op, tensors in ops.items()
                if (finite := {place for place in tensors if place[0] not in overflown})
            }
            if not ops:
                yield Cause(subject, first, (NOT_FINITE,))
                continue
            whole = _of_subject(subject, ops, own, verdicts)
        if whole:
            yield _cause(subject, next(iter(ops)), whole)
        else:
            yield from _of_operations(subject, ops, own, verdicts)


def _is_overflown(one: Verdict) -> bool:
    return one.verdict == BUG and math.isfinite(one.expected) and not math.isfinite(one.found)


def _of_subject(
    subject: str,
    ops: Mapping[str, set[Place]],
    own: Sequence[Trial],
    verdicts: Sequence[Verdict],
) -> list[Fault]:
    """The faults that alone explain everything that is wrong with a subject."""
    everything = set().union(*ops.values())
    candidates = _candidates(own)
    for only in _parts(verdicts, own, subject):
        whole = [f for f in candidates if _explains(f.rules, own, everything, only)]
        if whole:
            return whole
    return []


def _of_operations(
    subject: str,
    ops: Mapping[str, set[Place]],
    own: Sequence[Trial],
    verdicts: Sequence[Verdict],
) -> Iterator[Cause]:
    """For each operation the faults that explain what is wrong with it."""
    for op, tensors in ops.items():
        if op in PROPERTIES:
            of_op = [one for one in verdicts if (one.subject, one.op) == (subject, op)]
            faults = () if any(one.error for one in of_op) else (PROPERTIES[op].fault,)
            yield Cause(subject, op, faults, pipeline=bool(faults))  # or of another shape
            continue
        fitting = [
            f
            for f in _candidates(own)
            if op in f.rules and _explains({op: f.rules[op]}, own, tensors)
        ]
        yield _cause(subject, op, fitting)


def _candidates(trials: Sequence[Trial]) -> list[Fault]:
    """The faults of operations that there are."""
    present = {operation.op for trial in trials for operation in trial.case.operations}
    return [fault for fault in FAULTS if not present.isdisjoint(fault.rules)]


def with_known_faults(trials: Sequence[Trial], verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts, where what a transform might give is exactly what a known fault gives.

    That is, to within the bound of direct sums, which a transform's is not: a BUG.
    """
    suspects = [
        i
        for i, one in enumerate(verdicts)
        if is_sum_of_products(one.op) and one.verdict == UNPROVEN and one.ratio > 1
    ]
    if not suspects:
        return verdicts
    wrong = list(verdicts)
    for i in suspects:
        wrong[i] = replace(verdicts[i], verdict=BUG, note="")
    causes = list(causes_of(trials, wrong))
    several = Counter(cause.subject for cause in causes)
    guilty = {
        (cause.subject, cause.op if several[cause.subject] > 1 else "")
        for cause in causes
        if cause.faults
    }
    for i in suspects:
        one = wrong[i]
        if guilty.isdisjoint({(one.subject, one.op), (one.subject, "")}):
            wrong[i] = verdicts[i]
    return wrong


def by_conventions(verdicts: Sequence[Verdict], causes: Sequence[Cause]) -> list[Verdict]:
    """The verdicts, where what differs is another valid choice, and no bug."""
    several = Counter(cause.subject for cause in causes)
    named = {
        (cause.subject, cause.op if several[cause.subject] > 1 else ""): str(cause)
        for cause in causes
        if cause.convention
    }
    settled = []
    for one in verdicts:
        note = named.get((one.subject, one.op)) or named.get((one.subject, ""))
        if one.verdict == BUG and note:
            one = replace(one, verdict=CONVENTION, note=note)
        settled.append(one)
    return settled


def _parts(
    verdicts: Sequence[Verdict], trials: Sequence[Trial], subject: str
) -> Iterator[frozenset[str] | None]:
    """Where a fault may lie.

    In all operations; in those ops, or places, that are wrong first; in one place of which nothing
    was recorded.
    """
    first: dict[str, Verdict] = {}
    for one in verdicts:
        if one.subject == subject and one.verdict == BUG:
            first.setdefault(one.case, one)
    yield None
    ops = {one.op for one in first.values()}
    yield frozenset(ops | {f"{op}_backward" for op in ops})
    yield frozenset(place_of(one.operation) for one in first.values())
    for place in dict.fromkeys(
        place_of(operation.name)
        for trial in trials
        for operation in trial.case.operations
        if trial.given.keys().isdisjoint(operation.outputs.values())
    ):
        yield frozenset({place})


def _cause(subject: str, op: str, faults: Sequence[Fault]) -> Cause:
    names = tuple(fault.name for fault in faults)
    in_data = bool(faults) and all(fault.pipeline for fault in faults)
    conventions = [fault.convention for fault in faults]
    convention = " or ".join(dict.fromkeys(conventions)) if all(conventions) else ""
    return Cause(subject, op, names, in_data, convention)


def _explains(
    rules: Mapping[str, Rule],
    trials: Sequence[Trial],
    wrong: set[tuple[str, str]],
    only: frozenset[str] | None = None,
) -> bool:
    """Whether these rules fit all of the trials, and explain all tensors that are wrong."""
    explained: set[tuple[str, str]] = set()
    for trial in trials:
        tensors = trial.explained(rules, only)
        if tensors is None:
            return False
        explained |= {(trial.case.name, tensor) for tensor in tensors}
    return wrong <= explained
