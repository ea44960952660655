"""`python -m overnight.cli` is `overnight`."""

import sys

from overnight.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
