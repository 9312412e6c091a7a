"""One job of a sweep in a process of its own, which is given its config on standard input."""

import json
import sys

from cifar100x.app.command import one_line_errors, see_working_folder


def main() -> None:
    """Train it and say what came out."""
    with one_line_errors():
        from rich.console import Console

        from cifar100x.app.jobs import make_job
        from cifar100x.runs.directory import RunHeldError
        from cifar100x.sweep.queues import LEFT
        from cifar100x.training.run import train

        see_working_folder()
        try:
            print(train(make_job(json.load(sys.stdin)), Console(markup=False)), flush=True)
        except RunHeldError as error:
            print(f"left to another sweep: {error}", flush=True)
            sys.exit(LEFT)


if __name__ == "__main__":
    main()
