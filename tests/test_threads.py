"""npkd.engine.threads: parts by shapes alone, results in order, errors raised, one BLAS thread."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.special  # noqa: F401 - its BLAS is there before any is held
from hypothesis import given
from hypothesis import strategies as st

import npkd
from npkd import ops
from npkd.engine import threads

ONES = [slice(i, i + 1) for i in range(6)]


@pytest.fixture(autouse=True)
def _two_threads():
    """Two threads for each test, and afterwards as many as before."""
    before = threads._num_threads
    npkd.set_num_threads(2)
    yield
    npkd.set_num_threads(1)
    threads._num_threads = before


@pytest.fixture(autouse=True)
def _no_hang():
    """A test that waits for ever fails, where the system has an alarm."""

    def ring(*_):
        raise TimeoutError("30 seconds are over")

    if hasattr(signal, "SIGALRM"):
        before = signal.signal(signal.SIGALRM, ring)
        signal.alarm(30)
    yield
    if hasattr(signal, "SIGALRM"):
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def threadpoolctl():
    """With two threads of BLAS to be held."""
    package = pytest.importorskip("threadpoolctl")
    with package.threadpool_limits(2, user_api="blas"):
        assert set(blas_threads(package)) == {2}
        yield package


def blas_threads(threadpoolctl) -> list[int]:
    infos = threadpoolctl.threadpool_info()
    return [info["num_threads"] for info in infos if info["user_api"] == "blas"]


# Parts


@given(count=st.integers(0, 1000), work=st.integers(0, 10**10))
def test_parts_cover_every_item_once_in_order_whatever_the_threads(count, work):
    over = threads.parts(count, work)
    assert [i for part in over for i in range(part.start, part.stop)] == list(range(count))
    assert len(over) <= threads.PARTS
    assert len(over) <= max(1, work // threads.WORK_OF_A_PART)
    for number in (1, 5):
        npkd.set_num_threads(number)
        assert threads.parts(count, work) == over


@given(start=st.integers(0, 50), length=st.integers(0, 50), size=st.integers(1, 60))
def test_slices_cut_a_part_into_pieces_of_a_size(start, length, size):
    pieces = threads.slices(slice(start, start + length), size)
    items = [i for piece in pieces for i in range(piece.start, piece.stop)]
    assert items == list(range(start, start + length))
    assert all(piece.stop - piece.start == size for piece in pieces[:-1])


@given(length=st.integers(0, 50), item_bytes=st.integers(0, 10**6))
def test_cached_slices_fit_the_cache_or_hold_one_item(length, item_bytes):
    pieces = threads.cached(slice(7, 7 + length), item_bytes)
    assert [i for piece in pieces for i in range(piece.start, piece.stop)] == [
        *range(7, 7 + length)
    ]
    for piece in pieces:
        items = piece.stop - piece.start
        assert items == 1 or items * item_bytes <= threads.CACHED_BYTES


# BLAS


def in_a_thread(work):
    """What it gives, in a thread of its own."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work).result(timeout=30)


def test_every_thread_holds_blas_to_one_thread_and_lets_it_go(threadpoolctl):
    def held():
        with threads.one_blas_thread():
            return blas_threads(threadpoolctl)

    before = blas_threads(threadpoolctl)
    ones = [1] * len(before)
    assert [held(), in_a_thread(held), held(), in_a_thread(held)] == [ones] * 4
    assert blas_threads(threadpoolctl) == before


@pytest.mark.parametrize("main_is_first", [True, False])
def test_blas_is_held_until_the_last_thread_leaves_whichever_it_is(threadpoolctl, main_is_first):
    before = blas_threads(threadpoolctl)
    one, other = threads.one_blas_thread(), threads.one_blas_thread()
    first, last = (one, other) if main_is_first else (other, one)  # to enter, and to leave

    def within(hold, call):
        return call() if hold is one else in_a_thread(call)

    within(first, first.__enter__)
    within(last, last.__enter__)
    within(first, lambda: first.__exit__(None, None, None))
    assert blas_threads(threadpoolctl) == [1] * len(before)
    within(last, lambda: last.__exit__(None, None, None))
    assert blas_threads(threadpoolctl) == before


