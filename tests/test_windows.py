"""npkd.ops.windows: where windows lie, and the gather of patches with its adjoint.

All arithmetic is on small whole numbers, so that equal means equal.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from npkd.ops.windows import PATCH_BYTES, PLACES, Axis, Unfold

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


# Unfold


@st.composite
def unfoldings(draw: st.DrawFn) -> tuple[Unfold, tuple[int, int, int, int]]:
    """An Unfold, and the shape of a batch for it, which may be smaller than it has room for."""
    fitting = axes().filter(lambda axis: not axis.ceil_mode and axis.output > 0)
    rows, columns = draw(fitting), draw(fitting)
    channels, room = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    images = draw(st.integers(1, room))
    unfolding = Unfold(rows, columns, channels, 1, room, np.dtype(np.float64))
    return unfolding, (images, channels, rows.size, columns.size)


def whole_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-9, 10, shape).astype(np.float64)


@examples
@given(given=unfoldings(), seed=SEEDS)
def test_unfold_gathers_the_cells_under_every_tap(given, seed):
    unfolding, shape = given
    images, channels, height, width = shape
    rows, columns = unfolding.rows, unfolding.columns
    rng = np.random.default_rng(seed)
    unfolding.unfold(np.full((unfolding.images, *shape[1:]), np.nan))  # must leave no trace
    x = whole_numbers(rng, shape)
    *patches, ones = unfolding.unfold(x)[0]
    assert (ones == 1).all()
    patches = unfolding.crop(np.array(patches), images)

    expected = np.zeros(
        (images, channels, rows.kernel, columns.kernel, rows.output, columns.output)
    )
    for n, c, i, j, u, v in np.ndindex(expected.shape):
        p, q = taps(rows, u)[i], taps(columns, v)[j]
        if 0 <= p < height and 0 <= q < width:
            expected[n, c, i, j, u, v] = x[n, c, p, q]
    np.testing.assert_array_equal(patches, expected.reshape(patches.shape))


@examples
@given(given=unfoldings(), seed=SEEDS)
def test_fold_is_the_adjoint_of_unfold(given, seed):
    unfolding, shape = given
    rng = np.random.default_rng(seed)
    x = whole_numbers(rng, shape)
    patches = unfolding.unfold(x)[:, :-1].copy()
    dpatches = whole_numbers(rng, patches.shape)
    dx = np.full(shape, np.nan)
    unfolding.scratch[...] = dpatches
    unfolding.fold(dx)
    assert np.sum(patches * dpatches) == np.sum(x * dx)


@examples
@given(given=unfoldings(), seed=SEEDS)
def test_spread_is_the_adjoint_of_crop(given, seed):
    unfolding, (images, *_) = given
    rng = np.random.default_rng(seed)
    run = whole_numbers(rng, (2, unfolding.length))
    y = unfolding.crop(run, images)
    assert y.shape == (images, 2, unfolding.rows.output, unfolding.columns.output)
    dy = whole_numbers(rng, y.shape)
    drun = np.zeros(run.shape)
    unfolding.spread(whole_numbers(rng, (unfolding.images, *y.shape[1:])), drun)  # leaves no trace
    unfolding.spread(dy, drun)
    assert np.sum(y * dy) == np.sum(run * drun)


@pytest.mark.parametrize(
    ("side", "channels", "stride", "images"),
    [(6, 3, 1, 20), (20, 3, 1, 5), (41, 3, 2, 4), (8, 300, 1, 4), (600, 3, 1, 1)],
)
def test_an_unfold_of_a_part_takes_as_many_images_as_fit_its_memory(side, channels, stride, images):
    axis = Axis(side, 3, stride, 1, 1, 1)
    x, part = np.zeros((40, channels, side, side), np.float32), slice(10, 30)
    unfolding = Unfold.of_part(axis, axis, x, 1, part)
    assert unfolding.images == images
    assert images == 1 or unfolding.scratch.nbytes <= PATCH_BYTES
    assert images == 1 or unfolding.length <= PLACES
    assert unfolding.scratch.shape == (1, channels * 9, unfolding.length)
    assert unfolding.scratch.dtype == x.dtype
