"""What a config that somebody handed over may name."""

import pytest
import yaml

from cifar100x.app.configs import CONF
from cifar100x.app.parts import ALL, refuse_untrusted
from cifar100x.errors import UserError

CONFIGS = [path for part in ALL for path in (CONF / part).rglob("*.yaml")]


def test_whatever_our_own_configs_name_is_trusted():
    """Else `final` would refuse a study that was trained with them."""
    named = [yaml.safe_load(path.read_text()) for path in CONFIGS]
    assert sum("_target_" in str(node) for node in named) > 15
    for node in named:
        refuse_untrusted(node, (), "part")


@pytest.mark.parametrize("target", ["os.system", "cifar100x.final.final", "torch.load", "torch.optim.Optimizer.step"])
def test_what_is_not_ours_is_refused_wherever_it_is_named(target):
    ours = {"_target_": "cifar100x.nets.conv.ConvNet"}
    with pytest.raises(UserError, match=target):
        refuse_untrusted({"net": [ours, {"deep": {"_target_": target}}]}, (), "model")


def test_what_is_not_there_is_told_in_a_line():
    """A class of a later torch, or a package that is trusted but not installed."""
    for target, trusted in (("torch.optim.Nothing", ()), ("not_installed.Net", ("not_installed",))):
        with pytest.raises(UserError, match=rf"recipe\.optimizer\._target_: {target} cannot be imported"):
            refuse_untrusted({"optimizer": {"_target_": target}}, trusted, "recipe")
