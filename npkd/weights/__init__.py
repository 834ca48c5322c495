"""Parameters of nets to a file and back: .npz, .safetensors, and the state_dicts of PyTorch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npkd.files import BadInput, npz_arrays, read_bytes, taking, write_atomically
from npkd.weights import pytorch, safetensors

MOST_BYTES = 1 << 30  # of one file, written or read; the large net has 34 million
UNPACKED, RATIO = (
    1 << 26,
    20,
)  # of an .npz file: bytes, or times its own; trained weights pack badly
PYTORCH = (".pt", ".pth", ".bin", ".ckpt", ".pt2")
FORMS = "an .npz or .safetensors file, or a state_dict of PyTorch"
OTHERS = {  # that are told by how they begin: what they are, and the way out
    b"\x89HDF": "an HDF5 file, as Keras has it; write its arrays with numpy.savez",
    pytorch.OLD: "of the format that PyTorch had before 1.6. If it is from somebody you trust, "
    "as it may run code: checkpoint = torch.load(PATH, map_location='cpu', weights_only=False); "
    "torch.save(checkpoint['model'], NEW), or all of it if it is a state_dict",
    b"\x80": "a plain pickle, which may run code and is not read; write its arrays with "
    "numpy.savez",
}


def save_weights(path: str | Path, params: Mapping[str, np.ndarray]) -> None:
    """Write parameters by name: the same bytes for the same parameters.

    path: an .npz file, or one that ends in .safetensors. Raises BadInput for an ending of
    PyTorch's files, which npkd does not write, for more bytes than `load_weights` takes, and for
    dtypes and names that the format has not.

    Example
        >>> weights.save_weights("small.npz", npkd.SmallCNN(rng=0).params)
    """
    if Path(path).suffix in PYTORCH:
        raise BadInput(f"{path}: npkd writes no files of PyTorch; expected .npz or .safetensors")
    require_readable(path, sum(theta.nbytes for theta in params.values()))
    if Path(path).suffix == ".safetensors":
        data = safetensors.written(path, params)
        write_atomically(path, lambda file: file.writelines(data))
    else:
        write_atomically(path, lambda file: np.savez(file, **params))  # type: ignore[arg-type]


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The parameters that `save_weights` or a framework wrote; `network.load` takes them.

    path: an .npz file, a .safetensors file, or what `torch.save(net.state_dict(), …)` writes (.pt,
    .pth, .bin), which is read without PyTorch and without running anything in it; so is a
    checkpoint with such a state_dict under one of `pytorch.WHERE`, "model", say, or "model_ema",
    beside anything else, which is left out. Which it is its content says, not its name. float16 and
    bfloat16 are widened to float32, which is exact. Arrays may be read-only. An .npz file may
    unpack to 64 MiB, or to 20 times what it has.

    Raises BadInput for anything else, and Unreadable if it cannot be read just now.

    Example
        >>> small, other = npkd.SmallCNN(rng=0), npkd.SmallCNN(rng=1)
        >>> weights.save_weights("small.npz", small.params)
        >>> other.load(weights.load_weights("small.npz"))
        >>> all((other.params[name] == theta).all() for name, theta in small.params.items())
        True
    """
    with np.errstate(invalid="ignore"):  # of a NaN
        return {
            name: theta.astype(np.float32) if theta.dtype == np.float16 else theta
            for name, theta in load_arrays(path).items()
        }


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """`load_weights`, with float16 as it is."""
    data = read_bytes(path, at_most=MOST_BYTES, what=FORMS)
    is_zip = data.startswith(b"PK")
    if safetensors.is_one(data) or (Path(path).suffix == ".safetensors" and not is_zip):
        with taking(path, "a .safetensors file"):
            return safetensors.read(data)
    for begin, what in OTHERS.items():
        if data.startswith(begin):
            raise BadInput(f"{path}: {what}")
    if is_zip and pytorch.is_one(data):
        with taking(path, "a state_dict of PyTorch"):
            return pytorch.read(data, at_most=MOST_BYTES)
    with taking(path, "an .npz file" if is_zip else FORMS):
        return npz_arrays(data, at_most=min(MOST_BYTES, max(UNPACKED, RATIO * len(data))))


def require_readable(path: str | Path, size: int) -> None:
    """Raise BadInput for a file that would be too large for `load_weights` and `load`."""
    if size > MOST_BYTES - (1 << 20):  # what names and headers take
        raise BadInput(f"{path}: {size:,} bytes to be written; npkd reads {MOST_BYTES:,} at most")
