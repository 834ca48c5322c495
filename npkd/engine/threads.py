"""Work on slices of a batch, shared among threads, with the same bits for any number of them.

An op cuts its work into parts by shapes alone, gives each part to `run`, and adds partial sums in
the order of the parts. Which thread computes a part, and when, then leaves no trace in the result.

NumPy releases the interpreter lock inside its loops and in BLAS, so threads do run side by side.
BLAS has threads of its own, which get in the way of ours: with threadpoolctl installed (the `app`
extra) BLAS is held to one thread while parts run; without it the parts run one after the other,
each as fast as BLAS's own threads make it.

Forking is supported while nothing is at work. While another thread works, the child would find
BLAS's lock held and work half done: use multiprocessing's spawn.
"""

import os
import threading
import warnings
from _thread import start_new_thread
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

try:
    from threadpoolctl import OpenBLASController, ThreadpoolController
except ImportError:
    ThreadpoolController = None

Part = TypeVar("Part")
Result = TypeVar("Result")
Call = Callable[[], None]

MOST = 1024  # threads
PARTS = 8  # at most so many parts, so that partial sums are few however large the batch
WORK_OF_A_PART = 1_100_000  # multiply-adds, some 20 µs
MOVE = 50  # multiply-adds of a matrix product in the time that one array entry takes to be moved
CACHED_BYTES = 1 << 20

_lock = threading.Lock()


class _Inside(threading.local):
    """What a thread is in the middle of."""

    part = False
    one_pass = False


_inside = _Inside()
_calls: "SimpleQueue[Call | None] | None" = None
_num_threads: int | None = None
_blas: list[Any] | None = None  # of threadpoolctl, one controller for each BLAS that is loaded
_held: list[tuple[Any, int]] = []  # those that may have had more than one thread, and how many
_blas_holders = 0


def get_num_threads() -> int:
    """How many threads run parts: as set, else NPKD_NUM_THREADS, else the cores at hand.

    They are fewer once the system has refused to start so many.

    Example
        >>> npkd.set_num_threads(1)
        >>> npkd.get_num_threads()
        1
    """
    if _num_threads is not None:
        return _num_threads
    text = os.environ.get("NPKD_NUM_THREADS", "")
    if not text:
        affinity = getattr(os, "sched_getaffinity", None)  # not on every system
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= MOST:
        raise ValueError(f"NPKD_NUM_THREADS is {text[:20]!r}, expected an integer from 1 to {MOST}")
    return int(text)


def set_num_threads(n: int) -> None:
    """Let `n` threads run parts. Results do not depend on it. ValueError unless 1 ≤ n ≤ MOST.

    Without threadpoolctl parts run one after the other whatever `n` is. The threads are started
    by the next work that is shared; if the system refuses some of them, a RuntimeWarning says so
    and fewer are used, until a number is set again.

    Example
        >>> npkd.set_num_threads(2)
        >>> npkd.get_num_threads()
        2
    """
    global _num_threads
    if isinstance(n, bool) or not hasattr(n, "__index__") or not 1 <= n <= MOST:
        raise ValueError(f"number of threads is {n!r}, expected an integer from 1 to {MOST}")
    with _lock:
        _num_threads = int(n)
        _dismiss_helpers()


def slices(part: slice, size: int) -> list[slice]:
    """`part` cut into consecutive slices of `size`, the last one perhaps shorter."""
    starts = range(part.start, part.stop, size)
    return [slice(start, min(start + size, part.stop)) for start in starts]


