"""npkd.ops.windows: where windows lie, and the gather of patches with its adjoint.

All arithmetic is on small whole numbers, so that equal means equal.
"""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from npkd.engine import memory
from npkd.ops import windows as windows_module
from npkd.ops.windows import FEW, KEPT, TILE_BYTES, Axis, Depthwise, Windows, as_matrices, axis_of

examples = settings(max_examples=100, deadline=None)


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    """Any padding on the two sides; with ceil_mode, as pooling has it, at most half a window."""
    ceil_mode, kernel = draw(st.booleans()), draw(st.integers(1, 4))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    if ceil_mode:
        before = after = min(before, kernel // 2)
    size, stride, dilation = (draw(st.integers(1, most)) for most in (9, 4, 3))
    return Axis(size, kernel, stride, before, after, dilation, ceil_mode)


def taps(axis: Axis, window: int) -> list[int]:
    """The cells of the padded image's coordinates less `before`: cell 0 is the image's first."""
    start = window * axis.stride - axis.before
    return [start + tap * axis.dilation for tap in range(axis.kernel)]


def windows(axis: Axis) -> list[list[int]]:
    """The taps of every window of an axis.

    A window may stick out of the padded image by less than a stride with ceil_mode, if it starts
    before the image's end, and not at all without.
    """
    end = axis.size + axis.after
    found = []
    for window in range(end + axis.before):
        cells = taps(axis, window)
        beyond = cells[-1] + 1 - end
        fits = beyond < axis.stride and cells[0] < axis.size if axis.ceil_mode else beyond <= 0
        if fits:
            found.append(cells)
    return found


@examples
@given(axis=axes())
def test_output_counts_the_windows_that_fit(axis):
    assert max(0, axis.output) == len(windows(axis))


@examples
@given(axis=axes())
def test_tap_pairs_each_window_with_the_cell_under_its_tap(axis):
    for tap in range(axis.kernel):
        of_windows, of_cells = axis.taps[tap]
        found = zip(range(axis.size + 9)[of_windows], range(axis.size + 9)[of_cells], strict=True)
        expected = [(o, cells[tap]) for o, cells in enumerate(windows(axis))]
        assert list(found) == [(o, cell) for o, cell in expected if 0 <= cell < axis.size]


@pytest.mark.parametrize("padded", [False, True])
@examples
@given(axis=axes().filter(lambda axis: axis.output > 0))
def test_cells_counts_the_taps_on_the_image_or_its_padding(padded, axis):
    low, high = (-axis.before, axis.size + axis.after) if padded else (0, axis.size)
    expected = [sum(low <= cell < high for cell in cells) for cells in windows(axis)]
    assert axis.cells(padded).tolist() == expected


@examples
@given(axis=axes().filter(lambda axis: axis.output > 0), data=st.data())
def test_windows_cut_out_of_an_axis_lie_where_they_lay(axis, data):
    first = data.draw(st.integers(0, axis.output - 1))
    last = data.draw(st.integers(first, axis.output - 1))
    cells, cut = axis.cut(slice(first, last + 1))
    assert cut.output == last + 1 - first
    reached = range(axis.size)[cells]
    for o in range(cut.output):
        found = [reached[cell] for cell in taps(cut, o) if 0 <= cell < cut.size]
        assert found == [cell for cell in taps(axis, first + o) if 0 <= cell < axis.size]


@examples
@given(axis=axes().filter(lambda axis: axis.output > 0))
def test_the_adjoint_of_an_axis_has_every_cell_with_the_taps_that_lie_on_it(axis):
    expected = {
        (cell, tap, o)
        for o in range(axis.output)
        for tap, cell in enumerate(taps(axis, o))
        if 0 <= cell < axis.size
    }
    found = []
    for cells, of_taps, adjoint in axis.adjoint:
        of_cells = range(axis.size)[cells]
        assert adjoint.output == len(of_cells)
        for window, cell in enumerate(of_cells):
            met = zip(range(axis.kernel)[of_taps], taps(adjoint, window), strict=True)
            found += [(cell, tap, o) for tap, o in met if 0 <= o < axis.output]
    assert len(found) == len(set(found))
    assert set(found) == expected


# Patches

fitting = axes().filter(lambda axis: not axis.ceil_mode and axis.output > 0)


def whole_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-9, 10, shape).astype(np.float64)


