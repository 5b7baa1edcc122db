"""A network and a loss of your own in our engine: run directory, checkpoints, report and exact resume as ever.

python own_network.py DATA RUN; stopped by Ctrl-C or killed, it goes on where it was.
"""

import sys

from torch import Tensor, nn
from torch.nn import functional as F

from trainer import api, extend


class Small(nn.Module):
    """Three strided convolutions: (N, in_channels, H, W) -> logits (N, num_classes)."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((in_channels, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.features, self.fc = nn.Sequential(*layers), nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean((2, 3)))


def focal(logits: Tensor, shares: Tensor) -> Tensor:
    """The loss of each image, (N,): hard images count more (1708.02002); logits and shares of the classes (N, C)."""
    log = F.log_softmax(logits, 1)
    return -(shares * (1 - log.exp()) ** 2 * log).sum(1)


def main(data: str, run: str) -> None:
    settings = {"model.name": "small", "model.num_classes": 4, "loss.name": "focal", "epochs": 3, "global_batch": 16}
    sizes = {"micro_batch": 16, "input.train_size": 32, "input.eval_resize": 36, "input.eval_crop": 32}
    # the content of this file becomes a part of the recipe: another network or loss is another run
    recipe = api.recipe("demo", {**settings, **sizes}, imports=[__file__])
    result = api.train(recipe, data, run, threads=1, log_every=1)
    print(f"top-1 {result.top1:.2f} % on {result.images} images, recipe {result.facts['recipe_sha256'][:8]}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except api.ProvenetError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)  # 75 after Ctrl-C or SIGTERM: saved, start it again
else:  # as `imports` executes it
    extend.network("small", image_size=32)(Small)
    extend.loss("focal")(focal)
