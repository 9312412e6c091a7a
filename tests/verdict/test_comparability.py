"""In what candidates differ: one decision is counted once, whoever else is in the study."""

import copy

import pytest

from cifar100x.data.classes import CIFAR100
from cifar100x.runs.result import Result
from cifar100x.verdict.comparability import decisions, same_network

CONFIG = {
    "task": "classification",
    "learning_rate": 0.1,
    "weight_decay": 0.0,
    "seed": 42,
    "reading": {"name": "reported", "dropout": 0.0, "batch_norm": "fixed", "weight_decay": 0.0},
    "recipe": {"name": "modern", "schedule": {"max_lr": 0.1}},
    "width": {"multiplier": 1.0},
    "data": {"batch_size": 50},
    "model": {
        "name": "t-arch2",
        "encoder": "autoencoder",
        "encoder_fingerprint": "aaaaaaaaaaaaaaaa",
        "net": {"filters": [32, 64], "width_multiplier": 1.0, "dropout": 0.0},
    },
}


def changed(**changes):
    """The config with other values, by dotted names with _ for a dot where they are one word."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *path, last = key.split("__")
        node = config
        for name in path:
            node = node[name]
        node[last] = value
    return config


def results_of(*configs):
    return {
        str(i): [Result("", fold, {}, [], None, CIFAR100) for fold in (c if isinstance(c, list) else [c])]
        for i, c in enumerate(configs)
    }


ONE_DECISION = {
    "learning rate": {"learning_rate": 0.2, "recipe__schedule__max_lr": 0.2},
    "weight decay": {"weight_decay": 0.01, "reading__weight_decay": 0.01},
    "width multiplier": {"width__multiplier": 0.5, "model__net__width_multiplier": 0.5},
    "encoder": {"model__encoder": "vae", "model__encoder_fingerprint": "bbbbbbbbbbbbbbbb"},
    "reading": {
        "reading": {"name": "keep80", "dropout": 0.2, "batch_norm": "batch", "weight_decay": 0.01},
        "weight_decay": 0.01,
        "model__net__dropout": 0.2,
    },
}


@pytest.mark.parametrize("name", ONE_DECISION)
def test_what_follows_from_a_decision_is_none_of_its_own(name):
    other = changed(**ONE_DECISION[name])
    assert list(decisions(results_of(CONFIG, other))) == [name]
    assert same_network(CONFIG, other)


def test_a_reading_that_comes_with_a_recipe():
    """The paper's networks take the recipe's own reading; one that is chosen beside a recipe is a decision."""
    recipe = {"name": "modern", "schedule": None}
    of_paper = changed(recipe={"name": "paper", "schedule": None})
    follows = changed(recipe=recipe, reading={"name": "modern", "dropout": 0.2, "batch_norm": "batch"})
    chosen = changed(recipe=recipe, reading={"name": "keep80", "dropout": 0.2, "batch_norm": "batch"})
    assert list(decisions(results_of(of_paper, follows))) == ["recipe"]
    assert list(decisions(results_of(of_paper, chosen))) == ["reading", "recipe"]


def test_another_network_is_one():
    other = changed(model__net__filters=[64, 128])
    assert decisions(results_of(CONFIG, other)) == {}
    assert not same_network(CONFIG, other)
    only_the_net = changed(model__net__width_multiplier=0.5)
    assert not same_network(CONFIG, only_the_net), "else nothing would tell of it"


def test_a_learning_rate_that_not_all_recipes_schedule():
    of_paper = changed(learning_rate=1e-4, recipe={"name": "paper", "schedule": None})
    faster = changed(learning_rate=0.2, recipe__schedule__max_lr=0.2)
    found = decisions(results_of(of_paper, CONFIG, faster))
    assert found == {"recipe": ["paper", "modern", "modern"], "learning rate": ["0.0001", "0.1", "0.2"]}


def test_folds_on_encoders_of_their_own():
    """Two candidates with one encoder a fold, each of another kind, differ in them."""
    kinds = [[changed(model__encoder_fingerprint=f"{kind}{fold}".ljust(16, "0")) for fold in range(2)] for kind in "ab"]
    assert list(decisions(results_of(*kinds))) == ["encoder"]
    assert decisions(results_of(kinds[0], kinds[0])) == {}
