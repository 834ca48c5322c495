"""The command `npkd gradcheck`: all of npkd checked on this machine."""

import argparse

from npkd import __version__, proofs
from npkd.commands import add_threads, require_names, say, set_threads
from npkd.engine import threads
from npkd.files import BadInput


def add_gradcheck(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd gradcheck."""
    say = parser.add_argument
    say(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to check: {', '.join(proofs.PROOFS)} (everything)",
    )
    say(
        "--examples",
        type=int,
        default=10,
        metavar="N",
        help="random cases for each check; of those that take long a part (10)",
    )
    say("--seed", type=int, default=0, metavar="N", help="of all randomness (0)")
    add_threads(parser)
    parser.set_defaults(run=_gradcheck)


def _gradcheck(args: argparse.Namespace) -> int:
    """Print a row for each subject as it is done, then what failed."""
    require_names(args.names, list(proofs.PROOFS))
    for option, least in (("examples", 1), ("seed", 0)):
        if getattr(args, option) < least:
            raise BadInput(
                f"--{option} is {getattr(args, option)}, expected a whole number from {least}"
            )
    set_threads(args.threads)
    say(f"npkd {__version__}: seed {args.seed}, relative errors", "")
    width = max(map(len, proofs.PROOFS)) + 2
    columns = f"{'value':>10}{'gradient':>10}{'would see':>11}"
    say(f"{'':{width}}checks  examples{columns}  where the gradient is worst")
    failed = []
    with threads.one_blas_thread():
        for row in proofs.prove(args.names or list(proofs.PROOFS), args.examples, args.seed):
            verdict = f"FAILED {len(row.failures)} times" if row.failures else row.gradient.where
            errors = f"{row.value.relative:10.1e}{row.gradient.relative:10.1e}"
            errors += f"{row.gradient.power:11.1e}"
            line = f"{row.name:{width}}{row.checks:6}{row.examples:10}{errors}  {verdict}"
            say(line.rstrip())
            if row.failures:
                failed.append(row.name)
                say(*(f"    {line}" for line in row.failures[0].splitlines()))
    say("", f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0
