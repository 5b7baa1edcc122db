"""One optimizer update."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from data.plan.config import InputConfig
from data.plan.draws import normals
from data.plan.policies import NOISES
from data.types import Batch
from trainer import gpu, metrics
from trainer.engine.state import TrainState
from trainer.optim.batchnorm import Accumulated
from trainer.optim.loss import logits_of, losses
from trainer.optim.mixing import Mixing
from trainer.recipe.config import Recipe
from trainer.runtime import Runtime
from trainer.telemetry.phases import Phases


class Normalize:
    """Turns uint8 images from the loader into a network's input on the device."""

    def __init__(self, config: InputConfig, device: torch.device, *, channels_last: bool) -> None:
        self._device, self._side = device, config.train_size
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._scale = 1 / (255 * torch.tensor(config.std, device=device).view(1, 3, 1, 1))
        self._shift = -255 * torch.tensor(config.mean, device=device).view(1, 3, 1, 1) * self._scale

    def __call__(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 on the host -> (N, 3, H, W) float32 on the device, normalised."""
        images = images.to(self._device, non_blocking=True).permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
        # one pass in the images' memory order: on a CPU 1.5 times as fast as converting, subtracting and multiplying
        return torch.addcmul(self._shift, images, self._scale).contiguous(memory_format=self._layout)

    def training(self, batch: Batch) -> Tensor:
        """The images of a training batch in the same form, rectangles of noise in them.

        Reference:
            timm.data.random_erasing.RandomErasing, which erases before images are mixed.
        """
        images = self(batch.images)
        if batch.noise is not None:
            for image, (top, left, height, width, first) in zip(images, batch.noise.tolist(), strict=True):
                if height:
                    numbers = self._normals[first : first + 3 * height * width].view(3, height, width)
                    image[:, top : top + height, left : left + width] = numbers
        return images

    @cached_property
    def _normals(self) -> Tensor:
        """A table, so that every device has the same numbers without a wait."""
        return torch.from_numpy(normals(NOISES + 3 * self._side**2)).to(self._device)


class TrainStep:
    """Forward and backward over the micro-batches of one global batch, then the update."""

    def __init__(
        self, runtime: Runtime, model: nn.Module, state: TrainState, normalize: Normalize, recipe: Recipe
    ) -> None:
        """`model`: the state's, distributed and perhaps compiled."""
        self.phases = phases = Phases(runtime.device)
        self.gradient_norm: Tensor | None = None
        """() norm of the newest gradient measured: in all steps if gradients are clipped, else if `observe`."""
        self._runtime, self._model, self._state = runtime, model, state
        self._normalize, self._recipe = normalize, recipe
        self._mixing = Mixing(recipe.mixing, recipe.model.num_classes, shift=recipe.input.augment.repeats)
        self._weights = [weight for weight in state.model.parameters() if weight.requires_grad]
        # with fp16 GradScaler skips steps whose gradients are not finite itself; then only the loss shows a fault
        self._skips = recipe.max_skipped > 0 and not runtime.scaler.is_enabled()
        micro_batches = recipe.accumulation(runtime.world.world_size)
        needed = micro_batches > 1 or recipe.max_skipped > 0
        self._statistics = Accumulated(state.model, micro_batches) if needed else None
        if runtime.world.world_size > 1:
            # the first weight's gradient is computed last; the rest of the backward pass waits for the reduction. No
            # `self` in the hook: a reference cycle would keep DDP and gloo's threads until the interpreter ends
            self._weights[0].register_post_accumulate_grad_hook(lambda _: phases.begin("all_reduce"))

    def __call__(self, batches: Sequence[Batch], step: int, lr: float, images: int, *, observe: bool = False) -> Tensor:
        """Update the weights (collective).

        Args:
            batches: This process's micro-batches of the step.
            step: Optimizer steps done before; with the recipe's seed it seeds dropout and the like, so that no
                generator has to be saved.
            lr: Learning rate.
            images: Valid images of the step, over all processes; each has the same weight.
            observe: Compute the gradient's norm, which costs a pass over all gradients.

        Returns:
            (metrics.FIELDS,) sums over this process's images, on the device; 0 if the step was skipped.
        """
        gpu.seed(self._runtime.device, draw_seed(self._recipe.seed, step, self._runtime.world.rank))
        for group in self._state.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        if self._statistics:
            self._statistics.begin()
        sums = metrics.empty(self._runtime.device)
        for batch in batches[:-1]:
            with self._runtime.no_sync(self._model):
                sums += self._micro(batch, images)
        sums += self._micro(batches[-1], images)
        fault = self._update(~sums[0].isfinite(), observe=observe)
        self._state.faults[0] = torch.where(fault, self._state.faults[0].clamp(min=-step - 1), self._state.faults[0])
        self._state.faults[1] += fault
        if self._state.ema:
            self._state.ema.update(step + 1)
        self.phases.begin("other")
        return sums.where(~fault, 0) if self._recipe.max_skipped else sums

    def as_seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The network's input and targets: (N, 3, H, W) float, and (N,) int64 or (N, C) shares of the classes."""
        return self._mixing(self._normalize.training(batch), batch.targets.to(self._runtime.device), batch.mixing)

    def _micro(self, batch: Batch, images: int) -> Tensor:
        self.phases.begin("forward")
        device = self._runtime.device
        targets, valid = (tensor.to(device, non_blocking=True) for tensor in (batch.targets, batch.valid))
        inputs, mixed = self._mixing(self._normalize.training(batch), targets, batch.mixing)
        with self._runtime.autocast():
            outputs = self._model(inputs)
        each = losses(outputs, mixed, self._recipe.loss)
        # DDP averages gradients over the processes, while the loss is a mean over the images of all
        loss = each.where(valid, 0).sum() * (self._runtime.world.world_size / images)
        self.phases.begin("backward")
        self._runtime.scaler.scale(loss).backward()
        self.phases.begin("optimizer")  # with what is counted on the way
        if self._statistics:
            self._statistics.add()
        return metrics.totals(logits_of(outputs).detach(), targets, valid, each.detach())

    def _update(self, fault: Tensor, *, observe: bool) -> Tensor:
        """Change the weights, unless the step is skipped; () bool: whether the loss or gradient was not finite.

        `fault`: () bool on the device, whether this process's loss was not finite.
        """
        optimizer, scaler = self._state.optimizer, self._runtime.scaler
        if self._recipe.clip_norm or self._skips or observe:
            scaler.unscale_(optimizer)  # by a power of two: exact, here as in the update
            self.gradient_norm = norm = get_total_norm(
                [weight.grad for weight in self._weights if weight.grad is not None]
            )
            if self._recipe.clip_norm:
                clip_grads_with_norm_(self._weights, self._recipe.clip_norm, norm)
            if self._skips:
                fault = ~norm.isfinite()  # after the reduction: all processes see the same
        if self._skips:
            self._step_unless(fault)
        else:
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()
        if self._statistics:
            self._statistics.end(fault if self._recipe.max_skipped else None)
        return fault

    def _step_unless(self, fault: Tensor) -> None:
        """Update the weights and the optimizer's state unless there is a fault."""
        optimizer = self._state.optimizer
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            # as GradScaler does for a fused optimizer, which reads them on the device, without a host sync
            optimizer.found_inf, optimizer.grad_scale = fault.float(), None  # pyright: ignore[reportAttributeAccessIssue]
            optimizer.step()
        elif not fault:  # sync: timm's optimizers cannot read it on the device
            optimizer.step()


def draw_seed(*numbers: int) -> int:
    """A 64-bit seed from the numbers, the same on every machine and version."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
