"""A net as a model of ONNX: `model(network)` of floats, or in eight bits.

Names of layers, weights and outputs are npkd's. Any number of images is taken at once. In eight
bits it is the graph that `npkd.quantise` computes, step by step: QuantizeLinear, QLinearConv, and
where numbers are needed DequantizeLinear before and QuantizeLinear behind; linear layers are
convolutions of images of one cell.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npkd import ops
from npkd.arguments import shown
from npkd.export.layers import arguments_of, given, not_exported, paddings, sizes
from npkd.files import BadInput
from npkd.nets import BatchNorm, Conv2d, Dropout, Linear, Network
from npkd.nets.layers import op_of
from npkd.nets.network import IMAGES
from npkd.quantise import Quantised
from npkd.quantise.network import Step, options_of
from npkd.quantise.ops import Scale

OPSET, IR = 13, 8  # read by ONNX Runtime from 1.10 on
OUTPUT = "y"


def model(net: Network | Quantised) -> bytes:
    """The model, as a file holds it.

    Raises BadInput for a layer that is not known, and where the package onnx is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise BadInput("a model of ONNX needs onnx (pip install 'npkd[onnx]')") from error
    net = given(net)
    graph = _Graph(onnx)
    network = net if isinstance(net, Network) else net.network
    for name in network.layers.keys() & {OUTPUT, *network.state_dict()}:
        raise BadInput(f"layer {shown(name)}: a model of ONNX has that name otherwise")
    if isinstance(net, Network):
        for name in network.layers:
            graph.layer(network, name, list(network.takes[name]), name)
        graph.node("Identity", [network.last], [OUTPUT])
    else:
        graph.quantised(net)
    return graph.bytes(network)


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self, onnx: Any):
        self.onnx, self.nodes, self.constants = onnx, [], {}  # type: ignore[var-annotated]

    def node(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **options: Any) -> None:
        """One more operation."""
        self.nodes.append(self.onnx.helper.make_node(op, inputs, outputs, **options))

    def constant(self, name: str, value: Any) -> str:
        """An array by its name."""
        self.constants[name] = self.onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def bytes(self, network: Network) -> bytes:
        """All of it."""
        make, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        of_images = make.make_tensor_value_info(IMAGES, kind, ["N", *network.image_shape])
        x = np.zeros((1, *network.image_shape), network.dtype)
        of_y = make.make_tensor_value_info(OUTPUT, kind, ["N", *network(x)[0].shape[1:]])
        constants = list(self.constants.values())
        graph = make.make_graph(self.nodes, "npkd", [of_images], [of_y], constants)
        opsets = [make.make_opsetid("", OPSET)]
        found = make.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="npkd")
        self.onnx.checker.check_model(found)
        return found.SerializeToString(deterministic=True)

    # Of floats

    def layer(self, network: Network, name: str, inputs: list[str], output: str) -> None:
        """One layer of a net."""
        layer: Any = network.layers[name]
        arrays = network.state_dict()

        def own(*keys: str) -> list[str]:
            found = [f"{name}.{key}" for key in keys if f"{name}.{key}" in arrays]
            return [self.constant(key, arrays[key].astype(np.float32)) for key in found]

        if type(layer) is Conv2d:
            self.node(
                "Conv",
                [*inputs, *own("weight", "bias")],
                [output],
                **_geometry(layer.options, layer.shapes["weight"][2:]),
            )
        elif type(layer) is Linear:
            self.node("Gemm", [*inputs, *own("weight", "bias")], [output], transB=1)
        elif type(layer) is BatchNorm:
            keys = ("weight", "bias", "running_mean", "running_var")
            self.node("BatchNormalization", [*inputs, *own(*keys)], [output], epsilon=layer.epsilon)
        elif type(layer) is Dropout:
            self.node("Identity", inputs, [output])
        elif op_of(layer) in FUNCTIONS:
            found = FUNCTIONS[layer.op](**arguments_of(layer))
            if found is None:
                raise not_exported(name, layer, f" with {arguments_of(layer)}")
            op, options = found
            if layer.op is ops.relu6:
                limits = [self.constant(f"{output}.{n}", np.float32(n)) for n in (0, 6)]
                inputs = [*inputs, *limits]
            self.node(op, inputs, [output], **options)
        else:
            raise not_exported(name, layer)

    # In eight bits: the integers of an output are called as its step, with "/q" behind

    def quantised(self, net: Quantised) -> None:
        """All steps of a net."""
        self._quantise(IMAGES, f"{IMAGES}/q", net.scales[IMAGES], IMAGES)
        for step in net.steps:
            if step.has_weights:
                self._product(net, step)
            elif step.kind == "same":
                taken = [f"{name}/q" for name in step.takes]
                self.layer(net.network, step.layers[0], taken, f"{step.name}/q")
            else:
                self._of_numbers(net, step)
        last = net.steps[-1].name
        self._dequantise(f"{last}/q", OUTPUT, net.scales[last], last)

    def _scale(self, name: str, of: Scale) -> list[str]:
        return [
            self.constant(f"{name}/scale", np.float32(of.scale)),
            self.constant(f"{name}/zero_point", np.uint8(of.zero_point)),
        ]

    def _quantise(self, x: str, q: str, of: Scale, name: str) -> None:
        self.node("QuantizeLinear", [x, *self._scale(name, of)], [q])

    def _dequantise(self, q: str, x: str, of: Scale, name: str) -> None:
        self.node("DequantizeLinear", [q, *self._scale(name, of)], [x])

    def _product(self, net: Quantised, step: Step) -> None:
        weights, taken, name = net.weights[step.name], step.takes[0], step.name
        w, x, y = weights.w, f"{taken}/q", f"{name}/q"
        options = {}
        if step.kind == "conv":
            options = _geometry(options_of(net.network, step), w.shape[2:])
        if step.kind == "linear":
            w = w[:, :, np.newaxis, np.newaxis]
            shape = self.constant(f"{name}/images", np.array([-1, w.shape[1], 1, 1]))
            self.node("Reshape", [x, shape], [f"{name}/x"])
            x, y = f"{name}/x", f"{name}/images/q"
        inputs = [
            *(x, *self._scale(taken, net.scales[taken])),
            self.constant(f"{name}/weight", w),
            self.constant(f"{name}/weight_scale", weights.scale),
            self.constant(f"{name}/weight_zero_point", np.zeros(len(w), np.int8)),
            *self._scale(name, net.scales[name]),
            self.constant(f"{name}/bias", weights.b),
        ]
        self.node("QLinearConv", inputs, [y], **options)
        if step.kind == "linear":
            self.node("Flatten", [y], [f"{name}/q"])

    def _of_numbers(self, net: Quantised, step: Step) -> None:
        inputs = [f"{step.name}/of/{taken}" for taken in step.takes]
        for taken, number in dict(zip(step.takes, inputs, strict=True)).items():
            self._dequantise(f"{taken}/q", number, net.scales[taken], taken)
        for layer in step.layers:
            self.layer(net.network, layer, inputs, layer)
            inputs = [layer]
        self._quantise(step.name, f"{step.name}/q", net.scales[step.name], step.name)


