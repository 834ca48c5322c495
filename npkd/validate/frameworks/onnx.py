"""ONNX, asked: each of its operators as a model of its own, which an engine runs."""

from __future__ import annotations

import functools
import importlib
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from npkd.validate.bounds.formulas.words import Words
from npkd.validate.frameworks.adapter import Adapter, NamespaceWords, NotGiven, made_of
from npkd.validate.geometry import geometry, pair

ENGINES = {  # what each is called, its module, and its flags
    "onnxruntime": ("ONNX Runtime", "onnxruntime", "threads and optimisations by default"),
    "openvino": ("OpenVINO", "openvino", "INFERENCE_PRECISION_HINT {}"),
    "reference": ("ONNX reference evaluator", "onnx.reference", "no others"),
}
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # of OpenVINO, on float32 arrays
SIGNS = {
    **{"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "true_divide": "Div"},
    **{"negative": "Neg", "remainder": "Mod", "power": "Pow", "bitwise_and": "And"},
    **{"greater": "Greater", "greater_equal": "GreaterOrEqual", "equal": "Equal"},
    **{"less": "Less", "less_equal": "LessOrEqual"},
}


class Tensor(np.ndarray):
    """An array that adds, compares … by operators of ONNX, and moves its entries by NumPy."""

    run: Any

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__
        if name in ("square", "_ones_like"):  # powers of 2 and, in older NumPys, of 0
            return self * self if name == "square" else np.ones(self.shape, self.dtype)
        return self.run(SIGNS[name], *inputs)


class Onnx(Adapter):
    """The ONNX that is installed, on the CPU.

    engine   "onnxruntime", "openvino", or "reference", the evaluator that comes with ONNX
    opset    the version of its operators, from 13; None: 20, or 17 of an older ONNX
    dtype    of all tensors of numbers; OpenVINO's are float32, and dtype its hint
    """

    infers = True

    def __init__(
        self, dtype: str = "float32", engine: str = "onnxruntime", opset: int | None = None
    ):
        newest = onnx.defs.onnx_opset_version()
        self.opset = opset if opset is not None else 20 if newest >= 20 else 17
        if not 13 <= self.opset <= newest:
            raise ValueError(f"its opset is {opset}, expected 13 to {newest}")
        self.name, module, flags = ENGINES[engine]
        if dtype == ("float64" if engine == "openvino" else "bfloat16"):
            raise ValueError(f"{self.name} does not compute in {dtype}")
        self.package: Any = importlib.import_module(module)
        self.hint = HINTS.get(dtype)
        self.compiled = getattr(self, f"_{engine}")
        if engine == "openvino":  # compiling takes it long
            self.compiled = functools.lru_cache(64)(self.compiled)
        self.flags = f"onnx {onnx.__version__}, opset {self.opset}, {flags.format(self.hint)}"
        self.dtype = np.dtype("float32" if engine == "openvino" else dtype)
        self.kind: Any = type("Tensor", (Tensor,), {"run": staticmethod(self.run)})
        self.words = words_of(self)
        self.operations = {**made_of(self.words), **operations(self.run, self.words, self.opset)}
        self.losses = {"cross_entropy": self._cross_entropy}

    def about(self) -> dict[str, str]:
        framework = f"{self.name} {getattr(self.package, '__version__', onnx.__version__)}"
        return {"framework": framework, "device": platform.machine(), "flags": self.flags}

    def given(self, array: np.ndarray) -> Tensor:
        kind = {"f": self.dtype, "i": np.dtype(np.int64)}.get(array.dtype.kind, array.dtype)
        return array.astype(kind).view(self.kind)

    def found(self, x: Tensor) -> np.ndarray:
        return np.array(x)

    def run(
        self,
        op: str,
        *inputs: Any,
        weights: bool = False,
        outputs: tuple[str, ...] = ("y",),
        **options: Any,
    ) -> Tensor:
        """What an operator calls y, of tensors, arrays, and numbers of the type of the first.

        weights: whether all inputs but the first are part of the model, and not fed to it.
        """
        kinds = [x.dtype for x in inputs if isinstance(x, np.ndarray) and x.dtype.kind != "b"]
        kind = kinds[0] if kinds else self.dtype
        while inputs[-1] is None:
            inputs = inputs[:-1]
        names = [f"x{number}" if x is not None else "" for number, x in enumerate(inputs)]
        arrays = {
            name: np.array(x, getattr(x, "dtype", kind), order="C")
            for name, x in zip(names, inputs)
            if name
        }
        fixed = {name: x for name, x in arrays.items() if weights and name != "x0"}
        fed = {name: x for name, x in arrays.items() if name not in fixed}
        graph = helper.make_graph(
            [helper.make_node(op, names, outputs, **options)],
            op,
            [helper.make_tensor_value_info(name, _code(x), x.shape) for name, x in fed.items()],
            [onnx.ValueInfoProto(name="y")],
            [numpy_helper.from_array(x, name) for name, x in fixed.items()],
        )
        opset = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        return np.array(self.compiled(model.SerializeToString())(fed)).view(self.kind)

    def _onnxruntime(self, model: bytes) -> Callable[..., Any]:
        options = self.package.SessionOptions()
        options.log_severity_level = 3  # no warnings
        session = self.package.InferenceSession(model, options, ["CPUExecutionProvider"])
        return lambda fed: session.run(None, fed)[0]

    def _openvino(self, model: bytes) -> Callable[..., Any]:
        core, hint = self.package.Core(), {"INFERENCE_PRECISION_HINT": self.hint}
        compiled = core.compile_model(core.read_model(model), "CPU", hint)
        return lambda fed: compiled([*fed.values()])[0]

    def _reference(self, model: bytes) -> Callable[..., Any]:
        evaluator = self.package.ReferenceEvaluator(onnx.load_from_string(model))
        return lambda fed: evaluator.run(None, fed)[0]

    def _cross_entropy(self, logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
        how = {"batchmean": "mean"}.get(reduction, reduction)
        return self.run("SoftmaxCrossEntropyLoss", logits, labels, reduction=how)


def _code(x: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(x.dtype)


def words_of(asked: Onnx) -> Words:
    """The words of formulas in ONNX."""
    run = asked.run

    def over(axis: Any, op: str, x: Any, keepdims: bool = False) -> Tensor:
        axes = list(range(x.ndim)) if axis is None else np.atleast_1d(axis).tolist()
        if op == "ReduceSum" or asked.opset >= 18:
            axes = np.array(axes, np.int64)
            return run(op, x, axes, weights=True, keepdims=int(keepdims))
        return run(op, x, axes=axes, keepdims=int(keepdims))

    return NamespaceWords(
        None,
        array=asked.given,
        floating=lambda x: run("Cast", x, to=_code(np.zeros(0, asked.dtype))),
        exp=lambda x: run("Exp", x),
        log=lambda x: run("Log", x),
        sqrt=lambda x: run("Sqrt", x),
        abs=lambda x: run("Abs", x),
        where=lambda condition, x, y: run("Where", condition, x, y),
        sum=lambda x, axis=None, keepdims=False: over(axis, "ReduceSum", x, keepdims),
        max=lambda x, axis, keepdims=False: over(axis, "ReduceMax", x, keepdims),
        matmul=lambda x, y: run("MatMul", x, y),
        reshape=np.reshape,
        permute=np.transpose,
        concatenate=lambda parts, axis: run("Concat", *parts, axis=axis),
        added=lambda terms: run("Sum", *terms),
        length=lambda x: over(-1, "ReduceL2", x, True),
        softplus=lambda x: run("Softplus", x),
        softmax=lambda z, axis=-1: run("Softmax", z, axis=axis),
        log_softmax=lambda z, axis=-1: run("LogSoftmax", z, axis=axis),
        log_sum_exp=lambda z: over(-1, "ReduceLogSumExp", z, True),
    )


def operations(run: Any, words: Words, opset: int) -> dict[str, Any]:
    """Operations, each by an operator of ONNX."""

    def since(first: int, what: str) -> None:
        if opset < first:
            raise NotGiven(f"{what} before opset {first}")

    def conv2d(x, w, b=None, *, groups, **options):
        of = geometry(x.shape, w.shape[2:], **options)
        steps = {"strides": of.stride, "dilations": of.dilation, "pads": of.before + of.after}
        return run("Conv", x, w, b, weights=True, group=groups, **steps)

    def conv2d_backward(x, w, dy, b=None, *, groups, **options):
        """By x a transposed convolution; by w one of x with dy, images in the place of channels."""
        of = geometry(x.shape, w.shape[2:], **options)
        around = {"pads": of.before + of.after, "group": groups}
        windows = zip(of.output, of.stride, of.dilation, of.kernel, of.before, of.after)
        ends = [(n - 1) * s + d * (k - 1) + 1 - p - q for n, s, d, k, p, q in windows]
        around_x = {**around, "output_padding": [n - end for n, end in zip(x.shape[2:], ends)]}
        steps = {"strides": of.stride, "dilations": of.dilation}
        dx = run("ConvTranspose", dy, w, weights=True, **steps, **around_x)

        n, channels, *sizes = x.shape
        images = np.reshape(x, (n, groups, channels // groups, *sizes)).transpose(2, 1, 0, 3, 4)
        images = images.reshape(channels // groups, groups * n, *sizes)
        steps = {"strides": of.dilation, "dilations": of.stride}
        dw = run("Conv", images, dy.transpose(1, 0, 2, 3), **steps, **around).transpose(1, 0, 2, 3)
        dw = dw[:, :, : of.kernel[0], : of.kernel[1]]
        return {"dx": dx, "dw": dw, "db": words.sum(dy, (0, 2, 3))}

    def linear_backward(x, w, dy, b=None):
        dx, dw = run("Gemm", dy, w, weights=True), run("Gemm", dy, x, transA=1)
        return {"dx": dx, "dw": dw, "db": words.sum(dy, 0)}

    def pool(op, x, options, **others):
        of = geometry(x.shape, **options)
        windows = {"kernel_shape": of.kernel, "strides": of.stride, "pads": of.before + of.after}
        return run(op, x, ceil_mode=int(options["ceil_mode"]), **windows, **others)

    def avg_pool2d(x, *, count_include_pad, divisor_override, **options):
        if divisor_override is not None:
            raise NotGiven("average pools with a divisor of their own")
        return pool("AveragePool", x, options, count_include_pad=int(count_include_pad))

    def max_pool2d(x, outputs=("y",), **options):
        return pool("MaxPool", x, options, dilations=pair(options["dilation"]), outputs=outputs)

    def max_pool2d_backward(x, dy, **options):
        """To each cell the dy of windows whose largest it is, by the places that MaxPool gives."""
        since(16, "gradients of max-pools")
        places, zeros = max_pool2d(x, outputs=("most", "y"), **options), np.zeros(x.size, x.dtype)
        dx = run("ScatterElements", zeros, places.ravel(), dy.ravel(), reduction="add")
        return {"dx": dx.reshape(x.shape)}

    def batch_norm(x, w=None, b=None, mean=None, variance=None, epsilon=1e-5):
        ones, zeros = np.ones(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
        w, b = ones if w is None else w, zeros if b is None else b
        training = {}
        if mean is None:
            since(14, "batch norm in training")
            training = {"training_mode": 1, "outputs": ("y", "mean", "variance")}
            mean, variance = zeros, ones
        return run("BatchNormalization", x, w, b, mean, variance, epsilon=epsilon, **training)

    def upsample(x, factor, mode):
        scales, attributes = np.array([1, 1, factor, factor], np.float32), {"mode": "linear"}
        if mode == "nearest":
            attributes = {"mode": mode, "nearest_mode": "floor"}
            attributes["coordinate_transformation_mode"] = "asymmetric"
        return run("Resize", x, None, scales, weights=True, **attributes)

    def gelu(x, approximate):
        since(20, "gelu")
        return run("Gelu", x, approximate=approximate)

    return {
        "conv2d": conv2d,
        "conv2d_backward": conv2d_backward,
        "linear": lambda x, w, b=None: run("Gemm", x, w, b, weights=True, transB=1),
        "linear_backward": linear_backward,
        "avg_pool2d": avg_pool2d,
        "max_pool2d": max_pool2d,
        "max_pool2d_backward": max_pool2d_backward,
        "batch_norm": batch_norm,
        "upsample": upsample,
        "gelu": gelu,
        "relu": lambda x: run("Relu", x),
        "relu6": lambda x: run("Clip", x, 0, 6),
        "sigmoid": lambda x: run("Sigmoid", x),
        "tanh": lambda x: run("Tanh", x),
        "silu": lambda x: x * run("Sigmoid", x),
        "flatten": lambda x: run("Flatten", x, axis=1),
        "pixel_shuffle": lambda x, factor: run("DepthToSpace", x, blocksize=factor, mode="CRD"),
        "global_avg_pool2d": lambda x: run("GlobalAveragePool", x),
        "dropout": lambda x, mask=None, p=0.5: run("Dropout", x) if mask is None else x * mask,
        "rows": lambda x, index, **about: run("Gather", x, index),
        "maximum": lambda a, b: run("Max", a, b),
        "copy": lambda x: run("Identity", x),
    }
