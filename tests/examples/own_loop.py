"""A training loop of your own over our loader, which goes on exactly where it was killed.

Start it, kill it, start it again: python own_loop.py DATA RUN
"""

import sys

import torch
from torch.nn import functional as F

from trainer import api

EPOCHS, SAVE_STEPS = 2, 4


def main(data: str, run: str) -> None:
    torch.set_num_threads(1)  # on a CPU, another number of threads rounds otherwise
    small = {"model.name": "resnet20", "input.train_size": 32, "input.eval_resize": 36, "input.eval_crop": 32}
    recipe = api.recipe("demo", {**small, "model.num_classes": 4, "global_batch": 16, "micro_batch": 16})
    network = api.network(recipe)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)

    step, state = api.load_state(run)
    if state:
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    print(f"going on after step {step}", flush=True)

    with api.loader(recipe, data, run=run, threads=1) as loader:
        while step < EPOCHS * loader.batches_per_epoch:
            epoch, first = divmod(step, loader.batches_per_epoch)
            for batch in loader.epoch(epoch, first):
                torch.manual_seed(step)  # dropout and the like then need no state
                images, targets = loader.inputs(batch)
                loss = F.cross_entropy(network(images), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                if step % SAVE_STEPS == 0 or step == EPOCHS * loader.batches_per_epoch:
                    api.save_state(run, step, {"model": network.state_dict(), "optimizer": optimizer.state_dict()})
                    print(f"saved step {step}: loss {loss.item():.4f}", flush=True)

    print(f"top-1 {api.evaluate(run, data, threads=1).top1:.2f} %")  # the run directory is like any other


if __name__ == "__main__":  # long lists of images are read by several processes
    try:
        main(*sys.argv[1:])
    except api.ProvenetError as error:
        sys.exit(f"{error}\n(code {error.code})")
