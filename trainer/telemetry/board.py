"""TensorBoard's files of a run: one curve over all restarts, small enough to be watched over a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# pyright: reportAttributeAccessIssue=false
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import custom_scalars, hparams, text
from torch.utils.tensorboard.writer import FileWriter

from trainer.telemetry.pictures import Picture
from trainer.telemetry.settings import FIRST

POINTS = 10_000  # of each curve: TensorBoard shows 1,000, and 90 epochs of ImageNet stay below 50 MB
FLUSH_S = 30  # others read the files while they are written, perhaps over a network
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

    def __init__(self, folder: Path, purge_step: int | None = None, purge_images: int | None = None) -> None:
        """Open new files beside those of earlier starts.

        Args:
            folder: The run directory.
            purge_step: Readers forget what was written before of this step or a later one.
            purge_images: The same in images seen.
        """
        self._folder, self._purge_images = folder, purge_images
        self._files = _opened(folder, purge_step)
        self._by_images: FileWriter | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Points of any number of curves, in one record: half the bytes of one record each."""
        _write(self._files, step, values)

    def by_images(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Points whose place is the number of images seen, so that runs of other batch sizes compare."""
        if self._by_images is None:
            self._by_images = _opened(self._folder / BY_IMAGES, self._purge_images)
        _write(self._by_images, images_seen, {f"images_seen/{tag}": value for tag, value in values.items()})

    def picture(self, tag: str, step: int, picture: Picture) -> None:
        """An image that is encoded already."""
        image = Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=picture.encoded
        )
        self._files.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def text(self, tag: str, step: int, markdown: str) -> None:
        """A page of text."""
        self._files.add_summary(text(tag, markdown), step)

    def describe(self, settings: Mapping[str, bool | float | str], metrics: tuple[str, ...]) -> None:
        """What the HParams tab compares runs by, and which charts the Custom Scalars tab has.

        Args:
            settings: Of the recipe, by dotted names.
            metrics: Tags of curves whose last value a run is judged by.
        """
        experiment, session, _ = hparams(dict(settings), dict.fromkeys(metrics, 0.0))
        self._files.add_summary(_with_first(experiment, FIRST))
        self._files.add_summary(session)
        self._files.add_summary(custom_scalars(LAYOUT))

    def end(self) -> None:
        """Say that the run is finished."""
        self._files.add_summary(hparams({}, {})[2])

    def flush(self) -> None:
        """Hand everything to the file system."""
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        """The same, and end."""
        for writer in self._writers:
            writer.close()

    @property
    def _writers(self) -> list[FileWriter]:
        return [self._files, *([self._by_images] if self._by_images else [])]


def _with_first(experiment: Any, names: Sequence[str]) -> Any:
    """The summary of an experiment in which these settings are said to differ: TensorBoard shows such columns first."""
    content = experiment.value[0].metadata.plugin_data
    known = HParamsPluginData.FromString(content.content)
    for info in known.experiment.hparam_infos:
        info.differs = info.name in names
    content.content = known.SerializeToString()
    return experiment


def _opened(folder: Path, purge_step: int | None) -> FileWriter:
    files = FileWriter(str(folder), flush_secs=FLUSH_S)
    if purge_step is not None:
        files.add_event(Event(session_log=SessionLog(status=SessionLog.START)), purge_step)
    return files


def _write(files: FileWriter, step: int, values: Mapping[str, float]) -> None:
    points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    files.add_summary(Summary(value=points), step)
