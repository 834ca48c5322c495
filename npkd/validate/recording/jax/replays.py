"""The steps that no rule is for, called again: in float64, or as they were.

A step is traced once, forward and backward, in the dtypes that it was recorded in. So what is
called again are the same equations, a user's own rules among them, with wider numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from npkd.validate.program import Arrays, Case
from npkd.validate.recording.jax.trace import CALLS, Step, Trace, Value, evaluated
from npkd.validate.recording.replays import Again, CannotReplayError, Function, with_replays

_x64: Any = vars(jax if hasattr(jax, "enable_x64") else jax.experimental)["enable_x64"]
CUSTOM = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}


def replayed(case: Case, found: Arrays, trace: Trace) -> Case:
    """The program of a trace, with what has no rule called again."""
    of_kind: dict[str, Function] = {}
    by_name = {operation.name: operation for operation in case.operations}
    several = []
    for step in trace.steps:
        forward, backward = by_name.get(step.name), by_name.get(f"{step.name} backward")
        if forward is None or forward.op != "unknown":
            continue
        trained = [key.removeprefix("d") for key in (backward.outputs if backward else ())]
        kinds = [trace.kinds[name] for name in (*step.inputs, *step.outputs)]
        own = bool(forward.options.get("own"))
        kind = str((step.primitive, step.params, kinds, trained, step.name if own else ""))
        if kind not in of_kind:
            of_kind[kind] = _function(trace, step, trained)
        of = step.name, f"{step.name} backward"
        several.append(Again(of_kind[kind], *of, trained, own, kind))
    return with_replays(case, found, several)


def _function(trace: Trace, step: Step, trained: Sequence[str]) -> Function:
    """A step, as something that can be called again."""
    kinds = [trace.kinds[name] for name in step.inputs]
    keys = [f"x{i}" for i, _ in enumerate(kinds, 1)]
    results = {f"y{i}": trace.kinds[name] for i, name in enumerate(step.outputs, 1)}
    floats = {key: kind for key, kind in results.items() if _is_float(kind)}

    def forward(*inputs: Value) -> dict[str, Value]:
        return dict(zip(results, evaluated(step.equation, inputs), strict=True))

    def backward(inputs: Sequence[Value], upstream: Mapping[str, Value]) -> dict[str, Value]:
        def of_trained(some: Mapping[str, Value]) -> dict[str, Value]:
            given = {**dict(zip(keys, inputs, strict=True)), **some}
            y = forward(*given.values())
            return {key: y[key] for key in floats}

        by = {key: x for key, x in zip(keys, inputs, strict=True) if key in trained}
        (found,) = jax.vjp(of_trained, by)[1](dict(upstream))
        return {f"d{key}": gradient for key, gradient in found.items()}

    @cache
    def compiled(precise: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Both passes, in float64 or as they are."""
        return (
            _compiled(forward, kinds, precise=precise),
            _compiled(backward, (kinds, floats), precise=precise),
        )

    def function(arrays: Arrays, precise: bool) -> tuple[Arrays, Callable[[Arrays], Arrays]]:
        if step.equation.effects:
            raise CannotReplayError("it has effects beside its results")
        if not all(key in arrays for key in keys):
            raise CannotReplayError("keys of random numbers were not recorded")
        inputs = _as(kinds, [arrays[key] for key in keys], precise)
        of_results, of_gradients = compiled(precise)
        found = _arrays(of_results(*inputs))

        def gradients(upstream: Arrays) -> Arrays:
            dy = [
                upstream.get(f"d{key}", np.zeros(kind.shape, np.float32))
                for key, kind in floats.items()
            ]
            of_floats = _as(list(floats.values()), dy, precise)
            return _arrays(of_gradients(inputs, dict(zip(floats, of_floats, strict=True))))

        return found, gradients

    return function


def _is_float(kind: Any) -> bool:
    return jnp.issubdtype(kind.dtype, jnp.floating)


def _as(kinds: Sequence[Any], arrays: Sequence[np.ndarray], precise: bool) -> list[np.ndarray]:
    """Arrays in their dtypes, or floats in float64."""
    return [
        np.asarray(array, np.float64 if precise and _is_float(kind) else kind.dtype)
        for kind, array in zip(kinds, arrays, strict=True)
    ]


