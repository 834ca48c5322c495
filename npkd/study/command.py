"""The command `npkd study`: when does distillation help?"""

import argparse
import logging
import tomllib
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from npkd import __version__
from npkd.commands import add_reading, reading, say, set_threads
from npkd.data import Dataset
from npkd.distill import evaluate
from npkd.distill.report import contents
from npkd.distill.report.table import NAMES
from npkd.engine import threads
from npkd.files import BadInput, read_bytes, writing_to
from npkd.study import page, picture, plan, results, running, shipped, tables
from npkd.study.cells import Source
from npkd.study.processes import Processes

MOST_BYTES = 1 << 20  # of a file that describes a study
MOST_WORKERS = 1024  # processes


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `npkd study`."""
    say = parser.add_argument
    say(
        "file",
        nargs="?",
        metavar="FILE",
        help="the study, as TOML, or one that comes with npkd, see --list (photographs for CIFAR, "
        "digits for all other data). --print shows it",
    )
    say("--data", default="mnist5k", metavar="PATH", help="as for npkd distill (mnist5k)")
    add_reading(parser)
    say("--seeds", type=int, nargs="+", metavar="N", help="in place of those of the file")
    say(
        "--held-out",
        action="store_true",
        help="test on every fifth training image, which is then not trained on, in place of the "
        "test images: for choosing settings",
    )
    say("--list", action="store_true", help="those that come with npkd, and what each asks")
    say("--print", action="store_true", help="print the study's TOML, and do nothing")
    say(
        "--workers",
        type=int,
        metavar="N",
        help="processes on this machine (as many as the cores have --threads)",
    )
    say(
        "--threads",
        type=int,
        metavar="N",
        help="threads of each process (its share of the cores; with --dask and --mpi 1)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="let the workers of a Dask cluster do it; the address of its scheduler, such as "
        "tcp://HOST:8786 (extra cluster). PATH must be there on each of them",
    )
    where.add_argument(
        "--mpi",
        action="store_true",
        help="let the processes of MPI do it: mpiexec -n N python -m mpi4py.futures -m npkd study "
        "--mpi (needs mpi4py)",
    )
    say("--out", metavar="DIR", help="new folder for the results (runs/study-DATA-NAME)")
    say(
        "--resume",
        action="store_true",
        help="go on in that folder: trainings that it holds, of the same settings and data, are "
        "not done again, others are added",
    )
    parser.set_defaults(run=_study)


def _study(args: argparse.Namespace) -> int:
    """Read the study, do what is not done yet, and write what it found."""
    for option, least, most, values in (
        ("--workers", 1, MOST_WORKERS, [args.workers]),
        ("--threads", 1, threads.MOST, [args.threads]),
        ("--seeds", 0, plan.MOST_SEED - 1, args.seeds or []),
    ):
        for value in values:
            if value is not None and not least <= value <= most:
                raise BadInput(
                    f"{option} is {value}, expected a whole number from {least} to {most}"
                )
    set_threads(None)
    source = Source.of(args.data, args.held_out, **reading(args))
    dataset = source.load()
    if not len(dataset.test_labels):
        raise BadInput(f"{args.data}: too few images of each class to hold a fifth out")
    if args.list:
        say(*_listed(dataset))
        return 0
    text = _text(args, dataset)
    if args.print:
        say(*text.removesuffix("\n").split("\n"))
        return 0
    try:
        study = plan.read(text, dataset)
        if args.seeds:
            study = replace(study, seeds=plan.checked_seeds(args.seeds))
    except BadInput as error:
        raise BadInput(f"{args.file or 'the study'}: {error}") from error
    named = f"-{Path(args.file).stem}" if args.file else ""
    out = args.out or f"runs/study-{dataset.name}{named}{'-held-out' * args.held_out}"
    with running.study_folder(out, args.resume) as folder, _executor(args) as workers:
        _say_what(study, dataset, source, workers)
        done, failed = _follow(study, source, folder, workers)
        found = results.report(study, source, dataset, done, failed)
        _write(folder, found, lambda: results.nets_of(study, dataset))
    return 1 if failed else 0


def _listed(dataset: Dataset) -> Iterator[str]:
    """The studies that come with npkd, and what each asks of such data."""
    width = max(map(len, shipped.NAMES))
    for name in shipped.NAMES:
        question = tomllib.loads(shipped.text(name, dataset))["question"]
        yield f"{name:{width}}  {' '.join(question.split())}"


def _text(args: argparse.Namespace, dataset: Dataset) -> str:
    """The TOML of the study."""
    if args.file is None or (args.file in shipped.NAMES and not Path(args.file).is_file()):
        return shipped.text(args.file or shipped.default(dataset), dataset)
    try:
        return read_bytes(args.file, at_most=MOST_BYTES, what="a study").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{args.file}: not a text in UTF-8") from error


@dataclass
class _Workers:
    """An executor, another one when it breaks, and how much it can do at a time."""

    executor: Executor
    renew: Callable[[], Executor] | None
    number: int
    threads: int
    words: str


def _executor(args: argparse.Namespace) -> AbstractContextManager[_Workers]:
    """Where the cells are run: the processes of this machine, of a Dask cluster, or of MPI."""
    of = _dask if args.dask else _mpi if args.mpi else _processes
    return of(args)


@contextmanager
def _processes(args: argparse.Namespace) -> Iterator[_Workers]:
    cores = threads.get_num_threads()
    number = args.workers or max(1, cores // (args.threads or 1))
    share = args.threads or max(1, cores // number)
    with Processes(number) as executor:
        yield _Workers(executor, lambda: executor, number, share, "process(es)")


@contextmanager
def _dask(args: argparse.Namespace) -> Iterator[_Workers]:
    try:
        from distributed import Client
    except ImportError as error:
        raise BadInput("--dask needs Dask (pip install 'npkd[cluster]')") from error
    warnings.filterwarnings("ignore", message="Sending large graph")  # a teacher, to each pupil
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said below
    try:
        client = Client(args.dask, timeout=20)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"--dask {args.dask}: no scheduler answers there: {error}") from error
    with client:
        number = sum(client.nthreads().values())
        if not number:
            raise BadInput(f"--dask {args.dask}: the cluster has no workers")
        executor = _OfDask(client)
        try:
            yield _Workers(executor, None, number, args.threads or 1, "Dask worker(s)")
        except running.Gone as error:
            raise BadInput(
                f"--dask {args.dask}: the scheduler has gone; go on with: {args.to_resume}"
            ) from error


class _OfDask(Executor):
    """Dask's executor, but that it says at once where there is no scheduler any more.

    What is given to Dask's then waits for it to come back; what it had before is called off.
    """

    def __init__(self, client: Any):
        self.client, self.executor = client, client.get_executor()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Let one of the workers do it. Raises running.Gone."""
        if self.client.status != "running":
            raise running.Gone("the scheduler has gone")
        return self.executor.submit(work, *arguments, **named)


