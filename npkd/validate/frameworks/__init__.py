"""Frameworks that are asked the judge's questions.

    adapter     what the judge asks of a framework: one small class
    answer      a case, answered operation by operation; it stands without npkd too
    answering   a case, answered in whole passes, where an adapter can
    torch, jax, onnx, …  the adapters

    arrays, left = answers(adapter("torch", dtype="float32"), case)

A framework is imported when it is asked for.
"""

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any, NamedTuple

from npkd.files import BadInput
from npkd.validate.frameworks.adapter import Adapter


class Setting(NamedTuple):
    """An option of the command that an adapter's constructor takes.

    kind     str, int or bool
    choices  of a text
    """

    kind: type
    help: str
    choices: tuple[str, ...] = ()
    default: Any = None


class Framework(NamedTuple):
    """What the command says of a framework before it is imported.

    name      its own
    adapter   the class, in the module here that is named like the command's action
    packages  what it is installed as
    settings  what there is to choose
    left      what is left as it comes, in words, if anything
    builds    other distributions, one of which may stand for the last of the packages
    """

    name: str
    adapter: str
    packages: tuple[str, ...]
    settings: Mapping[str, Setting] = {}
    left: str = ""
    builds: tuple[str, ...] = ()


OF_TENSORFLOW = ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos")

FRAMEWORKS = {
    "torch": Framework(
        "PyTorch",
        "Torch",
        ("torch",),
        {
            "device": Setting(str, "where (cpu)", ("cpu", "cuda"), "cpu"),
            "threads": Setting(int, "PyTorch's threads (its own choice)"),
            "compile": Setting(bool, "compile each operation with its gradient by torch.compile"),
        },
        "whether PyTorch uses TF32 on a GPU",
    ),
    "jax": Framework("JAX", "Jax", ("jax",), left="the device, and the precision of its products"),
    "mlx": Framework("MLX", "Mlx", ("mlx",)),
    "tinygrad": Framework("tinygrad", "TinyGrad", ("tinygrad",), left="the device"),
    "onnx": Framework(
        "ONNX",
        "Onnx",
        ("onnx", "onnxruntime"),
        {
            "engine": Setting(
                str,
                "what runs it: ONNX Runtime, OpenVINO, or the evaluator that comes with ONNX "
                "(onnxruntime)",
                ("onnxruntime", "openvino", "reference"),
                "onnxruntime",
            ),
            "opset": Setting(
                int, "version of ONNX's operators, from 13 (20, or 17 of an older ONNX)"
            ),
        },
        builds=("openvino",),
    ),
    "ncnn": Framework(
        "ncnn",
        "Ncnn",
        ("ncnn",),
        {
            "threads": Setting(int, "ncnn's threads (its own choice)"),
            "direct": Setting(bool, "convolve without Winograd's transform"),
        },
    ),
    "tensorflow": Framework(
        "TensorFlow",
        "TensorFlow",
        ("tensorflow",),
        {
            "mode": Setting(
                str,
                "operation by operation, by tf.function, or compiled (eager)",
                ("eager", "graph", "xla"),
                "eager",
            ),
            "threads": Setting(int, "TensorFlow's threads in an operation (its own choice)"),
        },
        "the device, and whether TensorFlow uses TF32 on a GPU",
        OF_TENSORFLOW,
    ),
    "keras": Framework(
        "Keras",
        "Keras",
        ("keras", "tensorflow"),
        {
            "backend": Setting(
                str, "what Keras computes with (its own choice)", ("tensorflow", "jax", "torch")
            ),
        },
        "the device, and the precision of its products",
        OF_TENSORFLOW,
    ),
    "paddle": Framework(
        "PaddlePaddle",
        "Paddle",
        ("paddlepaddle",),
        {"device": Setting(str, "where (cpu)", ("cpu", "gpu"), "cpu")},
        builds=("paddlepaddle-gpu",),
    ),
}


def versions(framework: str) -> dict[str, str]:
    """The versions of its packages that are installed; none is imported."""
    found = {}
    about = FRAMEWORKS[framework]
    for package in (*about.packages, *about.builds):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def missing(framework: str) -> list[str]:
    """The packages that it needs and that are not installed."""
    found, (*others, last) = versions(framework), FRAMEWORKS[framework].packages
    lasts = (last, *FRAMEWORKS[framework].builds)
    return [one for one in others if one not in found] + [last] * found.keys().isdisjoint(lasts)


def how_to_install(framework: str) -> str:
    """By pip; PyTorch and JAX share an extra, and come alone."""
    return f"pip install {framework if framework in ('torch', 'jax') else f'npkd[{framework}]'}"


def adapter(framework: str, **settings: Any) -> Adapter:
    """The adapter of the framework that is installed.

    Raises BadInput where it cannot be imported, or has not what is asked for.
    """
    if framework not in FRAMEWORKS:
        raise BadInput(f"no framework is named {framework!r}; there are {', '.join(FRAMEWORKS)}")
    name, kind, *_ = FRAMEWORKS[framework]
    try:
        module = importlib.import_module(f"npkd.validate.frameworks.{framework}")
        return getattr(module, kind)(**settings)
    except ImportError as error:
        hint = f"{name} cannot be imported ({how_to_install(framework)}): {error}"
        raise BadInput(hint) from error
    except BadInput:
        raise
    except ValueError as error:  # one of its settings, in the environment or asked for
        raise BadInput(f"{name} cannot be asked: {error}") from error
