"""The command `npkd`, which is `python -m npkd` too, from its first moment on."""

import signal
import sys


def main() -> int:
    """Run the command. Ctrl-C while it is still being imported is one line too."""
    try:
        from npkd import cli

        status = cli.main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: no second Ctrl-C changes it
        return status
    except KeyboardInterrupt:
        from npkd.commands import say

        say("npkd: interrupted", error=True)
        return 130


if __name__ == "__main__":  # and not a worker of MPI that looks at what its master runs
    sys.exit(main())
