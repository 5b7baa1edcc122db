"""TensorBoard's files of a run: one curve over all restarts, small enough to be watched over a network."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# pyright: reportAttributeAccessIssue=false
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import custom_scalars, hparams, text

from trainer.telemetry.events import Events
from trainer.telemetry.pictures import Picture
from trainer.telemetry.settings import FIRST

Say = Callable[[str], None]

POINTS = 10_000  # of each curve: TensorBoard shows 1,000, and 90 epochs of ImageNet stay below 50 MB
BY_IMAGES = "by_images"  # whose steps are images seen: readers tell by the steps what a restart has made void

LAYOUT = {
    "Accuracy": {
        "top-1, %": ["Multiline", [r"eval/top1", r"eval_ema/top1", r"train/top1"]],
        "top-5, %": ["Multiline", [r"eval/top5", r"eval_ema/top5", r"train/top5"]],
        "loss": ["Multiline", [r"eval/loss", r"eval_ema/loss", r"train/loss"]],
    },
    "Throughput": {
        "images/s": ["Multiline", [r"throughput/images_per_s$"]],
        "share of the time": ["Multiline", [r"time/.+"]],
        "step, ms": ["Multiline", [r"throughput/step_.+_ms"]],
    },
}


def shown(step: int, log_every: int, steps_per_epoch: int, total_steps: int) -> bool:
    """Whether TensorBoard is given the point of a step: each, or of a long run some `POINTS`, the same after a restart.

    The points are those of every `log_every` steps and of the ends of epochs.
    """
    stride = -(-total_steps // POINTS)
    before = max((step - 1) // every * every for every in (log_every, steps_per_epoch))
    return step == total_steps or step // stride > before // stride


class Board:
    """The writer of one process's stretch of a run."""

    def __init__(self, folder: Path, say: Say, purge_step: int | None = None, purge_images: int | None = None) -> None:
        """Open new files beside those of earlier starts.

        Args:
            folder: The run directory.
            say: Is told if the files cannot be written any more, once for each.
            purge_step: Readers forget what was written before of this step or a later one.
            purge_images: The same in images seen.
        """
        self._folder, self._say, self._purge_images = folder, say, purge_images
        self._events = Events(folder, purge_step, say)
        self._by_images: Events | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Points of any number of curves, in one record: half the bytes of one record each."""
        _write(self._events, step, values)

    def by_images(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Points whose place is the number of images seen, so that runs of other batch sizes compare."""
        if self._by_images is None:
            self._by_images = Events(self._folder / BY_IMAGES, self._purge_images, self._say)
        _write(self._by_images, images_seen, {f"images_seen/{tag}": value for tag, value in values.items()})

    def picture(self, tag: str, step: int, picture: Picture) -> None:
        """An image that is encoded already."""
        image = Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=picture.encoded
        )
        self._events.add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def text(self, tag: str, step: int, markdown: str) -> None:
        """A page of text."""
        self._events.add(text(tag, markdown), step)

    def describe(self, settings: Mapping[str, bool | float | str], metrics: tuple[str, ...]) -> None:
        """What the HParams tab compares runs by, and which charts the Custom Scalars tab has.

        Args:
            settings: Of the recipe, by dotted names.
            metrics: Tags of curves whose last value a run is judged by.
        """
        experiment, session, _ = hparams(dict(settings), dict.fromkeys(metrics, 0.0))
        self._events.add(_with_first(experiment, FIRST))
        self._events.add(session)
        self._events.add(custom_scalars(LAYOUT))

    def end(self) -> None:
        """Say that the run is finished."""
        self._events.add(hparams({}, {})[2])

    def close(self) -> None:
        """End."""
        for events in self._files:
            events.close()

    @property
    def _files(self) -> list[Events]:
        return [self._events, *([self._by_images] if self._by_images else [])]


def _with_first(experiment: Any, names: Sequence[str]) -> Any:
    """The summary of an experiment in which these settings are said to differ: TensorBoard shows such columns first."""
    content = experiment.value[0].metadata.plugin_data
    known = HParamsPluginData.FromString(content.content)
    for info in known.experiment.hparam_infos:
        info.differs = info.name in names
    content.content = known.SerializeToString()
    return experiment


def _write(events: Events, step: int, values: Mapping[str, float]) -> None:
    points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    events.add(Summary(value=points), step)
