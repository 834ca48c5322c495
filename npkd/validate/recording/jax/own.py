"""A user's own function: recorded, and judged forward and backward."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from npkd.validate.bounds.measured import ulp_of
from npkd.validate.bounds.rules import RULES
from npkd.validate.judging.judge import judge
from npkd.validate.judging.verdicts import Report
from npkd.validate.program import Case
from npkd.validate.recording.jax.operations import RECORDED_AS, Draw, recorded
from npkd.validate.recording.jax.program import Recorder
from npkd.validate.recording.jax.replays import replayed
from npkd.validate.recording.jax.run import Run
from npkd.validate.recording.jax.trace import Trace
from npkd.validate.recording.whole_numbers import RANGE, whole_numbers

Recorded = tuple[Case, dict[str, np.ndarray]]


def record(function: Callable[..., Any], *args: Any, rng: np.random.Generator | int) -> Recorded:
    """A function as a case, and what JAX finds for it: all values, and the gradients by them.

    args: pytrees of arrays; gradients are by those of floats. rng: draws the upstream gradient, a
    normal number for each entry of an output, and 1 if the output is one number.

    A number that is used several times has a gradient for each use, and their sum. See the top of
    the package for the operations that are not in `program`.
    """
    trace = Trace.of(function, args)
    recorder = recorded(Run(trace), trace.arguments, _normal(np.random.default_rng(rng)))
    return _case(recorder, name_of(function), name_of(function)), recorder.results


def jax_function(
    function: Callable[..., Any], *args: Any, rng: np.random.Generator | int = 0
) -> Report:
    """The judge's verdict on a function of one's own, forward and backward.

    Every operation that it consists of is computed anew, in float64, on its inputs as JAX had them;
    each kind of convolution, matrix product, pool and ReLU in it is tried on small whole numbers,
    of which it may round nothing; and what the function gives as it stands, compiled as one by
    `jax.jit`, is compared too.

    args: pytrees of arrays, as the function takes them.

    Example
        >>> import jax
        >>> w, x = np.ones((3, 2), np.float32), np.ones((4, 3), np.float32)
        >>> validate.jax_function(lambda w, x: jax.nn.relu(x @ w), w, x).check().ok
        True
    """
    rng = np.random.default_rng(rng)
    name = name_of(function)
    trace = Trace.of(function, args)
    recorder = recorded(Run(trace), trace.arguments, _normal(rng))
    case = replayed(_case(recorder, name, name), recorder.results, trace)
    several = [(case, recorder.results)]
    several += _compiled_as_one(function, args, recorder)
    several += _probes(trace, name, rng)
    return judged(several, name)


def judged(several: Sequence[Recorded], name: str) -> Report:
    """The report on what was recorded."""
    kinds = {array.dtype.name for _, found in several for array in found.values()}
    precision = "float64" if "float64" in kinds else "float32"
    ulp = ulp_of("jax", jax.default_backend(), precision)
    return judge(several, ulp=ulp, about={"title": title(name)})


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called."""
    return str(getattr(function, "__name__", type(function).__name__))


def title(name: str) -> str:
    """A report's title."""
    return f"{name} in JAX {jax.__version__} on {jax.devices()[0].platform}"


def _normal(rng: np.random.Generator) -> Draw:
    """Normal numbers, but 1 where it is one number."""
    return lambda shape: rng.standard_normal(shape) if shape else np.ones(())


def _case(recorder: Recorder, name: str, subject: str, *, exact: bool = False) -> Case:
    """The case of which the recorder has the results."""
    about = f"{subject} in JAX, operation by operation"
    operations, needed = tuple(recorder.operations), frozenset(recorder.results)
    return Case(name, subject, about, recorder.inputs, operations, exact, needed)


def _compiled_as_one(
    function: Callable[..., Any], args: Sequence[Any], recorder: Recorder
) -> list[Recorded]:
    """The outputs of the function as it is compiled without any of this, if all of it is known."""
    if any(operation.op not in RULES for operation in recorder.forward):
        return []
    outputs = jax.tree_util.tree_leaves(jax.jit(function)(*args))
    made = {tensor for operation in recorder.forward for tensor in operation.outputs.values()}
    found = {
        name: np.asarray(output)
        for name, output in zip(recorder.trace.outputs, outputs, strict=True)
        if name in made
    }
    used = {tensor for operation in recorder.forward for tensor in operation.inputs.values()}
    inputs = {tensor: array for tensor, array in recorder.inputs.items() if tensor in used}
    subject = name_of(function)
    about = f"{subject} by jax.jit, as it stands"
    case = Case(f"{subject} compiled as one", subject, about, inputs, recorder.forward)
    return [(case, found)]


# On whole numbers

PRODUCTS = ("conv_general_dilated", "dot_general")
PROBED = (*PRODUCTS, "reduce_window_sum", "reduce_window_max", "relu")


def _probes(trace: Trace, subject: str, rng: np.random.Generator) -> list[Recorded]:
    """Each kind of step on small whole numbers, and products on the same times 2¹⁷ too."""
    seen, several = set(), []
    for step in trace.steps:
        kinds = [trace.kinds[name] for name in step.inputs + step.outputs]
        kind = (step.primitive, str(step.params), str(kinds))
        if step.primitive not in PROBED or any(one.dtype != np.float32 for one in kinds):
            continue
        if kind in seen:
            continue
        seen.add(kind)
        run = Run(Trace([step], dict.fromkeys(step.inputs), {}, step.outputs, trace.kinds))
        names = [*step.inputs, *run.gradients.given.values()]
        shapes = {name: one.shape for name, one in zip(names, kinds, strict=True)}
        numbers = whole_numbers(shapes, partial(_sums, run), rng)
        if numbers is None:
            continue
        is_product = step.primitive in PRODUCTS
        for what, scale in (("exact", 1.0), ("range", RANGE))[: 1 + is_product]:
            given = numbers | {step.inputs[0]: numbers[step.inputs[0]] * scale}
            arguments = {name: given[name].astype(np.float32) for name in step.inputs}
            alone = Recorder(run, RECORDED_AS, arguments, _found(run, given))
            if all(operation.op != "unknown" for operation in alone.operations):
                case = _case(alone, f"{step.name} {what}", subject, exact=True)
                several.append((case, alone.results))
    return several


def _sums(run: Run, given: Mapping[str, np.ndarray]) -> Iterable[np.ndarray]:
    return _found(run, given).values()


def _found(run: Run, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All that is computed from these arguments and upstream gradients, in float32."""
    given = {name: x.astype(np.float32) for name, x in given.items()}
    upstream = {name: given.pop(name) for name in run.gradients.given.values()}
    return run(given, upstream)
