"""The command `npkd`, which is `python -m npkd` too, from its first moment on."""

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> int:
    """Run the command. Ctrl-C while it is still being imported is one line too."""
    signal.signal(signal.SIGINT, _interrupted)  # an exception might be lost in somebody's import
    from npkd import cli

    args = cli.parsed()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = cli.run(args)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: no second Ctrl-C changes it
    except KeyboardInterrupt:  # just before the command begins, or after its end
        _interrupted()
    return status


def _interrupted(*_: object) -> "NoReturn":
    os.write(2, b"npkd: interrupted\n")
    os._exit(130)


if __name__ == "__main__":  # and not a worker of MPI that looks at what its master runs
    sys.exit(main())
