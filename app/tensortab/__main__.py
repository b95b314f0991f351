"""`python -m tensortab COMMAND`: describe a model file, chat in the terminal, pack models in shards."""

import argparse
import sys

from . import commands
from .errors import Error


def main(arguments: list[str] | None = None) -> int:
    """Runs a command. Returns 0, or 1 after it has printed an error."""
    parser = argparse.ArgumentParser(prog="python -m tensortab", description=__doc__)
    names = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in commands.NAMES:
        command = commands.load(name)
        about = (command.__doc__ or "").strip()
        options = names.add_parser(name, help=about.splitlines()[0], description=about)
        command.options(options)
        options.set_defaults(run=command.run)
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except Error as error:
        print(f"tensortab: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
