"""Processes as an executor: what is computed, what goes wrong, and that nothing is left of them."""

import os
import signal
import struct
import time
from concurrent.futures import BrokenExecutor
from types import SimpleNamespace

import pytest

from npkd.study.processes import Processes, _Child


@pytest.fixture(scope="module")
def executor():
    with Processes(2) as executor:
        yield executor


def test_results_come_back_whatever_their_size_and_errors_in_words(executor):
    assert executor.submit(divmod, 7, 2).result() == (3, 1)
    assert executor.submit(sorted, [1, 3, 2], reverse=True).result() == [3, 2, 1]
    assert executor.submit(bytes, 10**7).result() == bytes(10**7)
    with pytest.raises(RuntimeError, match="invalid literal"):
        executor.submit(int, "x").result()
    with pytest.raises(RuntimeError, match="cannot pickle"):
        executor.submit(memoryview, b"x").result()
    with pytest.raises(RuntimeError, match=r"^StopIteration$"):
        executor.submit(next, iter([])).result()
    with pytest.raises(TypeError, match="cannot pickle"):
        executor.submit(len, (one for one in "x")).result()


def test_a_process_that_dies_takes_no_other_along(executor):
    other = executor.submit(time.sleep, 0.5)
    with pytest.raises(BrokenExecutor, match=r"^exit code 7$"):
        executor.submit(os._exit, 7).result()
    assert other.result() is None
    sleeping = executor.submit(time.sleep, 600)
    while not sleeping.running():
        time.sleep(0.01)
    for child in executor.children:
        child.process.kill()
    with pytest.raises(BrokenExecutor, match=r"^exit code -9$"):
        sleeping.result()
    while any(child.process.is_alive() for child in executor.children):
        time.sleep(0.01)
    assert executor.submit(abs, -1).result() == 1


def test_a_process_that_dies_as_it_answers_is_not_waited_for():
    """`ProcessPoolExecutor` waits for the rest of its answer for ever."""
    child = _Child()
    child.process.kill()
    child.process.join()
    ours, theirs = os.pipe()
    os.write(theirs, struct.pack("!i", 1000) + b"the beginning")
    os.close(theirs)
    recv = type(child.pipe)(ours, writable=False)
    child.pipe.close()
    child.pipe = SimpleNamespace(send=lambda task: None, recv_bytes=recv.recv_bytes)
    with pytest.raises(BrokenExecutor, match=r"^exit code -9$"):
        child.do(None)
    recv.close()


def test_at_the_end_none_is_left_and_what_waits_is_not_done():
    with Processes(1) as executor:
        futures = [executor.submit(time.sleep, 600) for _ in range(3)]
        while not executor.children:
            time.sleep(0.01)
    for future in futures:
        with pytest.raises(BrokenExecutor):
            future.result(timeout=10)
    (child,) = executor.children
    child.process.join(10)
    assert child.process.exitcode == -signal.SIGKILL
