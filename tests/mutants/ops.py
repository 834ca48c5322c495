"""Mutants of operations."""

from mutants.building import mutants

MUTANTS = [
    *mutants(
        "conv2d",
        "npkd.ops.conv.convolve",
        {
            "one entry of dx off by 1e-12": (
                "return dx, windows.weight(dW",
                "if dx is not None:\n"
                "            dx[-1:, -1, -1, -1] *= 1 + 1e-12\n"
                "        return dx, windows.weight(dW",
                "entries",
            ),
            "dw with rows and columns exchanged": (
                "return dx, windows.weight(dW, w.shape)",
                "dw = windows.weight(dW, w.shape)\n"
                "        dw = dw.swapaxes(2, 3).reshape(w.shape)\n"
                "        return dx, dw",
                "direction",
            ),
            "dw with inputs and outputs exchanged": (
                "return dx, windows.weight(dW, w.shape)",
                "dw = windows.weight(dW, w.shape)\n"
                "        dw = dw.swapaxes(0, 1).reshape(w.shape)\n"
                "        return dx, dw",
                "direction",
            ),
            "dw with images conjugated": (
                "dW += windows.products(X, dY)",
                "dW += windows.products(X.conj(), dY)",
                "adjoint",
            ),
            "dw of another group": (
                "windows.weight(dW, w.shape)",
                "windows.weight(dW[::-1], w.shape)",
                "direction",
            ),
            "dw of the last tile only": (
                "dW += windows.products(X, dY)",
                "dW[...] = windows.products(X, dY)",
                "direction",
            ),
            "dw of the last part only": (
                "(dW for dW, _ in partial_sums)",
                "(dW for dW, _ in partial_sums[-1:])",
                "direction",
            ),
            "one entry of dw off by 1e-12": (
                "return dx, windows.weight(dW",
                "dW[-1, 0, -1, -1] *= 1 + 1e-12\n        return dx, windows.weight(dW",
                "entries",
            ),
            "db of the first window only": (
                "db += as_rows(dz).sum(axis=0).reshape(-1, outputs).sum(axis=0)",
                "db += dz[:, :, 0, 0].sum(axis=0)",
                "direction",
            ),
            "db of the last images only": (
                "db += as_rows(dz)",
                "db[...] = as_rows(dz)",
                "direction",
            ),
            "db averaged over the batch": (
                "None if b is None else db",
                "None if b is None else db / n",
                "direction",
            ),
            "db of another output": (
                "None if b is None else db",
                "None if b is None else db[::-1]",
                "direction",
            ),
            "one entry of db off by 1e-12": (
                "return dx, windows.weight(dW",
                "db[-1] *= 1 + 1e-12\n        return dx, windows.weight(dW",
                "entries",
            ),
            "bias forgotten": (
                "if bias is not None:",
                "if False:",
                "value",
            ),
            "bias added twice": (
                "values += bias",
                "values += 2 * bias",
                "value",
            ),
            "bias of another output": (
                "np.full((shape[3], outputs), b).ravel()",
                "np.full((shape[3], outputs), b).T.ravel()",
                "value",
            ),
            "weights of the latest call in backward": (
                "W = windows.kernels(w)",
                "w_then, w = w, conv2d.__dict__.setdefault((w.shape, groups, w.dtype), w.copy())\n"
                "    w[...] = w_then\n"
                "    W = windows.kernels(w)",
                "contract",
            ),
            "dx in the memory of the call before": (
                "dx = memory.channels_last(x.shape, x.dtype) if need_dx else None",
                "dx = memory.channels_last(x.shape, x.dtype)\n"
                "        dx = conv2d.__dict__.setdefault((x.shape, x.dtype), dx)",
                "contract",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.conv._full_correlation",
        {
            "kernel conjugated in dx": (
                "multiply(dY, W, out=dX)",
                "multiply(dY, W.conj(), out=dX)",
                "adjoint",
            ),
            "kernel of another group in dx": (
                "multiply(dY, W, out=dX)",
                "multiply(dY, W[::-1], out=dX)",
                "direction",
            ),
            "cells under no tap left as they were": (
                "dx[...] = 0",
                "pass",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.conv._windows",
        {
            "padding dropped": (
                "before = after = list(padding)",
                "before = after = [0, 0]",
                "value",
            ),
            "padding of rows and columns exchanged": (
                "before = after = list(padding)",
                "before = after = list(padding)[::-1]",
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
        "npkd.ops.windows.Windows.kernels",
        {
            "kernel flipped": (
                "kernels = w.reshape(",
                "kernels = w[:, :, ::-1, ::-1].reshape(",
                "value",
            ),
            "kernel transposed": (
                "kernels.transpose(0, 4, 3, 2, 1)",
                "kernels.transpose(0, 3, 4, 2, 1)",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Windows.adjoint",
        {
            "kernel flipped in dx": (
                "turned[:, :, taps_r, taps_c]",
                "turned[:, :, taps_r, taps_c][:, :, ::-1, ::-1]",
                "direction",
            ),
            "inputs and outputs of a kernel not exchanged in dx": (
                ".swapaxes(1, 2)",
                "",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Axis.adjoint",
        {
            "taps of another remainder": (
                "cell + self.before - tap * self.dilation) % self.stride == 0",
                "cell - tap * self.dilation) % self.stride == 0",
                "direction",
            ),
            "taps of a remainder as if they were not dilated": (
                "self.dilation // common",
                "1",
                "direction",
            ),
            "windows on dy one too far": (
                "before = -((cell",
                "before = 1 - ((cell",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Axis.shared",
        {
            "cells on the wrong side of the padding": (
                "first = max(0, -self.before)",
                "first = max(0, self.before)",
                "value",
            ),
            "last cell forgotten": (
                "min(self.size, places - self.before)",
                "min(self.size - 1, places - self.before)",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Patches.__init__",
        {
            "padding of ones": (
                "self._cells = np.zeros(",
                "self._cells = np.ones(",
                "value",
            ),
            "windows beside each other without their stride": (
                "step = columns.stride",
                "step = 1",
                "value",
            ),
            "taps of a row exchanged where columns are dilated": (
                "slice(windows.start * step + j,",
                "slice(windows.start * step + step - 1 - j,",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Planes.__init__",
        {
            "depthwise: padding of ones": (
                "self._cells = np.zeros(",
                "self._cells = np.ones(",
                "value",
            ),
            "depthwise: taps of a row beside each other where they are dilated": (
                "place * columns.dilation if",
                "place if",
                "value",
            ),
            "depthwise: taps of a column beside each other where they are dilated": (
                "row * rows.dilation",
                "row",
                "value",
            ),
            "depthwise: rows of windows beside each other without their stride": (
                "row * rows.stride",
                "row",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Depthwise.kernels",
        {
            "depthwise: kernel flipped": (
                "kernels = w.reshape(",
                "kernels = w[:, :, ::-1, ::-1].reshape(",
                "value",
            ),
            "depthwise: kernel of another channel": (
                "np.tile(kernels, self.columns.output)",
                "np.repeat(kernels, self.columns.output, axis=4)",
                "value",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Depthwise.weight",
        {
            "depthwise: dw of the first column of windows": (
                ".sum(axis=4)",
                "[:, :, :, :, 0]",
                "direction",
            ),
            "depthwise: dw with rows and columns exchanged": (
                "transpose(4, 0, 1, 3, 2)",
                "transpose(4, 0, 1, 2, 3)",
                "direction",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Depthwise.multiply",
        {
            "depthwise: last tap left out": (
                'np.einsum("kjspiq,okjiq->ospq", X, W, out=Y)',
                'np.einsum("kjspiq,okjiq->ospq", X, W, out=Y)\n'
                '        Y -= np.einsum("kspq,okq->ospq", X[:, -1, :, :, -1], W[:, :, -1, -1])',
                "value",
            ),
            "depthwise: kernel conjugated": (
                "X, W, out=Y",
                "X, W.conj(), out=Y",
                "adjoint",
            ),
        },
    ),
    *mutants(
        "conv2d",
        "npkd.ops.windows.Depthwise.products",
        {
            "depthwise: dw with images conjugated": (
                "X, dY, out=dW",
                "X.conj(), dY, out=dW",
                "adjoint",
            ),
            "depthwise: dw of the last image of a tile": (
                "X, dY, out=dW",
                "X[:, :, -1:], dY[:, -1:], out=dW",
                "direction",
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
                "np.divide(dy[n], divisor, out=quotients)",
                "np.divide(dy[n], 1, out=quotients)",
                "direction",
            ),
            "dx divided twice": (
                "np.divide(dy[n], divisor, out=quotients)",
                "np.divide(dy[n], divisor**2, out=quotients)",
                "direction",
            ),
            "rows before columns in dx": (
                "scatter(columns, 3, quotients, sums)",
                "scatter(rows, 3, quotients, sums)",
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
                "y[n], choice[n] = -np.inf, -1",
                "y[n], choice[n] = -np.inf, -1\n"
                "            inside = rows.cells()[:, None] * columns.cells()\n"
                "            padded = inside < rows.kernel * columns.kernel\n"
                "            y[n][..., padded], choice[n][..., padded] = 0, 99",
                "value",
            ),
            "starts from zero": (
                "y[n], choice[n] = -np.inf, -1",
                "y[n], choice[n] = 0, 0",
                "value",
            ),
            "choice off by one": (
                "better * chosen.dtype.type(tap)",
                "better * chosen.dtype.type(tap + 1)",
                "direction",
            ),
            "dy to all equal cells": (
                "choice[n][windows] == tap",
                "x[n][cells].real == y[n][windows].real",
                "ties",
            ),
            "dx overwritten where windows overlap": (
                "into += share",
                "into[...] = share",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "choice[n][windows] == tap, dy[n][windows], dx",
                "choice[n][windows] == tap, dy[n][windows] * (1 + 1e-12 * (tap == 0)), dx",
                "direction",
            ),
            "choices of the latest call in backward": (
                "parts = threads.parts(",
                "choice = max_pool2d.__dict__.setdefault(shape, choice)\n"
                "    parts = threads.parts(",
                "contract",
            ),
        },
    ),
    *mutants(
        "max_pool2d",
        "npkd.ops.pool._taps",
        {
            "column by column": (
                "for i, (windows_r, cells_r) in enumerate(rows.taps):\n"
                "        for j, (windows_c, cells_c) in enumerate(columns.taps):\n",
                "for j, (windows_c, cells_c) in enumerate(columns.taps):\n"
                "        for i, (windows_r, cells_r) in enumerate(rows.taps):\n",
                "direction",
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
                "if b is None:",
                "if True:",
                "value",
            ),
            "dx by the transposed weight": (
                "multiply(dy, w[:, i], out=dx[:, i])",
                "dx[:, i] = (dy @ w.T.reshape(w.shape))[:, i]",
                "direction",
            ),
            "dx by the conjugated weight": (
                "multiply(dy, w[:, i], out=dx[:, i])",
                "multiply(dy, w[:, i].conj(), out=dx[:, i])",
                "adjoint",
            ),
            "dw transposed": (
                "multiply(dy[:, o].T, x, out=dw[o])",
                "dw[o] = (x.T @ dy).reshape(w.shape)[o]",
                "direction",
            ),
            "dw averaged over the batch": (
                "multiply(dy[:, o].T, x, out=dw[o])",
                "multiply(dy[:, o].T / len(x), x, out=dw[o])",
                "direction",
            ),
            "one entry of dw off by 1e-12": (
                "multiply(dy[:, o].T, x, out=dw[o])",
                "multiply(dy[:, o].T, x, out=dw[o])\n            dw[0, 0] *= 1 + 1e-12",
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
                "return dy.reshape(x_shape)",
                'return dy.reshape(x_shape, order="F")',
                "direction",
            ),
        },
    ),
    *mutants(
        "relu",
        "npkd.ops.activation.relu",
        {
            "dy passes at zero": (
                "np.not_equal(y_rows[n], 0, out",
                "np.greater_equal(x_rows[n].real, 0, out",
                "ties",
            ),
            "dy passes everywhere": (
                "np.multiply(dy[images], positive[images], out",
                "np.multiply(dy[images], True, out",
                "direction",
            ),
            "dy decides, not x": (
                "np.multiply(dy[images], positive[images], out",
                "np.multiply(dy[images], dy[images].real > 0, out",
                "direction",
            ),
            "x is overwritten": (
                "y, positive = make(x.shape, dtype),",
                "y, positive = x,",
                "contract",
            ),
            "dy is overwritten": (
                "dx = make(positive.shape, dtype)",
                "dx = dy",
                "contract",
            ),
        },
    ),
    *mutants(
        "relu",
        "npkd.ops.activation.positive_part",
        {
            "complex numbers by their size": (
                "np.where(x.real <= 0, 0, x)",
                "np.where(abs(x) <= 0, 0, x)",
                "value",
            ),
            "leaky": (
                "np.maximum(x, _zeros(x.shape[1], x.dtype), out=out)",
                "np.maximum(x, 0.01 * x, out=out)",
                "value",
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
        "npkd.ops.resize._bands",
        {
            "bilinear with a weight squared": (
                "= t - low",
                "= (t - low) ** 2",
                "value",
            ),
            "bilinear with the corners aligned": (
                "(u + 0.5) / factor - 0.5",
                "u * (size - 1) / max(1, factor * size - 1)",
                "value",
            ),
            "bilinear dx averaged": (
                "matrix = matrix.T",
                "matrix = matrix.T / factor",
                "direction",
            ),
            "bilinear dx by the nearest cell": (
                "matrix = matrix.T",
                "matrix = matrix.T.round()",
                "direction",
            ),
            "bands of the first cells": (
                "inputs = slice(reached[0], reached[-1] + 1)",
                "inputs = slice(reached[0], reached[-1] + 1) if len(matrix) < 4 else slice(0, 2)",
                "value",
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
    *mutants(
        "batch_norm",
        "npkd.ops.norm._per_deviation",
        {
            "epsilon outside of the root": (
                "np.sqrt(variance.astype(np.result_type(variance, np.float64)) + float(epsilon))",
                "(np.sqrt(variance.astype(np.result_type(variance, np.float64))) + float(epsilon))",
                "value",
            ),
        },
    ),
    *mutants(
        "batch_norm",
        "npkd.ops.norm._normalise",
        {
            "the unbiased variance in y": (
                "channels.add_up(squares)[0] / m",
                "channels.add_up(squares)[0] / (m - 1)",
                "value",
            ),
            "the mean over the images only": (
                "channels.sums(X[tile])])[0] / m",
                "channels.sums(X[tile])])[0] / len(x)",
                "value",
            ),
            "the variance by squared moduli": (
                "channels.sums(deviations, deviations)",
                "channels.sums(deviations, deviations.conj())",
                "value",
            ),
            "w without the deviation": (
                "r if w is None else r * w",
                "r if w is None else w",
                "value",
            ),
            "the unbiased variance as a statistic": (
                "(mean.copy(), variance))",
                "(mean.copy(), variance * (m / (m - 1))))",
                "statistics",
            ),
            "the deviation as a statistic": (
                "(mean.copy(), variance))",
                "(mean.copy(), np.sqrt(variance)))",
                "statistics",
            ),
            "x changed": (
                "mu, out=Y[tile])\n            values",
                "mu, out=X[tile])\n            values",
                "contract",
            ),
            "dx as if the mean were given": (
                "gradient -= db_m",
                "gradient -= 0 * db_m",
                "direction",
            ),
            "dx as if the variance were given": (
                "gradient *= r_dw_m",
                "gradient *= 0 * r_dw_m",
                "direction",
            ),
            "w missing in dx of evaluation": (
                "np.multiply(dZ[tile], scale, out=gradient)",
                "np.multiply(dZ[tile], channels.spread(r), out=gradient)",
                "direction",
            ),
            "w missing in dx of training": (
                "gradient *= scale",
                "gradient *= channels.spread(r)",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "threads.run(part_of_backward, channels.parts)",
                "threads.run(part_of_backward, channels.parts)\n"
                "            dx[-1, -1] *= 1 + 1e-12",
                "entries",
            ),
            "dw by the deviations themselves": ("dw = products * r", "dw = products", "direction"),
            "db of dw": ("(b, db)", "(b, dw)", "direction"),
            "dmean of the other sign": ("-rw * db", "rw * db", "direction"),
            "dvariance without the half": ("-0.5 * rw * r * dw", "-rw * r * dw", "direction"),
            "dvariance without w": ("-0.5 * rw * r * dw", "-0.5 * r * r * dw", "direction"),
            "one entry of dvariance off by 1e-12": (
                "-0.5 * rw * r * dw",
                "-0.5 * rw * r * dw\n        dvar[-1] *= 1 + 1e-12",
                "entries",
            ),
        },
    ),
    *mutants(
        "batch_norm",
        "npkd.ops.norm._Channels",
        {
            "sums of the last part only": (
                "threads.run(of_part, self.parts)",
                "threads.run(of_part, self.parts)[-1:]",
                "value",
            ),
            "sums of a part's first tile only": (
                "for tile in self.tiles(part)]",
                "for tile in self.tiles(part)[:1]]",
                "value",
            ),
            "numbers of another channel": (
                "row = np.broadcast_to(v[:, None], (self.count, cells))",
                "row = np.broadcast_to(v, (cells, self.count))",
                "value",
            ),
            "sums of another channel": (
                "sums.reshape(len(sums), self.count, self.cells).sum(axis=2)",
                "sums.reshape(len(sums), self.cells, self.count).sum(axis=1)",
                "value",
            ),
        },
    ),
    *mutants(
        "global_avg_pool2d",
        "npkd.ops.pool.global_avg_pool2d",
        {
            "mean over rows alone": (
                "np.divide(sums.reshape(y[part].shape), cells,",
                "np.divide(sums.reshape(y[part].shape), height,",
                "value",
            ),
            "dx not divided": (
                "dx[part] = dy[part] / cells",
                "dx[part] = dy[part]",
                "direction",
            ),
            "dx to the first cell alone": (
                "dx[part] = dy[part] / cells",
                "dx[part] = 0\n            dx[part, :, :1, :1] = dy[part]",
                "direction",
            ),
            "dx conjugated": (
                "dx[part] = dy[part] / cells",
                "dx[part] = dy[part].conj() / cells",
                "adjoint",
            ),
        },
    ),
    *mutants(
        "relu6",
        "npkd.ops.pointwise.relu6",
        {
            "dy passes at 0": (
                "np.logical_and(y != 0, y != 6, out=passes)",
                "np.logical_and(x.real >= 0, y != 6, out=passes)",
                "ties",
            ),
            "dy passes at 6": (
                "np.logical_and(y != 0, y != 6, out=passes)",
                "np.logical_and(y != 0, x.real <= 6, out=passes)",
                "ties",
            ),
            "dy passes above 6": (
                "np.logical_and(y != 0, y != 6, out=passes)",
                "np.not_equal(y, 0, out=passes)",
                "direction",
            ),
            "held at 1": (
                "np.clip(x, 0, 6, out=y)",
                "np.clip(x, 0, 1, out=y)",
                "value",
            ),
            "complex numbers by their size": (
                "np.where(x.real >= 6, 6, x)",
                "np.where(abs(x) >= 6, 6, x)",
                "value",
            ),
        },
    ),
    *mutants(
        "sigmoid",
        "npkd.ops.pointwise._sigmoid",
        {
            "e^x for e^−x": (
                "np.negative(x, out=out)",
                "np.positive(x, out=out)",
                "value",
            ),
            "x is overwritten": (
                "np.negative(x, out=out)",
                "np.negative(x, out=x)\n    out[...] = x",
                "contract",
            ),
        },
    ),
    *mutants(
        "sigmoid",
        "npkd.ops.pointwise.sigmoid",
        {
            "slope y": (
                "share * (1 - share)",
                "share",
                "direction",
            ),
            "slope 1 − y": (
                "share * (1 - share)",
                "1 - share",
                "direction",
            ),
        },
    ),
    *mutants(
        "sigmoid",
        "npkd.ops.pointwise._pointwise",
        {
            "slope of the square": (
                "np.multiply(dy, slope(*given), out=dx)",
                "np.multiply(dy, slope(*given) ** 2, out=dx)",
                "direction",
            ),
            "dy forgotten": (
                "np.multiply(dy, slope(*given), out=dx)",
                "np.copyto(dx, slope(*given))",
                "direction",
            ),
            "one entry of dx off by 1e-12": (
                "np.multiply(dy, slope(*given), out=dx)",
                "np.multiply(dy, slope(*given), out=dx)\n        dx[-1:] *= 1 + 1e-12",
                "entries",
            ),
            "what is kept of the latest call in backward": (
                "if of_x:",
                "kept = _pointwise.__dict__.setdefault((op, shape, dtype), needed[0])\n"
                "    kept[...] = needed[0]\n"
                "    needed = [kept]\n"
                "    if of_x:",
                "contract",
            ),
            "outputs may be written to": (
                "if of_x:",
                "needed = [y]\n    if of_x:",
                "contract",
            ),
        },
    ),
    *mutants(
        "sigmoid",
        "npkd.ops.pointwise.by_slices",
        {
            "slices of the part's beginning": (
                "function(*(array[n] for array in every))",
                "function(*(array[part.start :][: n.stop - n.start] for array in every))",
                "value",
            ),
            "results in the memory of the call before": (
                "results = [make(shape, kind) for kind in kinds or [arrays[0].dtype]]",
                "results = [make(shape, kind) for kind in kinds or [arrays[0].dtype]]\n"
                "    key = shape, arrays[0].dtype, *kinds\n"
                "    results = by_slices.__dict__.setdefault(key, results)",
                "contract",
            ),
        },
    ),
    *mutants(
        "tanh",
        "npkd.ops.pointwise.tanh",
        {
            "slope 1 − y": (
                "1 - np.square(kept)",
                "1 - kept",
                "direction",
            ),
            "what is kept is y": (
                "y[...] = np.tanh(x, out=kept)",
                "kept = np.tanh(x, out=y)",
                "direction",
            ),
        },
    ),
    *mutants(
        "silu",
        "npkd.ops.pointwise.silu",
        {
            "slope of the factor x alone": (
                "share * (1 + x * (1 - share))",
                "share",
                "direction",
            ),
            "slope with y for x": (
                "share * (1 + x * (1 - share))",
                "share * (1 + x * share * (1 - share))",
                "direction",
            ),
        },
    ),
    *mutants(
        "silu",
        "npkd.ops.pointwise._gated",
        {
            "x not multiplied": (
                "np.multiply(x, share_of(x, out=share), out=y)",
                "y[...] = share_of(x, out=share)",
                "value",
            ),
        },
    ),
    *mutants(
        "gelu",
        "npkd.ops.pointwise.gelu",
        {
            "tanh in every form": (
                "*_GELU[approximate]",
                '*_GELU["tanh"]',
                "value",
            ),
            "slope of the other form": (
                "*_GELU[approximate]",
                '_GELU[approximate][0], _GELU["none"][1]',
                "direction",
            ),
        },
    ),
    *mutants(
        "gelu",
        "npkd.ops.pointwise._normal_slope",
        {
            "slope of the factor x alone": (
                "return share + x * density",
                "return share",
                "direction",
            ),
            "density without ½": (
                "np.exp(-0.5 * np.square(x))",
                "np.exp(-np.square(x))",
                "direction",
            ),
        },
    ),
    *mutants(
        "gelu",
        "npkd.ops.pointwise._share_by_tanh",
        {
            "another factor of x³": (
                "(1 + 0.044715",
                "(1 + 0.044714",
                "value",
            ),
        },
    ),
    *mutants(
        "gelu",
        "npkd.ops.pointwise._slope_by_tanh",
        {
            "v' without 3": (
                "3 * 0.044715",
                "0.044715",
                "direction",
            ),
        },
    ),
    *mutants(
        "dropout",
        "npkd.ops.pointwise.dropout",
        {
            "not scaled": (
                "by_slices(np.multiply, x, mask)",
                "by_slices(np.multiply, x, mask != 0)",
                "value",
            ),
            "dx not scaled": (
                "by_slices(np.multiply, dy, mask)",
                "by_slices(np.multiply, dy, mask != 0)",
                "direction",
            ),
            "dx dropped nowhere": (
                "by_slices(np.multiply, dy, mask)",
                "by_slices(np.multiply, dy, np.full_like(mask, mask.max()))",
                "direction",
            ),
        },
    ),
    *mutants(
        "add",
        "npkd.ops.joining.add",
        {
            "difference": (
                "np.add if of_a is of_b",
                "np.subtract if of_a is of_b",
                "value",
            ),
            "dy halved": (
                "return da, db",
                "return da / 2, db / 2",
                "direction",
            ),
            "db conjugated": (
                "return da, db",
                "return da, db.conj()",
                "adjoint",
            ),
            "dy itself": (
                "return da, db",
                "return da, dy",
                "contract",
            ),
            "one array for both": (
                "return da, db",
                "return da, da",
                "contract",
            ),
        },
    ),
    *mutants(
        "concat",
        "npkd.ops.joining.concat",
        {
            "the end of an array first": (
                "_copy(x, y[piece],",
                "_copy(np.flip(x, axis), y[piece],",
                "value",
            ),
            "the end of a piece of dy first": (
                "_copy(dy[piece], dx,",
                "_copy(np.flip(dy[piece], axis), dx,",
                "direction",
            ),
            "pieces conjugated": (
                "_copy(dy[piece], dx,",
                "_copy(dy[piece].conj(), dx,",
                "adjoint",
            ),
            "views of dy": (
                "return tuple(gradients)",
                "return tuple(dy[piece] for piece in pieces)",
                "contract",
            ),
            "all pieces the first": (
                "slice(end - shape[axis], end)",
                "slice(0, shape[axis])",
                "value",
            ),
        },
    ),
]
