"""An operation in all particulars: what a manifest says of it, so that no adapter works it out.

described(operation, shapes)    # as JSON has it
as_called(op, options)          # back: the options that differ from the defaults
"""

from collections.abc import Mapping
from typing import Any

from npkd.losses.facts import FACTS
from npkd.validate.by_npkd import LOSSES, OTHERS, resolved
from npkd.validate.geometry import geometry
from npkd.validate.program import UPDATES, Case, Operation

Shapes = Mapping[str, tuple[int, ...]]
WINDOWS = ("conv2d", "avg_pool2d", "max_pool2d")


def described(operation: Operation, shapes: Shapes | None = None) -> dict[str, Any]:
    """An operation with all of its options, and what its gradients are by.

    shapes: of its inputs; with them, where windows lie too.
    """
    found: dict[str, Any] = {
        "name": operation.name,
        "op": operation.op,
        "pass": pass_of(operation),
        "inputs": dict(operation.inputs),
        "outputs": dict(operation.outputs),
        "options": resolved(operation.op, operation.options),
        "gradients": gradients(operation),
    }
    op = operation.op.removesuffix("_backward")
    if shapes is not None and op in WINDOWS:
        options: dict[str, Any] = {**found["options"]}
        if op == "conv2d":
            options["kernel_size"] = shapes["w"][2:]
        found["geometry"] = geometry(shapes["x"], **options)._asdict()
    return found


def pass_of(operation: Operation) -> str:
    """When it is made: in the "forward" or the "backward" pass, or in the "update"."""
    if operation.op in UPDATES:
        return "update"
    return "backward" if operation.op.endswith("_backward") else "forward"


def gradients(operation: Operation) -> dict[str, str]:
    """The input that each of its results is a gradient by, by the result's name."""
    if operation.op in LOSSES:
        by = FACTS[operation.op].gradients(operation.inputs)
        return {name: by[name] for name in operation.outputs if name in by}
    if not operation.op.endswith("_backward"):
        return {}
    logits = operation.op == "standardize_backward"
    return {name: "logits" if logits else name[1:] for name in operation.outputs}


def as_called(op: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not what they are by default; of updates and the like all of them."""
    called = dict(options)
    if op in OTHERS:
        return called
    for name in options:
        others = {key: value for key, value in called.items() if key != name}
        try:
            by_default = resolved(op, others).get(name, others)
            same = by_default == options[name] and type(by_default) is type(options[name])
        except (KeyError, TypeError):  # options that make no sense are refused elsewhere
            same = False
        if same:
            called = others
    return called


def behind_gradients(case: Case) -> set[str]:
    """The tensors that are gradients, updated parameters, or made of such."""
    behind: set[str] = set()
    for operation in case.operations:
        made = operation.outputs
        if pass_of(operation) == "update" or not behind.isdisjoint(operation.inputs.values()):
            behind |= set(made.values())
        behind |= {made[name] for name in gradients(operation)}
    return behind
