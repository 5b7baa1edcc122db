import csv
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch

from models import export, factory
from models.config import ModelConfig
from models.weights import Origin
from tests import commands
from tests.data import archives
from tests.data.making import picture
from trainer.commands.cli import main
from trainer.evaluation.predictions import load

CLASSES = ("cat", "caf\udce9", "=dog")
SHOWN = {"cat": "cat", "caf\udce9": "caf\\xe9", "=dog": "'=dog"}
FLAGS = ("--threads", "1", "--batch", "4")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of three classes with its own names and input, and 12 images of them, in class folders and in a tar."""
    root = tmp_path_factory.mktemp("place")
    for number in range(12):
        file = root / "set" / "val" / CLASSES[number % 3] / f"{number:02}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(48 + number, 40, number).save(file, "JPEG")
    files = {path.name: path.read_bytes() for path in sorted(root.glob("set/val/*/*"), key=lambda path: path.name)}
    (root / "images.tar").write_bytes(archives.tar(files))
    torch.manual_seed(0)
    config = ModelConfig(name="resnet20", num_classes=3)
    network = factory.build(config).eval()
    with torch.no_grad():  # answers that tell images apart
        weight, bias = (network.get_parameter(f"fc.{name}") for name in ("weight", "bias"))
        weight *= 30
        pixels = np.stack([np.asarray(picture(36, 36, number)) for number in range(12)])
        bias -= network(torch.from_numpy(pixels / 255 - 0.5).permute(0, 3, 1, 2).float() / 0.25).mean(0)
    settings = {"mean": [0.48, 0.49, 0.5], "std": [0.2, 0.3, 0.2], "eval_resize": 36, "eval_crop": 32}
    origin = replace(Origin(), classes=CLASSES, input=settings)
    export.export(network, config, root / "net.safetensors", "safetensors", 32, origin)
    export.export(network, config, root / "nameless.safetensors", "safetensors", 32)
    (root / "bodies").mkdir()
    for path in root.glob("set/val/cat/*"):
        (root / "bodies" / path.name).write_bytes(path.read_bytes()[:-60])
    (root / "head.jpg").write_bytes(b"nothing")
    (root / "answers.npz").touch()
    return root


@pytest.fixture(autouse=True)
def _inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def predicted(*words: str, code: int = 0) -> list[dict[str, str]]:
    """The rows that are printed."""
    done = commands.call(main, "predict", *words, *FLAGS)
    assert done.returncode == code, done.stderr
    return list(csv.DictReader(StringIO(done.stdout)))


def test_answers_and_probabilities_are_those_of_evaluate() -> None:
    done = commands.call(main, "evaluate", "net.safetensors", "--data", "set", "--output", "evaluated", *FLAGS)
    assert done.returncode == 0, done.stderr
    theirs, ours = load(Path("evaluated/predictions.npz")), predicted("net.safetensors", "set/val")
    names = [SHOWN[folder] + "/" + file for folder, file in (name.split("/") for name in theirs.names.tolist())]
    assert [row["image"] for row in ours] == [f"set/val/{name.removeprefix(chr(39))}" for name in names]
    answers = np.array([[int(row[f"index_{rank}"]) for rank in (1, 2, 3)] for row in ours])
    assert np.array_equal(answers, theirs.answers)
    assert len(set(answers[:, 0].tolist())) > 1
    probabilities = np.array([[float(row[f"probability_{rank}"]) for rank in (1, 2, 3)] for row in ours])
    assert probabilities[:, 0] == pytest.approx(theirs.confidence, rel=1e-5)
    assert probabilities.sum(1) == pytest.approx(np.ones(12), abs=1e-5)
    right = [row.tolist().index(target) for row, target in zip(answers, theirs.targets, strict=True)]
    assert -np.log(probabilities[np.arange(12), right]) == pytest.approx(theirs.losses, abs=1e-4)
    for row in ours:
        assert row["class_1"] == SHOWN[CLASSES[int(row["index_1"])]]


def test_files_come_in_their_order_and_an_archive_s_images_in_its_own() -> None:
    words = [f"set/val/{CLASSES[number % 3]}/{number:02}.JPEG" for number in (7, 0, 11, 3)]
    Path("list.txt").write_bytes(os.fsencode("\n".join(words)))
    by_list, by_words = predicted("net.safetensors", "list.txt"), predicted("net.safetensors", *words)
    assert by_list == by_words
    assert [row["image"][-7:-5] for row in by_words] == ["07", "00", "11", "03"]
    inside = predicted("net.safetensors", "images.tar", "--topk", "1")
    assert [row["image"] for row in inside] == [f"images.tar: {number:02}.JPEG" for number in range(12)]
    assert set(inside[0]) == {"image", "class_1", "index_1", "probability_1"}
    alike = {row["image"][-7:]: row["index_1"] for row in inside}
    assert all(alike[row["image"][-7:]] == row["index_1"] for row in by_words)


def test_json_names_what_was_run_and_what_was_left_out() -> None:
    words = ("net.safetensors", "set/val/caf\udce9", "bodies", "head.jpg", "--output", "out.json", *FLAGS)
    done = commands.call(main, "predict", *words)
    assert done.returncode == 1
    assert (
        "5 of 9 images are broken and left out:\n  head.jpg: not an image: it begins with 6e 6f 74 68\n" in done.stderr
    )
    content = json.loads(Path("out.json").read_text())
    assert (content["protocol"], content["model"], content["weights_of"]) == (
        *("center-32/36", "resnet20", "net.safetensors"),
    )
    assert [image["image"] for image in content["images"]] == [
        f"set/val/caf\udce9/{number:02}.JPEG" for number in (1, 4, 7, 10)
    ]
    best = content["images"][0]["answers"][0]
    assert best["class"] == CLASSES[best["index"]]
    bodies = [f"bodies/{number:02}.JPEG" for number in (0, 3, 6, 9)]
    assert [image["name"] for image in content["broken"]] == ["head.jpg", *bodies]


def test_where_every_image_is_broken_behind_its_header_no_row_is_written() -> None:
    assert predicted("net.safetensors", "bodies", code=1) == []


def test_weights_without_names_answer_by_numbers_or_by_names_from_a_file() -> None:
    done = commands.call(main, "predict", "nameless.safetensors", "images.tar", *FLAGS)
    assert "the weights name no classes" in done.stderr
    Path("names.txt").write_text("one\ntwo\nthree\n")
    numbers = list(csv.DictReader(StringIO(done.stdout)))
    named = predicted("nameless.safetensors", "images.tar", "--classes", "names.txt")
    assert [("one", "two", "three")[int(row["class_1"])] for row in numbers] == [row["class_1"] for row in named]


TWO = """
import os, sys
import trainer.evaluation.predict  # loads torch once
from trainer.commands.cli import main
pids = []
for rank in map(str, range(2)):
    if (pid := os.fork()) == 0:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        os.environ.update(zip(names, (rank, rank, "2", "2", "127.0.0.1", sys.argv[1])), ACCELERATE_USE_CPU="true")
        os._exit(main(sys.argv[2:]))
    pids.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
