"""What explore.html holds of a run: two nets with their weights, images, and npkd's own numbers.

The numbers are those that the page's script has to find: outputs, losses and their gradients of
both small nets on each sample, in float64, and of the gradients by the parameters three sums each.
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from npkd import losses, ops
from npkd.arguments import shown
from npkd.data import low_resolution
from npkd.distill.predict import Predictor
from npkd.distill.report import finished
from npkd.distill.report.table import NAMES
from npkd.files import BadInput
from npkd.losses.facts import FACTS
from npkd.nets import BatchNorm, Conv2d, Function, Layer, Linear, Network
from npkd.ops.contract import pair

NETS = ("small", "small_from_labels")
TEMPERATURES = (1.0, 4.0)  # at which npkd's numbers are kept
# Those that losses.js has; of others on outputs, dist is of a batch
SOFTENED = ("kl", "soft_cross_entropy", "js", "dkd")
LOSSES = (*SOFTENED, "l2", "limit", "l1", "huber", "cross_entropy")
FUNCTIONS = ("relu", "relu6", "avg_pool2d", "max_pool2d", "global_avg_pool2d", "flatten", "add")


def contents(folder: Path) -> dict[str, Any]:
    """All of it, as JSON has it. Raises what `Predictor` and `finished.read` do."""
    predictor = Predictor(folder)
    report, samples, weights = finished.read(folder)
    config = report["config"]
    nets = {name: predictor.task.network("small", len(report["class_names"]), 0) for name in NETS}
    for name, net in nets.items():
        net.load(weights[name])
    images, chosen = samples["x_high"], samples["chosen"]
    teacher_input = config.get("teacher_input", "low")
    taught = samples["logits/large" if teacher_input == "high" else "logits/large_low"]
    x = predictor.task.normalise(images, np.float64)
    if config.get("small_input") != "high":
        x = low_resolution(x)
    return {
        "data": report["data"]["name"],
        "classes": report["class_names"],
        "image_shape": list(predictor.image_shape),
        "border": predictor.border,
        "grey": bool((images == images[:, :1]).all()),
        "mean": [float(value) for value in predictor.task.normalise.mean],
        "std": [float(value) for value in predictor.task.normalise.std],
        "small_input": config.get("small_input", "low"),
        "teacher_input": teacher_input,
        "nets": {name: _of_net(net) | {"title": NAMES[name]} for name, net in nets.items()},
        "samples": [
            {
                "number": int(number),
                "label": int(samples["labels"][number]),
                "image": _base64(images[k]),
                "teacher": taught[number].astype(float).tolist(),
                "known": {
                    name: _known(net, x[k : k + 1], taught[number], samples["labels"][number])
                    for name, net in nets.items()
                },
            }
            for k, number in enumerate(chosen)
        ],
    }


def _base64(array: np.ndarray) -> str:
    """The bytes of an array, little-endian."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _of_net(net: Network) -> dict[str, Any]:
    """The layers in order, and the parameters and state in one row of float32."""
    arrays = {key: value for key, value in net.state_dict().items() if value.dtype.kind == "f"}
    row = np.concatenate([value.ravel() for value in arrays.values()]).astype(np.float32)
    starts = np.cumsum([0, *(value.size for value in arrays.values())])
    return {
        "layers": [
            {"name": name, "takes": list(net.takes[name]), **_of_layer(name, layer)}
            for name, layer in net.layers.items()
        ],
        "arrays": {
            key: {"shape": list(value.shape), "at": int(at)}
            for (key, value), at in zip(arrays.items(), starts, strict=False)
        },
        "values": _base64(row),
    }


def _of_layer(name: str, layer: Layer) -> dict[str, Any]:
    """The op of a layer, and its options, as ops.js takes them.

    Raises BadInput for one that it has not.
    """
    kind = type(layer).__name__
    if isinstance(layer, Linear):
        return {"op": "linear", "options": {}}
    if isinstance(layer, BatchNorm):
        return {"op": "batch_norm", "options": {"epsilon": layer.epsilon}}
    if isinstance(layer, Conv2d) and layer.options["dilation"] in (1, (1, 1)):
        of = {
            key: list(pair("conv2d", key, layer.options[key], 0)) for key in ("stride", "padding")
        }
        return {"op": "conv2d", "options": of | {"groups": layer.options["groups"]}}
    if isinstance(layer, Function) and layer.op.__name__ in FUNCTIONS and not layer.options:
        kind, options = layer.op.__name__, {}
        if layer.op in (ops.avg_pool2d, ops.max_pool2d):
            size = list(pair(kind, "kernel_size", layer.arguments[0], 1))
            options = {"kernel": size, "stride": size}
        return {"op": kind, "options": options}
    raise BadInput(f"its layer {shown(name)} is a {kind} that the page has not")


def _known(net: Network, x: np.ndarray, teacher: np.ndarray, label: int) -> dict[str, Any]:
    """What npkd finds for one image (1, C, H, W), in float64."""
    net = net.astype(np.float64)
    z, backward = net(x)
    t, labels = teacher[np.newaxis].astype(np.float64), np.array([label])
    found = []
    for name in LOSSES:
        given = {"logits": z, "student": z, "teacher": t, "labels": labels}
        arrays = [given[one] for one in FACTS[name].arrays]
        for temperature in TEMPERATURES if name in SOFTENED else (1.0,):
            options = {"temperature": temperature} if name in SOFTENED else {}
            value, gradient = getattr(losses, name)(*arrays, reduction="sum", **options)
            found.append([name, temperature, float(value), gradient[0].tolist()])
    _, gradient = losses.l2(z, t, reduction="sum")
    _, grads = backward(gradient)
    return {
        "z": z[0].tolist(),
        "losses": found,
        "grads": {name: _digest(g, net.params[name]) for name, g in grads.items()},
    }


def _digest(g: np.ndarray, theta: np.ndarray) -> list[Any]:
    """Σ g², Σ g θ, Σ g (n mod 7 − 3) with n the place, and for the last two the sums of sizes."""
    g, theta = g.ravel(), theta.ravel()
    places = np.arange(g.size) % 7 - 3
    return [
        float(np.sum(g * g)),
        float(np.sum(g * theta)),
        float(np.sum(g * places)),
        [float(np.sum(abs(g * theta))), float(np.sum(abs(g * places)))],
    ]
