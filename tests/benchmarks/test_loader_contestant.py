"""A contender's process, with an environment of its own where a package is missing or broken."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.benchmarks.contestant import FailedError
from tests.benchmarks.loader_contestant import LoaderContestant, NotInstalledError
from tests.benchmarks.loaders_config import BenchTask


def task(root: Path, contender: str = "floor") -> BenchTask:
    return BenchTask(
        contender=contender,  # type: ignore[arg-type]
        root=root,
        split="train",
        batch=16,
        threads=2,
        size=224,
        manifests=root,
    )


def package(folder: Path, code: str) -> str:
    (folder / "nvidia").mkdir()
    (folder / "nvidia/__init__.py").write_text(code)
    return str(folder)


def processes(root: Path) -> list[str]:
    """Command lines that name the data set, forks of such a process included."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(process.read_text(errors="replace"))
    return [line for line in found if str(root) in line]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "raise ModuleNotFoundError(\"No module named 'nvidia'\", name='nvidia')"
    monkeypatch.setenv("PYTHONPATH", package(tmp_path, code))
    with pytest.raises(NotInstalledError, match=r"^nvidia$"):
        LoaderContestant(task(tmp_path, "dali-example"))


def test_what_a_process_said_last_is_the_reason_of_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", package(tmp_path, "print('noise')\nraise OSError('libnvcomp.so: no such file')"))
    with pytest.raises(FailedError, match=r"OSError: libnvcomp\.so: no such file"):
        LoaderContestant(task(tmp_path, "dali-example"))


@pytest.mark.slow
def test_a_turn_counts_images_and_all_cpu_time(images: Path) -> None:
    contestant = LoaderContestant(task(images, "torchvision"))
    try:
        assert contestant.first_batch_s > 0.1
        assert len(processes(images)) == 3
        assert contestant.facts["shape"] == [3, 224, 224]
        short, long = contestant.turn(0.2), contestant.turn(1.0)
    finally:
        contestant.close()
    for turn, seconds in ((short, 0.2), (long, 1.0)):
        assert turn.images % 16 == 0
        assert turn.images > 0
        assert seconds <= turn.wall_s < seconds + 4
        assert 0 < turn.cpu_s <= 3 * turn.wall_s + 0.1  # two workers, and their parent
    assert long.images > short.images
    assert processes(images) == []
