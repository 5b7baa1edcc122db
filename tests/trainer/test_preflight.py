import os
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from data.plan.config import InputConfig
from data.types import has_dali
from models.config import ModelConfig
from tests.trainer.engines import RECIPE
from trainer import preflight
from trainer.optim.config import StepScheduleConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory
from trainer.world import World


@pytest.fixture
def site(images: Path, tmp_path: Path) -> SiteConfig:
    return SiteConfig(data=images, output=tmp_path / "run")


def begun(site: SiteConfig, recipe: Recipe = RECIPE) -> RunDirectory:
    """A directory that holds a run of this recipe."""
    run = RunDirectory(site.output)
    run.make()
    run.begin(recipe)
    return run


def test_nothing_is_wrong_with_a_run_that_can_start(site: SiteConfig) -> None:
    assert preflight.problems(RECIPE, site, World()) == []
    assert not site.output.exists()


def test_all_that_is_wrong_is_said_at_once_and_in_order(site: SiteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets, values, variables, world, network, data, directory, loader, trackers."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nowhere7")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)  # as if it were not installed
    site.output.mkdir()
    (site.output / "metrics.jsonl").touch()
    recipe = replace(RECIPE, schedule=StepScheduleConfig(milestones=(9.0,)), model=replace(RECIPE.model, num_classes=5))
    world = World(0, 5, 0, 5, launcher="torchrun", port=1)
    site = replace(site, trackers=("no_such_tracker",), loader="dali")
    socket, *found = preflight.problems(recipe, site, world)
    assert socket.startswith("GLOO_SOCKET_IFNAME is 'nowhere7', but ")
    accelerate = found.pop(1)
    assert accelerate.startswith(
        "ACCELERATE_USE_FSDP is true, but each process holds the whole network (DDP); unset it"
    )
    begins = ["schedule.milestones", "micro_batch", "model.num_classes", "--output", "--loader dali"]
    assert [problem.partition(":")[0] for problem in found] == [*begins, "--trackers no_such_tracker"]
    assert found[-2].startswith("--loader dali: NVIDIA DALI is not installed; use --loader threads, or ")
    assert found[-1] == "--trackers no_such_tracker: its package is not installed; pip install no-such-tracker"


def test_values_out_of_range_come_first_and_alone(site: SiteConfig) -> None:
    found = preflight.problems(replace(RECIPE, epochs=0, micro_batch=7), replace(site, log_every=0), World())
    assert [problem.partition(":")[0] for problem in found] == ["epochs", "--log-every"]


def test_a_folder_whose_name_is_no_text_is_refused(site: SiteConfig) -> None:
    """As safetensors would not open what the run has written there."""
    output = site.output.with_name(os.fsdecode(b"caf\xe9"))
    (problem,) = preflight.problems(RECIPE, replace(site, output=output), World())
    assert problem.startswith("--output: ")
    assert "/caf\\xe9 is not UTF-8" in problem


@pytest.mark.parametrize(("accumulate", "count"), [("auto", 1), ("recipe", 0)])
def test_cuda_graphs_are_refused_where_the_micro_batch_may_be_lowered(
    accumulate: str, count: int, site: SiteConfig
) -> None:
    recipe = replace(RECIPE, micro_batch=24, compile="reduce-overhead")
    found = preflight.problems(recipe, replace(site, accumulate=accumulate), World())  # pyright: ignore[reportArgumentType]
    assert [problem.startswith("compile: reduce-overhead uses CUDA graphs") for problem in found] == [True] * count


@pytest.mark.skipif(not has_dali(), reason="needs DALI")
def test_the_machine_s_own_problems_are_the_loader_s_the_device_s_and_the_sizes_in_this_order(
    site: SiteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: "/nowhere")
    recipe = replace(
        RECIPE,
        model=ModelConfig(name="resnet18", num_classes=4),
        precision="tf32",
        sync_bn=True,
        compile="default",
        micro_batch=1,
    )
    found = preflight.machine_problems(recipe, replace(site, loader="dali_gpu"), World(0, 2, 0, 2))
    for problem, start in zip(
        found,
        (
            "--loader dali_gpu: there is no GPU; use --loader threads",
            "precision: tf32 needs an NVIDIA GPU",
            "sync_bn: PyTorch's SyncBatchNorm needs GPUs",
            "compile: torch.compile needs Python's headers, but there is no /nowhere/Python.h",
            "input.train_size: resnet18 cannot train on micro-batches of 1 of 32 px",
        ),
        strict=True,
    ):
        assert problem.startswith(start)


@pytest.mark.parametrize("with_data", [True, False])
def test_images_are_looked_at_unless_there_are_none_yet(with_data: bool, site: SiteConfig, tmp_path: Path) -> None:
    found = preflight.problems(RECIPE, replace(site, data=tmp_path / "nowhere"), World(), with_data=with_data)
    assert [problem.partition(":")[0] for problem in found] == (["--data"] if with_data else [])


def test_manifests_that_are_named_must_be_there(site: SiteConfig, tmp_path: Path) -> None:
    found = preflight.problems(RECIPE, replace(site, manifests=tmp_path), World())
    assert len(found) == 1
    assert found[0].startswith(f"--manifests: {tmp_path} holds no manifest-train.npz and manifest-val.npz; ")


