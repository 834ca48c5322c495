"""A function as steps on named tensors: its jaxpr, with all that is a mere call taken apart."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

OF_JAX = str(Path(jax.__file__).parent)
Value = Any  # an array of JAX, or one that is being traced


@dataclass
class Step:
    """One equation of a jaxpr, on named tensors."""

    name: str
    equation: Any
    inputs: list[str]
    outputs: list[str]

    @property
    def primitive(self) -> str:
        """What it computes: a primitive of JAX's, or a relu."""
        return _label(self.equation)

    @property
    def is_own(self) -> bool:
        """Whether it has a derivative of its own; those of JAX's functions are no user's."""
        if self.primitive == "custom_jvp_call":
            inner = self.params["call_jaxpr"]
            info = getattr(getattr(inner, "jaxpr", inner), "debug_info", None)
            return OF_JAX not in str(getattr(info, "func_src_info", ""))
        return self.primitive.startswith("custom_vjp_call")

    @property
    def params(self) -> Mapping[str, Any]:
        """Its options, in JAX's words."""
        return self.equation.params


def evaluated(equation: Any, values: Sequence[Value], **changed: Any) -> list[Value]:
    """The results of an equation for these values, by JAX; some of its params may be changed."""
    bound = equation.primitive.get_bind_params({**equation.params, **changed})
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    with getattr(getattr(equation, "ctx", None), "manager", nullcontext()):
        found = equation.primitive.bind(*functions, *values, **params)
    return list(found) if equation.primitive.multiple_results else [found]


@dataclass
class Trace:
    """A function as steps from its arguments, and from constants, to its outputs.

    Tensors are known by name; `kinds` has the shape and dtype of each.
    """

    steps: list[Step] = field(default_factory=list)
    arguments: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Value] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    kinds: dict[str, jax.ShapeDtypeStruct] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Callable[..., Any], args: Sequence[Any]) -> "Trace":
        """The steps of function(*args)."""
        trace = cls()
        closed = jax.make_jaxpr(function)(*args)
        names = _argument_names(function, args)
        for name, leaf, variable in zip(
            names, jax.tree_util.tree_leaves(args), closed.jaxpr.invars, strict=True
        ):
            trace.arguments[name] = jnp.asarray(leaf)
            trace._keep(name, variable.aval)
        trace.outputs = trace._walk(closed, names, "")
        return trace

    def is_float(self, name: str) -> bool:
        """Whether a tensor can have a gradient."""
        return jnp.issubdtype(self.kinds[name].dtype, jnp.floating)

    def is_number(self, name: str) -> bool:
        """Whether a tensor can be recorded: keys of random numbers cannot."""
        return not jnp.issubdtype(self.kinds[name].dtype, jax.dtypes.extended)

    def _keep(self, name: str, kind: Any) -> str:
        self.kinds[name] = jax.ShapeDtypeStruct(kind.shape, kind.dtype)
        return name

    def _constant(self, value: Value) -> str:
        value = jnp.asarray(value)
        name = f"constant {len(self.constants) + 1}"
        self.constants[name] = value
        return self._keep(name, value)

    def _walk(self, closed: Any, inputs: Sequence[str], scope: str) -> list[str]:
        """The tensors that a jaxpr gives for these; its equations become steps."""
        jaxpr = getattr(closed, "jaxpr", closed)
        constants = [self._constant(value) for value in getattr(closed, "consts", ())]
        known = dict(zip(jaxpr.constvars, constants, strict=True))
        known.update(zip(jaxpr.invars, inputs, strict=True))

        def name_of(atom: Any) -> str:
            return self._constant(atom.val) if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            names = [name_of(atom) for atom in equation.invars]
            inside = _joined(scope, str(equation.source_info.name_stack))
            inner = _inlined(equation)
            if inner is not None:
                outputs = self._walk(inner, names, inside)
            elif not equation.effects and all(name in self.constants for name in names):
                values = [self.constants[name] for name in names]
                outputs = [self._constant(value) for value in evaluated(equation, values)]
            else:
                outputs = self._step(equation, names, inside)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [name_of(atom) for atom in jaxpr.outvars]

    def _step(self, equation: Any, inputs: list[str], scope: str) -> list[str]:
        label = _label(equation)
        number = 1 + sum(step.primitive == label for step in self.steps)
        name = _joined(scope, f"{label} {number}")
        outputs = [
            self._keep(name if len(equation.outvars) == 1 else f"{name}[{i}]", variable.aval)
            for i, variable in enumerate(equation.outvars)
        ]
        self.steps.append(Step(name, equation, inputs, outputs))
        return outputs


def _joined(scope: str, name: str) -> str:
    return f"{scope}/{name}" if scope and name else scope or name


def _argument_names(function: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """A name for each array: params.conv1.kernel."""
    try:
        parameters = list(inspect.signature(function).bind(*args).arguments)
    except (TypeError, ValueError):
        parameters = []
    if len(parameters) != len(args):  # *args, or no signature
        parameters = [f"argument {i + 1}" for i in range(len(args))]
    named = zip(parameters, args, strict=True)
    return [name for parameter, arg in named for name in leaf_names(parameter, arg)]


def leaf_names(name: str, tree: Any) -> list[str]:
    """A name for each array of a pytree, which begins with the tree's own."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [".".join([name, *map(_of_key, path)]) for path, _ in leaves]


def _of_key(key: Any) -> str:
    """What a key of a pytree's path says: a dict's key, a sequence's index, a field's name."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


CALLS = {"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"}


def _inlined(equation: Any) -> Any:
    """The jaxpr of what is a call and nothing else; None for everything else."""
    if equation.primitive.name not in CALLS:
        return None
    return equation.params.get("jaxpr") or equation.params.get("call_jaxpr")


def _label(equation: Any) -> str:
    return "relu" if _is_relu(equation) else equation.primitive.name


def _is_relu(equation: Any) -> bool:
    """Whether this is a custom rule's max(x, 0), as `jax.nn.relu` is."""
    if equation.primitive.name != "custom_jvp_call":
        return False
    inner = equation.params.get("call_jaxpr")
    while inner is not None:
        jaxpr = getattr(inner, "jaxpr", inner)
        if len(jaxpr.eqns) != 1 or len(jaxpr.invars) != 1:
            return False
        (only,) = jaxpr.eqns
        if only.primitive.name == "max":
            literals = [atom.val for atom in only.invars if hasattr(atom, "val")]
            return len(literals) == 1 and np.ndim(literals[0]) == 0 and literals[0] == 0
        inner = _inlined(only)
    return False
