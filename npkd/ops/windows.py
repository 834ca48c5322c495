"""Windows that slide over images: where they lie, and `unfold` and `fold`, the one linear gather.

Along one axis a window of k taps slides over n cells that are padded by `before` and `after`.
Tap i of window o lies at the padded position o·stride + i·dilation, that is at the cell
o·stride − before + i·dilation; `Axis` holds this arithmetic. Pooling walks over the taps of two
axes (`Axis.taps`); convolution wants the taps of all windows side by side as the columns of a
matrix (`Unfold`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import numpy as np

from npkd.engine import memory

PATCH_BYTES = 3_000_000  # patches of one slice of the batch: about what a core's caches hold
PLACES = 2048  # of one slice: where channels are few, BLAS is quicker with several short products


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of an image.

    size: cells of the image. kernel: taps of a window. stride: cells from one window to the next.
    dilation: cells from one tap to the next. before, after: padding. ceil_mode: one window more
    where the last one would leave cells over, as long as it starts on a cell or on `before`.
    """

    size: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    ceil_mode: bool = False

    @cached_property
    def output(self) -> int:
        """How many windows there are (below 1 where the kernel does not fit)."""
        room = self.size + self.before + self.after - self.dilation * (self.kernel - 1) - 1
        if not self.ceil_mode:
            return room // self.stride + 1
        windows = -(-room // self.stride) + 1
        last_starts_outside = (windows - 1) * self.stride >= self.size + self.before
        return windows - last_starts_outside

    @property
    def tiles(self) -> bool:
        """Whether every cell lies under just one tap of one window."""
        exactly = self.output * self.stride == self.size and self.before == 0
        return exactly and self.kernel == self.stride and self.dilation == 1

    @cached_property
    def taps(self) -> list[tuple[slice, slice]]:
        """For each tap, the windows that have it on a cell, and those cells: slices of a length."""
        return [self._tap(i) for i in range(self.kernel)]

    def _tap(self, i: int) -> tuple[slice, slice]:
        offset = i * self.dilation - self.before  # window o has its tap at o·stride + offset
        first = max(0, -(offset // self.stride))
        last = min(self.output - 1, (self.size - 1 - offset) // self.stride)
        if last < first:
            return slice(0, 0), slice(0, 0)
        cells = slice(first * self.stride + offset, last * self.stride + offset + 1, self.stride)
        return slice(first, last + 1), cells

    def cells(self, padded: bool = False) -> np.ndarray:
        """How many taps of each window lie on cells (or on cells and padding): (output,) ints."""
        starts = np.arange(self.output) * self.stride - self.before
        low, high = (-self.before, self.size + self.after) if padded else (0, self.size)
        taps = starts[:, None] + np.arange(self.kernel) * self.dilation  # (output, kernel)
        return ((taps >= low) & (taps < high)).sum(axis=1)

    @property
    def first(self) -> int:
        """How many places of `Unfold`'s layout padding takes before the first cell."""
        return self.before // self.stride

    @cached_property
    def pitch(self) -> int:
        """Places for the cells of one phase, and for the windows, whichever are more."""
        return max((self.size - 1 + self.before) // self.stride - self.first + 1, self.output)

    @cached_property
    def cells_of_phases(self) -> list[tuple[slice, slice]]:
        """For each remainder a of padded positions by the stride: its cells, and their places."""
        phases = []
        for a in range(self.stride):
            cells = range((a - self.before) % self.stride, self.size, self.stride)
            place = (cells.start + self.before) // self.stride - self.first
            phases.append((slice(cells.start, None, self.stride), slice(place, place + len(cells))))
        return phases

    @cached_property
    def taps_of_phases(self) -> list[tuple[range, int, int, int]]:
        """Taps in one phase: which they are, the phase, the first one's shift, and from it on."""
        step = self.stride // math.gcd(self.stride, self.dilation)  # to the next tap in a phase
        return [
            (
                range(i, self.kernel, step),
                i * self.dilation % self.stride,
                i * self.dilation // self.stride - self.first,
                step * self.dilation // self.stride,
            )
            for i in range(min(step, self.kernel))
        ]

    @cached_property
    def outside(self) -> list[tuple[int, slice]]:
        """(i, windows) for all windows that have tap i outside of the image, on either side."""
        sides = []
        for i, (inside, _) in enumerate(self.taps):
            sides += [(i, slice(0, inside.start)), (i, slice(inside.stop, self.output))]
        return [(i, windows) for i, windows in sides if windows.start < windows.stop]


axis_of = lru_cache(maxsize=1000)(Axis)  # the same Axis again, with what it has worked out


def gather(axis: Axis, along: int, x: np.ndarray) -> np.ndarray:
    """The sum of the cells under the taps of each window: windows in the place of cells.

    Definition (along the axis `along` of x)
        y[o] = Σ_i x[o·stride − before + i·dilation]
    """
    taps = [_indices(along, *tap) for tap in axis.taps]
    if all(windows[-1] == slice(0, axis.output) for windows, _ in taps) and axis.kernel > 1:
        return reduce(np.add, [x[cells] for _, cells in taps])
    y = np.zeros((*x.shape[:along], axis.output, *x.shape[along + 1 :]), x.dtype)
    for windows, cells in taps:
        y[windows] += x[cells]
    return y


def scatter(axis: Axis, along: int, dy: np.ndarray, dx: np.ndarray) -> None:
    """The adjoint of `gather`, into dx: for each cell the sum of the windows with a tap on it."""
    taps = [_indices(along, *tap) for tap in axis.taps]
    if axis.tiles:
        for windows, cells in taps:
            dx[cells] = dy[windows]
    else:
        dx[...] = 0
        for windows, cells in taps:
            dx[cells] += dy[windows]


def _indices(along: int, *slices: slice) -> list[tuple[slice, ...]]:
    return [(*[slice(None)] * along, index) for index in slices]


class Unfold:
    """The linear map from images to patches, its adjoint `fold`, and the scratch memory of both.

    Definition (r, c: the axes of rows and columns; x is zero outside of the image)
        patches[k, i, j, s, p, q] = x[s, k, p·stride_r − before_r + i·dilation_r,
                                            q·stride_c − before_c + j·dilation_c]

    for image s, channel k, tap (i, j), window (p, q). A convolution is then one matrix product,
    w (O, C·kh·kw) times patches (C·kh·kw, windows); its backward pass needs the same matrix and
    the adjoint of the map, which adds every patch back to the cells it came from. A last row of
    ones stands for the input that a bias multiplies.

    Layout
        For speed, tap (i, j) of all windows is to be one contiguous run. Take stride 1 first. All
        images of one channel lie in one flat run, rows pitch_c places apart and images pitch_r rows
        apart. The tap of the window at place t of this run lies at
        t + (i·dilation_r − before_r)·pitch_c + (j·dilation_c − before_c): the same run, shifted.
        No padding is laid out: where a tap lies outside of its image, the shifted run has a cell of
        another row or image, and the patch is set to zero. So where there are as many windows as
        cells, as with padding 1 around kernels of 3, a run holds windows and nothing else.

        With a stride, tap i of window p lies at the padded position p·stride + i·dilation, whose
        remainder by the stride is the same for all p. So cells are laid out in stride_r·stride_c
        phases, one for each pair of remainders, and inside a phase all of the above holds.

        The adjoint goes the other way: the cell at place t is the sum, over the taps of its phase,
        of the patch at t less the tap's shift. That is one sum over an array whose axes of taps
        step from one tap's run to the next and back by the shift; between runs there are as many
        zeros as it may read beyond either.

        Where there are fewer windows than cells, some places of the run are no windows. `crop`
        leaves them out of a product, and its adjoint `spread` leaves them zero. (Zero times an
        infinite weight or cell is NaN: where values are infinite, gradients may be NaN in place of
        infinite.)
    """

    def __init__(
        self, rows: Axis, columns: Axis, channels: int, groups: int, images: int, dtype: np.dtype
    ):
        self.rows, self.columns, self.images, self.groups = rows, columns, images, groups
        self._grid = (images, rows.pitch, columns.pitch)  # of one phase
        self.length = math.prod(self._grid)
        self._front = rows.first * columns.pitch + columns.first  # a run may be shifted to there
        back = max(0, self._shift(rows.kernel - 1, columns.kernel - 1))
        phases = (channels, rows.stride, columns.stride, self._front + self.length + back)
        self._phases = memory.empty(phases, dtype)
        self._phases[...] = 0

        inputs = channels // groups * rows.kernel * columns.kernel
        margin = max(self._front, back)  # zeros between runs, for `fold` to read
        self._pitch = _uneven(self.length + margin)
        self._memory = memory.empty((groups, inputs + 1, self._pitch), dtype)
        self._memory[:, :, self.length :] = 0
        self._memory[:, inputs] = 1
        self._matrix = self._memory[:, :, : self.length]
        kernel = (channels // groups, rows.kernel, columns.kernel)
        self._patches = self._matrix[:, :inputs].reshape(groups, *kernel, self.length)

    @classmethod
    def of_part(
        cls, rows: Axis, columns: Axis, x: np.ndarray, groups: int, part: slice
    ) -> "Unfold":
        """For so many images of x[part] at a time as keep their patches within PATCH_BYTES."""
        patch_bytes = x.shape[1] * rows.kernel * columns.kernel * x.itemsize
        places = rows.pitch * columns.pitch
        fitting = max(1, min(PATCH_BYTES // (patch_bytes * places), PLACES // places))
        count = max(1, part.stop - part.start)
        images = -(-count // -(-count // fitting))  # the same in each slice, where that goes
        return cls(rows, columns, x.shape[1], groups, images, x.dtype)

    @property
    def scratch(self) -> np.ndarray:
        """The patches' memory, (groups, C·kh·kw/groups, length): for a product to be folded."""
        return self._matrix[:, :-1]

    def unfold(self, x: np.ndarray) -> np.ndarray:
        """Images (s ≤ images, C, H, W) to patches and ones, (groups, C·kh·kw/groups + 1, length).

        Valid until the next call. Behind fewer images than `images` lie those of an earlier call.
        """
        for image_cells, phase_cells in self._cells(x):
            phase_cells[:, : len(x)] = image_cells
        for patches, taps in self._runs:
            patches[...] = taps
        self._zero_outside()
        return self._matrix

    def fold(self, dx: np.ndarray) -> None:
        """The adjoint of `unfold`: what is in `scratch` added up into the images dx."""
        self._zero_outside()
        if len(self._sums) < self.rows.stride * self.columns.stride:
            dx[...] = 0  # there are cells under no tap
        images_of_groups = dx.reshape(len(dx), self.groups, -1, *dx.shape[2:])
        for cells, taps in self._sums:
            sums = images_of_groups[:, :, :, *cells].transpose(1, 2, 0, 3, 4)
            np.add.reduce(taps[:, :, :, :, : len(dx)], axis=(2, 3), out=sums)

    def run(self, outputs: int) -> np.ndarray:
        """Zeros for a product with the patches: (groups, outputs/groups, length)."""
        shape = (self.groups, outputs // self.groups, _uneven(self.length))
        run = memory.empty(shape, self._matrix.dtype)
        run[...] = 0
        return run[:, :, : self.length]

    def crop(self, run: np.ndarray, images: int) -> np.ndarray:
        """The windows of a run (…, length), as a view (images, O, output_r, output_c)."""
        grid = run.reshape(-1, *self._grid)
        return grid[:, :images, : self.rows.output, : self.columns.output].transpose(1, 0, 2, 3)

    def spread(self, dy: np.ndarray, run: np.ndarray) -> None:
        """The adjoint of `crop`: dy (s, O, output_r, output_c) into a run of zeros.

        The run of an earlier call will do: what is no window has stayed zero.
        """
        windows = self.crop(run, self.images)
        windows[: len(dy)] = dy
        if len(dy) < self.images:
            windows[len(dy) :] = 0

    def _zero_outside(self) -> None:
        """Set patches to zero where a tap lies outside of the image."""
        for patches in self._outside:
            patches[...] = 0

    def _shift(self, i: int, j: int) -> int:
        """How far the run of tap (i, j) is shifted in its phase."""
        down = i * self.rows.dilation // self.rows.stride - self.rows.first
        right = j * self.columns.dilation // self.columns.stride - self.columns.first
        return down * self.columns.pitch + right

    @cached_property
    def _outside(self) -> list[np.ndarray]:
        """The patches of taps that lie outside of the image."""
        grid = self._patches.reshape(*self._patches.shape[:-1], *self._grid)
        rows = [grid[:, :, i, :, :, windows] for i, windows in self.rows.outside]
        return rows + [grid[:, :, :, j, :, :, windows] for j, windows in self.columns.outside]

    @cached_property
    def _runs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Patches of all taps in one phase, with the runs that they are."""
        channel, phase_r, phase_c, place = self._phases.strides
        row, group = place * self.columns.pitch, channel * self._patches.shape[1]
        runs = []
        for taps_r, a, down, step_r in self.rows.taps_of_phases:
            for taps_c, b, right, step_c in self.columns.taps_of_phases:
                patches = self._patches[
                    :, :, taps_r.start :: taps_r.step, taps_c.start :: taps_c.step
                ]
                start = a * phase_r + b * phase_c + self._front * place + down * row + right * place
                strides = (group, channel, step_r * row, step_c * place, place)
                taps = np.ndarray(patches.shape, patches.dtype, self._phases, start, strides)
                runs.append((patches, taps))
        return runs

    @cached_property
    def _sums(self) -> list[tuple[tuple[slice, slice], np.ndarray]]:
        """The cells of one phase, with the patches of its taps that they are the sums of.

        These are (groups, C/groups, taps, taps, images, rows, columns).
        """
        groups, channels, kernel_r, kernel_c, _ = self._patches.shape
        place = self._matrix.itemsize
        row, tap_c = self.columns.pitch * place, self._pitch * place
        tap_r, channel = kernel_c * tap_c, kernel_r * kernel_c * tap_c
        group = channels * channel + tap_c  # a run of ones lies between
        sums = []
        for taps_r, a, down, step_r in self.rows.taps_of_phases:
            for taps_c, b, right, step_c in self.columns.taps_of_phases:
                cells_r, places_r = self.rows.cells_of_phases[a]
                cells_c, places_c = self.columns.cells_of_phases[b]
                size_r, size_c = places_r.stop - places_r.start, places_c.stop - places_c.start
                start = taps_r.start * tap_r + taps_c.start * tap_c
                start += (places_r.start - down) * row + (places_c.start - right) * place
                next_r = taps_r.step * tap_r - step_r * row
                next_c = taps_c.step * tap_c - step_c * place
                taps = np.ndarray(
                    (groups, channels, len(taps_r), len(taps_c), self.images, size_r, size_c),
                    self._memory.dtype,
                    self._memory,
                    start,
                    (group, channel, next_r, next_c, self.rows.pitch * row, row, place),
                )
                sums.append(((cells_r, cells_c), taps))
        return sums

    def _cells(self, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each phase: the cells of images x (s, C, H, W) in it, and their place, as views."""
        run = slice(self._front, self._front + self.length)
        for a, (cells_r, places_r) in enumerate(self.rows.cells_of_phases):
            for b, (cells_c, places_c) in enumerate(self.columns.cells_of_phases):
                grid = self._phases[:, a, b, run].reshape(-1, *self._grid)
                yield (
                    x[:, :, cells_r, cells_c].transpose(1, 0, 2, 3),
                    grid[:, :, places_r, places_c],
                )


def _uneven(length: int) -> int:
    """So long or a little longer: rows that begin at 64 bytes, but not at a multiple of 1024.

    Rows a power of two apart meet in the same lines of the caches: BLAS takes a third longer.
    """
    length = -(-length // 16) * 16
    return length + (16 if length % 256 == 0 else 0)
