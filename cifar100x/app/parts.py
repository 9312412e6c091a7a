"""What a config names under `_target_`: its images and its network."""

import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.utils import get_object

from cifar100x.app.arguments import located, make, maker
from cifar100x.app.schema import Batches
from cifar100x.errors import UsageError, UserError

if TYPE_CHECKING:
    from cifar100x.data.store import ImageStore

OURS = {
    *(f"cifar100x.data.{source}.open_store" for source in ("cifar10", "cifar100", "images", "imagenet", "synthetic")),
    "cifar100x.data.augmentation.Each",
    "cifar100x.data.augmentation.ShiftAndFlip",
    "cifar100x.nets.autoencoder.Autoencoder",
    "cifar100x.nets.conv.ConvNet",
    "cifar100x.nets.resnet.ResNet",
    "cifar100x.nets.transfer.TransferNet",
    "cifar100x.nets.vae.VariationalAutoencoder",
    "cifar100x.training.loggers.CSV",
    "cifar100x.training.loggers.TensorBoard",
    "lightning.pytorch.loggers.CSVLogger",  # of earlier versions
    "timm.create_model",
}
"""What a config that somebody hands over may name, beside torchvision's functions that make models, and `KINDS`."""
KINDS = {
    "torch.optim.": ("torch.optim.Optimizer", "torch.optim.lr_scheduler.LRScheduler"),
    "torchvision.transforms.v2.": ("torchvision.transforms.v2.Transform",),
    "lightning.pytorch.callbacks.": ("lightning.pytorch.Callback",),
}
"""Where classes lie that it may name too, and of which kinds they must be."""
ALL = ("data", "model", "recipe", "logger", "callbacks")
FETCHING = ("pretrained", "weights", "weights_backbone", "checkpoint_path")
"""Arguments of model functions that read weights from somewhere else."""


def open_store(config: Mapping[str, Any]) -> "ImageStore":
    """Open the images of a config, building their store on first use.

    Raises:
        UserError: there are none, or they are damaged.
    """
    others = (*Batches.__annotations__, "fingerprint", "num_train")
    node = {name: value for name, value in config["data"].items() if name not in others}
    return make(node | {"cache": config["cache"]}, "data")


def check_model(model: Mapping[str, Any]) -> None:
    """Raise UsageError if a model lacks what every one has."""
    for part, what in (("name", "of its results"), ("net", "the network")):
        if part not in model:
            raise UsageError(f"model lacks {part}, {what} (it has {', '.join(model)})")


def net_maker(config: Mapping[str, Any]) -> Callable[[], Any]:
    """What makes the network of a config, with weights drawn from torch's random numbers.

    Raises:
        UserError: it is not there, does not take these arguments, or would download weights, when it is called.
    """
    return partial(_without_network, maker(config["model"]["net"], "model.net"))


def make_net(config: Mapping[str, Any]) -> Any:
    """Make the network of a config."""
    return net_maker(config)()


def trusting(
    make_part: Callable[[Mapping[str, Any]], Any],
    trusted: Collection[str] = (),
    parts: Sequence[str] = ("data", "model"),
) -> Callable[..., Any]:
    """What makes a part of a config that somebody handed over, which may name what is on a list or trusted, only.

    Args:
        make_part: `make_net`, or `make_job` with `parts` ALL.
        trusted: names of packages.
        parts: of the config that are looked at.
    """

    def checked(config: Mapping[str, Any]) -> Any:
        for part in parts:
            refuse_untrusted(config.get(part), trusted, part)
        return make_part(config)

    return checked


def refuse_untrusted(node: Any, trusted: Collection[str], key: str) -> None:
    """Raise UserError if a node of a config, which stands there, or one in it, names what may not be called."""
    if isinstance(node, Mapping):
        if "_target_" in node and not _is_trusted(node, trusted, key):
            path = str(node["_target_"])
            raise UserError(
                f"this run names {path}, which would be called: if you trust the package, say so with "
                f"trust {path.split('.')[0]} (--trust {path.split('.')[0]}, or trust=[{path.split('.')[0]}])"
            )
        for name, value in node.items():
            refuse_untrusted(value, trusted, f"{key}.{name}")
    elif isinstance(node, list | tuple):
        for value in node:
            refuse_untrusted(value, trusted, key)


def _is_trusted(node: Mapping[str, Any], trusted: Collection[str], key: str) -> bool:
    path = str(node["_target_"])
    if path.split(".")[0] in trusted:
        made_in = getattr(located(path, key), "__module__", None) or path
        return str(made_in).split(".")[0] in trusted  # and not in what the package itself has imported
    if any(node.get(name) for name in FETCHING) or ":" in str(node.get("model_name", "")):
        return False
    return path in OURS or _is_torchvision_model(path) or _is_of_a_kind(path, key)


def _is_of_a_kind(path: str, key: str) -> bool:
    kinds = next((kinds for place, kinds in KINDS.items() if path.startswith(place)), ())
    found = located(path, key) if kinds else None
    return isinstance(found, type) and issubclass(found, tuple(get_object(kind) for kind in kinds))


def _is_torchvision_model(path: str) -> bool:
    if not path.startswith("torchvision.models."):
        return False
    import torchvision

    return path.removeprefix("torchvision.models.") in torchvision.models.list_models(module=torchvision.models)


def _without_network(make_it: Callable[[], Any]) -> Any:
    """Make it while no connection can be opened: a run starts from weights that a seed draws."""
    tried: list[str] = []
    with _refusing_connections(tried):
        try:
            return make_it()
        except Exception as error:
            if tried:
                raise UserError(
                    f"model.net: its constructor wants to fetch something from {tried[0]}, probably trained weights; "
                    "networks are trained from scratch here: choose pretrained=false or weights=null"
                ) from error
            raise


@contextmanager
def _refusing_connections(tried: list[str]) -> Iterator[None]:
    """Note the hosts that somebody looks up, as is done before a connection to them is opened, and refuse."""

    def refuse(host: Any, *_: Any, **__: Any) -> NoReturn:
        tried.append(host if isinstance(host, str) else str(host))
        raise ConnectionRefusedError(f"no connection to {host} while a network is made")

    lookup = socket.getaddrinfo
    socket.getaddrinfo = refuse
    try:
        yield
    finally:
        socket.getaddrinfo = lookup
