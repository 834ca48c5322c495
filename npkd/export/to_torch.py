"""A net as a module of PyTorch: `source(net)`, its text, and `state_dict(net)`, what that loads.

Of floats, the module has npkd's names, so that its state_dict has npkd's keys, and PyTorch's own
layers; in eight bits it computes with the same integers, as numbers of floats, to the bit.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

import numpy as np

from npkd import __version__, ops
from npkd.arguments import shown
from npkd.export.layers import arguments_of, given, not_exported
from npkd.files import BadInput
from npkd.nets import BatchNorm, Conv2d, Dropout, Linear, Network
from npkd.nets.layers import op_of
from npkd.nets.network import IMAGES
from npkd.quantise import Quantised
from npkd.quantise.network import options_of

NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)
FILE = re.compile(r"[\w.-]+", re.ASCII)  # a name that is nothing else in a text of Python


def files(net: Network | Quantised, path: Path) -> dict[Path, bytes]:
    """The state_dict as a file of PyTorch's, and the module, which lies beside it.

    Raises what `source` does, and BadInput where PyTorch is missing, or both would be one file.
    """
    module = path.with_suffix(".py")
    if module == path:
        raise BadInput(f"{path}: ends in .py, as the module does; expected .pt")
    text = source(net, path.name)
    try:
        import torch
    except ImportError as error:
        raise BadInput("a state_dict of PyTorch needs torch (pip install torch)") from error
    _require_free(torch, net)
    held = io.BytesIO()
    torch.save({key: torch.from_numpy(np.array(a)) for key, a in state_dict(net).items()}, held)
    return {path: held.getvalue(), module: text.encode()}


def _require_free(torch: Any, net: Network | Quantised) -> None:
    """Raise BadInput for layers whose names modules of PyTorch have themselves."""
    net = given(net)
    for name in net.layers if isinstance(net, Network) else ():
        first, *others = name.split(".")
        taken = dir(torch.nn.ModuleDict())
        if first in dir(torch.nn.Module()) or any(part in taken for part in others):
            raise BadInput(f"layer {shown(name)}: modules of PyTorch have that name themselves")


def module(net: Network | Quantised) -> Any:
    """The module itself, made of its text, with its arrays, in evaluation."""
    import torch

    _require_free(torch, net)
    names: dict[str, Any] = {}
    exec(source(net), names)
    made = names["Net"]().eval()
    arrays = {key: torch.from_numpy(np.array(array)) for key, array in state_dict(net).items()}
    made.load_state_dict(arrays)
    return made


def state_dict(net: Network | Quantised) -> dict[str, np.ndarray]:
    """The arrays that the module loads, by its names."""
    net = given(net)
    if isinstance(net, Network):
        return net.state_dict()
    return {_buffer(name): array for name, array in net.state_dict().items()}


def source(net: Network | Quantised, file: str = "net.pt") -> str:
    """The module, as the text of a Python file; file: the name of that with its state_dict.

    Raises BadInput for a layer that is not known, and for names that are none in Python.
    """
    net = given(net)
    network = net if isinstance(net, Network) else net.network
    variables = _variables(network.layers)
    if isinstance(net, Network):
        made, computed = _modules(network), _forward(network, variables)
        helpers = ""
    else:
        made, computed, helpers = _buffers(net), _integers(net, variables), _HELPERS
    shape = ", ".join(map(str, network.image_shape))
    y = network(np.zeros((1, *network.image_shape), network.dtype))[0]
    outputs = ", ".join(map(str, y.shape[1:]))
    file = file if FILE.fullmatch(file) else "PATH"
    of = "" if isinstance(net, Network) else " in eight bits: integers, held as numbers of floats"
    lines = [
        f'"""A net of npkd {__version__} as a module of PyTorch.',
        "",
        "    net = Net().eval()",
        f"    net.load_state_dict(torch.load({file!r}))",
        f"    y = net(x)  # x (N, {shape}) float32, y (N, {outputs})",
        '"""',
        "",
        "import torch",
        "from torch import nn",
        "from torch.nn import functional as F",
        "",
        "",
        "class Net(nn.Module):",
        f'    """Made by npkd export{of}."""',
        "",
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        {line}" for line in made),
        "",
        "    def forward(self, x):",
        *(f"        {line}" for line in computed),
    ]
    return "\n".join(lines) + "\n" + helpers


