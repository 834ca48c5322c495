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
from npkd.nets.layers import op_of
from npkd.ops.contract import pair

NETS = ("small", "small_from_labels")
MOST_PARAMETERS = 4_000_000  # of both nets; a page of 43 MB
TEMPERATURES = (1.0, 4.0)  # at which npkd's numbers are kept
# Those that losses.js has; of others on outputs, dist is of a batch
SOFTENED = ("kl", "soft_cross_entropy", "js", "dkd")
LOSSES = (*SOFTENED, "l2", "limit", "l1", "huber", "cross_entropy")
FUNCTIONS = ("relu", "relu6", "avg_pool2d", "max_pool2d", "global_avg_pool2d", "flatten", "add")


def contents(folder: Path) -> dict[str, Any]:
    """All of it, as JSON has it.

    Raises what `Predictor` and `finished.read` do, BadInput for nets too large for a page, and
    ValueError for outputs or classes that a loss does not take.
    """
    predictor = Predictor(folder)
    report = predictor.report
    samples, config = finished.read_samples(predictor.folder, report), report["config"]
    nets = {name: predictor.network(name) for name in NETS}
    count = sum(theta.size for net in nets.values() for theta in net.params.values())
    if count > MOST_PARAMETERS:
        raise BadInput(
            f"{folder}: its two small nets have {count:,} parameters, expected {MOST_PARAMETERS:,} "
            "at most in a page to explore"
        )
    images, chosen = samples["x_high"], samples["chosen"]
    teacher_input = config.get("teacher_input", "low")
    taught = samples["logits/large" if teacher_input == "high" else "logits/large_low"]
    x = predictor.task.normalise(images, np.float64)
    if config.get("small_input") != "high":
        x = low_resolution(x)
    labels = samples["labels"][chosen]
    known = {name: _known(net, x, taught[chosen], labels) for name, net in nets.items()}
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
                "label": int(labels[k]),
                "image": _base64(images[k]),
                "teacher": taught[number].astype(float).tolist(),
                "known": {name: of[k] for name, of in known.items()},
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
    kind, op = type(layer).__name__, op_of(layer)
    if type(layer) is Linear:
        return {"op": "linear", "options": {}}
    if type(layer) is BatchNorm:
        return {"op": "batch_norm", "options": {"epsilon": layer.epsilon}}
    if type(layer) is Conv2d and layer.options["dilation"] in (1, (1, 1)):
        of = {
            key: list(pair("conv2d", key, layer.options[key], 0)) for key in ("stride", "padding")
        }
        return {"op": "conv2d", "options": of | {"groups": layer.options["groups"]}}
    if isinstance(layer, Function) and op and op.__name__ in FUNCTIONS and not layer.options:
        kind, options = op.__name__, {}
        if op in (ops.avg_pool2d, ops.max_pool2d):
            size = list(pair(kind, "kernel_size", layer.arguments[0], 1))
            options = {"kernel": size, "stride": size}
        return {"op": kind, "options": options}
    raise BadInput(f"its layer {shown(name)} is a {kind} that the page has not")


def _known(
    net: Network, x: np.ndarray, teacher: np.ndarray, labels: np.ndarray
) -> list[dict[str, Any]]:
    """What npkd finds for each image of (B, C, H, W), in float64."""
    net, t = net.astype(np.float64), teacher.astype(np.float64)
    z, _ = net(x)
    given = {"logits": z, "student": z, "teacher": t, "labels": labels}
    found = []
    for name in LOSSES:
        arrays = [given[one] for one in FACTS[name].arrays]
        for temperature in TEMPERATURES if name in SOFTENED else (1.0,):
            options = {"temperature": temperature} if name in SOFTENED else {}
            values, gradients = getattr(losses, name)(*arrays, reduction="none", **options)
            values = values.reshape(len(z), -1).sum(axis=1)
            found.append((name, temperature, values.tolist(), gradients.tolist()))
    known = []
    for k in range(len(z)):
        _, backward = net(x[k : k + 1])
        _, grads = backward((z - t)[k : k + 1])
        known.append(
            {
                "z": z[k].tolist(),
                "losses": [[name, T, of[k], by[k]] for name, T, of, by in found],
                "grads": {name: _digest(g, net.params[name]) for name, g in grads.items()},
            }
        )
    return known


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
