import json
from pathlib import Path

import torch

from trainer.checkpoint import files, store


def write(folder: Path, step: int, value: float = 0.0) -> Path:
    return store.write(folder, step, {"model": {"w": torch.tensor(value)}, "about": {}, "value": value})


def loaded(folder: Path) -> float | None:
    state = store.load_newest(folder)
    return state["value"] if state else None


def test_checkpoints_are_ordered_by_step_and_nothing_else_counts(tmp_path: Path) -> None:
    for name in ("step-0000000009", "step-0000000010", "step-0000000011.tmp", "step-12", "step-0000000009.old"):
        (tmp_path / name).mkdir()
    names = [path.name for path in files.newest_first(tmp_path)]
    assert names == ["step-0000000010", "step-0000000009", "step-0000000009.old"]


def test_killed_between_the_renames_of_a_replacement_the_moved_one_is_loaded_and_gets_its_name_back(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, 7, 1.0)
    path.rename(f"{path}.old")
    assert loaded(tmp_path) == 1.0
    files.settle(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000007"]
    assert loaded(tmp_path) == 1.0


def test_killed_after_the_renames_of_a_replacement_the_new_one_counts(tmp_path: Path) -> None:
    path = write(tmp_path, 7, 1.0)
    path.rename(f"{path}.old")
    (tmp_path / "aside").mkdir()
    write(tmp_path / "aside", 7, 2.0).rename(path)
    assert loaded(tmp_path) == 2.0
    write(tmp_path, 8, 3.0)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-0000000007", "step-0000000008"]


def test_without_hashes_only_sizes_are_compared(tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    content = bytearray((path / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "state.pt").write_bytes(content)
    assert files.damage(path, hashes=False) is None
    assert files.damage(path) == "state.pt differs from the manifest"
    (path / "state.pt").write_bytes(content[:-1])
    assert files.damage(path, hashes=False) == "state.pt differs from the manifest"


def test_a_field_that_is_not_known_is_passed_over_and_a_newer_checkpoint_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    manifest = path / files.MANIFEST
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "colour": "red"}))
    assert files.damage(path) is None
    assert files.newer(tmp_path) is None
    manifest.write_text(json.dumps({**content, "schema": 9}))
    assert files.damage(path) == f"NewerSchemaError: {files.newer(tmp_path)}"
    assert str(files.newer(tmp_path)).startswith(f"{manifest}: schema 9, this version reads up to 2; use the version")
