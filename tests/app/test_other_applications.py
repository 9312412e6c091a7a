"""Another Hydra application in the same environment notices nothing of ours."""

import subprocess
import sys

APPLICATION = """
import sys

import hydra
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("if", lambda x: x)


@hydra.main(version_base="1.3", config_path=None)
def main(config):
    print("cifar100x modules:", [name for name in sys.modules if name.startswith("cifar100x")])


main()
"""


def answer(tmp_path, *arguments):
    (tmp_path / "other.py").write_text(APPLICATION)
    shell = [sys.executable, "other.py", "hydra.run.dir=.", "hydra.output_subdir=null", *arguments]
    result = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_it_runs_with_a_resolver_of_our_name(tmp_path):
    assert "cifar100x modules: []" in answer(tmp_path)


def test_its_help_shows_nothing_of_ours(tmp_path):
    shown = answer(tmp_path, "--help") + answer(tmp_path, "--hydra-help") + answer(tmp_path, "--info", "defaults-tree")
    assert "cifar100x" not in shown.replace("hydra_plugins.cifar100x_sweep", "")
    assert "longest_first" not in shown
    assert "arch1" not in shown
