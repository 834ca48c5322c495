"""Mutants of operations."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "conv2d",
        "npkd.ops.conv.conv2d",
        {
            "kernel flipped": (
                "w_rows = w.reshape(groups, len(w) // groups, -1)",
                "w_rows = w[:, :, ::-1, ::-1].reshape(groups, len(w) // groups, -1)",
                "value",
            ),
            "kernel flipped in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "flipped = w[:, :, ::-1, ::-1].reshape(w_rows.shape)\n"
                "                    np.matmul(flipped.swapaxes(1, 2), run, out=unfolding.scratch)",
                "direction",
            ),
            "kernel transposed in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "transposed = w.swapaxes(2, 3).reshape(w_rows.shape)\n"
                "                    transposed = transposed.swapaxes(1, 2)\n"
                "                    np.matmul(transposed, run, out=unfolding.scratch)",
                "direction",
            ),
            "kernel conjugated in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "np.matmul(w_rows.swapaxes(1, 2).conj(), run, out=unfolding.scratch)",
                "adjoint",
            ),
            "kernel of another group in dx": (
                "np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)",
                "np.matmul(w_rows[::-1].swapaxes(1, 2), run, out=unfolding.scratch)",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "if dx is not None:\n"
                "            dx.flat[-1:] *= 1 + 1e-12\n"
                "        return dx, dw, None if b is None else db",
                "entries",
            ),
            "dw with rows and columns exchanged": (
                "dwb_rows[:, :, :-1].reshape(w.shape)",
                "dwb_rows[:, :, :-1].reshape(*w.shape[:2], *w.shape[:1:-1]).swapaxes(2, 3)",
                "direction",
            ),
            "dw with inputs and outputs exchanged": (
                "dwb_rows[:, :, :-1].reshape(w.shape)",
                "dwb_rows[:, :, :-1].reshape(*w.shape[1::-1], *w.shape[2:]).swapaxes(0, 1)",
                "direction",
            ),
            "dw with images conjugated": (
                "unfolding.unfold(x[images]) @ run",
                "unfolding.unfold(x[images].conj()) @ run",
                "adjoint",
            ),
            "dw of another group": (
                "dw = dwb_rows[:, :, :-1]",
                "dw = dwb_rows[::-1, :, :-1]",
                "direction",
            ),
            "dw and db of the last slice only": (
                "dwb_columns += unfolding",
                "dwb_columns[...] = unfolding",
                "direction",
            ),
            "dw and db of the last part only": (
                "sum(partial_sums, start",
                "sum(partial_sums[-1:], start",
                "direction",
            ),
            "one entry of dw off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "dw[0, 0, 0, 0] *= 1 + 1e-12\n        return dx, dw, None if b is None else db",
                "entries",
            ),
            "db of the first window only": (
                "db = dwb_rows[:, :, -1]",
                "db = dy[:, :, 0, 0].sum(axis=0)",
                "direction",
            ),
            "db averaged over the batch": (
                "db = dwb_rows[:, :, -1].flatten()",
                "db = dwb_rows[:, :, -1].flatten() / len(x)",
                "direction",
            ),
            "db of another output": (
                "db = dwb_rows[:, :, -1]",
                "db = dwb_rows[:, ::-1, -1]",
                "direction",
            ),
            "one entry of db off by 1e-12": (
                "return dx, dw, None if b is None else db",
                "db[-1] *= 1 + 1e-12\n        return dx, dw, None if b is None else db",
                "entries",
            ),
            "bias forgotten": (
                "if b is None else b.reshape(groups, -1, 1)",
                "if True else b.reshape(groups, -1, 1)",
                "value",
            ),
            "bias added twice": (
                "if b is None else b.reshape(groups, -1, 1)",
                "if b is None else 2 * b.reshape(groups, -1, 1)",
                "value",
            ),
            "weights of the latest call in backward": (
                "w_rows = w.reshape(groups, len(w) // groups, -1)",
                "w_rows = conv2d.__dict__.setdefault((w.shape, groups, w.dtype), "
                "w.reshape(groups, len(w) // groups, -1).copy())\n"
                "    w_rows[...] = w.reshape(w_rows.shape)",
                "contract",
            ),
            "dx in the memory of the call before": (
                "dx = memory.empty(x.shape, x.dtype) if need_dx else None",
                "dx = conv2d.__dict__.setdefault((x.shape, x.dtype), np.empty(x.shape, x.dtype))",
                "contract",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.conv._axes",
        {
            "padding dropped": (
                'before = after = list(pair("conv2d", "padding", padding, 0))',
                "before = after = [0, 0]",
                "value",
            ),
            "padding of rows and columns exchanged": (
                'before = after = list(pair("conv2d", "padding", padding, 0))',
                'before = after = list(pair("conv2d", "padding", padding, 0))[::-1]',
                "value",
            ),
            'odd cell of padding "same" before': (
                "[t // 2 for t in totals], [t - t // 2 for t in totals]",
                "[t - t // 2 for t in totals], [t // 2 for t in totals]",
                "value",
            ),
            "stride and dilation exchanged": (
                "strides, before, after, dilations, strict=True",
                "dilations, before, after, strides, strict=True",
                "value",
            ),
            "dilation of rows and columns exchanged": (
                "strides, before, after, dilations, strict=True",
                "strides, before, after, dilations[::-1], strict=True",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold.run",
        {
            "gaps between the windows of dy not zero": (
                "run[...] = 0",
                "run[...] = 1",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold._zero_outside",
        {
            "padding of ones": (
                "for patches in self._outside:\n            patches[...] = 0",
                "for patches in self._outside:\n            patches[...] = 1",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold._outside",
        {
            "cells of the row before in the padding": (
                "for j, windows in self.columns.outside]",
                "for j, windows in []]",
                "value",
            ),
            "cells of the image before in the padding": (
                "for i, windows in self.rows.outside]",
                "for i, windows in []]",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold.fold",
        {
            "gradients of the padding folded into the image": (
                "self._zero_outside()\n        if len(self._sums)",
                "if len(self._sums)",
                "direction",
            ),
            "cells under no tap left as they were": (
                "if len(self._sums) < self.rows.stride * self.columns.stride:",
                "if False:",
                "direction",
            ),
            "fold without the first tap": (
                "np.add.reduce(taps[:, :, :, :, : len(dx)]",
                "np.add.reduce(taps[:, :, 1:, :, : len(dx)]",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Axis.outside",
        {
            "padding behind the image taken for image": (
                "(i, slice(inside.stop, self.output))",
                "(i, slice(inside.stop + 1, self.output))",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold.unfold",
        {
            "unfold mirrored": (
                "patches[...] = taps",
                "patches[...] = taps[:, :, ::-1]",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Axis.taps_of_phases",
        {
            "next tap of a phase as if it were not dilated": (
                "step * self.dilation // self.stride,",
                "step // self.stride,",
                "value",
            ),
            "taps of a phase in another": (
                "i * self.dilation % self.stride,",
                "i % self.stride,",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold._sums",
        {
            "fold off by one tap": (
                "next_r = taps_r.step * tap_r - step_r * row",
                "next_r = taps_r.step * tap_r - step_r * row - place",
                "direction",
            ),
            "fold into the channels of another group": (
                "group = channels * channel + tap_c",
                "group = channels * channel",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold.__init__",
        {
            "fold reads what lies behind a run": (
                "self._memory[:, :, self.length :] = 0",
                "self._memory[:, :, self.length :] = 1",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Axis.pitch",
        {
            "rows too near to each other": (
                "- self.first + 1, self.output)",
                "- self.first, self.output)",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold._shift",
        {
            "taps of a phase not shifted down": (
                "return down * self.columns.pitch + right",
                "return down + right",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Axis.cells_of_phases",
        {
            "cells of a phase on the wrong side of the padding": (
                "range((a - self.before) % self.stride, self.size, self.stride)",
                "range((a + self.before) % self.stride, self.size, self.stride)",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Unfold.crop",
        {
            "windows of the first image in all": (
                "return grid[:, :images, :",
                "return grid[:, [0] * images, :",
                "value",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.pool.avg_pool2d",
        {
            "count_include_pad inverted": (
                "bool(count_include_pad)",
                "not count_include_pad",
                "value",
            ),
            "divisor_override ignored": (
                "if divisor_override is None:",
                "if True:",
                "value",
            ),
            "dx not divided": (
                "dy[n] / divisor",
                "dy[n] / 1",
                "direction",
            ),
            "dx divided twice": (
                "dy[n] / divisor",
                "dy[n] / divisor**2",
                "direction",
            ),
            "rows before columns in dx": (
                "scatter(columns, 3, dy[n] / divisor, sums)",
                "scatter(rows, 3, dy[n] / divisor, sums)",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "scatter(rows, 2, sums, dx[n])",
                "scatter(rows, 2, sums, dx[n])\n                dx[n][0, 0, 0, 0] *= 1 + 1e-12",
                "entries",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.pool._cells_of_windows",
        {
            "divisor of a whole window everywhere": (
                "np.outer(rows.cells(padded), columns.cells(padded))",
                "np.full((rows.output, columns.output), rows.kernel * columns.kernel)",
                "value",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.pool._axes",
        {
            "stride 1 by default": (
                "stride = kernels",
                "stride = 1",
                "value",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.windows.gather",
        {
            "taps overwritten, not added": (
                "y[windows] += x[cells]",
                "y[windows] = x[cells]",
                "value",
            ),
            "last tap forgotten where all are inside": (
                "[x[cells] for _, cells in taps]",
                "[x[cells] for _, cells in taps[:-1]]",
                "value",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.windows.scatter",
        {
            "dx overwritten where windows overlap": (
                "dx[cells] += dy[windows]",
                "dx[cells] = dy[windows]",
                "direction",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.windows.Axis.tiles",
        {
            "dx of overlapping windows as if they tiled the image": (
                "self.kernel == self.stride and",
                "self.kernel >= self.stride and",
                "direction",
            ),
            "dx of windows that leave cells over as if they tiled the image": (
                "self.output * self.stride == self.size",
                "self.output * self.stride <= self.size",
                "entries",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.windows.Axis._tap",
        {
            "last window empty": (
                "last = min(self.output - 1,",
                "last = min(self.output - 2,",
                "value",
            ),
            "windows one cell too far": (
                "offset = i * self.dilation - self.before",
                "offset = i * self.dilation - self.before + 1",
                "value",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.windows.Axis.cells",
        {
            "cell behind the edge counted": (
                "(taps < high)",
                "(taps <= high)",
                "value",
            ),
        },
    ),
    *mutants(
        "avg_pool2d",
        "npkd.ops.windows.Axis.output",
        {
            "windows sticking out start in the padding behind": (
                "return windows - last_starts_outside",
                "return windows",
                "value",
            ),
            "ceil_mode goes by the image without padding": (
                ">= self.size + self.before",
                ">= self.size",
                "value",
            ),
        },
    ),
    *mutants(
        "max_pool2d",
        "npkd.ops.pool.max_pool2d",
        {
            "the last of equal cells": (
                "(candidate.real > best.real)",
                "(candidate.real >= best.real)",
                "ties",
            ),
            "largest by absolute value": (
                "(candidate.real > best.real)",
                "(abs(candidate) > abs(best))",
                "value",
            ),
            "padding of zeros may be chosen": (
                "choice[n] = -1",
                "choice[n] = -1\n"
                "            inside = rows.cells()[:, None] * columns.cells()\n"
                "            padded = inside < rows.kernel * columns.kernel\n"
                "            y[n][..., padded], choice[n][..., padded] = 0, 99",
                "value",
            ),
            "starts from zero": (
                "choice[n] = -1",
                "y[n], choice[n] = 0, 0",
                "value",
            ),
            "choice off by one": (
                "np.copyto(chosen, tap, where=better)",
                "np.copyto(chosen, tap + 1, where=better)",
                "direction",
            ),
            "dy to all equal cells": (
                "choice[n][windows] == tap",
                "x[n][cells].real == y[n][windows].real",
                "ties",
            ),
            "dx overwritten where windows overlap": (
                "dx[n][cells] += np.where",
                "dx[n][cells] = np.where",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "np.where(choice[n][windows] == tap, dy[n][windows], 0)",
                "np.where(choice[n][windows] == tap, dy[n][windows] * (1 + 1e-12 * (tap == 0)), 0)",
                "direction",
            ),
            "choices of the latest call in backward": (
                "choice = np.empty(y.shape, np.int32)",
                "choice = max_pool2d.__dict__.setdefault(y.shape, np.empty(y.shape, np.int32))",
                "contract",
            ),
        },
    ),
    *mutants(
        "max_pool2d",
        "npkd.ops.pool._taps",
        {
            "column by column": (
                "for i in range(rows.kernel):\n"
                "        row_windows, row_cells = rows.taps[i]\n"
                "        for j in range(columns.kernel):\n"
                "            column_windows, column_cells = columns.taps[j]\n",
                "for j in range(columns.kernel):\n"
                "        column_windows, column_cells = columns.taps[j]\n"
                "        for i in range(rows.kernel):\n"
                "            row_windows, row_cells = rows.taps[i]\n",
                "ties",
            ),
            "taps numbered alike": (
                "i * columns.kernel + j",
                "i * rows.kernel + j",
                "direction",
            ),
        },
    ),
    *mutants(
        "max_pool2d",
        "npkd.ops.pool._axes",
        {
            "ceil_mode ignored": (
                "axis_of(size, kernel, s, p, p, d, bool(ceil_mode))",
                "axis_of(size, kernel, s, p, p, d, False)",
                "value",
            ),
            "dilation ignored": (
                "axis_of(size, kernel, s, p, p, d, bool(ceil_mode))",
                "axis_of(size, kernel, s, p, p, 1, bool(ceil_mode))",
                "value",
            ),
        },
    ),
    *mutants(
        "linear",
        "npkd.ops.linear.linear",
        {
            "bias forgotten": (
                "if b is not None:\n            y[:, o] += b[o]",
                "if False:\n            y[:, o] += b[o]",
                "value",
            ),
            "dx by the transposed weight": (
                "dx[:, i] = dy @ w[:, i]",
                "dx[:, i] = (dy @ w.T.reshape(w.shape))[:, i]",
                "direction",
            ),
            "dx by the conjugated weight": (
                "dx[:, i] = dy @ w[:, i]",
                "dx[:, i] = dy @ w[:, i].conj()",
                "adjoint",
            ),
            "dw transposed": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "dw[o] = (x.T @ dy).reshape(w.shape)[o]",
                "direction",
            ),
            "dw averaged over the batch": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "np.matmul(dy[:, o].T / len(x), x, out=dw[o])",
                "direction",
            ),
            "one entry of dw off by 1e-12": (
                "np.matmul(dy[:, o].T, x, out=dw[o])",
                "np.matmul(dy[:, o].T, x, out=dw[o])\n            dw[0, 0] *= 1 + 1e-12",
                "direction",
            ),
            "db averaged over the batch": (
                "dy.sum(axis=0)",
                "dy.mean(axis=0)",
                "direction",
            ),
            "db of the first row only": (
                "dy.sum(axis=0)",
                "dy[0].copy()",
                "direction",
            ),
            "db in double precision": (
                "dy.sum(axis=0)",
                "dy.sum(axis=0, dtype=np.result_type(dy, np.float64))",
                "contract",
            ),
            "y in the memory of the call before": (
                "y = memory.empty((len(x), len(w)), x.dtype)",
                "y = linear.__dict__.setdefault("
                "(len(x), len(w), x.dtype), np.empty((len(x), len(w)), x.dtype))",
                "contract",
            ),
            "db where there is no bias": (
                "None if b is None else dy.sum(axis=0)",
                "dy.sum(axis=0)",
                "direction",
            ),
        },
    ),
    *mutants(
        "linear",
        "npkd.engine.memory.empty",
        {
            "memory handed out while somebody has it": (
                "return np.frombuffer(lease, dtype).reshape(shape)",
                "return np.frombuffer(memory, dtype).reshape(shape)",
                "contract",
            ),
            "memory handed out twice": (
                "memory, _ = free.pop()",
                "memory, _ = free[-1]",
                "contract",
            ),
        },
    ),
    *mutants(
        "flatten",
        "npkd.ops.linear.flatten",
        {
            "rows and channels exchanged": (
                "return x.reshape(shape), backward",
                "return x.swapaxes(1, -2).reshape(shape), backward",
                "value",
            ),
            "columns first in backward": (
                "return dy.reshape(x.shape)",
                'return dy.reshape(x.shape, order="F")',
                "direction",
            ),
        },
    ),
    *mutants(
        "relu",
        "npkd.ops.activation.relu",
        {
            "complex numbers by their size": (
                "np.where(x_rows[part].real <= 0, 0, x_rows[part])",
                "np.where(abs(x_rows[part]) <= 0, 0, x_rows[part])",
                "value",
            ),
            "leaky": (
                "np.maximum(x_rows[part], zeros, out=y_rows[part])",
                "np.maximum(x_rows[part], 0.01 * x_rows[part], out=y_rows[part])",
                "value",
            ),
            "dy passes at zero": (
                "~(x_rows[part].real <= 0)",
                "~(x_rows[part].real < 0)",
                "ties",
            ),
            "dy passes everywhere": (
                "~(x_rows[part].real <= 0)",
                "True",
                "direction",
            ),
            "dy decides, not x": (
                "~(x_rows[part].real <= 0)",
                "~(dy_rows[part].real <= 0)",
                "direction",
            ),
            "x is overwritten": (
                "y = memory.empty(x.shape, x.dtype)",
                "y = x",
                "contract",
            ),
            "dy is overwritten": (
                "dx = memory.empty(x.shape, x.dtype)",
                "dx = dy",
                "contract",
            ),
        },
    ),
    *mutants(
        "softmax",
        "npkd.ops.activation.softmax",
        {
            "sum over everything": (
                "p /= p.sum(axis=axis, keepdims=True)",
                "p /= p.sum(keepdims=True)",
                "value",
            ),
            "dx without the mean": (
                "return p * (dy - (dy * p).sum(axis=axis, keepdims=True))",
                "return p * dy",
                "direction",
            ),
            "mean of dy not weighted": (
                "return p * (dy - (dy * p).sum(axis=axis, keepdims=True))",
                "return p * (dy - dy.mean(axis=axis, keepdims=True))",
                "direction",
            ),
            "mean along the last axis": (
                "(dy * p).sum(axis=axis, keepdims=True)",
                "(dy * p).sum(axis=-1, keepdims=True)",
                "direction",
            ),
            "outputs of the latest call in backward": (
                'p = np.exp(_less_maximum("softmax", x, axis))',
                "p = softmax.__dict__.setdefault((x.shape, x.dtype), x.copy())\n"
                '    np.exp(_less_maximum("softmax", x, axis), out=p)',
                "contract",
            ),
            "outputs may be written to": (
                "return p.copy(), backward",
                "return p, backward",
                "contract",
            ),
        },
    ),
    *mutants(
        "log_softmax",
        "npkd.ops.activation.log_softmax",
        {
            "backward without exp": (
                "p = np.exp(y)",
                "p = y.copy()",
                "direction",
            ),
            "dx without the sum": (
                "return dy - p * dy.sum(axis=axis, keepdims=True)",
                "return dy - p",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "return dy - p * dy.sum(axis=axis, keepdims=True)",
                "dx = dy - p * dy.sum(axis=axis, keepdims=True)\n"
                "        dx.flat[-1:] *= 1 + 1e-12\n"
                "        return dx",
                "direction",
            ),
        },
    ),
    *mutants(
        "upsample",
        "npkd.ops.resize._interpolate",
        {
            "bilinear with the weights exchanged": (
                "y[r::factor] = (1 - weight) * low + weight * high",
                "y[r::factor] = weight * low + (1 - weight) * high",
                "value",
            ),
        },
    ),
    *mutants(
        "upsample",
        "npkd.ops.resize._phases",
        {
            "bilinear with the corners aligned": (
                "offset = (r + 0.5) / factor - 0.5",
                "offset = r / factor",
                "value",
            ),
        },
    ),
    *mutants(
        "upsample",
        "npkd.ops.resize._interpolate_adjoint",
        {
            "bilinear dx with the weights exchanged": (
                "padded[start : start + size] += (1 - weight) * dy[r::factor]\n"
                "        padded[start + 1 : start + 1 + size] += weight * dy[r::factor]",
                "padded[start : start + size] += weight * dy[r::factor]\n"
                "        padded[start + 1 : start + 1 + size] += (1 - weight) * dy[r::factor]",
                "direction",
            ),
            "bilinear dx loses the first edge": (
                "dx[0] += padded[0]",
                "dx[0] += 0",
                "direction",
            ),
            "bilinear dx loses the last edge": (
                "dx[-1] += padded[-1]",
                "dx[-1] += 0",
                "direction",
            ),
        },
    ),
    *mutants(
        "upsample",
        "npkd.ops.resize.upsample",
        {
            "nearest dx averaged": (
                "np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))",
                "gather(columns, 3, gather(rows, 2, dy)) / f**2",
                "direction",
            ),
            "nearest dx of the blocks' first cells": (
                "np.ascontiguousarray(gather(columns, 3, gather(rows, 2, dy)))",
                "dy[:, :, ::f, ::f].copy()",
                "direction",
            ),
        },
    ),
    *mutants(
        "pixel_shuffle",
        "npkd.ops.resize.pixel_shuffle",
        {
            "channels in another order": (
                "blocks = x.reshape(n, c, f, f, height, width)",
                "blocks = x.reshape(n, f, f, c, height, width).transpose(0, 3, 1, 2, 4, 5)",
                "value",
            ),
            "rows and columns of a block exchanged": (
                "blocks.transpose(0, 1, 4, 2, 5, 3)",
                "blocks.transpose(0, 1, 4, 3, 5, 2)",
                "value",
            ),
            "rows and columns of a block exchanged in dx": (
                "transpose(0, 1, 3, 5, 2, 4)",
                "transpose(0, 1, 5, 3, 2, 4)",
                "direction",
            ),
        },
    ),
]
