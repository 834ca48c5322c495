"""Whether a case that somebody has written to a file makes sense.

It does if npkd itself can compute it, within limits, and gives tensors of the shapes and dtypes
that are listed. Whatever else is wrong is said in words before anything is computed: inputs and
options are those of the function that an operation calls (`in_npkd.FUNCTIONS`), by its signature.
"""

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np

from npkd.arguments import as_float, shown
from npkd.losses.facts import FACTS
from npkd.validate.bounds.properties import PROPERTIES
from npkd.validate.by_npkd import FUNCTIONS, LOSSES, computed
from npkd.validate.program import Arrays, Case, Operation
from npkd.validate.questions.numbers import Options

# npkd's own cases have 46 million entries at most, and 4 thousand million terms in all.
MOST_ENTRIES = 1 << 26  # of the arrays that computing and judging a case makes, about
MOST_TERMS = 1 << 34  # that are added up in all cases of a folder, about
TRACED = 64  # arrays that a formula's bounds and gradients need for each of its own
STEP = 1 << 14  # terms that are added up in the time of one step of Python
STEPS = 64  # that any operation takes

LONGEST_NAME = 200  # letters
LARGEST = 1e30  # number among options, and its inverse the smallest: far from overflow
DATA = ("labels", "index", "shifts", "flips")  # whole numbers, which no operation makes
ANY = inspect.Parameter.VAR_KEYWORD  # of a sum, whose inputs may have any names
RESIZING = ("conv2d", "avg_pool2d", "max_pool2d", "linear", "upsample")

Shape = tuple[int, ...]
Listed = Mapping[str, tuple[str, Shape]]  # dtype and shape by tensor


def require_sense(case: Case, listed: Listed, most_terms: int = MOST_TERMS) -> int:
    """Raise ValueError, in words, for a case that makes no sense; else how many terms it has.

    listed: what its operations are to make. most_terms: how many it may have.
    """
    for problem in what_is_wrong(case):
        raise ValueError(problem)
    if set(case.tensors()) != listed.keys():
        raise ValueError("its operations do not make the tensors that it lists")
    known, entries, terms = dict(case.inputs), 0, 0
    for operation in case.operations:
        inputs = {name: known[tensor] for name, tensor in operation.inputs.items()}
        more = cost(operation, {name: x.shape for name, x in inputs.items()})
        entries, terms = entries + more[0], terms + more[1]
        if entries > MOST_ENTRIES or terms > most_terms:
            raise ValueError(
                f"with {operation.name} there is too much to compute: a case may take some "
                f"{MOST_ENTRIES:,} entries, all together some {MOST_TERMS:,} terms, and a subject "
                "some 1,000 operations"
            )
        try:
            with np.errstate(all="ignore"):
                _require_size(operation, inputs, listed)
                made = computed(operation.op, inputs, operation.options)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{operation.name}: cannot be computed: {error}") from error
        for name, tensor in operation.outputs.items():
            found = np.asarray(made[name]).dtype.name, np.shape(made[name])
            if found != listed[tensor]:
                raise ValueError(
                    f"{operation.name}: {tensor} comes out as {found[0]} {found[1]}, and is listed "
                    f"as {listed[tensor][0]} {listed[tensor][1]}"
                )
            known[tensor] = made[name]
    return terms


def _require_size(operation: Operation, inputs: Arrays, listed: Listed) -> None:
    """Raise ValueError for a y of another size than is listed, before it is computed.

    What the size is, a batch of no samples tells.
    """
    op = operation.op.removesuffix("_backward")
    if op not in RESIZING:
        return
    none = {name: x for name, x in inputs.items() if name != "dy"} | {"x": inputs["x"][:0]}
    shape = (len(inputs["x"]), *computed(op, none, operation.options)["y"].shape[1:])
    expected = inputs["dy"].shape if "dy" in inputs else listed[operation.outputs["y"]][1]
    if shape != expected:
        raise ValueError(f"y has the shape {shape}, expected {expected}")


# Programs


def what_is_wrong(case: Case) -> Iterator[str]:
    """What makes no sense in a case's program, in words."""
    made: dict[str, str] = {}  # by tensor, which operation does
    for operation in case.operations:
        if operation.op not in FUNCTIONS:
            hint = nearest(operation.op, FUNCTIONS)
            yield f"{operation.name}: unknown operation {shown(operation.op)}{hint}"
            continue
        for problem in _of_arguments(operation):
            yield f"{operation.name}: {problem}"
        for name, tensor in operation.inputs.items():
            if tensor not in case.inputs and tensor not in made:
                yield f"{operation.name} uses {tensor!r}, which nothing has made before"
            elif tensor in made and (name in DATA or made[tensor] in PROPERTIES):
                yield f"{operation.name} uses {tensor!r} as {name}, which is not to be computed"
        for tensor in operation.outputs.values():
            if tensor in case.inputs or tensor in made:
                yield f"{operation.name} makes {tensor!r}, which is there already"
            made[tensor] = operation.op
    missing = case.needed - made.keys()
    if missing:
        yield f"{min(missing)!r} is needed, and nothing makes it"


