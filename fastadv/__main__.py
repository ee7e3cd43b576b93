"""``python -m fastadv``."""

import sys

from fastadv.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
