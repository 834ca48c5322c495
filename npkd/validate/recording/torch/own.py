"""A model of one's own: recorded, and judged operation by operation.

report = torch_module(net, images)
case, found, precision, calls = record(net, images, rng=rng)      # what is judged there
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from npkd.validate.bounds.measured import ulp_of
from npkd.validate.judging.judge import judge
from npkd.validate.judging.verdicts import Report
from npkd.validate.recording.torch.probes import exact_probes
from npkd.validate.recording.torch.program import Gradients, Recording, backward, forward, recording
from npkd.validate.recording.torch.recorder import Recorder
from npkd.validate.recording.torch.replays import replayed
from npkd.validate.recording.torch.tensors import array, is_number


def torch_module(
    module: Callable[..., Any],
    *inputs: Any,
    rng: np.random.Generator | None = None,
    training: bool = False,
) -> Report:
    """Judge a PyTorch model, or any function of tensors, operation by operation.

    training: in which mode a module is run; it is left in the one that it was in. rng: draws the
    upstream gradient and the exact probes. Hooks of tensors that change gradients show as BUG.

    Example
        >>> import torch
        >>> report = validate.torch_module(torch.nn.Linear(3, 2), torch.ones(4, 3))
        >>> report.check().ok  # print(report) shows a row for each operation
        True
    """
    rng = np.random.default_rng(0) if rng is None else rng
    modules = list(module.modules()) if isinstance(module, torch.nn.Module) else []
    modes = [one.training for one in modules]
    try:
        for one in modules:
            one.training = training
        recorded = record(module, *inputs, rng=rng)
    finally:
        for one, mode in zip(modules, modes, strict=True):
            one.training = mode
    return judged(recorded, rng)


def judged(recorded: Recording, rng: np.random.Generator) -> Report:
    """The report on what was recorded, on its functions again, and on their exact probes."""
    return judge(
        [(replayed(recorded), recorded.results), *exact_probes(recorded, rng)],
        precision=recorded.precision,
        ulp=ulp_of("torch", _device(), recorded.precision),
        about={"title": recorded.case.about, "precision": recorded.precision},
    )


def _device() -> str:
    """The CPU, unless a GPU was in use: where each operation ran is not recorded."""
    return "cuda" if torch.cuda.is_initialized() else "cpu"


def record(
    function: Callable[..., Any],
    *inputs: Any,
    rng: np.random.Generator,
    parameters: Mapping[str, Tensor] | None = None,
) -> Recording:
    """Run a model once, forward and backward, and record it operation by operation.

    function: a module, or any function of tensors. inputs: what it takes; tensors of numbers get a
    gradient too. rng: draws the gradient that comes from above, unless the output is one number;
    then it is 1. parameters: tensors by name, for a function that is no module.

    The model is left as it was: its parameters, their `grad`, its mode and its buffers.
    """
    is_module = isinstance(function, torch.nn.Module)
    name = type(function).__name__ if is_module else "function"
    if parameters is None and isinstance(function, torch.nn.Module):
        parameters = dict(function.named_parameters()) | dict(function.named_buffers())
    recorder = Recorder({"": function}, everything=True)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            leaves: list[Tensor] = []
            arguments = tree_map(partial(_as_input, leaves), inputs)
            tensors = [one for one in tree_leaves(arguments) if isinstance(one, Tensor)]
            for k, tensor in enumerate(tensors, 1):
                recorder.give("x" if len(tensors) == 1 else f"x{k}", tensor)
            for key, tensor in (parameters or {}).items():
                recorder.give(key, tensor)
            with recorder:
                output = function(*arguments)
            upstream = _backpropagate(recorder, output, leaves, rng)
        gradients = Gradients(recorder, upstream)
        operations = forward(recorder.calls, gradients) + backward(recorder.calls, gradients)
        return recording(recorder, gradients, operations, name, f"{name} in PyTorch")
    finally:
        recorder.release()
        recorder.restore_buffers()


def _as_input(leaves: list[Tensor], value: Any) -> Any:
    """A copy that gathers a gradient, and may be changed in place."""
    if not is_number(value):
        return value
    leaf = value.clone(memory_format=torch.preserve_format).detach().requires_grad_()
    leaves.append(leaf)
    return leaf.clone(memory_format=torch.preserve_format)


def _backpropagate(
    recorder: Recorder, output: Any, leaves: list[Tensor], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Run the backward pass from random gradients by the outputs, which are returned by tensor."""
    outputs: dict[str, Tensor] = {}
    for tensor in tree_leaves(output):
        if is_number(tensor) and tensor.requires_grad:
            outputs.setdefault(recorder.name_of(tensor), tensor)
    upstream = {}
    for name, tensor in outputs.items():
        values = rng.standard_normal(tuple(tensor.shape)) if tensor.ndim else np.ones(())
        upstream[name] = torch.as_tensor(values).to(tensor.dtype).to(tensor.device)
    if outputs:
        torch.autograd.grad(
            list(outputs.values()),
            [*leaves, *recorder.leaves],
            list(upstream.values()),
            allow_unused=True,
        )
    return {name: array(gradient) for name, gradient in upstream.items()}
