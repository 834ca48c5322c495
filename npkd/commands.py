"""What the commands share: parsing, printing, Ctrl-C, and what becomes of errors.

`say` is the only place that prints, and `say_json` for programs. Text from outside (names of
settings, of classes, of cases) passes through them, so that no terminal obeys what somebody has put
into a file.

Exit statuses, of all commands:

    0       done, and all is well
    1       done, and something is wrong: a check failed, a BUG was found, a tensor that is needed
            is missing, nothing was judged, a training failed, an image could not be read
    2       not done: a mistake, a file that is not what it should be, no memory, a full disk
    130     stopped by Ctrl-C; 143 by SIGTERM, 141 as nobody reads the output any more
"""

import argparse
import io
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, NoReturn, TextIO

from npkd.data.images import SIDES
from npkd.data.sources import require_options
from npkd.engine import threads
from npkd.files import BadInput, one_line


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        self.exit(2, one_line(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: it stops a command as Ctrl-C does."""


def say(*lines: str, error: bool = False) -> None:
    """Print these lines; on standard error if they are about an `error`.

    Each is `one_line`, whatever is in it, so that no name adds one: a text is said by its lines.
    """
    text = "\n".join(map(one_line, lines))
    with suppress(OSError) if error else nullcontext():  # nobody reads them: the status remains
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


def say_json(value: Any) -> None:
    """Print a value for programs, as JSON in ASCII, of which a terminal obeys nothing."""
    text = json.dumps(value, indent=2, allow_nan=False)
    print(text.replace("\x7f", "\\u007f"), flush=True)


def say_where(text: str = "") -> None:
    """On a terminal, show in a line of its own where a command is; the next one replaces it."""
    if sys.stderr.isatty():
        print(f"\r{one_line(text)}\033[K", end="", file=sys.stderr, flush=True)


def run(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The status of a command; what it raises becomes one line.

    args.command: its name. args.to_resume, if there is one: the command line that goes on where
    this one was stopped.
    """
    name = args.command
    go_on = f"; go on with: {args.to_resume}" if hasattr(args, "to_resume") else ""
    try:
        with _notes(), _heeding((signal.SIGTERM,), _stop):
            return command(args)
    except BadInput as error:
        say(f"npkd {name}: {error}", error=True)
    except KeyboardInterrupt as stopped:
        say(f"npkd {name}: interrupted{go_on}", error=True)
        return 143 if isinstance(stopped, Terminated) else 130
    except BrokenPipeError:  # whoever read our output has gone: npkd … | head
        sys.stdout = nowhere()
        return 141
    except MemoryError as error:
        what = f": {error}" if str(error) else ""
        say(f"npkd {name}: not enough memory{what}{go_on}", error=True)
    except OSError as error:  # our output goes to a disk that is full
        sys.stdout = nowhere()
        say(f"npkd {name}: {error}", error=True)
    return 2


def nowhere() -> TextIO:
    """A stream for what nobody reads."""
    return open(os.devnull, "w")


def prepare_streams() -> None:
    """Standard output and error that can be written to, whatever the text; if closed, in vain."""
    sys.stdout, sys.stderr = sys.stdout or nowhere(), sys.stderr or nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show × gets a ?


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Arguments: how the images of --data are read."""
    say = parser.add_argument
    say(
        "--size",
        type=int,
        metavar="N",
        help=f"bring images to N×N pixels, N {SIDES} (their own size if all are such squares, but "
        "28×28 gets a border and is 32×32; else those in folders are brought to 32×32, and arrays "
        "refused)",
    )
    say(
        "--background",
        metavar="COLOUR",
        help="what is seen through images that are transparent in places: white, #rrggbb (black)",
    )
    say(
        "--labels",
        choices=("fine", "coarse"),
        default="fine",
        help="of CIFAR-100: its 100 classes, or the 20 that these are grouped into (fine)",
    )


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """What `add_reading` added, as `data.load` takes it. Raises BadInput for what is none."""
    try:
        require_options(args.size, args.background, args.labels)
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"--{error}") from error
    return {"size": args.size, "background": args.background, "labels": args.labels}


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The argument that `set_threads` takes."""
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="worker threads (NPKD_NUM_THREADS, or one for each core)",
    )


def set_threads(number: int | None) -> None:
    """Use so many threads, if a number is given. Raises BadInput for one that cannot be."""
    try:
        if number is not None:
            threads.set_num_threads(number)
        threads.get_num_threads()
    except ValueError as error:
        raise BadInput(str(error)) from error


def require_names(names: Sequence[str], offered: Sequence[str]) -> None:
    """Raise BadInput unless all names are among those offered."""
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise BadInput(f"NAME is {unknown[0]!r}, expected some of {', '.join(offered)}")


class Stopping:
    """Whether Ctrl-C has been pressed, or SIGTERM has come, while a loop is at work.

    asked       the signal that has come, or 0
    at_once     whether it may stop the loop at any moment; else the loop is to look at `asked`
    """

    def __init__(self) -> None:
        self.asked, self.at_once = 0, True

    def ask(self, number: int, frame: Any) -> None:
        """A signal has come; a second one stops at once in any case."""
        if self.asked or self.at_once:
            _stop(number)
        self.asked = number

    def stop_if_asked(self) -> None:
        """Stop now, if a signal has come before."""
        if self.asked:
            _stop(self.asked)


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Let a loop end what it has begun before it is stopped, as it says by `Stopping.at_once`."""
    found = Stopping()
    with _heeding((signal.SIGINT, signal.SIGTERM), found.ask):
        yield found


def _stop(number: int, frame: Any = None) -> NoReturn:
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def _heeding(numbers: Sequence[int], handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Have these signals handled so meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)


@contextmanager
def _notes() -> Iterator[None]:
    """Let warnings be notes of one line."""

    def note(message: Warning | str, *_: Any, **more: Any) -> None:
        say(f"note: {message}", error=True)

    with warnings.catch_warnings():
        warnings.showwarning = note
        yield
