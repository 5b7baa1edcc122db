import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data.catalog.listing import SPLITS
from data.synth import synth
from data.synth.config import Synth
from data.verify import hashing
from tests.trainer.engines import RECIPE, ask_to_stop, context, together
from trainer.context import RunContext
from trainer.engine import run_images
from trainer.engine.run_images import RefusedDataError, UnusableDataError, hashed, hashing_behind, list_images
from trainer.exits import FAILED
from trainer.peers import PeerFailedError
from trainer.stopping import StopRequestedError
from trainer.world import World


@pytest.fixture
def tree(images: Path, tmp_path: Path) -> Path:
    """Images of one's own, to be changed."""
    return shutil.copytree(images, tmp_path / "tree")


@pytest.fixture
def run(tree: Path, tmp_path: Path) -> Iterator[RunContext]:
    """A run on them that has its directory."""
    made = context(tree, tmp_path / "run")
    made.run.make()
    yield made
    made.runtime.close()


def first_image(tree: Path, split: str = "train") -> Path:
    return sorted((tree / split).rglob("*.*"))[0]


def test_the_first_start_lists_the_images_and_the_next_take_its_list(run: RunContext, tree: Path) -> None:
    train, val = list_images(run)
    assert (len(train), len(val), len(train.classes)) == (96, 80, 4)
    shutil.rmtree(tree / "val" / val.classes[0])
    again = list_images(run)
    assert [images.fingerprint() for images in again] == [train.fingerprint(), val.fingerprint()]
    assert sorted(path.name for path in run.run.path.glob("*manifest*")) == ["manifest-train.npz", "manifest-val.npz"]


