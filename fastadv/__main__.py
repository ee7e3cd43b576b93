"""``python -m fastadv``, and what the program ``fastadv`` calls."""

import sys


def main() -> int:
    """Run the program; return its exit code."""
    try:
        from fastadv.cli.app import main as run

        return run()
    except KeyboardInterrupt:  # while the program itself is imported
        print("fastadv: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
