"""A run on disk: its folder, and the weights of its nets."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from npkd.files import BadInput, read_npz, write_atomically

RUN_FILES = ("report.json", "report.png", "large.npz", "small.npz", "small_from_labels.npz")
MOST_BYTES = 1 << 32  # of one net's weights


@contextmanager
def run_folder(path: str | Path) -> Iterator[Path]:
    """A folder for a new run, found writable; taken away again if the run leaves it empty.

    Raises BadInput if it already holds a run, or cannot be made or written to.
    """
    folder = Path(path)
    try:
        held = [name for name in RUN_FILES if (folder / name).exists()]
        if held:
            raise BadInput(
                f"{folder}: already holds a run ({', '.join(held)}); give another --seed or --out"
            )
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder}: is not a folder; give another --out")
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written to: {error.strerror}") from error
    try:
        yield folder
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def save_weights(path: str | Path, params: Mapping[str, np.ndarray]) -> None:
    """Write parameters as an .npz file, by name: the same bytes for the same parameters."""
    write_atomically(path, lambda file: np.savez(file, **params))  # type: ignore[arg-type]


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The parameters that `save_weights` wrote; `network.load` takes them.

    Raises BadInput for anything but an .npz file of plain arrays.
    """
    return read_npz(path, at_most=MOST_BYTES)