def _geometry(options: Mapping[str, Any], kernel: Sequence[int]) -> dict[str, Any]:
    """The options of a convolution, as ONNX has them."""
    return {
        "strides": sizes(options["stride"]),
        "pads": paddings(options, kernel),
        "dilations": sizes(options["dilation"]),
        "group": options["groups"],
    }


def _pool(op: str, **more: Any) -> Callable[..., tuple[str, dict[str, Any]] | None]:
    """None where ONNX leaves open what npkd means, or has no word for it."""

    def of(
        kernel_size: Any,
        stride: Any,
        padding: Any,
        ceil_mode: bool,
        dilation: Any = 1,
        count_include_pad: bool = False,
        divisor_override: Any = None,
    ) -> tuple[str, dict[str, Any]] | None:
        if ceil_mode or divisor_override or sizes(dilation) != [1, 1]:
            return None
        size = sizes(kernel_size)
        counted = {"count_include_pad": 1} if count_include_pad and more else {}
        strides = size if stride in (None, ()) else sizes(stride)
        return op, {"kernel_shape": size, "strides": strides, "pads": sizes(padding) * 2} | counted

    return of


def _plain(op: str, **options: Any) -> Callable[..., tuple[str, dict[str, Any]]]:
    return lambda **given: (op, options)


FUNCTIONS: dict[Any, Callable[..., tuple[str, dict[str, Any]] | None]] = {
    ops.relu: _plain("Relu"),
    ops.relu6: _plain("Clip"),
    ops.sigmoid: _plain("Sigmoid"),
    ops.tanh: _plain("Tanh"),
    ops.flatten: _plain("Flatten"),
    ops.add: _plain("Add"),
    ops.concat: lambda axis: ("Concat", {"axis": axis}),
    ops.global_avg_pool2d: _plain("GlobalAveragePool"),
    ops.avg_pool2d: _pool("AveragePool", counts=True),
    ops.max_pool2d: _pool("MaxPool"),
    ops.pixel_shuffle: lambda factor: ("DepthToSpace", {"blocksize": factor, "mode": "CRD"}),
}
