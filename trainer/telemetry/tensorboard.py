"""TensorBoard's files of a run: one curve over all restarts, small enough to be watched over a network."""

import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# pyright: reportAttributeAccessIssue=false
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import custom_scalars, hparams, text

from trainer.telemetry.appender import Appender, Say
from trainer.telemetry.pictures import Picture

FIRST = ("epochs", "global_batch", "model.name", "optimizer.lr", "seed")  # first columns of the HParams tab
POINTS = 10_000  # of each curve: TensorBoard shows 1,000, and 90 epochs of ImageNet stay below 50 MB
BY_IMAGES = "by_images"  # folder of curves over images seen; in one folder with curves over steps, purging would fail

_EVENTS = "events.out.tfevents."

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
    """Whether TensorBoard gets the log point of a step: all points, or in a long run about `POINTS` of them.

    There is a log point every `log_every` steps and at the end of each epoch. A restart chooses the same ones.
    """
    stride = -(-total_steps // POINTS)
    before = max((step - 1) // every * every for every in (log_every, steps_per_epoch))
    return step == total_steps or step // stride > before // stride


class Board:
    """Writes what this start of a run adds to its TensorBoard files."""

    def __init__(self, folder: Path, say: Say, purge_step: int | None = None, purge_images: int | None = None) -> None:
        """Open new files beside those of earlier starts; `say` is called if one cannot be written.

        Readers drop earlier points of `purge_step`, or `purge_images` images seen, and later ones.
        """
        self._folder, self._say, self._purge_images = folder, say, purge_images
        self._events = Events(folder, purge_step, say)
        self._by_images: Events | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write points of several curves in one record, which takes half the bytes of a record each."""
        _write(self._events, step, values)

    def by_images(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Write points over the number of images seen, so that runs of different batch sizes can be compared."""
        with suppress(OSError):  # it is there; or what it would hold is held in memory
            (self._folder / BY_IMAGES).mkdir()
        if self._by_images is None:
            self._by_images = Events(self._folder / BY_IMAGES, self._purge_images, self._say)
        _write(self._by_images, images_seen, {f"images_seen/{tag}": value for tag, value in values.items()})

    def picture(self, tag: str, step: int, picture: Picture) -> None:
        image = Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=picture.encoded
        )
        self._events.add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def text(self, tag: str, step: int, markdown: str) -> None:
        self._events.add(text(tag, markdown), step)

    def describe(self, settings: Mapping[str, bool | float | str], metrics: tuple[str, ...]) -> None:
        """Write the HParams tab, with the last values of these curves, and the charts of the Custom Scalars tab."""
        experiment, session, _ = hparams(dict(settings), dict.fromkeys(metrics, 0.0))
        self._events.add(_with_first(experiment, FIRST))
        self._events.add(session)
        self._events.add(custom_scalars(LAYOUT))

    def end(self) -> None:
        """Mark the run as finished."""
        self._events.add(hparams({}, {})[2])

    def close(self) -> None:
        self._events.close()
        if self._by_images:
            self._by_images.close()


class Events:
    """One event file, written after each record; see `Appender` for what becomes of a full disk.

    TensorBoard's own writer has a thread that raises its errors late and prints a traceback.
    """

    def __init__(self, folder: Path, purge_step: int | None, say: Say) -> None:
        """Begin a file.

        Args:
            folder: Of the file.
            purge_step: Readers drop what earlier files hold of this step and later ones.
            say: Called if the file cannot be written.
        """
        self._file = Appender(folder / f"{_EVENTS}{_number(folder):010d}.{socket.gethostname()}.{os.getpid()}", say)
        self._add(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, summary: Summary, step: int = 0) -> None:
        self._add(Event(step=step, summary=summary))

    def close(self) -> None:
        self._file.close()

    def _add(self, event: Event) -> None:
        event.wall_time, record = time.time(), io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        # at once: a point lost in a kill would stay missing, as the restart's checkpoint may be of a later step
        self._file.add(record.getvalue())


def _number(folder: Path) -> int:
    """What a new file's name begins with: the time, as readers expect, but above all that lie there.

    Readers order files by name. After a clock was set back, the time alone would put a restart before the start.
    """
    names = (path.name.removeprefix(_EVENTS).partition(".")[0] for path in folder.glob(f"{_EVENTS}*"))
    return max([int(time.time()), *(int(name) + 1 for name in names if name.isdecimal())])


def _with_first(experiment: Any, names: Sequence[str]) -> Any:
    """Mark these settings as differing between runs: TensorBoard shows their columns first."""
    content = experiment.value[0].metadata.plugin_data
    known = HParamsPluginData.FromString(content.content)
    for info in known.experiment.hparam_infos:
        info.differs = info.name in names
    content.content = known.SerializeToString()
    return experiment


def _write(events: Events, step: int, values: Mapping[str, float]) -> None:
    points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    events.add(Summary(value=points), step)