def _variables(names: Iterable[str]) -> dict[str, str]:
    """A variable for the output of each layer, and for the images."""
    found = {IMAGES: "x"}
    for name in names:
        if not NAME.fullmatch(name) or any(map(iskeyword, name.split("."))):
            raise BadInput(f"layer {shown(name)}: expected names of Python, with dots between them")
        variable = name.replace(".", "_")
        while variable in (*found.values(), "self", "torch", "nn", "F"):
            variable += "_"
        found[name] = variable
    return found


# Of floats


def _modules(network: Network) -> list[str]:
    """The layers that have arrays, as modules; of names with dots, one within the other."""
    tree: dict[str, Any] = {}
    x = np.zeros((1, *network.image_shape), network.dtype)
    outputs, _ = network.features(x, network.layers)
    for name, layer in network.layers.items():
        made = _module(layer, outputs[name].ndim)
        if not made:
            continue
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
            if isinstance(branch, str):
                raise BadInput(f"layer {shown(name)} is within another: expected one or the other")
        if last in branch:
            raise BadInput(f"layer {shown(name)} is around another: expected one or the other")
        branch[last] = made
    return [
        line for name, branch in tree.items() for line in _assigned(f"self.{name} = ", branch, "")
    ]


def _assigned(start: str, branch: Any, end: str) -> list[str]:
    if isinstance(branch, str):
        return [f"{start}{branch}{end}"]
    within = [f"    {line}" for n, b in branch.items() for line in _assigned(f'"{n}": ', b, ",")]
    return [f"{start}nn.ModuleDict({{", *within, f"}}){end}"]


def _module(layer: Any, ndim: int = 4) -> str:
    """A layer that has arrays, or does otherwise in training, as PyTorch makes it.

    ndim: the axes of its output.
    """
    if type(layer) is Conv2d:
        shape = layer.shapes["weight"]
        channels, kernel = f"{shape[1] * layer.options['groups']}, {shape[0]}", shape[2:]
        given = ", ".join([channels, repr(_one(kernel)), *_options(layer.options)])
        return f"nn.Conv2d({given}{_no_bias(layer)})"
    if type(layer) is Linear:
        outputs, inputs = layer.shapes["weight"]
        return f"nn.Linear({inputs}, {outputs}{_no_bias(layer)})"
    if type(layer) is BatchNorm:
        (count,) = layer.shapes["weight"]
        kind = f"nn.BatchNorm{ndim - 2 or 1}d"
        return f"{kind}({count}, eps={layer.epsilon!r}, momentum={layer.momentum!r})"
    return f"nn.Dropout({layer.p!r})" if type(layer) is Dropout else ""


def _no_bias(layer: Any) -> str:
    return "" if "bias" in layer.shapes else ", bias=False"


def _options(options: Mapping[str, Any]) -> list[str]:
    """Those of a convolution that are not the usual ones, as PyTorch has them."""
    usual: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    own = {key: _one(options[key]) for key in usual}
    return [f"{key}={own[key]!r}" for key in usual if own[key] != usual[key]]


def _one(size: Any) -> Any:
    """A size for both axes, one for each, or a word."""
    if isinstance(size, str | int):
        return size
    rows, columns = size
    return rows if rows == columns else (rows, columns)


def _forward(network: Network, variables: dict[str, str]) -> list[str]:
    """The layers in order."""
    lines = []
    for name, layer in network.layers.items():
        xs = [variables[taken] for taken in network.takes[name]]
        call = f"{_path(name)}({xs[0]})" if _module(layer) else _called(name, layer, xs)
        lines.append(f"{variables[name]} = {call}")
    return [*lines, f"return {variables[network.last]}"]


def _path(name: str) -> str:
    first, *others = name.split(".")
    return f"self.{first}" + "".join(f'["{part}"]' for part in others)


def _called(name: str, layer: Any, xs: list[str]) -> str:
    """An op without arrays, of variables."""
    if type(layer) is Dropout:
        return xs[0]
    if op_of(layer) in CALLS:
        return CALLS[layer.op](xs, **arguments_of(layer))
    raise not_exported(name, layer)


def _call(start: str, end: str = ")") -> Callable[..., str]:
    """Of one variable; what else is given as PyTorch calls it, but for what is usual there."""

    def of(xs: list[str], **given: Any) -> str:
        own = [f", {key}={value!r}" for key, value in given.items() if value != USUAL.get(key)]
        return f"{start}{xs[0]}{''.join(own)}{end}"

    return of


