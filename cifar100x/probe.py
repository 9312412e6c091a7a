"""Ask what a pre-trained encoder knows, with linear probes: python -m cifar100x.probe study=demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar100x.app.command import launch
from cifar100x.app.schema import Cut, Device
from cifar100x.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from cifar100x.data.store import Split
    from cifar100x.runs.study import Study


def probe(
    *,
    study: str,
    runs: str,
    cache: str | None,
    encoder: str,
    seed: int,
    folds: Cut,
    trainer: Device,
    data: dict[str, Any] | None = None,
) -> None:
    """Fit linear probes on the code, the features before it, and raw pixels, on folds of a study."""
    from rich.console import Console
    from torch import nn

    from cifar100x.app.naming import is_name, study_named
    from cifar100x.app.parts import make_net, trusting
    from cifar100x.probing.probes import probe_all
    from cifar100x.report import tables
    from cifar100x.runs.directory import RunDirectory
    from cifar100x.runs.networks import PretrainedEncoder
    from cifar100x.training import machine

    device = machine.resolve_device(trainer["accelerator"])
    found = study_named(runs, study)
    pretraining = found.pretraining(encoder) if is_name(encoder) else RunDirectory(Path(encoder))
    remedy = "make it with make pretrain, or name another with encoder=/path/to/run"
    weights = PretrainedEncoder(pretraining, remedy)
    net = trusting(make_net)(pretraining.config).encoder
    weights.load_into(net)
    net.eval()
    split, cut = images_of(found, cache) if data is None else images_named(data, cache, folds)
    console = Console(markup=False)
    precision = machine.resolve_precision(trainer["precision"], device)
    machine.allow_tf32(precision != "float32")
    probes = probe_all(
        {"code": net, "features": net.features, "pixels": nn.Identity()},
        split,
        cut,
        device=device,
        precision=precision,
        seed=seed,
        console=console,
    )
    path = tables.write_probes(probes, found.probe_file(pretraining, data["name"] if data else None))
    tables.show_probes(probes, f"{len(cut)} folds of {data['name'] if data else f'study {study}'}", path, console)


def images_of(study: "Study", cache: str | None) -> "tuple[Split, list[np.ndarray]]":
    """The images that the runs of a study share, and their folds, those of the first repetition."""
    from cifar100x.data.store import cache_folder, store_of

    configs = (run.config for run in study.all_runs())
    config = next((config for config in configs if config.get("task") == "classification"), None)
    if config is None:
        raise UserError(
            f"{study.path} has no classifier whose images and folds a probe could take: train one, or name images "
            "with data=cifar100"
        )
    store = store_of(cache_folder(cache), config["data"])
    return store.split("train"), study.folds[: config["folds"]["num"]]


def images_named(data: dict[str, Any], cache: str | None, folds: Cut) -> "tuple[Split, list[np.ndarray]]":
    """Images of a data set, and folds cut as a run would cut them."""
    from cifar100x.app.parts import open_store
    from cifar100x.data.folds import k_folds

    split = open_store({"data": data, "cache": cache}).split("train")
    return split, k_folds(split.fine, folds["num"], folds["seed"], data["limit"], folds["stratified"])


def main() -> None:
    """Entry point of the command line."""
    launch(probe, "probe")


if __name__ == "__main__":
    main()
