"""Hand a trained network on: python -m cifar100x.export runs/demo/final exported."""

import argparse
from pathlib import Path


def main() -> None:
    """Entry point of the command line."""
    parser = argparse.ArgumentParser(prog="python -m cifar100x.export", description="Hand a trained network on.")
    parser.add_argument("run", type=Path, help="a finished run, as runs/STUDY/final or runs/STUDY/MODEL/fold0")
    parser.add_argument("target", type=Path, help="a new folder, for model.safetensors, model.onnx and card.json")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="whose networks may be made")
    arguments = parser.parse_args()

    from cifar100x.app.command import one_line_errors, see_working_folder

    with one_line_errors():
        see_working_folder(bool(arguments.trust))
        from cifar100x.app.parts import make_net, trusting
        from cifar100x.runs.exporting import export

        difference = export(arguments.run, arguments.target, trusting(make_net, arguments.trust))
        print(f"wrote {arguments.target}: model.safetensors, model.onnx (logits within {difference:.0e}), card.json")


if __name__ == "__main__":
    main()