def _arrays(found: Mapping[str, Value]) -> dict[str, np.ndarray]:
    """As NumPy has them; floats below float32 as float32, which holds them exactly."""
    return {
        key: np.asarray(x, np.float32) if _is_float(x) and x.dtype.itemsize < 4 else np.asarray(x)
        for key, x in found.items()
    }


def _compiled(
    function: Callable[..., Any], given: Sequence[Any], *, precise: bool
) -> Callable[..., Any]:
    """A function that is traced once, for arguments of these kinds, and then compiled."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*given)
    tree = jax.tree_util.tree_structure(shapes)
    run = jax.jit(partial(_in_float64 if precise else jax.core.eval_jaxpr, *_parts(closed)))

    def called(*args: Any) -> Any:
        leaves = jax.tree_util.tree_leaves(args)
        if not precise:
            return jax.tree_util.tree_unflatten(tree, run(*leaves))
        with _x64(True):
            return jax.tree_util.tree_unflatten(tree, run(*leaves))

    return called


def _parts(closed: Any) -> tuple[Any, Sequence[Value]]:
    """A jaxpr and its constants."""
    return getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())


# Float64


def _in_float64(jaxpr: Any, constants: Sequence[Value], *inputs: Value) -> list[Value]:
    """What a jaxpr gives, with float64 in the place of all floats."""
    known = dict(zip(jaxpr.constvars, map(_widened, constants), strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def value(atom: Any) -> Value:
        return _widened(atom.val) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        found = _evaluated_in_float64(equation, [value(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, found, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _widened(x: Value) -> Value:
    return jnp.asarray(x, jnp.float64) if _is_float(jnp.asarray(x)) else jnp.asarray(x)


def _evaluated_in_float64(equation: Any, values: Sequence[Value]) -> list[Value]:
    name, params = equation.primitive.name, equation.params
    if name in CALLS | CUSTOM:
        inner = params.get("jaxpr") or params.get("call_jaxpr") or params["fun_jaxpr"]
        return _in_float64(*_parts(inner), *values)
    if name == "scan":
        return _scanned(params, values)
    if name == "while":
        return _repeated(params, values)
    if name == "cond":
        branches = [partial(_in_float64, *_parts(one)) for one in params["branches"]]
        return list(jax.lax.switch(values[0], branches, *values[1:]))
    wider: dict[str, Any] = {
        key: np.dtype(np.float64) for key, one in params.items() if _is_float_dtype(one)
    }
    if params.get("update_jaxpr") is not None:  # what scatters do where two meet
        two = [jnp.zeros((), x.dtype) for x in (values[0], values[2])]
        meeting = partial(_in_float64, params["update_jaxpr"], params["update_consts"])
        wider["update_jaxpr"] = jax.make_jaxpr(meeting)(*two).jaxpr
    return evaluated(equation, values, **wider)


def _is_float_dtype(param: Any) -> bool:
    is_dtype = isinstance(param, np.dtype) or (isinstance(param, type) and param is not bool)
    return is_dtype and bool(jnp.issubdtype(param, jnp.floating))


def _scanned(params: Mapping[str, Any], values: Sequence[Value]) -> list[Value]:
    first, second = params["num_consts"], params["num_consts"] + params["num_carry"]
    constants, carry, rows = values[:first], values[first:second], values[second:]

    def body(carry: Sequence[Value], row: Sequence[Value]) -> Any:
        found = _in_float64(*_parts(params["jaxpr"]), *constants, *carry, *row)
        return found[: params["num_carry"]], found[params["num_carry"] :]

    length, reverse = params["length"], params["reverse"]
    last, found = jax.lax.scan(body, list(carry), list(rows), length=length, reverse=reverse)
    return [*last, *found]


def _repeated(params: Mapping[str, Any], values: Sequence[Value]) -> list[Value]:
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    of_test, of_body, carry = values[:first], values[first:second], values[second:]
    test, body = _parts(params["cond_jaxpr"]), _parts(params["body_jaxpr"])
    return list(
        jax.lax.while_loop(
            lambda carry: _in_float64(*test, *of_test, *carry)[0],
            lambda carry: _in_float64(*body, *of_body, *carry),
            list(carry),
        )
    )
