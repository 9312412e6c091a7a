"""What a config names under `_target_`: its images and its network."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cifar100x.app.arguments import make
from cifar100x.app.schema import Batches

if TYPE_CHECKING:
    from cifar100x.data.store import ImageStore


def open_store(config: Mapping[str, Any]) -> "ImageStore":
    """Open the images of a config, building their store on first use.

    Raises:
        UserError: there are none, or they are damaged.
    """
    others = (*Batches.__annotations__, "fingerprint")
    node = {name: value for name, value in config["data"].items() if name not in others}
    return make(node | {"cache": config["cache"]}, "data")


def make_net(config: Mapping[str, Any]) -> Any:
    """Make the network of a config, with weights drawn from torch's random numbers."""
    return make(config["model"]["net"], "model.net")
