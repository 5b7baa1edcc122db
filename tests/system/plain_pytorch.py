"""A small ResNet trained as a plain PyTorch script does it: torch and torchvision alone, in float32 on the CPU.

`python -m tests.benchmarks training --equivalence tests/system/plain_pytorch.py` sets it beside our trainer. It shares
no code and no random numbers with it. It writes JSON lines: the mean loss since the last one, and top-1 and loss
of an evaluation after each epoch.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.new = outputs // inputs, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new)))


def resnet20(num_classes: int) -> nn.Module:
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Block(inputs, outputs) for inputs, outputs in zip(widths, widths[1:])]  # noqa: B905, RUF007
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    network = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def loaders(args: argparse.Namespace) -> tuple[DataLoader, DataLoader]:
    finish = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    if args.crop == "padded":
        crop = transforms.RandomCrop(args.size, padding=4)
    else:
        crop = transforms.RandomResizedCrop(args.size, scale=(args.least_area, 1.0))
    augment = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *finish])
    central = transforms.Compose([transforms.Resize(args.resize), transforms.CenterCrop(args.size), *finish])
    train, val = datasets.ImageFolder(args.data / "train", augment), datasets.ImageFolder(args.data / "val", central)
    workers = {"num_workers": args.threads, "persistent_workers": True}
    return DataLoader(train, args.batch, shuffle=True, drop_last=True, **workers), DataLoader(val, 100, **workers)


def learning_rate(args: argparse.Namespace, step: int, per_epoch: int) -> float:
    warmup = args.warmup * per_epoch
    if step < warmup:
        return args.lr * (step + 1) / (warmup + 1)
    if args.milestones:
        return args.lr * 0.1 ** sum(step >= epoch * per_epoch for epoch in args.milestones)
    return args.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (args.epochs * per_epoch - warmup)))


@torch.inference_mode()
def evaluate(network: nn.Module, loader: DataLoader) -> dict[str, float]:
    network.eval()
    pairs = [(network(images), targets) for images, targets in loader]
    logits, targets = (torch.cat(batches) for batches in zip(*pairs))  # noqa: B905
    hits = logits.argmax(1) == targets
    return {"top1": 100 * hits.double().mean().item(), "loss": F.cross_entropy(logits, targets).item()}


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    loader, evaluation = loaders(args)
    make = {"resnet20": resnet20, "resnet18": models.resnet18}[args.network]
    network = make(num_classes=len(loader.dataset.classes))  # pyright: ignore[reportAttributeAccessIssue]
    decay = {"momentum": args.momentum, "weight_decay": args.weight_decay}
    optimizer = torch.optim.SGD(network.parameters(), args.lr, **decay)
    step, since = 0, []
    with args.output.open("w", buffering=1) as output:  # a line at a time
        for epoch in range(1, args.epochs + 1):
            network.train()
            for images, targets in loader:
                optimizer.param_groups[0]["lr"] = learning_rate(args, step, len(loader))
                loss = F.cross_entropy(network(images), targets, label_smoothing=args.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                since.append(loss.item())
                if step % args.log_every == 0 or step % len(loader) == 0:
                    output.write(json.dumps({"kind": "train", "step": step, "loss": sum(since) / len(since)}) + "\n")
                    since.clear()
            figures = evaluate(network, evaluation)
            output.write(json.dumps({"kind": "eval", "epoch": epoch, "step": step, **figures}) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a small ResNet on ROOT/train/<class> and ROOT/val/<class>.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--network", choices=("resnet20", "resnet18"), required=True)
    parser.add_argument("--crop", choices=("padded", "resized"), default="resized")
    parser.add_argument("--milestones", type=float, nargs="*", help="epochs; without any, a cosine")
    for name in ("size", "resize", "epochs", "batch", "seed", "threads", "log-every"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name, default in {"least-area": 0.08, "warmup": 0.0, "label-smoothing": 0.0, "lr": 0.1}.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    for name, default in {"momentum": 0.9, "weight-decay": 1e-4}.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    train(parser.parse_args())
