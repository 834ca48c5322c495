"""The command `npkd explore`: a finished run as a page to be tried."""

import argparse
from pathlib import Path

from npkd.commands import say
from npkd.explore import page
from npkd.files import writing_to


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of npkd explore."""
    parser.add_argument("folder", metavar="DIR", help="the folder of a run: runs/NAME-SEED")
    parser.add_argument("--out", metavar="FILE", help=f"the page (DIR/{page.NAME})")
    parser.set_defaults(run=_explore)


def _explore(args: argparse.Namespace) -> int:
    """Write the page, and say where it is."""
    out = Path(args.out) if args.out else Path(args.folder) / page.NAME
    with writing_to(out.parent):
        page.write(args.folder, out)
    say(f"made {out}, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
