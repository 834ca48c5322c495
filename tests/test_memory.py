"""npkd.engine.memory: arrays like np.empty's, in memory that nobody has any more."""

import gc
import threading

import numpy as np
import pytest

from npkd.engine import memory

SHAPE = (3, memory.LARGE // 8)  # of float64, three times as large as it takes


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    """Each test begins with no free memory."""
    monkeypatch.setattr(memory, "_free", {})


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), SHAPE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_an_array_has_its_shape_and_dtype_and_can_be_written_to(shape, dtype):
    array = memory.empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.flags.c_contiguous
    assert array.flags.aligned
    array[...] = 7
    assert (array == 7).all()


def test_memory_of_a_large_array_that_is_gone_is_used_again():
    first = memory.empty(SHAPE, np.float64)
    where = address(first)
    del first
    assert address(memory.empty(SHAPE[::-1], np.complex64)) == where  # another shape of that size


def test_memory_is_not_used_again_while_any_view_of_it_is_held():
    array = memory.empty(SHAPE, np.float64)
    where = address(array)
    views = [array[1:, ::2].T, memoryview(array)[1:], array.view(np.int64)[0]]
    del array
    while views:
        assert address(memory.empty(SHAPE, np.float64)) != where
        views.pop()
    assert address(memory.empty(SHAPE, np.float64)) == where


def test_arrays_at_a_time_share_no_memory_in_any_number_of_threads():
    held: list[np.ndarray] = []

    def take_and_drop():
        for _ in range(50):
            arrays = [memory.empty(SHAPE, np.float64) for _ in range(3)]
            for k, array in enumerate(arrays):
                array[...] = k
            assert all((array == k).all() for k, array in enumerate(arrays))
        held.extend(arrays)

    workers = [threading.Thread(target=take_and_drop) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({address(array) for array in held}) == 4 * 3


def test_what_has_not_been_asked_for_in_a_while_is_let_go():
    del (array := [memory.empty(SHAPE, np.float64)])[:]
    assert array == []
    (free,) = memory._free.values()
    assert len(free) == 1
    for _ in range(2 * memory.WHILE):
        memory.empty((2, *SHAPE), np.float64)
    assert len(free) == 0


def test_memory_survives_in_what_outlives_everything_else():
    """Nothing refers to the array but a view in a cycle, until the cycle is collected."""
    cycle: list = [memory.empty(SHAPE, np.float64)[0]]
    cycle.append(cycle)
    where = address(cycle[0])
    cycle[0][...] = 5
    assert address(memory.empty(SHAPE, np.float64)) != where
    assert (cycle[0] == 5).all()
    del cycle
    gc.collect()
    memories = [memory.empty(SHAPE, np.float64) for _ in range(2)]
    assert where in map(address, memories)