# Running


def test_parts_run_side_by_side_and_results_keep_their_order(threadpoolctl):
    last_has_run = threading.Event()

    def work(part):
        if part == ONES[-1]:
            last_has_run.set()
        elif part == ONES[0]:
            assert last_has_run.wait(timeout=30)
        return part.start

    assert threads.run(work, ONES) == [0, 1, 2, 3, 4, 5]


def test_as_many_parts_run_at_once_as_there_are_threads(threadpoolctl):
    for number in (2, 3):
        npkd.set_num_threads(number)
        everyone = threading.Barrier(number, timeout=30)
        waited = threads.run(lambda part, meet=everyone.wait: meet(), ONES[:number])
        assert sorted(waited) == list(range(number))


@pytest.mark.parametrize("number", [1, 2, 9])
def test_results_keep_their_order_with_any_number_of_threads(number):
    npkd.set_num_threads(number)
    assert npkd.get_num_threads() == number
    assert threads.run(lambda part: part.start, ONES) == [0, 1, 2, 3, 4, 5]
    assert threads.run(lambda part: part.start, []) == []


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_part_raises_is_raised_and_later_runs_work(number):
    npkd.set_num_threads(number)

    def work(part):
        if part.start == 3:
            raise ZeroDivisionError("in part 3")

    with pytest.raises(ZeroDivisionError, match="in part 3"):
        threads.run(work, ONES)
    assert threads.run(lambda part: part.stop, ONES) == [1, 2, 3, 4, 5, 6]


def test_a_run_within_a_part_stays_in_its_thread():
    def inner(part):
        return part.start, threading.get_ident()

    def outer(part):
        ident = threading.get_ident()
        return [(start, inner_ident == ident) for start, inner_ident in threads.run(inner, ONES)]

    npkd.set_num_threads(3)  # one is left for an inner part to stray to
    assert threads.run(outer, ONES[:2]) == [[(start, True) for start in range(6)]] * 2


def test_parts_see_the_error_state_of_their_caller():
    def divide(part):
        return np.ones(1) / np.zeros(1)

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.run(divide, ONES)
    with np.errstate(divide="ignore"):
        assert threads.run(divide, ONES) == [np.inf] * 6


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals on this system")
def test_ctrl_c_ends_the_wait_for_a_helper(threadpoolctl):
    caller, helper_is_at_work, may_end = threading.get_ident(), threading.Event(), threading.Event()

    def work(part):
        if threading.get_ident() == caller:
            assert helper_is_at_work.wait(timeout=30)
        else:
            helper_is_at_work.set()
            time.sleep(0.2)  # the caller is done meanwhile, and waits
            signal.pthread_kill(caller, signal.SIGINT)
            assert may_end.wait(timeout=30)

    before = blas_threads(threadpoolctl)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored, behind a &
    with pytest.raises(KeyboardInterrupt):
        threads.run(work, ONES[:2])
    signal.signal(signal.SIGINT, handler)
    may_end.set()
    assert blas_threads(threadpoolctl) == before
    assert threads.run(lambda part: part.start, ONES) == [0, 1, 2, 3, 4, 5]


def test_a_late_helper_keeps_nothing_of_a_job_that_is_over(threadpoolctl):
    helper_may_go = threading.Event()
    threads._call_helpers(1, helper_may_go.wait)
    array = np.ones(len(ONES))
    gone = weakref.ref(array)
    assert threads.run(lambda part, array=array: array[part].sum(), ONES) == [1] * 6
    del array
    assert gone() is None
    helper_may_go.set()


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")  # where JAX is too
def test_a_forked_child_starts_threads_of_its_own():
    threads.run(lambda part: None, ONES)
    child = multiprocessing.get_context("fork").Process(
        target=threads.run, args=(lambda part: None, ONES)
    )
    child.start()
    child.join(timeout=30)
    child.kill()
    assert child.exitcode == 0