def test_a_folder_that_cannot_be_read_is_a_problem_and_no_error(site: SiteConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = preflight.problems(RECIPE, replace(site, data=tmp_path / "file" / "below"), World())
    assert [problem.partition(":")[0] for problem in found] == ["--data"]


def test_a_size_at_which_the_network_ends_in_nothing_is_said_once(site: SiteConfig) -> None:
    """Trained and evaluated at the same size, which neither can be."""
    recipe = replace(
        RECIPE,
        model=replace(RECIPE.model, name="inception_v3"),
        input=replace(RECIPE.input, train_size=32, eval_resize=32, eval_crop=32),
    )
    found = [problem for problem in preflight.problems(recipe, site, World()) if "inception" in problem]
    assert len(found) == len(set(found))
    assert any(problem.startswith("input.train_size") for problem in found)
    assert any(problem.startswith("input.eval_crop") for problem in found)


@pytest.mark.parametrize(
    ("accumulate", "asked", "stored", "expected"),
    [
        ("auto", {}, {"micro_batch": 6}, 6),
        ("auto", {}, None, 12),
        ("recipe", {}, {"micro_batch": 6}, 12),
        ("auto", {"seed": 5}, {"micro_batch": 6}, 12),
        ("auto", {}, {"micro_batch": 6, "seed": 5}, 12),
    ],
)
def test_a_micro_batch_that_the_run_found_for_itself_is_taken_over(
    accumulate: str, asked: dict[str, int], stored: dict[str, int] | None, expected: int, site: SiteConfig
) -> None:
    """And nothing else of a stored recipe, which is refused instead where it differs."""
    if stored is not None:
        begun(site, replace(RECIPE, **stored))  # pyright: ignore[reportArgumentType]
    recipe: Recipe = replace(RECIPE, **asked)  # pyright: ignore[reportArgumentType]
    found = preflight.adopted(recipe, replace(site, accumulate=accumulate))  # pyright: ignore[reportArgumentType]
    assert found == replace(recipe, micro_batch=expected)


def test_a_damaged_recipe_in_the_directory_is_refused(site: SiteConfig) -> None:
    begun(site).recipe.write_text("epochs: [")
    with pytest.raises(InvalidConfigError):
        preflight.adopted(RECIPE, replace(site, accumulate="auto"))


def test_a_run_that_is_there_goes_on_with_its_own_recipe_alone(site: SiteConfig) -> None:
    begun(site)
    assert preflight.problems(RECIPE, site, World()) == []
    found = preflight.problems(replace(RECIPE, epochs=3), site, World())
    assert len(found) == 1
    assert "epochs: 2 there, 3 asked for" in found[0]


@pytest.mark.parametrize(
    ("model", "sizes", "micro_batch", "expected"),
    [
        ("resnet20", {}, 4, []),
        (
            "resnet18",
            {"train_size": 32},
            1,
            ["input.train_size: resnet18 cannot train on micro-batches of 1 of 32 px: Expected more than 1 value"],
        ),
        ("resnet18", {"train_size": 32}, 2, []),
        ("resnet18", {"train_size": 32, "eval_crop": 32}, 2, []),
        ("resnet18", {"train_size": 64, "start_size": 32}, 1, ["input.start_size: resnet18 cannot train on"]),
        ("inception_v3", {"train_size": 299, "eval_crop": 299}, 2, []),
        (
            "torchvision/inception_v3",
            {"train_size": 299, "eval_crop": 64},
            2,
            ["input.eval_crop: torchvision/inception_v3 cannot evaluate 64"],
        ),
    ],
)
def test_sizes_that_a_network_cannot_take_are_found_without_data(
    model: str, sizes: dict[str, int], micro_batch: int, expected: list[str]
) -> None:
    sizes = {"train_size": 32, "eval_crop": 64, "eval_resize": 320, **sizes}
    recipe = replace(
        RECIPE,
        model=ModelConfig(name=model, num_classes=4),
        input=InputConfig(**sizes),  # pyright: ignore[reportArgumentType]
        micro_batch=micro_batch,
    )
    found = preflight.size_problems(recipe)
    assert len(found) == len(expected)
    for problem, begin in zip(found, expected, strict=True):
        assert problem.startswith(begin)


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("vit", "patch_size=0", "model.name: timm cannot build 'test_vit' with options: integer division or modulo"),
        ("vit", "weight_init=x", "model.name: timm cannot build 'test_vit' with options: AssertionError()"),
        ("resnet", "layers=(1, 1, 1)", "input.train_size: timm/test_resnet cannot train on micro-batches of 12 of 160"),
    ],
)
def test_options_by_which_timm_fails_in_any_way_are_refused(name: str, option: str, expected: str) -> None:
    model = ModelConfig(name=f"timm/test_{name}", num_classes=4, options=(option,))
    found = preflight.size_problems(replace(RECIPE, model=model, input=InputConfig(train_size=160, eval_crop=160)))
    assert found[0].startswith(expected)


def test_sizes_are_tried_once_as_a_run_goes_on_with_those_it_began_with(site: SiteConfig) -> None:
    recipe = replace(RECIPE, model=ModelConfig(name="resnet18", num_classes=4), micro_batch=1)
    assert len(preflight.machine_problems(recipe, site, World())) == 1
    begun(site)
    assert preflight.machine_problems(recipe, site, World()) == []


def test_a_size_to_grow_from_is_too_small_for_a_network_of_ours_before_it_is_built(site: SiteConfig) -> None:
    sizes = InputConfig(train_size=64, eval_crop=64, eval_resize=64, start_size=31, growth_epochs=(0, 1))
    recipe = replace(RECIPE, model=ModelConfig(name="resnet18", num_classes=4), input=sizes)
    assert preflight.problems(recipe, site, World()) == [
        "input.start_size: 31 is too small for resnet18, which needs at least 32"
    ]


@pytest.mark.parametrize(("compiler", "problem"), [("nothing", "compile: torch.compile needs a C"), ("off", None)])
def test_what_the_device_lacks_is_said_before_the_run(
    compiler: str, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    found = preflight.device_problems(Recipe(compile="off" if compiler == "off" else "default"), World())
    assert len(found) == (problem is not None)
    assert all(one.startswith(str(problem)) for one in found)