"""


def test_two_processes_write_the_same_file_as_one() -> None:
    words = ("predict", "net.safetensors", "bodies", "set", "head.jpg", *FLAGS)
    one = commands.call(main, *words, "--output", "one.csv")
    assert (one.returncode, one.stderr.endswith("one.csv: answers to 12 images\n")) == (1, True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-c", TWO, str(port), *words, "--output", "two.csv"]
    done = subprocess.run(
        line, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.stdout == "[1, 1]\n", done.stderr
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()
    assert len(Path("one.csv").read_text().splitlines()) == 13


REFUSALS = {
    "no images": ([], "IMAGES: no image is named; name images, folders, .tar files, or lists of paths in .txt"),
    "nothing there": (["lost"], "IMAGES: lost does not exist"),
    "no image": (
        ["head.jpg"],
        "IMAGES: none of 1 can be read, the first: head.jpg: not an image: it begins with 6e 6f 74 68",
    ),
    "too long": (["x" * 300], "xxx: File name too long"),
    "twice": (["set", "set/val"], "is named twice"),
    "extension": (["set", "--output", "out.txt"], "--output: out.txt; name a file that ends in .csv or .json"),
    "folder": (["set", "--output", "lost/out.csv"], "--output: lost is no folder that can be written"),
    "topk": (["set", "--topk", "0"], "--topk: 0; must be at least 1 and at most 1000"),
    "protocol": (["set", "--protocol", "centre"], "--protocol: 'centre' is unknown"),
    "classes": (["set", "--classes", "lost"], "--classes: lost is no file; name a text file, or imagenet"),
    "too few classes": (["set", "--classes", "imagenet"], "--classes: imagenet names 1,000 classes; the network has 3"),
    "recipe": (["set", "--recipe", "resnet5O"], "recipe: 'resnet5O' is unknown; did you mean"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_mistake_is_refused_before_anything_is_written(case: str, place: Path) -> None:
    words, expected = REFUSALS[case]
    before = sorted(place.iterdir())
    done = commands.call(main, "predict", "net.safetensors", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cannot start; nothing was written\n")
    assert expected in commands.said(done)
    assert sorted(place.iterdir()) == before


def test_answers_are_no_weights() -> None:
    done = commands.call(main, "predict", "answers.npz", "set")
    assert (done.returncode, "answers.npz holds answers, not weights" in done.stderr) == (2, True)


def test_standard_input_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": 0,
        "WORLD_SIZE": 2,
        "LOCAL_RANK": 0,
        "LOCAL_WORLD_SIZE": 2,
        "MASTER_PORT": 29500,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    done = commands.call(main, "predict", "net.safetensors", "-")
    assert "IMAGES: -: several processes cannot share standard input; name a .txt file" in done.stderr


def test_its_help_loads_nothing_that_takes_long() -> None:
    slow = {"torch", "torchvision", "timm", "accelerate", "nvidia", "numpy"}
    assert not slow & commands.loads("trainer.commands.predict")
