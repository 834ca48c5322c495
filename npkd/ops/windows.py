"""Windows that slide over images: where they lie, and `Patches`, what lies under them.

Along one axis a window of k taps slides over n cells that are padded by `before` and `after`.
Tap i of window o lies at the padded position o·stride + i·dilation, that is at the cell
o·stride − before + i·dilation; `Axis` holds this arithmetic. Pooling walks over the taps of two
axes (`Axis.taps`); a convolution wants all that lies under a window as a row of a matrix
(`Windows`, `Patches`), or, where groups have one channel, what lies under a tap of all windows as a
plane (`Depthwise`, `Planes`).
"""

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from npkd.engine import memory
from npkd.engine.products import SMALL, multiply

TILE_BYTES = 3_000_000  # of patches and what comes of them, at a time: about what caches hold
FEW = 8  # channels, up to which images are read as they lie
KEPT = 8  # patches' memory that a thread keeps for its next calls


@dataclass(frozen=True, eq=False)
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

    def indices(self, along: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """`taps` as indices of arrays with their windows, or cells, along this of their axes."""
        before = (slice(None),) * along
        return [((*before, windows), (*before, cells)) for windows, cells in self.taps]

    @cached_property
    def inside(self) -> bool:
        """Whether all taps of all windows lie on cells."""
        return all(windows == slice(0, self.output) for windows, _ in self.taps)

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

    def cut(self, windows: slice) -> tuple[slice, "Axis"]:
        """The cells that windows in a row reach, and the axis of these windows on those cells."""
        if windows.stop - windows.start == self.output:
            return slice(0, self.size), self
        start = windows.start * self.stride - self.before
        reach = (windows.stop - windows.start - 1) * self.stride
        reach += (self.kernel - 1) * self.dilation + 1
        first = min(max(0, start), self.size)
        size = max(0, min(self.size, start + reach) - first)
        before = first - start
        after = reach - before - size
        axis = axis_of(size, self.kernel, self.stride, before, after, self.dilation)
        return slice(first, first + size), axis

    @cached_property
    def adjoint(self) -> list[tuple[slice, slice, "Axis"]]:
        """How windows on the outputs give the gradient by the cells: (cells, taps, their axis).

        Cell h lies under tap i of window o where o·stride = h + before − i·dilation. For cells a
        stride apart these are the same taps, and o goes up by 1 from one such cell to the next, and
        down by dilation / gcd from one such tap to the next: a window on the outputs, whose taps
        are those from the last to the first. Cells under no tap are left out.
        """
        common = math.gcd(self.stride, self.dilation)
        step, spacing = self.stride // common, self.dilation // common
        found = []
        for cell in range(min(self.stride, self.size)):
            for tap in range(min(self.kernel, step)):  # the first one that meets this cell, if any
                if (cell + self.before - tap * self.dilation) % self.stride == 0:
                    kernel = len(range(tap, self.kernel, step))
                    last = tap + (kernel - 1) * step
                    before = -((cell + self.before - last * self.dilation) // self.stride)
                    output = len(range(cell, self.size, self.stride))
                    after = output + (kernel - 1) * spacing - self.output - before
                    taps = slice(last, tap - step if tap >= step else None, -step)
                    axis = axis_of(self.output, kernel, 1, before, after, spacing)
                    found.append((slice(cell, None, self.stride), taps, axis))
        return found

    @cached_property
    def shared(self) -> tuple[int, list[tuple[slice, slice]]]:
        """Places that windows lie on, o from o·stride on: their number, and (they, cells)."""
        places = (self.output - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
        first = max(0, -self.before)
        last = max(first, min(self.size, places - self.before))
        return places, [(slice(first + self.before, last + self.before), slice(first, last))]


axis_of = lru_cache(maxsize=1000)(Axis)  # the same Axis again, with what it has worked out


def gather(axis: Axis, along: int, x: np.ndarray) -> np.ndarray:
    """The sum of the cells under the taps of each window: windows in the place of cells.

    Definition (along the axis `along` of x)
        y[o] = Σ_i x[o·stride − before + i·dilation]
    """
    taps = axis.indices(along)
    if axis.inside and axis.kernel > 1:
        return reduce(np.add, [x[cells] for _, cells in taps])
    y = np.zeros_like(x, shape=(*x.shape[:along], axis.output, *x.shape[along + 1 :]))
    for windows, cells in taps:
        y[windows] += x[cells]
    return y


def scatter(axis: Axis, along: int, dy: np.ndarray, dx: np.ndarray) -> None:
    """The adjoint of `gather`, into dx: for each cell the sum of the windows with a tap on it."""
    taps = axis.indices(along)
    if axis.tiles:
        for windows, cells in taps:
            dx[cells] = dy[windows]
    else:
        dx[...] = 0
        for windows, cells in taps:
            dx[cells] += dy[windows]


class Patches:
    """What lies under the windows of some images, as matrices of which each row is a patch.

    Definition (r, c: the axes of rows and columns; x is zero outside of the image)
        X[g, q, s·output_r + p, jik] = x[s, g·C/G + k, p·stride_r − before_r + i·dilation_r,
                                                       q·stride_c − before_c + j·dilation_c]

    for image s, group g of C/G channels, window (p, q), tap (i, j), channel k; jik is one axis, in
    this order. For each column q of windows that is a matrix of as many rows as there are windows
    in it, and a convolution is its product with the kernels.

    Layout
        Channels are last, so that a pixel is a run of numbers. For each row p of windows, the rows
        of cells under its kh rows of taps are laid out side by side: at each place along the row
        lie kh pixels, kh·C/G numbers. The kw places under a window are one run of memory, its
        patch, and the window beside it begins `stride` places further on: patches overlap, and of
        nine numbers in a 3×3 patch three are copied. (Where columns are dilated, the places of a
        window are no neighbours, and each window has kw of its own.) Padding is zeros that nobody
        writes to.
    """

    order = 1, 0, 3, 4, 2  # of the images' axes, with groups before channels, in memory

    def __init__(
        self, rows: Axis, columns: Axis, images: int, channels: int, groups: int, dtype: np.dtype
    ):
        self.groups, of_group = groups, channels // groups
        if columns.dilation == 1:
            number, places = columns.shared
            step = columns.stride
        else:
            number, step = columns.output * columns.kernel, columns.kernel
            places = [
                (slice(windows.start * step + j, windows.stop * step, step), cells)
                for j, (windows, cells) in enumerate(columns.taps)
            ]
        self._cells = np.zeros((groups, images, rows.output, number, rows.kernel, of_group), dtype)
        self._copies = [
            (self._cells[:, :, windows, where, i], (cells_r, cells_c))
            for i, (windows, cells_r) in enumerate(rows.taps)
            for where, cells_c in places
        ]
        group, _, row, place, _, item = self._cells.strides
        patch = columns.kernel * rows.kernel * of_group
        shape = groups, columns.output, images * rows.output, patch
        strides = group, step * place, row, item
        self._patches: np.ndarray = np.ndarray(shape, dtype, self._cells, 0, strides)

    def of(self, x: np.ndarray) -> np.ndarray:
        """X of images (s, C, H, W). It is valid until the next call."""
        n, channels, height, width = x.shape
        if channels > FEW and x.strides[1] != x.itemsize:
            x = memory.turned(x)
        grouped = x.reshape(n, self.groups, channels // self.groups, height, width)
        pixels = grouped.transpose(self.order)
        for places, (cells_r, cells_c) in self._copies:
            _copy(pixels[:, :, cells_r, cells_c], places)
        return self._patches

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self._cells.nbytes


def _copy(x: np.ndarray, out: np.ndarray) -> None:
    """out[...] = x: numbers that lie side by side along the last axis as one element, quicker."""
    if x.strides[-1] == x.itemsize:
        element = np.dtype((np.void, x.shape[-1] * x.itemsize))
        x, out = x.view(element), out.view(element)
    out[...] = x


class Planes(Patches):
    """What lies under the windows of some images, as planes: each is what lies under one tap.

    Definition (the letters are those of `Patches`; qg is one axis, in this order)
        X[k, j, s, p, i, qg] = x[s, g·C/G + k, p·stride_r − before_r + i·dilation_r,
                                               q·stride_c − before_c + j·dilation_c]

    Layout
        Along qg a row of windows is one run of memory, in a row of the padded image: the plane of
        the next tap begins `dilation` places further on, and planes overlap. (Where columns have a
        stride, the cells under a tap are no neighbours, and each of the kw taps has its own rows.)
    """

    order = 2, 0, 3, 4, 1

    def __init__(
        self, rows: Axis, columns: Axis, images: int, channels: int, groups: int, dtype: np.dtype
    ):
        self.groups, of_group = groups, channels // groups
        height, [(of_rows, cells_r)] = rows.shared
        overlap = columns.stride == 1
        width, places = columns.shared if overlap else (columns.output, columns.taps)
        self._cells = np.zeros((of_group, len(places), images, height, width, groups), dtype)
        self._copies = [
            (self._cells[:, j, :, of_rows, where], (cells_r, cells_c))
            for j, (where, cells_c) in enumerate(places)
        ]
        channel, tap, image, row, place, item = self._cells.strides
        tap = place * columns.dilation if overlap else tap
        shape = of_group, columns.kernel, images, rows.output, rows.kernel, columns.output * groups
        strides = channel, tap, image, row * rows.stride, row * rows.dilation, item
        self._patches = np.ndarray(shape, dtype, self._cells, 0, strides)


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a convolution along rows and columns, and its groups of channels."""

    rows: Axis
    columns: Axis
    groups: int
    kind: ClassVar = Patches

    @property
    def all_rows(self) -> slice:
        """All rows of windows."""
        return slice(0, self.rows.output)

    def under(self, x: np.ndarray, rows: slice) -> np.ndarray:
        """`Patches.of` images x (s, C, H, W), for some rows of windows."""
        cells, axis = self.rows.cut(rows)
        n, channels = x.shape[:2]
        patches = _patches(self.kind, axis, self.columns, n, channels, self.groups, x.dtype)
        return patches.of(x[:, :, cells])

    def kernels(self, w: np.ndarray) -> np.ndarray:
        """w (O, C/G, kh, kw) as what patches are multiplied by, (G, 1, kw·kh·C/G, O/G)."""
        kernels = w.reshape(self.groups, len(w) // self.groups, *w.shape[1:])
        return kernels.transpose(0, 4, 3, 2, 1).reshape(self.groups, 1, -1, kernels.shape[1])

    def weight(self, kernels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The inverse of `kernels`: a new array w of this shape."""
        _, inputs, kh, kw = shape
        taps = kernels.reshape(self.groups, kw, kh, inputs, -1)
        return taps.transpose(0, 4, 3, 2, 1).reshape(shape)

    def adjoint(self, w: np.ndarray) -> list[tuple[tuple[slice, ...], "Windows", np.ndarray]]:
        """The convolutions of dy that give dx: cells of dx, their windows on dy, and kernels.

        The kernels are w with its inputs and outputs exchanged and its taps turned round; with a
        stride, those of them that meet these cells.
        """
        by_group = w.reshape(self.groups, -1, *w.shape[1:]).swapaxes(1, 2)
        turned = by_group.reshape(-1, by_group.shape[2], *w.shape[2:])
        return [
            ((slice(None), slice(None), cells_r, cells_c), windows, windows.kernels(of_taps))
            for cells_r, taps_r, rows in self.rows.adjoint
            for cells_c, taps_c, columns in self.columns.adjoint
            for windows in [type(self)(rows, columns, self.groups)]
            for of_taps in [turned[:, :, taps_r, taps_c]]
        ]

    def multiply(self, X: np.ndarray, W: np.ndarray, out: np.ndarray) -> None:
        """Y = X W, of what `matrices` and `kernels` give."""
        multiply(X, W, out)

    def products(self, X: np.ndarray, dY: np.ndarray) -> np.ndarray:
        """dW = Xᵀ dY, as `kernels` are: Σ_q X[g,q]ᵀ dY[g,q]."""
        products = memory.empty((*X.shape[:2], X.shape[3], dY.shape[3]), X.dtype)
        multiply(X.swapaxes(2, 3), dY, out=products)
        return products.sum(axis=1, keepdims=True)

    def matrices(
        self,
        x: np.ndarray,
        y: np.ndarray,
        part: tuple[slice, slice] | None = None,
        small: int = SMALL,
    ) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray, np.ndarray]]:
        """For each tile of some images and rows, or of all: its index in y, X, and Y as a view.

        x (N, C, H, W); y (N, O, output_r, output_c) has its channels last in memory. See `joined`.
        """
        images, rows = part or (slice(0, len(y)), self.all_rows)
        for some, of_rows in self.tiles(images, rows, x.shape[1], y):
            tile = some, slice(None), of_rows
            X = self.under(x[some], of_rows)
            yield tile, *self._beside(X, y[tile], small)

    def _beside(self, X: np.ndarray, y: np.ndarray, small: int) -> tuple[np.ndarray, np.ndarray]:
        """X, and a tile of y as a view with axes like those of X."""
        return joined(X, as_matrices(y, self.groups), small)

    def images(self, part: slice, inputs: int, y: np.ndarray) -> list[slice]:
        """Images cut into so many at a time as have their patches and y within TILE_BYTES."""
        return _alike(part, max(1, self._rows_in_a_tile(inputs, y) // self.rows.output))

    def tiles(
        self, images: slice, rows: slice, inputs: int, y: np.ndarray
    ) -> Iterator[tuple[slice, slice]]:
        """Images and rows of windows, cut into tiles: some images, or some rows of one image.

        Patches of images of so many channels, and y (N, O, …), are within TILE_BYTES as far as one
        row of windows is, and a tile of y has memory that `as_matrices` takes.
        """
        fitting, height = self._rows_in_a_tile(inputs, y), rows.stop - rows.start
        if fitting < height:
            for n in range(images.start, images.stop):
                for some in _alike(rows, fitting):
                    yield slice(n, n + 1), some
        else:
            in_one_run = y.strides[0] == height * y.strides[2]
            for some in _alike(images, fitting // height if in_one_run else 1):
                yield some, rows

    def _rows_in_a_tile(self, inputs: int, y: np.ndarray) -> int:
        axis = self.columns
        places = axis.shared[0] if axis.dilation == 1 else axis.output * axis.kernel
        patches = places * self.rows.kernel * inputs
        return max(1, TILE_BYTES // ((patches + y.shape[1] * y.shape[3]) * y.itemsize))


class Depthwise(Windows):
    """Windows of groups with one input (for dx, one output), where matrices would be narrow.

    A product is a sum over taps, of runs that hold a row of windows of all groups. (einsum, unlike
    a product of matrices, is silent about overflow, whatever np.seterr says.)
    """

    kind: ClassVar = Planes

    def kernels(self, w: np.ndarray) -> np.ndarray:
        """w as what planes are multiplied by, (O/G, C/G, kw, kh, columns·G), alike in columns."""
        kernels = w.reshape(self.groups, -1, *w.shape[1:]).transpose(1, 2, 4, 3, 0)
        return np.tile(kernels, self.columns.output)

    def weight(self, kernels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The adjoint of `kernels`: a new array w of this shape."""
        taps = kernels.reshape(*kernels.shape[:4], self.columns.output, self.groups).sum(axis=4)
        return taps.transpose(4, 0, 1, 3, 2).reshape(shape)

    def multiply(self, X: np.ndarray, W: np.ndarray, out: np.ndarray) -> None:
        """Y[o,s,p,qg] = Σ_k Σ_j Σ_i X[k,j,s,p,i,qg] W[o,k,j,i,qg]."""
        shape, in_place = (*out.shape[:3], X.shape[5]), out.flags.c_contiguous
        Y = out.reshape(shape) if in_place else memory.empty(shape, X.dtype)
        np.einsum("kjspiq,okjiq->ospq", X, W, out=Y)
        if not in_place:
            out[...] = Y.reshape(out.shape)

    def products(self, X: np.ndarray, dY: np.ndarray) -> np.ndarray:
        """dW[o,k,j,i,qg] = Σ_s Σ_p X[k,j,s,p,i,qg] dY[o,s,p,qg]."""
        dY = np.ascontiguousarray(dY).reshape(*dY.shape[:3], X.shape[5])
        dW = memory.empty((len(dY), *X.shape[:2], *X.shape[4:]), X.dtype)
        return np.einsum("kjspiq,ospq->okjiq", X, dY, out=dW)  # in an order of its own it is slow

    def _beside(self, X: np.ndarray, y: np.ndarray, small: int) -> tuple[np.ndarray, np.ndarray]:
        n, _, height, width = y.shape
        by_group = y.transpose(0, 2, 3, 1).reshape(n, height, width, self.groups, -1)
        return X, by_group.transpose(4, 0, 1, 2, 3)


_of_thread = threading.local()


def _patches(kind: type[Patches], *options: Any) -> Patches:
    """`kind(*options)`, or those that this thread has from an earlier call."""
    kept: dict[tuple, Patches] = _of_thread.__dict__.setdefault("kept", {})
    key = kind, *options
    patches = kept.pop(key, None) or kind(*options)
    if patches.nbytes <= TILE_BYTES:
        kept[key] = patches
        if len(kept) > KEPT:
            del kept[next(iter(kept))]
    return patches


def as_matrices(y: np.ndarray, groups: int) -> np.ndarray:
    """A tile (s, O, p, q), channels last in memory, as a view (groups, q, s·p, O/groups)."""
    n, outputs, height, width = y.shape
    rows = y.transpose(0, 2, 3, 1).reshape(n * height, width, groups, outputs // groups)
    return rows.transpose(2, 1, 0, 3)


def joined(X: np.ndarray, Y: np.ndarray, small: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches X (G, q, rows, K) and Y (G, q, rows, O) as one matrix for all q, if that is quicker.

    It is where patches do not overlap, so that nothing has to be copied; and where each product
    goes through K×O numbers that are more than those of patches, rows×K, and is not `small`.
    """
    _, columns, rows, k = X.shape
    quick = rows >= Y.shape[3] or rows * k * Y.shape[3] <= small
    overlap = X.strides[1] < k * X.itemsize
    if (overlap and quick) or Y.strides[2] != columns * Y.strides[1]:
        return X, Y
    X, Y = (m.swapaxes(1, 2).reshape(len(m), 1, -1, m.shape[3]) for m in (X, Y))
    return X, Y


def as_rows(y: np.ndarray) -> np.ndarray:
    """A tile (s, O, p, q), channels last in memory, as a view (s·p, q·O)."""
    n, outputs, height, width = y.shape
    return y.transpose(0, 2, 3, 1).reshape(n * height, width * outputs)


def _alike(part: slice, most: int) -> list[slice]:
    """`part` cut into slices of at most so many, all about as long."""
    count = part.stop - part.start
    number = -(-count // most)
    ends = [part.start + k * count // number for k in range(number + 1)] if number else []
    return [slice(start, stop) for start, stop in pairwise(ends)]
