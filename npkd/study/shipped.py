"""The studies that come with npkd: a TOML file each, in `studies/`.

One whose settings are others for photographs has a second file for these, NAME.photographs.toml.
"""

from importlib.resources import files

from npkd.data import Dataset

FOLDER = files("npkd.study") / "studies"
ENDING = ".toml"
OF_PHOTOGRAPHS = ".photographs" + ENDING

_FILES = sorted(path.name for path in FOLDER.iterdir() if path.name.endswith(ENDING))
NAMES = tuple(name.removesuffix(ENDING) for name in _FILES if not name.endswith(OF_PHOTOGRAPHS))


def default(dataset: Dataset) -> str:
    """The name of the study of such data that is meant where none is named."""
    return "photographs" if dataset.photographs else "digits"


def text(name: str, dataset: Dataset) -> str:
    """The text of one of NAMES, for such data."""
    own = name + OF_PHOTOGRAPHS
    file = own if dataset.photographs and own in _FILES else name + ENDING
    return (FOLDER / file).read_text(encoding="utf-8")
