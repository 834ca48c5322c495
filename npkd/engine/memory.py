"""Large arrays in memory that is used again.

For each page of a new large array the operating system has work to do: some 0.2 ms for a MB, as
much as a pass of arithmetic over it. A training makes the same arrays at every step, so `empty`
keeps the memory of large arrays that are no longer used, and hands it out again.

An array of ours lies in a lease of its memory. All views of it hold the lease; when the last of
them is gone, the memory comes back. What nobody has asked for in a while goes to the system.
"""

import ctypes
import math
import weakref
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

LARGE = 1 << 18  # bytes from which on memory is kept
TURNED = 1 << 16  # numbers turned at a time
WHILE = 256  # arrays handed out, some steps of training

_free: dict[int, deque[tuple[np.ndarray, int]]] = {}  # by size: memory, and when it came back
_leases: dict[int, weakref.ref] = {}
_handed_out = 0


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """`np.empty(shape, dtype)`, in used memory where it is large."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    free = _free.setdefault(size, deque())
    try:
        memory, _ = free.pop()
    except IndexError:
        memory = np.empty(size, np.uint8)
    lease = (ctypes.c_char * size).from_buffer(memory.data)
    _leases[id(memory)] = weakref.ref(lease, lambda _: _take_back(memory))
    _age()
    return np.frombuffer(lease, dtype).reshape(shape)  # type: ignore[call-overload]


def channels_last(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """`empty((N, C, H, W), dtype)`, in memory with the axes N H W C."""
    n, c, h, w = shape
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def layout_of(x: np.ndarray) -> Callable[[tuple[int, ...], DTypeLike], np.ndarray]:
    """What makes arrays with their axes in memory as x has them: `channels_last`, else `empty`."""
    if x.ndim == 4:
        n, c, h, w = x.strides
        sizes = x.itemsize, x.shape[1] * c, x.shape[3] * w, x.shape[2] * h
        if (c, w, h, n) == sizes and x.shape[1] > 1:
            return channels_last
    return empty


def rows(x: np.ndarray) -> np.ndarray:
    """x (N, …) as (N, size), in the order of its memory: a view where that is `layout_of` x."""
    if layout_of(x) is channels_last:
        x = x.transpose(0, 2, 3, 1)
    return x.reshape(x.shape[0], math.prod(x.shape[1:])) if x.ndim else x.reshape(1, 1)


def turned(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Images (N, C, H, W) copied to memory with the channels last, or into `out`, which has them.

    By way of memory in which channels do not lie a power of two apart: such ones meet in the same
    lines of the caches, which takes five times as long for images of 32×32.
    """
    n, c, h, w = x.shape
    y = channels_last(x.shape, x.dtype) if out is None else out
    some = max(1, TURNED // max(1, c * h * w))
    uneven = np.empty((min(n, some), c, h * w + 16), x.dtype)[:, :, : h * w]
    for first in range(0, n, some):
        images = x[first : first + some]
        channels = uneven[: len(images)].reshape(images.shape)
        channels[...] = images
        y[first : first + some] = channels
    return y


def _take_back(memory: np.ndarray) -> None:
    del _leases[id(memory)]
    _free.setdefault(memory.size, deque()).append((memory, _handed_out))


def _age() -> None:
    """Let go, now and then, of what has not been asked for since WHILE arrays ago."""
    global _handed_out
    _handed_out += 1
    if _handed_out % WHILE == 0:
        for free in list(_free.values()):
            while free and free[0][1] < _handed_out - WHILE:
                try:
                    free.popleft()
                except IndexError:  # another thread has just taken the last one
                    break
