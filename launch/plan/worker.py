"""`python -m launch.plan.worker network|saves TASK`: what needs torch; its answer is a line of JSON."""

import json
import sys

from data.bench.talk import lines_out
from models.config import ModelConfig
from trainer.bench import config
from trainer.bench.config import BenchConfig, LoopTask

SAVES = 5


def main() -> None:
    """Answer one question."""
    say = lines_out()
    match sys.argv[1:]:
        case "network", text:
            asked = json.loads(text)
            say(count(ModelConfig(**asked["model"]), asked["image_size"]))
        case "saves", text:
            say(saves(config.decode(text)))
        case _:
            raise ValueError(f"network or saves, and its task; not {sys.argv[1:]}")


def count(model: ModelConfig, image_size: int) -> dict[str, int]:
    """The fields of a `launch.plan.network.Network`."""
    from models.trace import multiply_adds, skeleton
    from trainer.learn import batchnorm

    built = skeleton(model)
    return {
        "parameters": sum(weight.numel() for weight in built.parameters() if weight.requires_grad),
        "statistics": sum(buffer.numel() for buffer in batchnorm.buffers(built).values()),
        "state_bytes": sum(tensor.nbytes for tensor in built.state_dict().values()),
        "multiply_adds": multiply_adds(built, image_size, model.in_channels),
    }


def saves(task: LoopTask) -> dict[str, float]:
    """Milliseconds that a checkpoint of the task holds training, and that its write takes: medians."""
    from trainer.bench import stall

    held, _ = stall.measure(task, BenchConfig(rounds=SAVES))
    return {"stall_ms": held.ours, "write_ms": held.theirs}


if __name__ == "__main__":
    main()
