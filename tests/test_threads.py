"""npkd.threads: parts by shapes alone, results in order, errors raised, BLAS held to one thread."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npkd
from npkd import threads

ONES = [slice(i, i + 1) for i in range(6)]


@pytest.fixture(autouse=True)
def _two_threads():
    """Two threads for each test, and afterwards as many as before."""
    before = threads._num_threads
    npkd.set_num_threads(2)
    yield
    npkd.set_num_threads(1)
    threads._num_threads = before


@pytest.fixture
def threadpoolctl():
    return pytest.importorskip("threadpoolctl")


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


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own():
    threads.run(lambda part: None, ONES)
    child = multiprocessing.get_context("fork").Process(
        target=threads.run, args=(lambda part: None, ONES)
    )
    child.start()
    child.join(timeout=30)
    child.kill()
    assert child.exitcode == 0


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
