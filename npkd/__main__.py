"""`python -m npkd` is the command `npkd`."""

import sys

from npkd.cli import main

if __name__ == "__main__":  # and not a worker of MPI that looks at what its master runs
    sys.exit(main())
