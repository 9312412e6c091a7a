"""A trained network as files that need nothing of this package."""

import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import save_file
from torch import nn

from cifar100x.disk.writing import put_in_place
from cifar100x.errors import UserError
from cifar100x.nets.pixels import Pixels
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.networks import MakeNet, classifiers, load_network

TOLERANCE = 1e-3
"""How far the logits of the ONNX file may be from torch's, as a fraction of the largest."""


def export(path: Path, target: Path, make_net: MakeNet) -> float:
    """Write `model.safetensors`, `model.onnx` and `card.json` of a run; return how far ONNX is from torch.

    Nothing is left behind if it fails.

    Args:
        path: directory of a finished classifier's run.
        target: a new folder.
        make_net: makes the network of a config.

    Raises:
        UserError: no such run, the folder exists, or the ONNX file does not compute what the network does.
    """
    runs = classifiers(path)
    if len(runs) != 1:
        raise UserError(f"{path} holds {len(runs)} runs: name one of them, as in {runs[0].path}")
    if target.exists():
        raise UserError(f"{target} exists: name a new folder")
    net = load_network(runs[0], make_net)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        tensors = {name: tensor.clone().contiguous() for name, tensor in net.net.state_dict().items()}  # tied ones, too
        save_file(tensors, partial / "model.safetensors")
        (partial / "model.safetensors").chmod(0o644)  # it is written for its owner alone
        difference = _write_onnx(net, partial / "model.onnx")
        (partial / "card.json").write_text(json.dumps(card(runs[0], net.pixels, difference), indent=1))
        put_in_place(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return difference


def _write_onnx(net: nn.Module, path: Path) -> float:
    """Write the network for any number of images, run the file, and return the relative difference of its logits."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                net, (images[:2],), path, input_names=["images"], output_names=["logits"], external_data=False,
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}}, dynamo=True, verbose=False,
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(f"the network cannot be written as ONNX: {reason}") from error
    (logits,) = onnxruntime.InferenceSession(path).run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = net(images).numpy()
    difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        raise UserError(f"the ONNX file computes other logits than the network: {difference:.1e} of the largest apart")
    return difference


def card(run: RunDirectory, pixels: Pixels, difference: float) -> dict[str, Any]:
    """What a user of the files must know: input, output, classes, and where the network comes from."""
    classes = run.classes
    return {
        "input": "uint8 (N, 3, 32, 32), red, green and blue, 0 to 255",
        "output": f"logits float32 (N, {len(classes)})",
        "safetensors": "weights for the network in `config`, which takes the input divided by 255"
        + (", less `mean`, divided by `deviation`" if pixels.mean is not None else ""),
        "mean": None if pixels.mean is None else pixels.mean.tolist(),
        "deviation": None if pixels.deviation is None else pixels.deviation.tolist(),
        "classes": classes.names,
        "superclasses": [classes.superclass(label) for label in range(len(classes))],
        "onnx_difference": difference,
        "metrics": run.metrics,
        "config": run.config,
    }
