from pathlib import Path

import pytest

from tests import commands
from tests.data import archives
from trainer.commands.cli import main


def flags(paths: dict[str, Path]) -> list[str]:
    return [word for flag, path in paths.items() for word in (f"--{flag.replace('_', '-')}", str(path))]


def test_it_says_what_there_is_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, out = archives.imagenet(tmp_path / "archives"), tmp_path / "my data"
    command = ["prepare", "imagenet", str(out), *flags(paths), "--partial", "--workers", "1"]
    assert main(command) == 0
    first = capsys.readouterr()
    assert main(command) == 0
    lines = first.out.splitlines()
    assert lines[0].startswith(f"{out}: 18 images (12 train and 6 val) of 3 classes, 0.0 MB; 18 written in 0.")
    assert lines[1:] == [
        f"next: provenet verify '{out}'",
        f"then: provenet train RECIPE --data '{out}' --output RUN --model.num-classes 3",
    ]
    assert capsys.readouterr().out.splitlines()[0].endswith(" MB; all there before")
    assert main(["verify", str(out), "--workers", "1"]) == 0


def test_shards_can_be_made_directly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = archives.imagenet(tmp_path / "archives")
    command = ["prepare", "imagenet", str(tmp_path / "out"), *flags(paths), "--partial", "--workers", "1"]
    assert main([*command, "--resize", "32"]) == 2
    assert "--to: tree, but there are options of shards; add --to shards" in capsys.readouterr().err
    assert main([*command, "--resize", "32", "--to", "shards"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "18 images (12 train and 6 val) of 3 classes" in lines[0]
    assert [line.split(" RECIPE")[0] for line in lines[1:]] == ["next: provenet train"]
    assert (tmp_path / "out/train/train-000000.tar").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "--train-tar, --val-tar, --devkit: missing; name the official archives, or --parquet DIR"),
        (["--parquet", "P", "--devkit", "D"], "--parquet: there are official archives too; leave one of them out"),
        (["--parquet", "P", "--to", "shards"], "make a tree, then: provenet pack OUT SHARDS"),
    ],
)
def test_archives_or_parquet_files_are_named(
    words: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "imagenet", "OUT", *words]) == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_images_that_do_not_decode_end_the_packing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = archives.imagenet(tmp_path / "archives")
    broken = {**archives.val_images(), "ILSVRC2012_val_00000001.JPEG": b"no image"}
    paths["val_tar"].write_bytes(archives.tar(broken))
    command = [
        "prepare",
        "imagenet",
        str(tmp_path / "out"),
        *flags(paths),
        "--partial",
        "--workers",
        "1",
        "--to",
        "shards",
    ]
    assert main(command) == 1
    assert "ILSVRC2012_val_00000001.JPEG" in capsys.readouterr().err
    assert main([*command, "--max-broken", "0.5"]) == 0
    assert (
        "1 images cannot be decoded and were left out: n03000684/ILSVRC2012_val_00000001.JPEG"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("name", ["imagenette", "imagewoof", "cifar10", "cifar100"])
def test_an_archive_that_is_not_there_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["prepare", name, str(tmp_path / "out"), "--archive", str(tmp_path / "no")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"cannot start; nothing was written\n  --archive: {tmp_path}/no does not exist; download it "
    )
    assert list(tmp_path.iterdir()) == []


def test_options_of_shards_out_of_range_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archives = [f"--{name}={tmp_path / name}" for name in ("train-tar", "val-tar", "devkit")]
    flags = ["--to", "shards", "--quality", "0", "--resize", "31"]
    assert main(["prepare", "imagenet", str(tmp_path / "out"), *archives, *flags]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  --resize: 31; must be at least 32 and at most 4096",
        "  --quality: 0; must be at least 1 and at most 100",
    ]


def test_help_names_the_data_sets_and_the_official_files() -> None:
    said = commands.said(commands.run("launch", "prepare", "--help"))
    assert all(f"• {name}" in said for name in ("imagenet", "imagenette", "imagewoof", "cifar10", "cifar100"))
    assert "--archive cifar-10-python.tar.gz" in said
