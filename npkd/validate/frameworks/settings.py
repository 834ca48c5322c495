"""A framework's settings, as options of a command."""

import argparse
from typing import Any

from npkd.engine import threads
from npkd.files import BadInput
from npkd.validate.frameworks import FRAMEWORKS


def add(parser: argparse.ArgumentParser, framework: str) -> None:
    """Add what there is to choose."""
    for name, setting in FRAMEWORKS[framework].settings.items():
        if setting.kind is bool:
            parser.add_argument(f"--{name}", action="store_true", help=setting.help)
            continue
        given = {"choices": setting.choices} if setting.choices else {"metavar": "N"}
        parser.add_argument(
            f"--{name}", type=setting.kind, default=setting.default, help=setting.help, **given
        )


def chosen(args: argparse.Namespace, framework: str) -> dict[str, Any]:
    """What was chosen, as the adapter takes it. Raises BadInput for a number of threads."""
    found = {name: vars(args)[name] for name in FRAMEWORKS[framework].settings}
    if found.get("threads") is not None and not 1 <= found["threads"] <= threads.MOST:
        raise BadInput(
            f"--threads is {found['threads']}, expected a whole number from 1 to {threads.MOST}"
        )
    return found
