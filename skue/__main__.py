"""The command line: ``python -m skue``."""

import sys

from skue.compare._command import main

if __name__ == "__main__":
    sys.exit(main())
