"""Weights where timm and torchvision look for those that they have downloaded, so that tests need no network."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

REVISION = "0123456789012345678901234567890123456789"


def plant(home: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The same random weights for torchvision/resnet18.IMAGENET1K_V1 and timm/resnet18.a1_in1k.

    Returns:
        The environment in which both are found, and the weights.
    """
    torch.manual_seed(0)
    weights = resnet18().state_dict()
    torchvision = home / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    torchvision.parent.mkdir(parents=True)
    torch.save(weights, torchvision)
    repository = home / "hf" / "hub" / "models--timm--resnet18.a1_in1k"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    save_file(weights, snapshot / "model.safetensors")
    return {"TORCH_HOME": str(home / "torch"), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}, weights
