"""No variable of Accelerate changes a run: each of the installed version's is refused, named or read by us."""

import os
import re
from pathlib import Path

import accelerate
import pytest
import torch
from accelerate.state import PartialState

from trainer import variables
from trainer.recipe.config import Recipe
from trainer.runtime import Runtime
from trainer.world import World

SOURCES = sorted(Path(accelerate.__file__).parent.rglob("*.py"))
NAMES = sorted(
    {name for file in SOURCES for name in re.findall(r"\bACCELERATE_[A-Z0-9_]*[A-Z0-9]\b", file.read_text())}
)
REFUSED = {
    "ACCELERATE_DYNAMO_BACKEND": "compile: off",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "global_batch: 256",
    "ACCELERATE_GRADIENT_CLIPPING": "clip_norm: None",
    "ACCELERATE_MIXED_PRECISION": "precision: fp32",
    **dict.fromkeys(
        [f"ACCELERATE_USE_{kind}" for kind in ("DEEPSPEED", "FSDP", "MEGATRON_LM", "PARALLELISM_CONFIG", "SAGEMAKER")],
        "each process holds the whole network",
    ),
}
HOSTILE = {
    "ACCELERATE_TORCH_DEVICE": "meta",
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    "ACCELERATE_MIXED_PRECISION": "fp8",
}


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(precision="fp32")


def test_the_installed_version_s_names_are_known_by_their_source() -> None:
    assert len(NAMES) > 30
    assert set(REFUSED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_of_accelerate_is_refused_named_or_ours(
    name: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = HOSTILE.get(name, "true" if "USE" in name else "2")
    problems, ignored = variables.problems(recipe, {name: value}), variables.ignored(recipe, {name: value})
    if name in REFUSED:
        assert len(problems) == 1
        assert f"{name} is {value}, but" in problems[0]
        assert REFUSED[name] in problems[0]
    else:
        assert problems == []
        applies = name in ("ACCELERATE_USE_CPU", "ACCELERATE_LOG_LEVEL")
        assert ignored == (None if applies else f"ignored, as the recipe and the flags of this command decide: {name}")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv(name, value)
    before = os.sched_getaffinity(0)
    PartialState._reset_state()
    runtime = Runtime(World(), "fp32", 1)
    state = PartialState()
    assert (runtime.device, state.device) == (torch.device("cpu"), torch.device("cpu"))
    assert (state.num_processes, state.debug, os.sched_getaffinity(0)) == (1, False, before)
    assert os.environ[name] == value


@pytest.mark.parametrize(
    "said",
    [
        {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_DYNAMO_MODE": "default"},
        {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"},
        {"ACCELERATE_USE_FSDP": "false", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"},
        {"ACCELERATE_DYNAMO_USE_FULLGRAPH": "False", "ACCELERATE_GRADIENT_CLIPPING": "1.0"},
    ],
)
def test_what_accelerate_s_launcher_sets_by_itself_or_what_the_recipe_says_too_is_no_problem(
    said: dict[str, str],
) -> None:
    recipe = Recipe(precision="bf16", compile="default", clip_norm=1.0)
    assert variables.problems(recipe, said) == []
    assert variables.ignored(recipe, said) is None


def test_nccl_s_flight_recorder_writes_to_the_run_directory_unless_the_user_names_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("TORCH_NCCL_DUMP_ON_TIMEOUT", "TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is as before at the end
        del os.environ[name]
    variables.record_collectives(tmp_path)
    assert [os.environ.get(name) for name in names] == ["1", f"{tmp_path}/nccl-trace-rank", None]
    del os.environ["TORCH_FR_DUMP_TEMP_FILE"]
    monkeypatch.setenv("TORCH_NCCL_DEBUG_INFO_TEMP_FILE", "/elsewhere")
    variables.record_collectives(tmp_path)
    assert [os.environ.get(name) for name in names] == ["1", None, "/elsewhere"]


def test_variables_that_change_numbers_are_told_from_those_that_do_not() -> None:
    change = {"NVIDIA_TF32_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":16:8", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    others = {
        "TORCH_HOME": "/x", "TORCHELASTIC_RUN_ID": "1", "TORCH_NCCL_DEBUG": "1", "CUDNN_LOGINFO_DBG": "1",
        "TORCHINDUCTOR_CACHE_DIR": "/x", "MKL_NUM_THREADS": "1", "PYTORCH_ALLOC_CONF": "x", "PATH": "/bin",
    }  # fmt: skip
    assert variables.of_numbers({**change, **others}) == change
