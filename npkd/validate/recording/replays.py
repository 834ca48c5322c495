"""What has no rule, called again: in float64, and on numbers beside those that were recorded.

A framework's function is compared with itself, so that a replay proves no bound. What it can prove
is that a backward pass is wrong: by npkd's gradient check; or because the function, called again on
the same numbers and in the same precision, gives the value that was recorded and another gradient.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from npkd import gradcheck
from npkd.validate.program import Arrays, Case, Operation, Replay

MOST = 2**24  # entries that are replayed
MOST_CHECKED = 2**17  # entries of a framework's function whose gradient is checked
MOST_CHECKED_OF_OWN = 2**22
GROSS = 2.0**-8  # of the largest number: more than rounding does in float32
BESIDE = 2.0**-6  # how far from the recorded numbers, in units of their size, no kink is exact

# (arrays by name, whether in float64) → results, and the gradients for those of the results
Function = Callable[[Arrays, bool], tuple[Arrays, Callable[[Arrays], Arrays]]]


class CannotReplayError(Exception):
    """Why something cannot be called again."""


@dataclass(frozen=True)
class Again:
    """What can be called again.

    function   takes inputs by name, and gives results by name, and the gradients dNAME for the
               gradients dNAME of results, those that are not given being 0
    forward    the name of its operation in the program
    backward   and of that of its backward pass
    trained    the inputs by which it is differentiated
    own        whether the backward pass is the user's own
    kind       equal for calls that differ in their numbers alone
    """

    function: Function
    forward: str
    backward: str
    trained: Sequence[str]
    own: bool
    kind: str


@dataclass(frozen=True)
class Recorded:
    """The numbers that were recorded of a call, by name; upstream: the gradients of results."""

    inputs: Arrays
    results: Arrays
    upstream: Arrays
    gradients: Arrays

    @property
    def size(self) -> int:
        """How many numbers go in and come out."""
        return sum(array.size for array in [*self.inputs.values(), *self.results.values()])


@dataclass(frozen=True)
class Checked:
    """What the gradient check says: which gradients are wrong, and a line."""

    wrong: Mapping[str, str]
    said: str
    decided: bool


@np.errstate(all="ignore")
def with_replays(case: Case, found: Arrays, several: Iterable[Again]) -> Case:
    """The program, with what is unknown replayed where it can be; elsewhere it is said why not."""
    arrays = {**case.inputs, **found}
    by_name = {one.name: one for one in case.operations}
    changed: dict[str, Operation] = {}
    checked: dict[str, Checked] = {}  # by kind
    for again in several:
        both = [by_name[name] for name in (again.forward, again.backward) if name in by_name]
        unknown = [one for one in both if one.op == "unknown"]
        if not unknown or again.forward not in by_name:
            continue
        try:
            recorded = _recorded(arrays, both[0], *both[1:])
            replay = _replay(again, recorded, checked)
        except Exception as error:  # whatever a user's function does on other numbers
            first = unknown[0]
            function = f"{first.options['function']}: {_why(error)}"
            options = {**first.options, "function": function}
            changed[first.name] = replace(first, options=options)
            continue
        for one in unknown:
            op = "own" if again.own else "replayed"
            op += "_backward" if one.name == again.backward else ""
            changed[one.name] = replace(one, op=op, options={**one.options, "replay": replay})
    return replace(case, operations=tuple(changed.get(one.name, one) for one in case.operations))


def _why(error: Exception) -> str:
    if isinstance(error, CannotReplayError):
        return str(error)
    line = next(iter(str(error).splitlines()), "")
    return f"called again, it raises {type(error).__name__}: {line}"


def _recorded(arrays: Arrays, forward: Operation, backward: Operation | None = None) -> Recorded:
    """The numbers of a call. Raises CannotReplayError where some are lacking, or too many."""
    inputs = {key: arrays[name] for key, name in forward.inputs.items() if name in arrays}
    results = {key: arrays[name] for key, name in forward.outputs.items() if name in arrays}
    if len(inputs) < len(forward.inputs) or not results:
        raise CannotReplayError("its numbers were not recorded")
    upstream, gradients = {}, {}
    if backward is not None:
        of_results = [item for item in backward.inputs.items() if item[0] not in inputs]
        upstream = {key: arrays[name] for key, name in of_results if name in arrays}
        gradients = {k: arrays[name] for k, name in backward.outputs.items() if name in arrays}
    recorded = Recorded(inputs, results, upstream, gradients)
    if recorded.size > MOST:
        raise CannotReplayError("too many numbers to call it again")
    return recorded


def _replay(again: Again, recorded: Recorded, checked: dict[str, Checked]) -> Replay:
    """Call it again on what was recorded. Raises CannotReplayError, or what the function raises."""
    wrong = _changed_since(again, recorded)
    results, backward = again.function(recorded.inputs, True)
    results = {key: results[key] for key in recorded.results}
    if recorded.gradients:
        gradients = backward(recorded.upstream)
        results |= {key: gradients[key] for key in recorded.gradients}
    if not again.trained:
        return Replay(results, wrong)
    if again.own or again.kind not in checked:
        checked[again.kind] = _checked(again, recorded, precise=True)
    check = checked[again.kind]
    only_gradients = _alike(recorded.results, results) and not _alike(recorded.gradients, results)
    if not check.wrong and only_gradients:
        in_its_own = _checked(again, recorded, precise=False)  # is it wrong there only?
        check = in_its_own if in_its_own.wrong else check
    if again.own and not check.decided:
        raise CannotReplayError(check.said)
    return Replay(results, _with_tensors(check.wrong, recorded) | wrong, check.said)


def _with_tensors(wrong: Mapping[str, str], recorded: Recorded) -> dict[str, str]:
    """What is wrong, each under something that was recorded.

    A gradient that the backward pass leaves out, though it is not 0, stands with the others.
    """
    with_others = {
        other: f"it leaves out the gradient by {key.removeprefix('d')}: {why}"
        for key, why in wrong.items()
        if key not in recorded.gradients
        for other in recorded.gradients or recorded.results
    }
    return with_others | {key: why for key, why in wrong.items() if key in recorded.gradients}


def _changed_since(again: Again, recorded: Recorded) -> dict[str, str]:
    """The gradients that are others when it is called again just as it was.

    Raises CannotReplayError where it gives other numbers each time.
    """
    results, backward = again.function(recorded.inputs, False)
    if not _alike(recorded.results, results):
        raise CannotReplayError("called again, it gives other numbers")
    if not recorded.gradients:
        return {}
    gradients = backward(recorded.upstream)
    _, backward = again.function(recorded.inputs, False)
    if not _alike(gradients, backward(recorded.upstream)):
        raise CannotReplayError("called again, it gives other gradients each time")
    why = (
        "called again on the same numbers it gives another gradient: a hook changed it, or what "
        "the function had saved was changed before its backward pass"
    )
    return {
        key: why for key, one in recorded.gradients.items() if not _alike({key: one}, gradients)
    }


def _alike(some: Arrays, others: Arrays) -> bool:
    """Whether all of some arrays are those of the others, to within `GROSS`."""
    for key, one in some.items():
        other = np.asarray(others[key])
        if one.shape != other.shape:
            return False
        one, other = one.astype(np.float64), other.astype(np.float64)
        largest = np.max(np.abs(other), initial=0.0, where=np.isfinite(other))
        if not np.allclose(one, other, rtol=0, atol=GROSS * largest, equal_nan=True):
            return False
    return True


# The gradient check


def _checked(again: Again, recorded: Recorded, *, precise: bool) -> Checked:
    """What the gradient check says of the function: in float64, or as it was called."""
    if recorded.size > (MOST_CHECKED_OF_OWN if again.own else MOST_CHECKED):
        return Checked({}, "too many numbers for a gradient check", False)
    where, result = recorded.inputs, None
    for where in (recorded.inputs, *_beside(recorded.inputs, again.trained)):
        result = _gradient_check(again, where, again.trained, precise)
        if result.answer != gradcheck.UNDECIDED:
            break
    assert result is not None
    if result.answer == gradcheck.RIGHT:
        return Checked({}, "the gradient check says RIGHT", True)
    if result.answer == gradcheck.UNDECIDED:
        return Checked({}, f"the gradient check is undecided: {result.reason}", False)
    wrong = {}
    for key in again.trained:
        one = _gradient_check(again, where, [key], precise)
        if one.answer == gradcheck.WRONG:
            wrong[f"d{key}"] = _in_words(one, precise)
    wrong = wrong or {f"d{key}": _in_words(result, precise) for key in again.trained}
    return Checked(wrong, "the gradient check says WRONG of another argument", True)


def _in_words(result: gradcheck.Result, precise: bool) -> str:
    where = "" if precise else " in the precision that it was called in"
    what = (
        f"along a random direction the function changes by {result.expected:.6g}, and by its "
        f"backward pass by {result.backward:.6g}"
    )
    return f"the gradient check says WRONG{where}: {result.reason or what}"


def _beside(inputs: Arrays, trained: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """Points where no number is exactly at a kink; what has no negative number keeps to that."""
    rng = np.random.default_rng(0)
    points = []
    for _ in range(2):
        moved = dict(inputs)
        for key in trained:
            x = inputs[key].astype(np.float64)
            size = np.sqrt(np.mean(np.square(x))) if x.size else 0.0
            step = rng.uniform(0.5, 1.0, x.shape) * BESIDE * (size or 1.0)
            sign = rng.choice([-1.0, 1.0], x.shape) if np.any(x < 0) else 1.0
            moved[key] = x + sign * step
        points.append(moved)
    return points


def _gradient_check(
    again: Again, inputs: Arrays, trained: Sequence[str], precise: bool
) -> gradcheck.Result:
    """npkd's, by differences, along a random direction of these inputs."""

    def function(moved: Arrays) -> tuple[Arrays, Callable[[Arrays], Arrays]]:
        results, backward = again.function({**inputs, **moved}, precise)
        floats = {
            key: np.asarray(y) for key, y in results.items() if np.asarray(y).dtype.kind == "f"
        }

        def gradients(upstream: Arrays) -> Arrays:
            found = backward({f"d{key}": dy for key, dy in upstream.items()})
            return {key: found[f"d{key}"] for key in trained}

        return floats, gradients

    return gradcheck.compare(
        function, {key: inputs[key].astype(np.float64) for key in trained}, rng=0, method="central"
    )