@contextmanager
def _mpi(args: argparse.Namespace) -> Iterator[_Workers]:
    try:
        from mpi4py.futures import MPIPoolExecutor
    except ImportError as error:
        raise BadInput("--mpi needs mpi4py and an MPI (pip install mpi4py)") from error
    with MPIPoolExecutor(args.workers) as executor:
        number = executor.num_workers
        if not number:
            raise BadInput(
                "--mpi: there are no workers; start it as mpiexec -n N python -m mpi4py.futures "
                "-m npkd study --mpi, N at least 2"
            )
        yield _Workers(executor, None, number, args.threads or 1, "MPI worker(s)")


def _say_what(study: plan.Study, dataset: Dataset, source: Source, workers: _Workers) -> None:
    of = "held-out" if source.held_out else "test"
    say(
        f"npkd {__version__}: {dataset.name}, {len(dataset.train_labels):,} images to "
        f"train and {len(dataset.test_labels):,} {of} ones; {len(study.settings)} setting(s) × "
        f"{len(study.seeds)} seed(s), {workers.number} {workers.words} of {workers.threads} "
        "thread(s)",
        *(f"note: {text}" for text in dataset.notes),
    )


def _follow(
    study: plan.Study, source: Source, folder: Path, workers: _Workers
) -> tuple[dict[str, running.Done], dict[str, str]]:
    """Show the cells of a study as they end; those that are done, and why others are not."""
    done: dict[str, running.Done] = {}
    failed: dict[str, str] = {}
    total = found = 0
    names = plan.names_of_cells(study)
    events = running.run(
        study,
        source,
        workers.executor,
        folder,
        at_once=2 * workers.number,
        threads=workers.threads,
        renew=workers.renew,
    )
    for event in events:
        match event:
            case running.Planned():
                total, found = event.cells, event.found
                known = f", {found} of them done before" if found else ""
                say(f"{total} trainings{known}")
            case running.Damaged():
                say(f"note: {event.reason}; made anew")
            case running.Done():
                done[event.cell.key] = event
                if event.number > found:
                    text = f"{evaluate.in_words(event.figures)}, {event.seconds:.0f} s"
                    say(f"    {_cell(event, total, names)}: {text}")
            case running.Failed():
                failed[event.cell.key] = event.reason
                say(f"    {_cell(event, total, names)}: FAILED: {event.reason}")
    return done, failed


def _cell(event: running.Done | running.Failed, total: int, names: dict[str, str]) -> str:
    """Which cell it is that has ended: the net, the seed, and the first setting that has it."""
    cell = event.cell
    setting = tables.shortened(names[cell.key])
    text = f"{NAMES[cell.net]}, seed {cell.config.seed}, {setting}"
    return f"{event.number}/{total} {text}"


def _write(
    folder: Path, found: dict[str, Any], measured: Callable[[], list[dict[str, Any]]]
) -> None:
    """Write study.json, study.png and study.html, and print the tables and what they say."""
    with writing_to(folder):
        contents.write_json(folder / running.RESULT, found)
        nets = measured()  # once nothing can be lost
        say("", *tables.table(found).split("\n"), "", *tables.conclusion(found))
        say("", *tables.table_of_others(found).split("\n"))
        say("", *tables.table_of_nets(nets).split("\n"), "", found["question"] or page.QUESTION)
        say(*(f"    {sentence}" for sentence in page.answer(found)))
        made = [running.RESULT]
        try:
            picture.draw(folder / "study.png", found)
            page.write(folder / "study.html", found, nets)
            made += ["study.png", "study.html"]
        except (ImportError, BadInput) as error:
            again = "the same command with --resume makes them"
            say(f"note: study.png and study.html are not made: {error}; {again}")
    say("", f"made {', '.join(made)} in {folder}")
