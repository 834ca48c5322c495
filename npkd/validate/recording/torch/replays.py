"""The recorded functions that no rule is for, called again: in float64, or as they were called."""

import copy
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map

from npkd.validate.program import Arrays, Case
from npkd.validate.recording.replays import Again, CannotReplayError, with_replays
from npkd.validate.recording.torch.program import Recording
from npkd.validate.recording.torch.recorder import Call, Slot
from npkd.validate.recording.torch.tensors import PRECISIONS, array, is_number


def replayed(recording: Recording) -> Case:
    """The program, with what has no rule called again; random numbers go on as if it were not."""
    several = [_again(call) for call in recording.calls if call.function is not None]
    with _same_random_numbers():
        return with_replays(recording.case, recording.results, several)


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


def _again(call: Call) -> Again:
    kind = repr((call.function, call.options, call.arguments))
    trained = call.own or list(call.gradients)
    of = call.name, f"{call.name}.backward"
    return Again(_function(call, trained), *of, trained, bool(call.own), kind)


def _function(
    call: Call, trained: Sequence[str]
) -> Callable[..., tuple[Arrays, Callable[[Arrays], Arrays]]]:
    slots = {one.key: one for one in tree_leaves(call.arguments) if isinstance(one, Slot)}

    def function(arrays: Arrays, precise: bool) -> tuple[Arrays, Callable[[Arrays], Arrays]]:
        if _is_no_derivative(call):
            raise CannotReplayError("its gradient is no derivative, as is documented")
        leaves = {key: _leaf(slot, arrays[key], precise) for key, slot in slots.items()}
        for key in trained:
            leaves[key].requires_grad_()
        with torch.inference_mode(False), torch.enable_grad():
            results = dict(zip(call.outputs, _called(call, leaves, precise), strict=True))
        if any(one.is_complex() for one in (*leaves.values(), *results.values())):
            raise CannotReplayError("it is of complex numbers")

        def backward(upstream: Arrays) -> Arrays:
            return _gradients(leaves, results, upstream)

        return {key: array(y) for key, y in results.items()}, backward

    return function


def _is_no_derivative(call: Call) -> bool:
    """Whether an embedding leaves out its padding, or changes rows, or divides by their number."""
    if call.function not in (functional.embedding, functional.embedding_bag):
        return False
    args, kwargs = call.arguments
    given = inspect.signature(call.function).bind(*args, **kwargs).arguments
    options = ("padding_idx", "max_norm", "scale_grad_by_freq")
    return any(given.get(name) is not None and given[name] is not False for name in options)


def _leaf(slot: Slot, values: np.ndarray, precise: bool) -> Tensor:
    dtype = torch.float64 if precise and slot.dtype in PRECISIONS else slot.dtype
    tensor = torch.tensor(values, dtype=dtype, device=slot.device)
    if slot.channels_last:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def _called(call: Call, leaves: Mapping[str, Tensor], precise: bool) -> list[Tensor]:
    """The tensors of numbers that the function gives for copies of its arguments."""
    assert call.function is not None

    def filled(value: Any) -> Any:
        if isinstance(value, Slot):
            return leaves[value.key].clone()
        if precise and isinstance(value, torch.dtype) and value in PRECISIONS:
            return torch.float64
        return copy.deepcopy(value)

    args, kwargs = tree_map(filled, call.arguments)
    device = next(iter(leaves.values())).device.type
    enabled = call.autocast is not None and not precise
    with torch.autocast(device, call.autocast, enabled=enabled):
        made = [y for y in tree_leaves(call.function(*args, **kwargs)) if is_number(y)]
    if len(made) != len(call.outputs):
        raise CannotReplayError("called again, it returns other tensors")
    return made


def _gradients(
    leaves: Mapping[str, Tensor], results: Mapping[str, Tensor], upstream: Arrays
) -> Arrays:
    """Those by all inputs, for these gradients of results; 0 where nothing depends on them."""
    given = {k: y for k, y in results.items() if f"d{k}" in upstream and y.requires_grad}
    dy = [
        torch.tensor(upstream[f"d{key}"], dtype=y.dtype, device=y.device)
        for key, y in given.items()
    ]
    trained = {key: x for key, x in leaves.items() if x.requires_grad}
    found: Any = [None] * len(trained)
    if given and trained:
        found = torch.autograd.grad(
            list(given.values()), list(trained.values()), dy, retain_graph=True, allow_unused=True
        )
    zeros = torch.zeros_like
    return {
        f"d{key}": array(zeros(x) if dx is None else dx)
        for (key, x), dx in zip(trained.items(), found, strict=True)
    }
