"""How soon commands answer, against importing Hydra and composing the config, which is the least that they need.

    python -m bench.startup

Each is a process of its own, in turn; seconds are those that all its threads spent on a core.
"""

import resource
import statistics
import subprocess
import sys

from cifar100x.app.configs import CONF

ROUNDS = 7
LEAST = f"""
import hydra
with hydra.initialize_config_dir({str(CONF)!r}, version_base="1.3"):
    hydra.compose("train")
"""
COMMANDS = {
    "import Hydra and compose": ["-c", LEAST],
    "train --help": ["-m", "cifar100x.train", "--help"],
    "train, a mistyped key": ["-m", "cifar100x.train", "trainer.max_epoch=3"],
    "train, a mistyped choice": ["-m", "cifar100x.train", "model=arch3"],
    "train, a value of another type": ["-m", "cifar100x.train", "fold=first"],
    "train, an added key": ["-m", "cifar100x.train", "+trainer.max_epoch=3"],
    "train --cfg job": ["-m", "cifar100x.train", "--cfg", "job"],
    "status of no study": ["-m", "cifar100x.status", "study=none", "runs=/nowhere"],
    "predict --help": ["-m", "cifar100x.predict", "--help"],
    "export --help": ["-m", "cifar100x.export", "--help"],
    "what a run imports": ["-c", "import cifar100x.app.jobs"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """What one process spends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure all in turn; print medians and ratios."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            seconds[name].append(cpu_seconds(arguments))
    least = next(iter(seconds.values()))
    for name, measured in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(measured, least, strict=True))
        spread = f"(of {ROUNDS}: {min(measured):.2f} to {max(measured):.2f})"
        print(f"{name:32} {statistics.median(measured):5.2f} s  {spread}  ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