USUAL = {
    **{"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
    **{"count_include_pad": True, "divisor_override": None, "approximate": "none"},
}
CALLS: dict[Any, Callable[..., str]] = {
    ops.relu: _call("F.relu("),
    ops.relu6: _call("F.relu6("),
    ops.sigmoid: _call("torch.sigmoid("),
    ops.tanh: _call("torch.tanh("),
    ops.silu: _call("F.silu("),
    ops.gelu: _call("F.gelu("),
    ops.flatten: _call("torch.flatten(", ", 1)"),
    ops.add: lambda xs: " + ".join(xs),
    ops.concat: lambda xs, axis: f"torch.cat([{', '.join(xs)}], {axis})",
    ops.global_avg_pool2d: _call("F.adaptive_avg_pool2d(", ", 1)"),
    ops.avg_pool2d: _call("F.avg_pool2d("),
    ops.max_pool2d: _call("F.max_pool2d("),
    ops.pixel_shuffle: lambda xs, factor: f"F.pixel_shuffle({xs[0]}, {factor})",
    ops.upsample: lambda xs, factor, mode: (
        f"F.interpolate({xs[0]}, scale_factor={factor}, mode={mode!r})"
    ),
}


# In eight bits


def _buffer(name: str) -> str:
    """The name of an array, as PyTorch allows it."""
    return name.replace(".", "/")


def _buffers(net: Quantised) -> list[str]:
    """The arrays, as buffers."""
    kept = [
        f'"{_buffer(name)}": ({array.shape}, torch.{array.dtype}),'
        for name, array in net.state_dict().items()
    ]
    return [
        "arrays = {",
        *(f"    {line}" for line in kept),
        "}",
        "for name, (shape, dtype) in arrays.items():",
        "    self.register_buffer(name, torch.zeros(shape, dtype=dtype))",
    ]


def _integers(net: Quantised, variables: dict[str, str]) -> list[str]:
    """The steps in order: variables hold integers from 0 to 255."""
    network, lines = net.network, [f'x = self.integers(x, "{IMAGES}")']
    for step in net.steps:
        y, names = variables[step.name], [f'"{_buffer(taken)}"' for taken in step.takes]
        xs, own = [variables[taken] for taken in step.takes], f'"{_buffer(step.name)}"'
        layer: Any = network.layers[step.layers[0]]
        if step.has_weights:
            options = ""
            if step.kind == "conv":
                options = "".join(f", {text}" for text in _options(options_of(network, step)))
            op = "F.conv2d" if step.kind == "conv" else "F.linear"
            lines.append(f"{y} = self.product({op}, {xs[0]}, {names[0]}, {own}{options})")
        elif step.kind == "same":
            lines.append(f"{y} = {_called(step.name, layer, xs)}")
        else:
            numbers = [f"self.numbers({x}, {name})" for x, name in zip(xs, names, strict=True)]
            for name in step.layers:
                numbers = [_of_numbers(net, name, numbers)]
            lines.append(f"{y} = self.integers({numbers[0]}, {own})")
    last = variables[net.last]
    return [*lines, f'return self.numbers({last}, "{_buffer(net.last)}")']


def _of_numbers(net: Quantised, name: str, xs: list[str]) -> str:
    """A layer of floats as an expression."""
    layer: Any = net.network.layers[name]
    own = [f'self.get_buffer("{_buffer(name)}/{key}")' for key in ("weight", "bias")]
    if type(layer) is BatchNorm:
        state = [f'self.get_buffer("{_buffer(name)}/{k}")' for k in ("running_mean", "running_var")]
        arrays = ", ".join([*state, *own])
        return f"F.batch_norm({xs[0]}, {arrays}, eps={layer.epsilon!r})"
    return _called(name, layer, xs)


_HELPERS = '''
    def integers(self, y, name):
        """What stands for numbers: rounded, halves to even, and held between 0 and 255."""
        q = torch.round(y / self.get_buffer(f"{name}/scale"))
        return (q + self.get_buffer(f"{name}/zero_point")).clamp(0, 255)

    def numbers(self, q, name):
        """What integers stand for."""
        return (q - self.get_buffer(f"{name}/zero_point")) * self.get_buffer(f"{name}/scale")

    def product(self, op, q, x, name, **options):
        """A convolution or linear layer of integers; its sums are exact in float64."""
        x_scale, z = self.get_buffer(f"{x}/scale"), self.get_buffer(f"{x}/zero_point")
        w, w_scale, b = (self.get_buffer(f"{name}/{k}") for k in ("weight", "weight_scale", "bias"))
        a = op(q.double() - z, w.double(), b.double(), **options).float()
        factor = x_scale * w_scale / self.get_buffer(f"{name}/scale")
        a = torch.round(a * factor.reshape(-1, *[1] * (a.ndim - 2)))
        return (a + self.get_buffer(f"{name}/zero_point")).clamp(0, 255)
'''
