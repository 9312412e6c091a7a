"""What is shipped: a wheel that finds its configs wherever it is installed."""

import os
import subprocess
import sys
from pathlib import Path

from cifar100x.data.classes import CLASSES, COARSE_OF_FINE, SUPERCLASSES

ROOT = Path(__file__).parents[1]


def shell(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def test_a_wheel_installed_elsewhere_finds_its_configs(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    shell(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    shell(*pip, "install", *offline, "--target", tmp_path / "site", wheel)
    elsewhere = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path / "site")}}
    where = shell(sys.executable, "-c", "from cifar100x.app.configs import CONF; print(CONF)", **elsewhere)
    assert Path(where.strip()) == tmp_path / "site" / "cifar100x" / "conf"
    config = shell(tmp_path / "site" / "bin" / "cifar100x-train", "--cfg", "job", "model=arch2", **elsewhere)
    assert "name: arch2-${width.name}" in config
    (tmp_path / "mynets.py").write_text("def small(width): ...")
    mine = ["model.net._target_=mynets.small", "data=synthetic", "data.train_per_class=1", "data.test_per_class=0"]
    cache = {"CIFAR100X_CACHE": str(tmp_path / "cache")}
    script = tmp_path / "site" / "bin" / "cifar100x-train"
    told = subprocess.run([script, *mine], cwd=tmp_path, env=elsewhere["env"] | cache, capture_output=True, text=True)
    assert "model.net.filters: small takes no such argument" in told.stderr, "a module in the working folder is found"
    for name in ("compare", "export", "final", "predict", "probe", "status"):
        assert (tmp_path / "site" / "bin" / f"cifar100x-{name}").exists()


def test_classes_are_those_of_the_official_labels():
    """The first coarse labels as published with the data set: apple 4, aquarium fish 1, baby 14, bear 8, beaver 0."""
    assert (len(CLASSES), len(SUPERCLASSES)) == (100, 20)
    assert COARSE_OF_FINE[:5] == (4, 1, 14, 8, 0)
    assert list(CLASSES) == sorted(CLASSES)
    assert [COARSE_OF_FINE.count(coarse) for coarse in range(20)] == [5] * 20


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text().splitlines()
    targets = next(line for line in makefile if line.startswith(".PHONY:")).split()[1:]
    listed = [line.split()[0] for line in shell("make", "help", cwd=ROOT).splitlines() if line and line[0] != " "]
    assert len(targets) >= 10
    assert set(targets) <= set(listed)
