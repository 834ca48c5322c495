"""The command `npkd`, which is `python -m npkd` too, from its first moment on."""

import os
import signal
import sys
from typing import Any


def main() -> int:
    """Run the command. Ctrl-C while it is still being imported is one line too."""
    signal.signal(signal.SIGINT, _interrupted)  # an exception might be lost in somebody's import
    from npkd import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = cli.main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: no second Ctrl-C changes it
    return status


def _interrupted(*_: Any) -> None:
    os.write(2, b"npkd: interrupted\n")
    os._exit(130)


if __name__ == "__main__":  # and not a worker of MPI that looks at what its master runs
    sys.exit(main())