# Threads that cannot be started, and helpers that die


def refuse_threads(monkeypatch, after, error):
    """Let the system start so many threads and then raise the error; a semaphore for each end."""
    start, left, ended = threads.start_new_thread, iter(range(after)), threading.Semaphore(0)

    def serve(serve, calls):
        serve(calls)
        ended.release()

    def start_or_refuse(target, arguments):
        if next(left, None) is None:
            raise error
        return start(serve, (target, *arguments))

    monkeypatch.setattr(threads, "start_new_thread", start_or_refuse)
    return ended


def convolution():
    """Bytes of a convolution's results, forward and backward, whose work is worth sharing."""
    rng = np.random.default_rng(0)
    y, backward = ops.conv2d(
        rng.standard_normal((64, 8, 28, 28)), rng.standard_normal((16, 8, 3, 3))
    )
    return [
        array.tobytes()
        for array in (y, *backward(rng.standard_normal(y.shape)))
        if array is not None
    ]


def helpers_come():
    """Whether as many parts run at once as get_num_threads tells, though 3 at most."""
    number = min(3, npkd.get_num_threads())
    everyone = threading.Barrier(number, timeout=30)
    return sorted(threads.run(lambda part: everyone.wait(), ONES[:number])) == list(range(number))


@pytest.mark.parametrize(
    ("after", "error", "reason"),
    [
        (0, RuntimeError("can't start new thread"), "can't start new thread"),
        (2, MemoryError(), "out of memory"),
        (6, RuntimeError("can't start new thread"), "can't start new thread"),
    ],
)
def test_refused_threads_are_said_once_and_done_without(
    threadpoolctl, monkeypatch, after, error, reason
):
    npkd.set_num_threads(1)
    expected = convolution()
    with monkeypatch.context() as patch:
        refuse_threads(patch, after, error)
        for number, at_work in ((1024, after + 1), (600, 1)):  # a number that is set is tried
            npkd.set_num_threads(number)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                assert [convolution() for _ in range(3)] == [expected] * 3
            (warning,) = said
            assert warning.category is RuntimeWarning
            assert str(warning.message) == (
                f"going on with {at_work} of {number} threads, no more could be started: {reason}"
            )
            assert npkd.get_num_threads() == at_work
            assert helpers_come()
    npkd.set_num_threads(3)
    assert helpers_come()


def test_a_warning_that_is_an_error_leaves_fewer_threads_that_work(threadpoolctl, monkeypatch):
    npkd.set_num_threads(9)
    refuse_threads(monkeypatch, 2, RuntimeError("can't start new thread"))
    with pytest.raises(RuntimeWarning, match=r"^going on with 3 of 9 threads"):
        threads.run(lambda part: None, ONES)
    assert npkd.get_num_threads() == 3
    assert helpers_come()


