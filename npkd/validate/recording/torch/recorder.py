"""The recorder: it sees every torch function that is called, and keeps what it took and made.

    with Recorder({"": net}, everything=True) as recorder:
        y = net(x)
    recorder.calls      # the functions, in order
    recorder.found      # their results, and after the backward pass in `totals` the gradients

A tensor's gradient is the sum of those of its uses: each use goes through an alias of the tensor,
the same memory with a gradient of its own, so that both are seen. What gives a tensor its name is
the module that calls the function, by its path; what is called a second time is "#2".
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.nn import Module
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from npkd.validate.recording.torch import operations
from npkd.validate.recording.torch.operations import Arguments
from npkd.validate.recording.torch.tensors import PRECISIONS, array, is_made_of, is_number

STATISTICS = ("batch_norm", "instance_norm")  # functions that may change some of their arguments
LEAVES = ("numpy", "__array__")  # functions that take a tensor's numbers out of PyTorch


@dataclass(frozen=True)
class Slot:
    """The place of a tensor in a call's arguments, and what kind of tensor it was."""

    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    channels_last: bool


@dataclass
class Call:
    """A torch function that was called.

    inputs, outputs  tensors by the names of the operation's arguments and results
    rounded          under autocast, arguments that were rounded before: their names then
    gradients        of this use of each of its arguments
    function, arguments, autocast
                     for calling it again: its arguments with a Slot for each tensor
    root             within which of the recorder's roots
    own              of a backward pass of the user's own, the arguments that it is by
    """

    name: str
    op: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    options: dict[str, Any]
    rounded: dict[str, str] = field(default_factory=dict)
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    function: Callable[..., Any] | None = None
    arguments: Arguments = ((), {})
    autocast: torch.dtype | None = None
    root: str = ""
    own: tuple[str, ...] = ()


