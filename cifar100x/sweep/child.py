"""One job of a sweep in a process of its own, which is given its config on standard input."""

import json
import sys

from cifar100x.app.command import one_line_errors, see_working_folder


def main() -> None:
    """Train it and say what came out."""
    with one_line_errors():
        from rich.console import Console

        from cifar100x.app.jobs import make_job
        from cifar100x.training.run import train

        see_working_folder()
        print(train(make_job(json.load(sys.stdin)), Console(markup=False)), flush=True)


if __name__ == "__main__":
    main()
