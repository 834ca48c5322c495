"""`python -m npkd` is the command `npkd`."""

import sys

from npkd.cli import main

sys.exit(main())