def test_a_file_that_is_lost_after_the_first_start_is_said_and_ends_nothing(
    run: RunContext, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list_images(run)
    capsys.readouterr()
    first_image(tree).unlink()
    train, _ = list_images(run)
    assert len(train) == 96
    output = capsys.readouterr().out
    assert "listed, but no longer there; what cannot be read as it was listed is replaced, up to --max-broken" in output


def test_lists_that_verify_wrote_are_taken_and_kept(run: RunContext, tree: Path, tmp_path: Path) -> None:
    """From the data set's own folder, or from the one that --manifests names."""
    written = [images.fingerprint() for images in list_images(run)]
    for place, site in ((tree, run.site), (tmp_path / "apart", replace(run.site, manifests=tmp_path / "apart"))):
        place.mkdir(exist_ok=True)
        for split in SPLITS:
            shutil.copy(run.run.manifest(split), place)
        other = replace(run, site=replace(site, output=tmp_path / f"of {place.name}"))
        other.run.make()
        assert [images.fingerprint() for images in list_images(other)] == written
        for split in SPLITS:
            assert other.run.manifest(split).exists()
            (place / other.run.manifest(split).name).unlink()


def test_a_list_that_is_not_of_these_images_is_refused_at_the_first_start(run: RunContext, tree: Path) -> None:
    list_images(run)
    for split in SPLITS:
        shutil.move(run.run.manifest(split), tree)
    first_image(tree, "val").unlink()
    with pytest.raises(RefusedDataError, match=r"no longer there\n  provenet verify .* lists what is there now"):
        list_images(run)
    assert not run.run.manifest("train").exists()


@pytest.mark.parametrize(("max_broken", "refused"), [(0.0, True), (1 / 96, False)])
def test_images_that_are_broken_are_left_out_up_to_a_share(
    max_broken: float, refused: bool, run: RunContext, tree: Path
) -> None:
    first_image(tree).write_bytes(b"no image")
    run = replace(run, site=replace(run.site, max_broken=max_broken))
    if refused:
        with pytest.raises(UnusableDataError, match="1 of 96 images"):
            list_images(run)
    else:
        train, _ = list_images(run)
        assert (len(train), len(train.broken)) == (95, 1)


def test_images_that_do_not_fit_the_recipe_are_refused(run: RunContext) -> None:
    recipe = replace(RECIPE, model=replace(RECIPE.model, num_classes=3), global_batch=120)
    with pytest.raises(
        RefusedDataError, match=r"model.num_classes: 3, .* 4 classes(?s:.*)\nglobal_batch: 120, .* 96 images"
    ):
        list_images(replace(run, recipe=recipe))
    assert list(run.run.path.iterdir()) == []


def test_images_that_break_after_the_check_may_be_too_few(run: RunContext, tree: Path) -> None:
    """Which shows only once all are decoded, and the run has begun."""
    first_image(tree).write_bytes(b"no image")
    run = replace(run, recipe=replace(RECIPE, global_batch=96), site=replace(run.site, max_broken=1.0))
    with pytest.raises(UnusableDataError, match=r"global_batch: 96, .* 95 images") as caught:
        list_images(run)
    assert caught.value.code == FAILED
    assert run.run.recipe.exists()


def test_a_stored_list_that_is_damaged_is_refused(run: RunContext) -> None:
    list_images(run)
    run.run.manifest("val").write_bytes(b"no manifest")
    with pytest.raises(ValueError, match=r"manifest-val\.npz"):
        list_images(run)


def test_a_trial_takes_a_few_images_from_all_of_the_split(tmp_path: Path) -> None:
    """8 steps of 2 images."""
    synth.write(tmp_path / "tree", Synth(classes=4, train_per_class=24, val_per_class=1), workers=1)
    made = context(tmp_path / "tree", tmp_path / "run", replace(RECIPE, global_batch=2, micro_batch=2), smoke=True)
    made.run.make()
    train, val = list_images(made)
    assert (len(train), len(val)) == (16, 4)
    assert sorted(train.targets.tolist()) == sorted(list(range(4)) * 4)
    made.runtime.close()


def test_a_stop_while_images_are_looked_at_ends_the_listing(run: RunContext) -> None:
    ask_to_stop(run.stop)
    with pytest.raises(StopRequestedError, match="SIGTERM"):
        list_images(run)
    assert not run.run.manifest("train").exists()


def listed(world: World, tree: Path, output: Path) -> list[object]:
    """How listing ends, without and with an image that is broken, and the hashing of a list of headers."""
    made = context(tree, output / "good", world=world)
    made.run.make()
    ends: list[object] = [[images.fingerprint() for images in list_images(made)]]
    run_images.AT_ONCE = 90  # in this process alone
    many = replace(made, site=replace(made.site, output=output / "many"))
    many.run.make()
    images = list_images(many)
    ends.append([one.hashed for one in images])
    complete = hashed(many, images)
    ends.append([one.fingerprint() for one in list_images(many)] if complete else None)
    if world.is_main:
        first_image(tree).write_bytes(b"no image")
    other = replace(made, site=replace(made.site, output=output / "bad"))
    other.run.make()
    try:
        list_images(other)
    except (UnusableDataError, PeerFailedError) as error:
        ends.append(error)
    made.runtime.close()
    return ends


@pytest.mark.slow
def test_rank_0_lists_for_all_and_alone_says_why_it_cannot(tree: Path, tmp_path: Path) -> None:
    (good, *many, refused), (other, *theirs, peer) = together(listed, tree, tmp_path)
    assert good == other
    assert many == theirs == [[False, True], good]
    assert isinstance(refused, UnusableDataError)
    assert isinstance(peer, PeerFailedError)


def test_of_many_images_headers_are_listed_and_the_hashes_follow_behind_the_training(
    run: RunContext, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With damage behind a header, which is replaced in training, and a file that is left out at once."""
    expected = [images.fingerprint() for images in list_images(replace(run, site=replace(run.site, max_broken=1.0)))]
    for split in SPLITS:
        run.run.manifest(split).unlink()
    names = [first_image(tree).with_name(name) for name in ("cut.png", "empty.png")]
    shutil.copy(first_image(tree), names[0])
    os.truncate(names[0], names[0].stat().st_size - 20)
    names[1].touch()
    monkeypatch.setattr(run_images, "AT_ONCE", 90)
    run = replace(run, site=replace(run.site, max_broken=0.05))
    images = list_images(run)
    assert [(len(one), len(one.broken), one.hashed) for one in images] == [(97, 1, False), (80, 0, True)]
    stored = hashing.progress_file(run.run.manifest("train"))
    with hashing_behind(run, images):
        while not stored.exists() or stored.stat().st_size < 16 * 33:  # the first chunk
            time.sleep(0.05)
    killed = list_images(run)
    assert killed[0].fingerprint() is None
    complete = hashed(run, killed)
    assert complete
    assert [one.fingerprint() for one in complete] == expected
    again = list_images(run)
    assert ([one.fingerprint() for one in again], stored.exists()) == (expected, False)
    assert hashed(run, again) == again
    assert (len(again[0]), int(again[0].hashes.any(1).sum())) == (97, 96)


def test_hashes_are_not_stored_where_the_images_are_gone_and_a_stop_leaves_them_for_the_next_start(
    run: RunContext, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_images, "AT_ONCE", 90)
    images = list_images(run)
    tree.rename(away := tree.with_name("away"))
    lost = hashed(run, images)
    assert lost
    assert (lost[0].fingerprint(), lost[1].fingerprint() is None) == (None, False)
    assert "96 of 96 images cannot be read now: no hash of the data" in capsys.readouterr().out
    away.rename(tree)
    complete = hashed(run, images)
    assert complete
    assert complete[0].hashed
    ask_to_stop(run.stop)
    assert hashed(run, images) is None