@examples
@given(
    windows=st.builds(Windows, fitting, fitting, st.integers(1, 2)),
    channels=st.sampled_from([1, 2, FEW + 1]),
    images=st.integers(1, 3),
    last=st.booleans(),
    seed=SEEDS,
)
def test_patches_hold_the_cells_under_every_tap(windows, channels, images, last, seed):
    rows, columns = windows.rows, windows.columns
    shape = (images, windows.groups * channels, rows.size, columns.size)
    rng = np.random.default_rng(seed)
    windows.under(np.full(shape, np.nan), windows.all_rows)  # must leave no trace
    x = whole_numbers(rng, shape)
    expected = np.zeros(
        (windows.groups, columns.output, images, rows.output, columns.kernel, rows.kernel, channels)
    )
    for g, q, n, p, j, i, k in np.ndindex(expected.shape):
        row, column = taps(rows, p)[i], taps(columns, q)[j]
        if 0 <= row < rows.size and 0 <= column < columns.size:
            expected[g, q, n, p, j, i, k] = x[n, g * channels + k, row, column]
    patches = windows.under(memory.turned(x) if last else x, windows.all_rows)
    np.testing.assert_array_equal(patches, expected.reshape(patches.shape))


@examples
@given(
    windows=st.builds(Depthwise, fitting, fitting, st.sampled_from([2, FEW + 1])),
    channels=st.integers(1, 2),
    images=st.integers(1, 3),
    last=st.booleans(),
    seed=SEEDS,
)
def test_planes_hold_the_cells_under_every_tap(windows, channels, images, last, seed):
    rows, columns, groups = windows.rows, windows.columns, windows.groups
    shape = (images, groups * channels, rows.size, columns.size)
    rng = np.random.default_rng(seed)
    windows.under(np.full(shape, np.nan), windows.all_rows)  # must leave no trace
    x = whole_numbers(rng, shape)
    expected = np.zeros(
        (channels, columns.kernel, images, rows.output, rows.kernel, columns.output, groups)
    )
    for k, j, n, p, i, q, g in np.ndindex(expected.shape):
        row, column = taps(rows, p)[i], taps(columns, q)[j]
        if 0 <= row < rows.size and 0 <= column < columns.size:
            expected[k, j, n, p, i, q, g] = x[n, g * channels + k, row, column]
    planes = windows.under(memory.turned(x) if last else x, windows.all_rows)
    np.testing.assert_array_equal(planes, expected.reshape(planes.shape))


@examples
@given(windows=st.builds(Depthwise, fitting, fitting, st.integers(1, 3)), seed=SEEDS)
def test_the_weight_of_depthwise_kernels_is_their_adjoint(windows, seed):
    rng = np.random.default_rng(seed)
    shape = (2 * windows.groups, 1, windows.rows.kernel, windows.columns.kernel)
    w = whole_numbers(rng, shape)
    kernels = windows.kernels(w)
    dW = whole_numbers(rng, kernels.shape)
    assert np.sum(kernels * dW) == np.sum(w * windows.weight(dW, shape))


@examples
@given(windows=st.builds(Windows, fitting, fitting, st.integers(1, 2)), seed=SEEDS)
def test_kernels_are_turned_into_a_weight_again(windows, seed):
    shape = (2 * windows.groups, 3, windows.rows.kernel, windows.columns.kernel)
    w = whole_numbers(np.random.default_rng(seed), shape)
    np.testing.assert_array_equal(windows.weight(windows.kernels(w), shape), w)


@examples
@given(
    windows=st.builds(Windows, fitting, fitting, st.just(1)),
    images=st.integers(0, 9),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    room=st.integers(1, 5000),
    phase=st.booleans(),
)
def test_tiles_are_all_of_the_windows_once_and_fit(windows, images, inputs, outputs, room, phase):
    height, width = windows.rows.output, windows.columns.output
    y = memory.channels_last((images, outputs, 2 * height + 1, 2 * width), np.float64)
    y = y[:, :, 0::2, ::2][:, :, :height] if phase else y[:, :, :height, :width]
    y[...] = 0
    with patch("npkd.ops.windows.TILE_BYTES", room):
        for some, rows in windows.tiles(slice(0, images), windows.all_rows, inputs, y):
            tile = y[some, :, rows]
            matrices = as_matrices(tile, 1)
            assert np.shares_memory(matrices, y)
            matrices += 1
            x = np.ones((len(tile), inputs, windows.rows.size, windows.columns.size))
            patches = windows.under(x, rows)
            assert tile.nbytes + patches.base.nbytes <= room or matrices.shape[2] == 1
    assert (y == 1).all()


def test_a_thread_keeps_the_memory_of_few_patches():
    for size in range(3, 40):
        axis = axis_of(size, 3, 1, 1, 1, 1)
        Windows(axis, axis, 1).under(np.ones((1, 1, size, size)), slice(0, size))
    kept = windows_module._of_thread.kept
    assert len(kept) == KEPT
    assert all(patches.nbytes <= TILE_BYTES for patches in kept.values())
    axis = axis_of(1200, 3, 1, 1, 1, 1)
    Windows(axis, axis, 1).under(np.ones((1, 1, 1200, 1200)), slice(0, 1200))
    assert len(kept) == KEPT
    assert all(patches.nbytes <= TILE_BYTES for patches in kept.values())
