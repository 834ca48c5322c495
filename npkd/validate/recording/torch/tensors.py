"""PyTorch's numbers as NumPy has them, and their precisions."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

PRECISIONS = {  # name, bits of the significand
    torch.float64: ("float64", 53),
    torch.float32: ("float32", 24),
    torch.float16: ("float16", 11),
    torch.bfloat16: ("bfloat16", 8),
}


def is_number(value: Any) -> bool:
    """Whether this is a tensor of numbers, with a precision."""
    return isinstance(value, Tensor) and value.dtype in PRECISIONS


def is_made_of(y: Tensor, other: Tensor) -> bool:
    """Whether one result of a function was computed of another one."""
    seen: set[Any] = set()
    nodes = [y.grad_fn] if other.grad_fn not in (None, y.grad_fn) else []
    while nodes:
        node = nodes.pop()
        if node is other.grad_fn:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [before for before, _ in node.next_functions]
    return False


def array(tensor: Tensor) -> np.ndarray:
    """A copy as NumPy has it; float16 and bfloat16 as float32, which holds them exactly.

    No recorder sees how it is made.
    """
    with torch._C.DisableTorchFunction():
        tensor = tensor.detach().to("cpu")
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.float()
        return tensor.numpy().copy()


def least_precise(dtypes: Iterable[torch.dtype]) -> str:
    """The least precise of these, by name."""
    known = [PRECISIONS[dtype] for dtype in dtypes]
    return min(known, key=lambda one: one[1], default=("float32", 24))[0]
