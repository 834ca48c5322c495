"""ncnn, asked: one layer a net, one image or row at a time, as it runs on telephones."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from npkd.validate.frameworks.adapter import Adapter, NotGiven, Values
from npkd.validate.geometry import geometry

FLAGS = {  # of ncnn.Option, by the dtype that is asked for
    "float16": ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"),
    "bfloat16": ("use_bf16_packed", "use_bf16_storage"),
    "float32": (),
}
TAG = np.zeros(1, np.float32)  # before weights: they are stored as float32


class Ncnn(Adapter):
    """The ncnn that is installed, on the CPU.

    threads  how many it uses; None: its own choice
    direct   whether it must convolve without Winograd's transform, which it takes by itself
    """

    name = "ncnn"
    infers = True

    def __init__(self, dtype: str = "float32", threads: int | None = None, direct: bool = False):
        if dtype not in FLAGS:
            raise ValueError(f"ncnn does not compute in {dtype}")
        self.chosen = {
            **{flag: flag in FLAGS[dtype] for flags in FLAGS.values() for flag in flags},
            "use_winograd_convolution": not direct,
            "num_threads": threads or ncnn.Option().num_threads,
        }
        self.operations = {name: getattr(self, f"_{name}") for name in OPERATIONS}
        for name, (layer, parameters) in LAYERS.items():
            self.operations[name] = lambda x, layer=layer, of=parameters: self.run(layer, of, x)

    def about(self) -> dict[str, str]:
        flags = ", ".join(f"{name} {int(value)}" for name, value in self.chosen.items())
        version = getattr(ncnn, "__version__", "of unknown version")
        return {"framework": f"ncnn {version}", "device": platform.machine(), "flags": flags}

    def given(self, array: np.ndarray) -> np.ndarray:
        return array.astype(np.float32) if array.dtype.kind == "f" else array

    def found(self, x: np.ndarray) -> np.ndarray:
        return x

    def loss(self, name: str, inputs: Values, options: Mapping[str, Any]) -> Any:
        raise NotGiven("losses")

    def updater(self, op: str, **memory: Any) -> Any:
        raise NotGiven("updates of parameters")

    def run(self, layer: str, parameters: Mapping[int, Any], *xs: Any, weights: Any = ()) -> Any:
        """What a layer makes of inputs, image by image; its parameters are numbered."""
        written = " ".join(
            f"{number}={value:e}" if isinstance(value, float) else f"{number}={int(value)}"
            for number, value in parameters.items()
        )
        names = [f"x{number}" for number in range(len(xs))]
        inputs = "".join(f"Input {name} 0 1 {name}\n" for name in names)
        size, ends = len(xs) + 1, " ".join(names)
        net = ncnn.Net()
        for option, value in self.chosen.items():
            if hasattr(net.opt, option):
                setattr(net.opt, option, value)
        net.load_param_mem(
            f"7767517\n{size} {size}\n{inputs}{layer} asked {len(xs)} 1 {ends} y {written}\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "weights.bin")
            path.write_bytes(b"".join(np.float32(w).tobytes() for w in weights))
            if net.load_model(str(path)):
                raise ValueError(f"{layer} {written}: it loads no such weights")
        ys = []
        for images in zip(*xs):
            extractor = net.create_extractor()
            for name, image in zip(names, images):
                extractor.input(name, ncnn.Mat(np.ascontiguousarray(image)).clone())
            status, y = extractor.extract("y")
            if status:
                raise ValueError(f"{layer} {written}: it fails with status {status}")
            ys.append(np.array(y))
        return np.stack(ys)

    def _conv2d(self, x, w, b=None, *, groups, **options):
        of = geometry(x.shape, w.shape[2:], **options)
        (top, left), (bottom, right) = of.before, of.after
        parameters = {0: w.shape[0], **_sizes(of.kernel, 1), **_sizes(of.dilation, 2)}
        parameters.update({**_sizes(of.stride, 3), 4: left, 14: top, 15: right, 16: bottom})
        parameters.update({5: b is not None, 6: w.size, **({7: groups} if groups > 1 else {})})
        layer = "Convolution" if groups == 1 else "ConvolutionDepthWise"
        return self.run(layer, parameters, x, weights=[TAG, w, *([] if b is None else [b])])

    def _linear(self, x, w, b=None):
        parameters = {0: w.shape[0], 1: b is not None, 2: w.size}
        return self.run(
            "InnerProduct", parameters, x, weights=[TAG, w, *([] if b is None else [b])]
        )

    def _pool(self, kind, x, options):
        of = geometry(x.shape, **options)
        if of.dilation != (1, 1):
            raise NotGiven("max-pools with dilation")
        (top, left), (bottom, right) = of.before, of.after
        sides = {3: left, 14: right, 13: top, 15: bottom}
        count, valid = options.get("count_include_pad", False), not options["ceil_mode"]
        sizes = {**_sizes(of.kernel, 1), **_sizes(of.stride, 2)}
        return self.run("Pooling", {0: kind, **sizes, **sides, 5: valid, 6: count}, x)

    def _max_pool2d(self, x, **options):
        return self._pool(0, x, options)

    def _avg_pool2d(self, x, *, divisor_override, **options):
        if divisor_override is not None:
            raise NotGiven("average pools with a divisor of their own")
        if options["ceil_mode"] and options["count_include_pad"]:
            raise NotGiven("average pools with ceil_mode that count padding: of the end too")
        return self._pool(1, x, options)

    def _global_avg_pool2d(self, x):
        return self.run("Pooling", {0: 1, 4: 1}, x).reshape(*x.shape[:2], 1, 1)

    def _batch_norm(self, x, w=None, b=None, mean=None, variance=None, epsilon=1e-5):
        if mean is None:
            raise NotGiven("batch norm in training")
        w, b = np.ones(x.shape[1]) if w is None else w, np.zeros(x.shape[1]) if b is None else b
        return self.run("BatchNorm", {0: len(w), 1: epsilon}, x, weights=[w, mean, variance, b])

    def _softmax(self, x, axis):
        return self.run("Softmax", {0: _of_image(axis, x), 1: 1}, x)

    def _upsample(self, x, factor, mode):
        way = {"nearest": 1, "bilinear": 2}[mode]
        return self.run("Interp", {0: way, 1: float(factor), 2: float(factor)}, x)

    def _pixel_shuffle(self, x, factor):
        return self.run("PixelShuffle", {0: factor}, x)

    def _gelu(self, x, approximate):
        return self.run("GELU", {0: approximate == "tanh"}, x)

    def _dropout(self, x, mask=None, p=0.5):
        return self.run("Dropout", {}, x) if mask is None else self.run("BinaryOp", {0: 2}, x, mask)

    def _add(self, a, b):
        return self.run("BinaryOp", {0: 0}, a, b)

    def _concat(self, axis=1, **xs):
        images = [*xs.values()]
        return self.run("Concat", {0: _of_image(axis, images[0])}, *images)


def _of_image(axis: int, x: np.ndarray) -> int:
    """An axis of a batch as one of each of its images."""
    if axis % x.ndim == 0:
        raise NotGiven("operations along the batch")
    return axis % x.ndim - 1


def _sizes(of: tuple[int, int], number: int) -> dict[int, int]:
    """Sizes for rows and columns, as ncnn numbers them."""
    return {number: of[1], number + 10: of[0]}


OPERATIONS = [name[1:] for name in vars(Ncnn) if name[0] == "_" != name[1] and name != "_pool"]
LAYERS: dict[str, tuple[str, dict[int, Any]]] = {
    "relu": ("ReLU", {}),
    "relu6": ("Clip", {0: 0.0, 1: 6.0}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("TanH", {}),
    "silu": ("Swish", {}),
    "flatten": ("Flatten", {}),
}
