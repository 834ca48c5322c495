"""A user's own function: recorded, and judged forward and backward."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from npkd.validate.in_jax.operations import Draw, recorded
from npkd.validate.in_jax.recorder import Recorder
from npkd.validate.in_jax.run import Run
from npkd.validate.in_jax.trace import Step, Trace
from npkd.validate.judging import judge
from npkd.validate.program import Case
from npkd.validate.rules import RULES
from npkd.validate.verdicts import Report

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
    several = [(_case(recorder, name, name), recorder.results)]
    several += _compiled_as_one(function, args, recorder)
    several += _probes(trace, name, rng)
    return judge(several, about={"title": title(name)})


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
EXACT = 2**24  # up to which float32 has all whole numbers
BITS = 7  # of a factor: bfloat16 has 8


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
        is_product = step.primitive in PRODUCTS
        draw = partial(_whole_numbers, rng, terms=_terms(trace, step) if is_product else 0)
        run = Run(Trace([step], dict.fromkeys(step.inputs), {}, step.outputs, trace.kinds))
        for what, scale in (("exact", 1.0), ("range", 2.0**17))[: 1 + is_product]:
            arguments = {name: draw(trace.kinds[name].shape) for name in step.inputs}
            arguments[step.inputs[0]] *= np.float32(scale)
            alone = recorded(run, arguments, draw)
            if all(operation.op != "unknown" for operation in alone.operations):
                case = _case(alone, f"{step.name} {what}", subject, exact=True)
                several.append((case, alone.results))
    return several


def _whole_numbers(rng: np.random.Generator, shape: tuple[int, ...], *, terms: int) -> np.ndarray:
    """Whole numbers of at most 7 bits, of which no sum of so many products reaches 2²⁴.

    A sum has no more terms than either of the arrays has entries that are not 0.
    """
    largest, size = 3, math.prod(shape)
    if terms:
        largest = max(2, min(2**BITS - 1, math.isqrt((EXACT - 1) // terms)))
    nonzero = min(size, (EXACT - 1) // largest**2)
    values = np.zeros(size, np.float32)
    values[rng.permutation(size)[:nonzero]] = rng.integers(-largest, largest + 1, nonzero)
    return values.reshape(shape)


def _terms(trace: Trace, step: Step) -> int:
    """Of how many products an entry of y, dx or dw is the sum, at most."""
    x, w = (trace.kinds[name].shape for name in step.inputs)
    y = trace.kinds[step.outputs[0]].shape
    numbers = step.params["dimension_numbers"]
    if step.primitive == "dot_general":
        inner = math.prod(x[axis] for axis in numbers[0][0])
        return max(inner, math.prod(w) // max(1, inner), math.prod(x) // max(1, inner))
    outputs = w[numbers.rhs_spec[0]]
    taps = math.prod(w) // (outputs * w[numbers.rhs_spec[1]])
    return max(math.prod(w) // outputs, outputs * taps, math.prod(y) // outputs)
