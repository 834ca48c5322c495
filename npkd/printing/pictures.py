"""Pictures as bytes; matplotlib is asked for nowhere else."""

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from npkd.files import BadInput

Draw = Callable[[Any], None]  # on a figure or a part of one


def png(draw: Draw, *, width: float, height: float, dpi: int = 100) -> bytes:
    """The bytes of a picture of so many inches. All pictures of npkd are made here.

    Raises ImportError without matplotlib, and BadInput if it cannot draw, whatever it has been set
    to: so a command can say so in one line, and go on without pictures.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # not of caches and settings files
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with _plain_text():
            figure = Figure(figsize=(width, height), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure)
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=dpi)
    except ImportError as error:
        raise ImportError("pictures need matplotlib (pip install 'npkd[app]')") from error
    except Exception as error:
        backend = repr(os.environ.get("MPLBACKEND"))
        why = f"MPLBACKEND is {backend}: " * (backend in str(error)) + str(error)
        raise BadInput(f"matplotlib cannot be used: {why}") from error
    return file.getvalue()


@contextmanager
def _plain_text() -> Iterator[None]:
    """Matplotlib as it comes, whatever a user has set; a $ is a $, a letter it lacks a box."""
    from matplotlib import rc_context, rcdefaults

    with rc_context(), warnings.catch_warnings(action="ignore"):
        rcdefaults()
        with rc_context({"text.parse_math": False}):
            yield
