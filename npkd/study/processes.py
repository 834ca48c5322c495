"""An executor of processes of this machine that outlive neither their work nor who gives it.

`concurrent.futures.ProcessPoolExecutor` reads all results from one pipe. Where a process is killed
while it writes to it (a large net has 34 MB), its reader waits for the rest for ever; and where the
first process is killed, the others wait for work for ever. Here each process has a pipe of its own,
which ends when either side does.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any


class Processes(Executor):
    """So many processes, each started when there is work for it, and anew where it has died.

    A future's exception is a BrokenExecutor where its process died, else a RuntimeError with the
    words of what was raised there. At the end they are killed, whatever they are at.
    """

    def __init__(self, number: int):
        self.waiting: SimpleQueue[tuple[Future[Any], Any] | None] = SimpleQueue()
        self.children: list[_Child] = []
        self.lock, self.over = threading.Lock(), False
        self.threads = [threading.Thread(target=self._lead, daemon=True) for _ in range(number)]
        for thread in self.threads:
            thread.start()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Let one of the processes do it; both have to be such as can be pickled."""
        future: Future[Any] = Future()
        self.waiting.put((future, (work, arguments, named)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Kill the processes; what waits is not done any more."""
        with self.lock:
            self.over = True
            for child in self.children:
                child.process.kill()
        for _ in self.threads:
            self.waiting.put(None)

    def _lead(self) -> None:
        """In a thread: give work to one process, and to another one when it has died."""
        _leave_interrupts()
        child = None
        for future, task in iter(self.waiting.get, None):
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if child is None or not child.process.is_alive():
                    child = self._started()
                result, problem = child.do(task)
            except Exception as error:
                future.set_exception(error)
                if child:
                    child.process.kill()  # if it lives: it may still be writing
                child = None
            else:
                if problem is None:
                    future.set_result(result)
                else:
                    future.set_exception(RuntimeError(problem))

    def _started(self) -> "_Child":
        with self.lock:
            if self.over:
                raise BrokenExecutor("it is over")
            self.children.append(_Child())
            return self.children[-1]


class _Child:
    """A process, and our end of its pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        with theirs:
            self.process = context.Process(target=_obey, args=(theirs,), daemon=True)
            self.process.start()

    def do(self, task: Any) -> tuple[Any, str | None]:
        """The result of a task, or else what was wrong. Raises BrokenExecutor if it dies."""
        try:
            self.pipe.send(task)
            return pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError) as error:
            self.process.join()
            raise BrokenExecutor(f"exit code {self.process.exitcode}") from error


def _leave_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal; it is for the first one's main thread alone.

    It holds for the processes that this thread starts, from their first moment on.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on every system
        resource_tracker.ensure_running()  # which else, on its start, lets interrupts in again
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _obey(pipe: Connection) -> None:
    """In a process: do what comes, one after the other, until the first process has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    with suppress(OSError):
        while True:
            pipe.send_bytes(_answer(pipe))


def _answer(pipe: Connection) -> bytes:
    try:
        work, arguments, named = pipe.recv()
        return pickle.dumps((work(*arguments, **named), None))
    except Exception as error:  # whatever it is: the process can go on
        return pickle.dumps((None, str(error) or type(error).__name__))


def _end_with_the_first() -> None:
    """Even in the midst of work."""
    first = multiprocessing.parent_process()
    assert first is not None
    first.join()
    os._exit(1)
