"""Checkpoints of real modules in the layouts of several programs: imported by bissl, exported again, compared. See README.md."""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from network import ResNet, Shape

ARCHITECTURES = ("resnet-small", "resnet18", "resnet34", "resnet50")
WIDTH = 4

State = dict[str, Tensor]


class Siamese(nn.Module):
    """Two networks as attributes, heads beside them, a queue: what the methods' modules look like."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.register_buffer("queue", torch.randn(8, 16))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))


def head() -> nn.Sequential:
    """A projector."""
    return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def children(backbone: nn.Module, *pools: nn.Module) -> nn.Sequential:
    """The members of a backbone in a row, as `nn.Sequential(*resnet.children())` has them."""
    stages = [part for name, part in backbone.named_children() if name.startswith("layer")]
    return nn.Sequential(backbone.conv1, backbone.bn1, nn.ReLU(), *pools, *stages, nn.AdaptiveAvgPool2d(1))


def trained(module: nn.Module) -> dict[str, object]:
    """An optimizer with state, and the rest that training scripts save."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    return {
        "epoch": 7,
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "best_acc1": torch.tensor(float("inf")),
        "args": argparse.Namespace(arch="resnet50", folder=Path("/data")),
        "rng": torch.get_rng_state(),
        "scores": torch.tensor([1.0], dtype=torch.complex64),
    }


def layouts(new: type[nn.Module], shape: Shape) -> Iterator[tuple[str, nn.Module, object]]:
    """Name, the backbone that is meant, and what is saved."""

    def backbone() -> nn.Module:
        network = new(shape)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.2, 1.0)
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
        return network

    own = backbone()
    own.fc = nn.Linear(8, 3)
    yield "ImageNet example", own, trained(own) | {"state_dict": nn.DataParallel(own).state_dict()}

    own = backbone()
    average = AveragedModel(backbone())
    yield "timm and torchvision", own, {"model": own.state_dict(), "model_ema": average.state_dict()}

    own = backbone()
    moco = nn.DataParallel(Siamese(encoder_q=own, encoder_k=backbone()))
    own.fc = head()
    yield "MoCo", own, trained(moco) | {"state_dict": moco.state_dict()}

    own = backbone()
    twins = nn.DataParallel(Siamese(backbone=own, projector=head(), bn=nn.BatchNorm1d(4, affine=False)))
    yield "Barlow Twins, VICReg", own, trained(twins) | {"model": twins.state_dict()}

    own = backbone()
    student = nn.DataParallel(nn.ModuleDict({"backbone": backbone(), "head": head()}))
    teacher = nn.ModuleDict({"backbone": own, "head": head()})
    yield "DINO", own, trained(student) | {"student": student.state_dict(), "teacher": teacher.state_dict()}

    own = backbone()
    own.projection_head, own.prototypes = head(), nn.Linear(4, 9, bias=False)
    yield "SwAV", own, nn.DataParallel(own).state_dict()

    own = backbone()
    rows = children(own, nn.MaxPool2d(3, 2, 1))
    lightly = Siamese(backbone=rows, projection_head=head(), backbone_momentum=copy.deepcopy(children(backbone(), nn.Identity())))
    yield "Lightning, lightly", own, {"state_dict": lightly.state_dict(), "pytorch-lightning_version": "2.1.0", "callbacks": {}}

    own = backbone()
    solo = Siamese(backbone=own, momentum_backbone=backbone(), projector=head(), classifier=nn.Linear(8, 2))
    yield "solo-learn", own, {"state_dict": solo.state_dict(), "pytorch-lightning_version": "1.9.0"}

    own = backbone()
    online = nn.ModuleDict({"encoder": children(own), "projetion": head()})
    target = nn.ModuleDict({"encoder": children(backbone()), "projetion": head()})
    yield "BYOL, two dictionaries", own, {
        "online_network_state_dict": online.state_dict(),
        "target_network_state_dict": target.state_dict(),
    }

    own = backbone()
    wrapped = nn.ModuleDict({"net": own, "online_encoder": nn.ModuleDict({"net": own, "projector": head()})})
    wrapped["target_encoder"] = nn.ModuleDict({"net": backbone(), "projector": head()})
    yield "BYOL, around a network", own, wrapped.state_dict()

    own = backbone()
    yield "SimCLR without pool", own, nn.DataParallel(nn.ModuleDict({"f": children(own), "g": head()})).state_dict()

    own = backbone()
    trunk = nn.ModuleDict({"_feature_blocks": own})
    parts = {"trunk": trunk.state_dict(), "heads": head().state_dict()}
    yield "VISSL", own, {"classy_state_dict": {"base_model": {"model": parts}}}

    own = backbone()
    yield "nested", own, {"checkpoint": {"model": {"state_dict": own.half().float().state_dict()}}, "step": torch.tensor(3)}


def differences(binary: str, saved: object, meant: nn.Module, legacy: bool) -> list[str]:
    """Names of tensors that do not come back from `bissl import` and `bissl export`, or what was said instead."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, run, out = folder / "weights.pth", folder / "run", folder / "exported.safetensors"
        torch.save(saved, file, _use_new_zipfile_serialization=not legacy)
        for command in (["inspect", file], ["import", file, "--out", run], ["export", "--from", run, "--out", out]):
            done = subprocess.run([binary, *map(str, command)], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return [done.stderr.strip()]
        back = load_file(out)
    parts = ("conv1", "bn1", "layer")
    expected = {name: value for name, value in meant.state_dict().items() if name.startswith(parts)}
    expected = {name: value for name, value in expected.items() if not name.endswith("num_batches_tracked")}
    back = {name: value for name, value in back.items() if not name.endswith("num_batches_tracked")}
    same = {name for name, value in expected.items() if name in back and torch.equal(back[name], value)}
    return sorted((set(expected) | set(back)) - same)


def main() -> int:
    """Exit status: 0, or 1 where weights do not come back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/bissl", help="the bissl program")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    arguments = parser.parse_args()
    failed = 0
    torch.manual_seed(0)
    for architecture in arguments.architectures:
        stem = "imagenet" if architecture == "resnet50" else "small"
        for name, meant, saved in layouts(ResNet, Shape(architecture, WIDTH, stem)):
            for legacy in (False, True):
                wrong = differences(arguments.binary, saved, meant, legacy)
                failed += bool(wrong)
                container = "before 1.6" if legacy else "zip"
                verdict = "same" if not wrong else f"FAILED {' '.join(wrong)[:2000]}"
                print(f"{architecture:<13} {name:<24} {container:<11} {verdict}")
    print(f"torch {torch.__version__}: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