def test_ctrl_c_while_threads_are_started_leaves_none_of_them(threadpoolctl, monkeypatch):
    npkd.set_num_threads(9)
    with monkeypatch.context() as patch:
        ended = refuse_threads(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            threads.run(lambda part: None, ONES)
        assert [ended.acquire(timeout=30) for _ in range(2)] == [True, True]
    assert npkd.get_num_threads() == 9
    assert helpers_come()


def test_a_helper_that_dies_is_done_without_and_set_num_threads_brings_another(threadpoolctl):
    threads._call_helpers(1, sys.exit)
    for _ in range(threads.MOST + 10):
        assert threads.run(lambda part: part.start, ONES) == [0, 1, 2, 3, 4, 5]
    assert threads._calls.qsize() <= threads.MOST  # what nobody takes does not pile up
    npkd.set_num_threads(2)
    assert helpers_come()


def test_a_helper_without_memory_to_join_in_comes_the_next_time(threadpoolctl):
    def out_of_memory():
        raise MemoryError

    threads._call_helpers(1, out_of_memory)
    assert helpers_come()


WITH_LITTLE_MEMORY = """
import faulthandler, resource, sys, warnings
import numpy as np, npkd
from npkd import ops
from npkd.engine import threads

faulthandler.dump_traceback_later(30, exit=True)
x = np.random.default_rng(0).standard_normal((64, 8, 28, 28))
npkd.set_num_threads(1)
expected = ops.relu(x)[0]
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, 2 * (size + (int(sys.argv[1]) << 20),))
npkd.set_num_threads(1024)
threads.WORK_OF_A_PART = 1000
for _ in range(3):
    try:
        assert np.array_equal(ops.relu(x)[0], expected)
    except MemoryError:
        pass
assert (npkd.get_num_threads() < 1024) == (int(sys.argv[1]) < 50)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no such limit on this system")
@pytest.mark.parametrize("room", [10, 40, 5000])
def test_work_ends_when_threads_have_taken_all_memory(threadpoolctl, room):
    done = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_MEMORY, str(room)],
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: going on with ") == (room < 50)


# The number of threads


@pytest.mark.parametrize("n", [0, -1, 1.0, "2", None, True])
def test_a_number_of_threads_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match=r"number of threads is .*, expected an integer from 1 to"):
        npkd.set_num_threads(n)
    assert npkd.get_num_threads() == 2


def test_the_environment_sets_the_number_of_threads_unless_the_program_does(monkeypatch):
    monkeypatch.setenv("NPKD_NUM_THREADS", "5")
    assert npkd.get_num_threads() == 2
    monkeypatch.setattr(threads, "_num_threads", None)
    assert npkd.get_num_threads() == 5


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "two", " "])
def test_an_environment_without_a_positive_number_is_refused(monkeypatch, text):
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("NPKD_NUM_THREADS", text)
    with pytest.raises(ValueError, match=r"NPKD_NUM_THREADS is .*, expected an integer from 1 to"):
        npkd.get_num_threads()


@pytest.mark.parametrize("text", [None, ""])
def test_by_default_there_is_a_thread_for_each_core(monkeypatch, text):
    monkeypatch.setattr(threads, "_num_threads", None)
    if text is None:
        monkeypatch.delenv("NPKD_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("NPKD_NUM_THREADS", text)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: {0, 3, 4}, raising=False)
    assert npkd.get_num_threads() == 3


# BLAS


def test_blas_has_one_thread_while_parts_run_and_its_own_afterwards(threadpoolctl):
    before = blas_threads(threadpoolctl)
    inside = threads.run(lambda part: blas_threads(threadpoolctl), ONES)
    assert inside == [[1] * len(before)] * 6
    assert blas_threads(threadpoolctl) == before


def test_one_blas_thread_lasts_until_the_last_leaves_even_by_an_error(threadpoolctl):
    before = blas_threads(threadpoolctl)

    def enter_twice_and_fail():
        with threads.one_blas_thread():
            with threads.one_blas_thread():
                assert set(blas_threads(threadpoolctl)) <= {1}
            assert set(blas_threads(threadpoolctl)) <= {1}
            raise KeyError

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        outside = blas_threads(threadpoolctl)
        with pytest.raises(KeyError):
            enter_twice_and_fail()
        assert blas_threads(threadpoolctl) == outside
    assert blas_threads(threadpoolctl) == before


def test_without_threadpoolctl_parts_run_one_after_the_other(monkeypatch):
    monkeypatch.setattr(threads, "ThreadpoolController", None)
    idents = threads.run(lambda part: threading.get_ident(), ONES)
    assert idents == [threading.get_ident()] * 6
    with threads.one_blas_thread():
        pass