def _of_arguments(operation: Operation) -> Iterator[str]:
    """What is wrong with the names of inputs and outputs, and with options."""
    op, parameters = operation.op, _parameters(FUNCTIONS[operation.op])
    arrays = [one for one in parameters.values() if _is_array(one)]
    required = {one.name for one in arrays if one.default is one.empty and one.kind is not ANY}
    if op.endswith("_backward"):
        required.add("dy")
    offered = {one.name for one in arrays} | required
    if any(one.kind is ANY for one in arrays):
        offered = operation.inputs.keys() - parameters.keys()
    for name in sorted(operation.inputs.keys() - offered):
        yield f"{op} takes no input {shown(name)}{nearest(name, offered)}"
    for name in sorted(required - operation.inputs.keys()):
        yield f"{op} lacks its input {name}"
    yield from _of_options(op, FUNCTIONS[op], operation.options)
    results = _results(operation)
    for name in sorted(operation.outputs.keys() - results):
        yield f"{op} gives {', '.join(sorted(results))}, and not {shown(name)}"
    if not operation.outputs:
        yield f"{op} makes nothing"


def _of_options(op: str, function: Callable, options: Options) -> Iterator[str]:
    """What is wrong with options, by the function that takes them."""
    offered = {name: one for name, one in _parameters(function).items() if not _is_array(one)}
    for name, value in options.items():
        if name not in offered:
            yield f"{op} has no option {shown(name)}{nearest(name, offered)}"
        elif not _is_of(value, offered[name].annotation):
            kind = inspect.formatannotation(offered[name].annotation)
            size = f" from {1 / LARGEST:g} to {LARGEST:g} in size, or 0" if kind == "float" else ""
            yield f"{op}: {name} is {shown(value)}, expected {kind}{size}"
        elif name == "soft" and (value not in LOSSES or value == "mix"):
            yield f"{op}: soft is {shown(value)}, expected another loss{nearest(value, LOSSES)}"
        elif name == "hard_options":
            yield from _of_options(name, LOSSES["cross_entropy"], value)
        elif name == "soft_options" and options.get("soft", "l2") in LOSSES:
            yield from _of_options(name, LOSSES[options.get("soft", "l2")], value)
    for name, one in offered.items():
        if one.default is one.empty and name not in options:
            yield f"{op} lacks its option {name}"


@functools.cache
def _parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _is_array(parameter: inspect.Parameter) -> bool:
    return np.ndarray in (parameter.annotation, *get_args(parameter.annotation))


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value of JSON, lists as tuples, is of an annotated kind."""
    origin, kinds = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is_of(value, one) for one in kinds)
    if origin is tuple:
        return (
            isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
        )
    if kind is float:
        size = abs(as_float(value))
        return size == 0 or 1 / LARGEST <= size <= LARGEST
    return type(value) is dict if origin is Mapping else type(value) is kind


def _results(operation: Operation) -> set[str]:
    """The names of what an operation may give."""
    op, inputs = operation.op, operation.inputs
    if op in LOSSES:
        return {"value", *FACTS[op].gradients(inputs)}
    if op.endswith("_backward"):
        names = inputs.keys() - {"dy", "mask", "logits"}
        return {f"d{name}" for name in names} or {"dx"}
    if op == "sgd":
        return {"theta", "velocity"} if operation.options.get("momentum") else {"theta"}
    if op == "adam":
        return {"theta", "m", "v"}
    return {"draws"} if op == "distinct" else {"y"}


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the name that was meant, if there is one like it."""
    near = difflib.get_close_matches(name[:LONGEST_NAME], sorted(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


# Limits


def cost(operation: Operation, shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """How many entries there are in the arrays that an operation needs, and how many terms it adds.

    shapes: of its inputs. Estimates, from above where options may lead to any size.
    """
    op, options = operation.op.removesuffix("_backward"), operation.options
    if op == "mix":
        op, options = options.get("soft", "l2"), options.get("soft_options", {})
    entries, terms = sum(map(math.prod, shapes.values())), STEP * STEPS
    x = shapes.get("x", max(shapes.values(), key=math.prod, default=()))
    n, c, height, width = (*x, 1, 1, 1, 1)[:4]
    reach = max([0, *_whole_numbers(options)])
    padded = (height + 2 * reach) * (width + 2 * reach)
    if op in ("conv2d", "linear"):
        outputs, kernel = math.prod(shapes["w"][:1]), math.prod(shapes["w"][2:])
        entries += padded * (c * kernel + n * outputs)  # patches of an image, and all outputs
        terms += n * padded * math.prod(shapes["w"])
    elif op in ("avg_pool2d", "max_pool2d"):
        entries += n * c * padded
        terms += reach**2 * n * (c * padded + STEP) + STEP * padded
    elif op == "upsample":
        entries += math.prod(x) * reach**2
        terms += STEP * reach
    elif op == "rows":
        entries += math.prod(shapes["index"]) * math.prod(x[1:])
    elif op == "distinct":
        entries += 16 * options["workers"]
    elif op in LOSSES or op in ("softmax", "log_softmax", "standardize"):
        positions, channels = math.prod(x[2:]), max(math.prod(x[1:2]) for x in shapes.values())
        of_relations = {
            "similarity": n * entries,
            "rkd_distance": n * entries,
            "pkt": n * entries,
            "cc": n * entries * options.get("order", 2),
            "rkd_angle": n * entries + n**3,
            "nst": positions * entries + n * positions**2,
            "fsp": n * channels**2,
        }
        entries = TRACED * (entries + of_relations.get(op, 0))
    return entries, terms + entries


def _whole_numbers(options: Options) -> Iterator[int]:
    """Those among options that are sizes of windows."""
    for name in ("kernel_size", "stride", "padding", "dilation", "factor"):
        given = options.get(name)
        several = given if isinstance(given, tuple) else (given,)
        yield from (n for n in several if isinstance(n, int))