def cached(part: slice, item_bytes: int) -> list[slice]:
    """`part` cut into slices of so many items as stay in a core's cache while worked on."""
    return slices(part, max(1, CACHED_BYTES // max(1, item_bytes)))


def parts(count: int, work: int, most: int | None = None) -> list[slice]:
    """0 … count−1 cut into parts worth a thread's while, by `count` and `work` alone.

    work: the op's multiply-adds in all, MOVE for each entry where entries are only moved. There
    are 1, 2, 4 or 8 parts, for threads of such a number to share, at most PARTS or `most`; n of
    them from n³ times WORK_OF_A_PART on: threads that call NumPy often wait for Python's lock, so
    that few and long parts are the better ones.
    """
    number = 1
    while 2 * number <= (most or PARTS) and work >= (2 * number) ** 3 * WORK_OF_A_PART:
        number *= 2
    return slices(slice(0, count), max(1, -(-count // number)))


def run(work: Callable[[Part], Result], over: Sequence[Part]) -> list[Result]:
    """[work(part) for part in over], shared among threads; an error in any of them is raised.

    A result below the smallest normal number is rounding, and no error even if np.seterr makes
    underflow one; all else is as np.seterr says.
    """
    if _inside.part or (_inside.one_pass and len(over) == 1):
        return [work(part) for part in over]
    helpers = min(get_num_threads(), len(over)) - 1 if ThreadpoolController else 0
    with one_pass():
        if helpers < 1:
            return [work(part) for part in over]
        return _share(work, over, helpers)


@contextmanager
def one_pass() -> Iterator[None]:
    """What many ops ask for, asked for once: one BLAS thread, and no news of underflow."""
    if _inside.one_pass:
        yield
        return
    with one_blas_thread(), np.errstate(under="ignore"):
        _inside.one_pass = True
        try:
            yield
        finally:
            _inside.one_pass = False


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread meanwhile, if threadpoolctl is there; else do nothing.

    The limit is one for the whole process: the first to enter sets it and the last to leave lifts
    it, so that any op may enter. A run enters once and stays, which saves the ops the call and
    keeps all its arithmetic at one BLAS thread. It holds each BLAS that was loaded when the first
    entered; of a BLAS by OpenMP or of MKL, the thread that entered alone.
    """
    global _blas, _held, _blas_holders
    if ThreadpoolController is None:
        yield
        return
    with _lock:
        if _blas_holders == 0:
            _blas = _blas or ThreadpoolController().select(user_api="blas").lib_controllers
            _held = [
                (blas, n) for blas in _blas if (n := blas.num_threads) != 1 or _by_thread(blas)
            ]
            _set_blas_threads([(blas, 1) for blas, _ in _held])
        _blas_holders += 1
    try:
        yield
    finally:
        with _lock:
            _blas_holders -= 1
            if _blas_holders == 0:
                _set_blas_threads(_held)


def _by_thread(blas: Any) -> bool:
    """Whether each thread that calls this BLAS has a limit of its own."""
    return getattr(blas, "threading_layer", None) == "openmp"


def _set_blas_threads(numbers: list[tuple[Any, int]]) -> None:
    """Give these BLAS so many threads each, whichever thread asks.

    From 3.8 on threadpoolctl heeds only the first thread that asked, so that threads do not undo
    each other's limits; here they are counted.
    """
    free = getattr(OpenBLASController, "clear_controlling_thread", None)
    for blas, number in numbers:
        if free is not None:
            free(force=True)
        blas.set_num_threads(number)
    if numbers and free is not None:
        free(force=True)


class _Task:
    """The work on one part, for the thread that takes it."""

    __slots__ = ("done", "error", "part", "result", "work")

    def __init__(self, work: Callable[[Any], Any], part: Any):
        self.work, self.part = work, part
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()  # held until it is
        self.done.acquire()


def _share(work: Callable[[Any], Any], over: Sequence[Any], helpers: int) -> list[Any]:
    """Do the parts together with so many helpers; raise the first part's error that has one.

    The job is over when all parts are done. A helper that comes late finds nothing waiting, and one
    that never comes is not missed.
    """
    tasks = [_Task(work, part) for part in over]
    waiting = iter(tasks)  # gives each to one thread, and holds none when all are given
    _call_helpers(helpers, partial(_take, waiting))
    _take(waiting)
    for task in tasks:
        task.done.acquire()
    for task in tasks:
        if task.error is not None:
            raise task.error
    return [task.result for task in tasks]


def _take(waiting: Iterator[_Task]) -> None:
    """Do one waiting task after the other. One that is taken is done, even out of memory."""
    _inside.part = True
    try:
        for task in waiting:
            try:
                task.result = task.work(task.part)
            except BaseException as error:
                task.error = error
            finally:
                task.done.release()
    finally:  # Ctrl-C may come between two parts
        _inside.part = False


def _call_helpers(number: int, call: Call) -> None:
    """Let so many helpers make the call, or as many as come."""
    calls = _calls or _start_helpers()
    if calls.qsize() < MOST:  # else helpers have died, and what is put there would stay
        for _ in range(number):
            calls.put(partial(copy_context().run, call))


def _start_helpers() -> "SimpleQueue[Call | None]":
    """Start threads that live on and make the calls put into this queue, one fewer than all.

    They are one for each of PARTS at most: further ones would find no work, and each takes some of
    the address space. If the system refuses one, those started before it are all, and the number of
    threads is theirs. None is a threading.Thread, which waits until the new thread says that it has
    begun: for ever, if memory runs out before it does.
    """
    global _calls, _num_threads
    with _lock:
        if _calls is not None:  # another thread was first
            return _calls
        number, at_work = get_num_threads(), 1
        calls = _calls = SimpleQueue()
        try:
            while at_work < min(number, PARTS):
                start_new_thread(_serve, (calls,))
                at_work += 1
            return calls
        except (RuntimeError, MemoryError) as error:
            _num_threads = at_work
            reason = str(error) or "out of memory"
        except BaseException:  # Ctrl-C
            _dismiss_helpers()
            raise
    # The lock is free again: whoever shows the warning may call npkd.
    warnings.warn(
        f"going on with {at_work} of {number} threads, no more could be started: {reason}",
        RuntimeWarning,
        stacklevel=1,
    )
    return calls


def _serve(calls: "SimpleQueue[Call | None]") -> None:
    while call := calls.get():
        try:
            call()
        except MemoryError:  # before it has taken a task: the others do without
            continue
    calls.put(None)  # for the next helper to go


def _dismiss_helpers() -> None:
    """Let them go when they have made the calls that wait. To be called with the lock held."""
    global _calls
    if _calls is not None:
        _calls.put(None)
        _calls = None


def _forget_after_fork() -> None:
    """A forked child has none of its parent's threads: let it start its own."""
    global _calls, _lock
    _calls, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