class Recorder(TorchFunctionMode):
    """Sees all torch functions while it is entered, and keeps those called within some modules.

    roots: the functions or modules by name, "" for the only one. With `everything` what is called
    outside of them is kept too. A part of a root may run alone.

    What is compiled runs uncompiled meanwhile, and is listed as not judged: of what a compiler
    makes of it nothing is seen. So is what leaves PyTorch within a root, for NumPy.
    """

    def __init__(self, roots: Mapping[str, Callable[..., Any]], everything: bool):
        super().__init__()
        self.calls: list[Call] = []
        self.given: dict[str, np.ndarray] = {}  # values of tensors that were there
        self.found: dict[str, np.ndarray] = {}  # and of those that were computed
        self.totals: dict[str, np.ndarray] = {}  # their gradients
        self.untracked: set[str] = set()  # tensors of which not all uses were seen
        self.repeated: set[str] = set()  # tensors that several backward passes reached
        self.outside: set[str] = set()  # tensors that are used by what is not recorded
        self.outputs: dict[str, Any] = {}  # of modules, by path
        self.runs: dict[str, int] = {}  # how often each of them ran, and it mattered
        self.modes: dict[str, bool] = {}  # whether each was ever in training mode
        self.taken: dict[str, list[Tensor]] = {}  # the first tensor that a root took, at each run
        self.started: list[np.ndarray] = []  # the values that backward passes started from
        self.scale: float | None = None  # what a GradScaler multiplied the loss by
        self.precisions: set[torch.dtype] = set()
        self.leaves: list[Tensor] = []
        self.handles: list[Any] = []  # of hooks of tensors
        self._everything = everything
        self._roots = {id(root): name for name, root in roots.items()}
        self._paths: dict[int, str] = {}
        for name, root in roots.items():
            if isinstance(root, Module):
                for path, module in root.named_modules(prefix=name):
                    self._paths.setdefault(id(module), path)
        self._stack: list[Module] = []
        self._buffers: dict[int, tuple[Module, dict[str, Tensor], dict[str, Tensor]]] = {}
        self._names: dict[int, tuple[str, int]] = {}  # by tensor: name and version
        self._had_gradient: dict[int, tuple[bool, bool]] = {}  # by tensor, when it was named
        self._tensors: dict[str, Tensor] = {}  # kept, so that no two have the same id
        self._watched: set[str] = set()
        self._has_transforms = False  # whether anything of torch.func was
        self._compiled = False  # whether anything that torch.compile made was called
        self._taken: dict[str, int] = {}
        self._of_modules: list[Any] = []
        self._uncompiled: Any = None
        self._of_own = own_functions(self._own)

    # Entering and leaving

    def __enter__(self) -> "Recorder":
        super().__enter__()
        self._uncompiled = _uncompiled()
        self._of_modules = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        self._of_own.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._uncompiled.__exit__(*exception)
        self._of_own.__exit__(None, None, None)
        for handle in self._of_modules:
            handle.remove()

    def release(self) -> None:
        """Remove the hooks of tensors, which are needed until the backward pass is done."""
        for handle in self.handles:
            handle.remove()

    def restore_buffers(self) -> None:
        """Give the buffers of all modules that ran the values from before."""
        with torch.no_grad():
            for module, buffers, values in self._buffers.values():
                for name, buffer in buffers.items():
                    buffer.copy_(values[name])
                    module._buffers[name] = buffer

    def _enter_module(self, module: Module, inputs: Any) -> None:
        path = self._paths.get(id(module), "")
        is_seen = not self._everything and not _is_transformed() and self._matters(path)
        if id(module) in self._roots and is_seen:
            numbers = [one for one in tree_leaves(inputs) if is_number(one)]
            with torch._C.DisableTorchFunction():
                self.taken.setdefault(path, []).extend(one.detach().clone() for one in numbers[:1])
        self._stack.append(module)
        self.runs[path] = self.runs.get(path, 0) + self._matters(path)
        self.modes[path] = module.training or self.modes.get(path, False)
        if isinstance(module, torch.jit.ScriptModule):
            self._not_judged("compiled", "by torch.jit, and what runs in it is not seen")
        if id(module) not in self._buffers:
            buffers = {name: b for name, b in module._buffers.items() if b is not None}
            values = {name: b.detach().clone() for name, b in buffers.items()}
            self._buffers[id(module)] = module, buffers, values

    def _leave_module(self, module: Module, inputs: Any, output: Any) -> None:
        if id(module) in self._roots and not _is_transformed():
            output = logits_of(output)
            if is_number(output) and output.grad_fn is not None:
                with torch._C.DisableTorchFunction():
                    self.name_of(output)  # now, as its gradient must be seen
        if self._stack and self._stack[-1] is module:
            self._stack.pop()
        path = self._paths.get(id(module))
        if path is not None and (path not in self.outputs or self._matters(path)):
            self.outputs[path] = output

    def _matters(self, path: str) -> bool:
        """Whether a run may be a part of training: all do but a student's without gradients."""
        return torch.is_grad_enabled() or path.split(".")[0] != "student"

    # Tensors and their names

    def give(self, name: str, tensor: Tensor) -> str:
        """Name a tensor that is there at the start, or that was computed elsewhere."""
        name = self._unique(name)
        self._enter_tensor(name, tensor)
        self.given[name] = array(tensor)
        return name

    def values(self, name: str) -> np.ndarray:
        """The values of a tensor, by its name."""
        return self.found[name] if name in self.found else self.given[name]

    def known_name(self, tensor: Any) -> str:
        """The name of a tensor as it was last, or nothing."""
        return self._names.get(id(tensor), ("", 0))[0]

    def name_of(self, tensor: Tensor) -> str:
        """The name of a tensor, which it is given now if it has none, or is another by now.

        That is where it holds other values, or where the forward pass of an autograd.Function made
        it, in which nothing has a gradient, and it has the function's only since.
        """
        before, version = self._names.get(id(tensor), ("", 0))
        same_values = bool(before) and version == _version(tensor)
        same_gradient = self._had_gradient.get(id(tensor)) == _has_gradient(tensor)
        if same_values and (
            not tensor.requires_grad or (same_gradient and before in self._watched)
        ):
            return before
        if tensor.grad_fn is None:
            self.untracked.add(before)
            return self.give(f"{before} as changed" if before else "constant", tensor)
        function = tensor.grad_fn.name()
        inputs = self._sources(tensor.grad_fn)
        self.untracked.update(inputs.values())
        name = self._unique(function.split(":")[-1].removesuffix("0").removesuffix("Backward"))
        if (
            before and not same_values
        ):  # changed by way of another view, whose uses are uses of this one
            self.untracked.update((before, name))
        self._enter_tensor(name, tensor)
        self.found[name] = array(tensor)
        own = isinstance(tensor.grad_fn, BackwardCFunction)
        options = {"function": function} | ({"own": True} if own else {})
        self.calls.append(Call(name, "unknown", inputs, {"y": name}, options, root=self._root()))
        return name

    def _root(self) -> str:
        """Within which root something is called now, or nothing."""
        paths = [self._paths[id(one)] for one in self._stack if id(one) in self._paths]
        return paths[0].split(".")[0] if paths else ""

    def _not_judged(self, what: str, why: str) -> None:
        """Something that the judge was asked about, and that cannot be seen."""
        name = self._unique(self._call_name(what))
        options = {"function": why, "asked": True}
        self.calls.append(Call(name, "unknown", {}, {}, options, root=self._root()))

    def _sources(self, node: Any) -> dict[str, str]:
        """Of which named tensors something was computed in ways that were not seen."""
        tensors = self._tensors.values()
        nodes = {t.grad_fn: self.known_name(t) for t in tensors if t.grad_fn is not None}
        leaves = {id(t): self.known_name(t) for t in tensors if t.is_leaf}
        names: list[str] = []
        seen, waiting = {node}, [node]
        while waiting:
            for source, _ in waiting.pop().next_functions:
                if source is None or source in seen:
                    continue
                seen.add(source)
                name = nodes.get(source, leaves.get(id(getattr(source, "variable", None)), ""))
                if name:
                    names.append(name)
                else:
                    waiting.append(source)
        return {f"x{k}": name for k, name in enumerate(dict.fromkeys(names), 1)}

    def _enter_tensor(self, name: str, tensor: Tensor) -> None:
        self._set_name(tensor, name, kept_as=name)
        if tensor.dtype in PRECISIONS:
            self.precisions.add(tensor.dtype)
        if tensor.requires_grad:
            self._watched.add(name)
            self.handles.append(tensor.register_hook(partial(self._keep, self.totals, name)))
            if tensor.is_leaf:
                self.leaves.append(tensor)

    def _set_name(self, tensor: Tensor, name: str, *, kept_as: str) -> None:
        self._names[id(tensor)] = name, _version(tensor)
        self._had_gradient[id(tensor)] = _has_gradient(tensor)
        self._tensors[kept_as] = tensor

    def _keep(self, gradients: dict[str, np.ndarray], name: str, gradient: Tensor | None) -> None:
        if gradient is None:  # of a result of several that the backward pass did not reach
            return
        if gradients is self.totals and name in gradients:  # a second backward pass
            self.untracked.add(name)
            self.repeated.add(name)
        gradients[name] = array(gradient)

    def _unique(self, name: str) -> str:
        count = self._taken[name] = self._taken.get(name, 0) + 1
        return name if count == 1 else self._unique(f"{name} #{count}")

    # Calls

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, and record it."""
        kwargs = kwargs or {}
        function = operations.name_of(func)
        if _is_transformed():
            return self._transformed(func, args, kwargs)
        if function.strip("_") in ("mul", "rmul") and _is_called_by(
            "torch.amp.grad_scaler", "scale"
        ):
            self.scale = float(args[1])
        if not self._compiled and _is_called_by("torch._dynamo.eval_frame", "compile_wrapper"):
            self._compiled = True
            self._not_judged(
                "compiled", "runs as it is written; what it is compiled to is not seen"
            )
        if function in operations.OF_THE_OBJECT:
            return self._of_the_object(func, args, kwargs)
        if not self._is_recorded():
            if torch.is_grad_enabled():  # otherwise it makes no gradient
                self.outside.update(self.known_name(one) for one in tree_leaves((args, kwargs)))
            return func(*args, **kwargs)
        if function in LEAVES and self._stack:
            self._not_judged(function, "leaves PyTorch, and what comes of it there is not seen")
        in_place = operations.is_in_place(function, args, kwargs) and isinstance(args[0], Tensor)
        use = Use(self, args[0] if in_place else None)
        arguments = tree_map(use.passed, (tuple(args), dict(kwargs)))
        result = func(*arguments[0], **arguments[1])
        made = [one for one in tree_leaves(result) if is_number(one)]
        if in_place and not made and is_number(use.target):
            made = [use.target]  # x[…] = y returns nothing
        if function in operations.OUT_OF_TORCH and use.originals:
            self._out_of_torch(function, use)
        if not made or not use.originals:
            return result
        if function in operations.SAME_VALUES and made[0].dtype == use.first.dtype:
            return self._same(made[0], use)
        return self._record(func, function, arguments, result, made, use)

    def _transformed(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call what vmap, grad and the like of torch.func transform: its numbers are not seen."""
        if not self._has_transforms:
            self._has_transforms = True
            self._not_judged("transformed", "by torch.func, and what runs in it is not seen")
        return func(*args, **kwargs)

    def _out_of_torch(self, function: str, use: "Use") -> None:
        """Record that a tensor became an array: what is computed of that is not seen."""
        name = self._unique(self._call_name(function))
        why = f"{function}: what is computed of it outside of PyTorch is not seen"
        options = {"function": why, "asked": True}
        inputs = {"x1": use.name(use.first)}
        self.calls.append(Call(name, "unknown", inputs, {}, options, root=self._root()))

    def _is_recorded(self) -> bool:
        return self._everything or bool(self._root())

    def _own(self, function: type, apply: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Apply a user's own autograd.Function, and record it.

        It gets its very arguments, no aliases: it may change them, or return them.
        """
        if not self._is_recorded() or not torch.is_grad_enabled():
            return apply(*args, **kwargs)
        tensors = {id(one): one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        keys = {one: f"x{k}" for k, one in enumerate(tensors, 1)}
        inputs = {keys[one]: self.name_of(tensor) for one, tensor in tensors.items()}
        arguments = tree_map(partial(_slot, keys), (args, kwargs))
        direct = [keys[id(one)] for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        result = apply(*args, **kwargs)
        made = [one for one in tree_leaves(result) if is_number(one)]
        functions: list[Any] = [y.grad_fn for y in made]
        node: Any = next((one for one in functions if isinstance(one, BackwardCFunction)), None)
        if node is None or len(direct) != len(node.next_functions):
            return result  # no gradient is asked of it, or it is not known by which arguments
        by = [
            key if source else ""
            for key, (source, _) in zip(direct, node.next_functions, strict=True)
        ]
        name = self._unique(function.__name__)
        options = {"function": node.name(), "own": True}
        call = Call(
            name, "unknown", inputs, {}, options, own=tuple(dict.fromkeys(filter(None, by)))
        )
        call.function, call.arguments, call.root = apply, arguments, self._root()
        self.calls.append(call)
        for k, tensor in enumerate(made):
            output = name if len(made) == 1 else f"{name}[{k}]"
            call.outputs["y" if k == 0 else f"y{k + 1}"] = output
            self._enter_tensor(output, tensor)
            self.found[output] = array(tensor)

        def hook(by_inputs: Any, by_outputs: Any) -> None:
            for key in call.own:
                of_key = [
                    g for one, g in zip(by, by_inputs, strict=True) if one == key and g is not None
                ]
                if of_key:
                    self._keep(call.gradients, key, sum(of_key[1:], of_key[0]))

        self.handles.append(node.register_hook(hook))
        return result

    def _of_the_object(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if func is torch.Tensor.backward:
            self.started.append(array(args[0]))
        result = func(*args, **kwargs)
        if func is torch.Tensor.data.__get__ and self.known_name(args[0]):  # type: ignore[attr-defined]
            name = self.name_of(args[0])
            self._set_name(result, name, kept_as=self._unique("data"))
        return result

    def _same(self, result: Tensor, use: "Use") -> Tensor:
        """The argument by its name, or itself where nothing was copied."""
        original = use.originals[id(use.first)]
        if result is use.first:
            return original
        name = self.name_of(original)
        if not result.requires_grad or name in self._watched:
            self._set_name(result, name, kept_as=self._unique("copy"))
        return result

    def _record(
        self,
        func: Callable[..., Any],
        function: str,
        arguments: Arguments,
        result: Any,
        made: Sequence[Tensor],
        use: "Use",
    ) -> Any:
        root = self._root()
        in_teacher = root == "teacher"
        read = operations.read(func, function, made, arguments, evaluated=in_teacher)
        given = {key: value for key, value in read.inputs.items() if value is not None}
        names = {key: use.name(value) for key, value in given.items()}
        name = self._unique(self._call_name(function))
        call = Call(name, read.op, names, {}, read.options, root=root)
        self.calls.append(call)
        if id(made[0]) in use.originals and made[0] is not use.target:  # the argument itself
            call.outputs["y"] = name
            self.found[name] = array(made[0])
            original = use.originals[id(made[0])]
            return original if len(made) == 1 and result is made[0] else result
        slots = {id(one): key for key, one in given.items() if isinstance(one, Tensor)}
        call.function, call.arguments = func, tree_map(partial(_slot, slots), arguments)
        device = made[0].device.type
        if torch.is_autocast_enabled(device):
            call.autocast = torch.get_autocast_dtype(device)
            if read.op in ("conv2d", "linear"):
                self._round_arguments(call, given, made[0].dtype)
        for k, tensor in enumerate(made):
            output = name if len(made) == 1 else f"{name}[{k}]"
            call.outputs["y" if k == 0 else f"y{k + 1}"] = output
            self._enter_tensor(output, tensor)
            self.found[output] = array(tensor)
        inner = [one for one in made if any(is_made_of(y, one) for y in made)]
        if inner:  # of whose use within the function nothing is seen
            self.untracked.update(self.name_of(one) for one in inner)
            call.function = None
        for key, value in given.items():
            use.watch(value, partial(self._keep, call.gradients, key))
        if function in STATISTICS:
            self._give_changed(arguments)
        return result

    def _give_changed(self, arguments: Arguments) -> None:
        """Name running statistics anew, which change without a new version of their tensors."""
        for tensor in tree_leaves(arguments):
            name = self.known_name(tensor)
            if not name or tensor.requires_grad:
                continue
            if not np.array_equal(array(tensor), self.values(name), equal_nan=True):
                self.give(f"{name} as changed", tensor)

    def _round_arguments(self, call: Call, given: Mapping[str, Any], dtype: torch.dtype) -> None:
        """What autocast does to a function's arguments before it calls it; not judged itself."""
        for key, value in given.items():
            if value.dtype != dtype:
                call.rounded[key] = f"{call.inputs[key]} in {PRECISIONS[dtype][0]}"
                self.given[call.rounded[key]] = array(value.detach().to(dtype))

    def _call_name(self, function: str) -> str:
        """The module's path, where its class is PyTorch's own; else with the function's name."""
        function = function.strip("_")
        if not self._stack:
            return function
        module = self._stack[-1]
        path = self._paths.get(id(module), type(module).__name__)
        own = type(module).__module__.startswith("torch.nn.modules") and not module._modules
        return path if path and own else f"{path}.{function}".removeprefix(".")


@contextmanager
def own_functions(seen: Callable[..., Any]) -> Iterator[None]:
    """Have autograd.Functions applied by seen(function, apply, args, kwargs).

    Function.apply calls that of the class above it, however the user got hold of it.
    """
    above: Any = torch.autograd.Function.__mro__[1]

    def apply(function: type, *args: Any, **kwargs: Any) -> Any:
        return seen(function, super(above, function).apply, args, kwargs)

    above.apply = classmethod(apply)
    try:
        yield
    finally:
        del above.apply


class Use:
    """The use that one call makes of its tensors; target: the one that it changes in place."""

    def __init__(self, recorder: Recorder, target: Tensor | None):
        self.recorder, self.target = recorder, target
        self.originals: dict[int, Tensor] = {}  # by the id of what is passed
        self._passed: list[Tensor] = []
        if target is not None:  # its name will be that of its new values
            self._old_name = recorder.name_of(target)
            self._was_view, self._base = target._is_view(), target._base
            self._old_function = target.grad_fn

    @property
    def first(self) -> Tensor:
        """The first tensor, as passed."""
        return self._passed[0]

    def passed(self, value: Any) -> Any:
        """An alias of a tensor, if it may have a gradient; what is changed in place, itself."""
        if not isinstance(value, Tensor):
            return value
        original = value
        traced = value.requires_grad and torch.is_grad_enabled()
        if value is not self.target and traced and not self._is_changed_too(value):
            value = value[...]
        self.originals[id(value)] = original
        self._passed.append(value)
        return value

    def _is_changed_too(self, value: Tensor) -> bool:
        """Whether an argument is in the memory of the one that is changed in place."""
        if self.target is None:
            return False
        return value.untyped_storage().data_ptr() == self.target.untyped_storage().data_ptr()

    def name(self, value: Any) -> str:
        """The name of an argument."""
        if not isinstance(value, Tensor):
            is_double = self.first.dtype == torch.float64
            number = torch.tensor(value, dtype=torch.float64 if is_double else torch.float32)
            return self.recorder.give("constant", number)
        if value is self.target:
            return self._old_name
        return self.recorder.name_of(self.originals[id(value)])

    def watch(self, value: Any, keep: Callable[[Tensor], None]) -> None:
        """Keep the gradient of this use of an argument."""
        if not isinstance(value, Tensor) or not torch.is_grad_enabled():
            return
        if value is not self.target:
            if self._is_changed_too(value):
                self.recorder.untracked.add(self.name(value))
            elif value.requires_grad:
                value.register_hook(keep)
            return
        if self._old_function is None:
            return
        if self._was_view:  # then the graph is not that of this function
            self.recorder.untracked |= {self._old_name, self.recorder.known_name(self._base)}
        elif value.grad_fn is not None:

            def hook(by_inputs: Any, by_outputs: Any) -> None:
                if by_inputs[0] is not None:
                    keep(by_inputs[0])

            self.recorder.handles.append(value.grad_fn.register_hook(hook))


def logits_of(output: Any) -> Any:
    """Of what a net gives, the one tensor of rows that stands for itself, or is named "logits"."""
    if isinstance(output, Tensor) or not isinstance(output, Sequence | Mapping):
        return output
    named = dict(output) if isinstance(output, Mapping) else dict(enumerate(output))
    rows = [one for one in named.values() if is_number(one) and one.ndim == 2]
    return named.get("logits", rows[0] if len(rows) == 1 else output)


def _uncompiled() -> Any:
    """Compiled code runs as it is written, where PyTorch can be told so: from 2.6 on."""
    set_stance = getattr(torch.compiler, "set_stance", None)
    return set_stance("force_eager") if set_stance else nullcontext()


def _is_transformed() -> bool:
    """Whether vmap, grad or the like of torch.func is at work: its tensors have no numbers yet."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _is_called_by(module: str, function: str) -> bool:
    """Whether this function of a module, by its name, is being called."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == function and frame.f_globals.get("__name__") == module:
            return True
    return False


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _has_gradient(tensor: Tensor) -> tuple[bool, bool]:
    """Whether it requires one, and whether a function made it that will be asked for it."""
    return tensor.requires_grad, tensor.grad_fn is not None


def _slot(keys: Mapping[int, str], value: Any) -> Any:
    if not isinstance(value, Tensor) or id(value) not in keys:
        return value
    last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    last = last and not value.is_contiguous()
    return Slot(keys[id(value)], tuple(value.shape), value.dtype, value.device, last)
