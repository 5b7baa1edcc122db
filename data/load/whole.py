"""Whole images at several sizes, for evaluations without crops."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.catalog.manifest import Manifest
from data.load.image_file import Images
from data.load.loader import Tolerance
from data.load.rendering import LARGEST, RESAMPLING
from data.load.threads import compute_alone
from data.plan import crops
from data.plan.config import EvalViews, Interpolation
from data.plan.evaluation import EvalPlan
from data.plan.samples import Samples
from data.types import BrokenImage, BrokenImageError, Shard

AHEAD = 2  # batches decoded ahead


@dataclass(frozen=True, slots=True)
class WholeBatch:
    """N images, each at every scale."""

    images: tuple[tuple[Tensor, ...], ...]
    """For each image and scale (H, W, 3) uint8, RGB; empty for an image that is not valid."""
    targets: Tensor
    """(N,) int64, index of the class."""
    indices: Tensor
    """(N,) int64, row of the image in the manifest."""
    valid: Tensor
    """(N,) bool, False for rows that fill the batch up, or could not be read."""
    broken: tuple[BrokenImage, ...]
    """Images that broke since the manifest was made."""


class WholeLoader:
    """One process's share of a split, as `EvalPlan` divides it."""

    def __init__(self, plan: EvalPlan, scales: Sequence[int], *, threads: int, max_broken: float) -> None:
        """Prepare.

        Args:
            plan: Which images, in which batches, with which interpolation; its sizes do not matter.
            scales: Shorter sides, pixels.
            threads: CPU threads that decode, at least 1.
            max_broken: Share of the images that may be broken, 0 to 1.
        """
        self._plan, self._scales, self._threads = plan, tuple(scales), threads
        self._tolerance = Tolerance(max_broken, len(plan.manifest))

    @property
    def batches_per_epoch(self) -> int:
        return self._plan.batches_per_epoch

    def batches(self) -> Iterator[WholeBatch]:
        """All batches once.

        Raises:
            TooManyBrokenError: More images are broken than is accepted.
        """
        images = Images(self._plan.manifest)
        samples, ahead = self._plan.samples(0, 0), deque[tuple[Samples, list[Future[tuple[Tensor, ...] | str]]]]()
        try:
            with ThreadPoolExecutor(self._threads, initializer=compute_alone) as pool:
                for begun in range(self.batches_per_epoch + AHEAD):
                    if begun < self.batches_per_epoch:
                        batch = next(samples)
                        rows = zip(batch.indices.tolist(), batch.valid.tolist(), strict=True)
                        ahead.append((batch, [pool.submit(self._scaled, images, *row) for row in rows]))
                    if begun >= AHEAD:
                        yield self._batch(*ahead.popleft())
        finally:
            images.close()

    def _scaled(self, images: Images, index: int, valid: bool) -> tuple[Tensor, ...] | str:
        """The image at all scales, or why it is broken."""
        if not valid:
            return ()
        try:
            image = Image.fromarray(images.pixels(index))
            return tuple(resized(image, scale, self._plan.views.interpolation) for scale in self._scales)
        except BrokenImageError as error:
            return str(error)

    def _batch(self, samples: Samples, tasks: list[Future[tuple[Tensor, ...] | str]]) -> WholeBatch:
        results, manifest = [future.result() for future in tasks], self._plan.manifest
        broken = tuple(
            BrokenImage(manifest.label(index), reason)
            for index, reason in zip(samples.indices.tolist(), results, strict=True)
            if isinstance(reason, str)
        )
        self._tolerance.count(broken)
        sound = tuple(() if isinstance(views, str) else views for views in results)
        return WholeBatch(
            images=sound,
            targets=torch.from_numpy(manifest.targets[samples.indices]),
            indices=torch.from_numpy(samples.indices),
            valid=torch.tensor([bool(views) for views in sound]),
            broken=broken,
        )


def plan_of(manifest: Manifest, interpolation: Interpolation, batch: int, shard: Shard) -> EvalPlan:
    """The plan of an evaluation of whole images."""
    return EvalPlan(
        manifest=manifest, views=EvalViews(side=1, resize=None, interpolation=interpolation), batch=batch, shard=shard
    )


def resized(image: Image.Image, shorter: int, interpolation: Interpolation) -> Tensor:
    """(H, W, 3) uint8, the shorter side having `shorter` pixels.

    Raises:
        BrokenImageError: It would be too large.
    """
    ((height, width),) = crops.eval_sizes(np.array([image.width]), np.array([image.height]), shorter).tolist()
    if height * width > LARGEST:
        raise BrokenImageError(
            f"{image.width}x{image.height} pixels, {width}x{height} when scaled: too long and narrow"
        )
    return torch.from_numpy(np.array(image.resize((width, height), RESAMPLING[interpolation])))
