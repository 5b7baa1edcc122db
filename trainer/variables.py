"""Environment variables of Accelerate and of the libraries that compute. Standard library only.

`accelerate launch` turns its flags and its configuration file into variables. The recipe and the command's own flags
decide how a run is trained, so those that ask for other mathematics are refused, and the rest is named.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data.names import shown
from trainer.recipe.config import Recipe

_PREFIX = "ACCELERATE_"
_OFF = ("", "no", "none", "false", "f", "n", "off", "0", "default", "auto")
_APPLY = ("ACCELERATE_USE_CPU", "ACCELERATE_LOG_LEVEL")
_WHOLE = "each process holds the whole network (DDP)"
_ELSEWHERE = {
    "ACCELERATE_USE_FSDP": _WHOLE,
    "ACCELERATE_USE_DEEPSPEED": _WHOLE,
    "ACCELERATE_USE_MEGATRON_LM": _WHOLE,
    "ACCELERATE_USE_PARALLELISM_CONFIG": _WHOLE,
    "ACCELERATE_USE_SAGEMAKER": _WHOLE,
    "ACCELERATE_DYNAMO_BACKEND": "the recipe has compile: {0.compile}",
    "ACCELERATE_MIXED_PRECISION": "the recipe has precision: {0.precision}",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "the recipe has global_batch: {0.global_batch}",
    "ACCELERATE_GRADIENT_CLIPPING": "the recipe has clip_norm: {0.clip_norm}",
}
"""Variables that ask for other mathematics, and what is so instead."""
_NUMBERS = re.compile(
    r"NVIDIA_TF32_OVERRIDE|ATEN_CPU_CAPABILITY|MKL_(CBWR|DISABLE_FAST_MM|ENABLE_INSTRUCTIONS)|PYTORCH_TUNABLEOP_\w+"
    r"|(CUBLAS|CUBLASLT|CUDNN|DNNL|ONEDNN|TORCHINDUCTOR)_\w+"
    r"|TORCH_(ALLOW_TF32|BLAS|CUBLAS|CUBLASLT|CUDNN|LINALG|LINEAR|MKLDNN)_\w+"
)
_NO_NUMBERS = re.compile("CACHE|DEBUG|DIR|FILE|LOG|THREADS|VERBOSE")


def problems(recipe: Recipe, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The variables that ask for other mathematics than the recipe."""
    return [
        f"{name} is {shown(environment[name])}, but {_ELSEWHERE[name].format(recipe)}; unset it, or if accelerate "
        "launch sets it, change its flags or its configuration file (see accelerate env)"
        for name in _asked(recipe, environment)
        if name in _ELSEWHERE
    ]


def ignored(recipe: Recipe, environment: Mapping[str, str] = os.environ) -> str | None:
    """A line that names Accelerate's variables that do not apply."""
    names = [name for name in _asked(recipe, environment) if name not in _ELSEWHERE]
    return f"ignored, as the recipe and the flags of this command decide: {', '.join(names)}" if names else None


@contextmanager
def hidden() -> Iterator[None]:
    """Hide Accelerate's variables from it while the block runs."""
    theirs = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_PREFIX)}
    try:
        yield
    finally:
        os.environ.update(theirs)


def of_numbers(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables by which PyTorch and its libraries may compute other numbers."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if _NUMBERS.fullmatch(name) and not _NO_NUMBERS.search(name)
    }


def record_collectives(run: Path) -> None:
    """Let NCCL write its newest collectives, which it keeps in memory, to the run directory after a timeout."""
    os.environ.setdefault("TORCH_NCCL_DUMP_ON_TIMEOUT", "1")
    if "TORCH_NCCL_DEBUG_INFO_TEMP_FILE" not in os.environ:  # the older name
        os.environ.setdefault("TORCH_FR_DUMP_TEMP_FILE", f"{run.absolute()}/nccl-trace-rank")


def _asked(recipe: Recipe, environment: Mapping[str, str]) -> list[str]:
    """Accelerate's variables that neither apply nor say what is so anyway."""
    same = {
        "ACCELERATE_MIXED_PRECISION": recipe.precision,
        "ACCELERATE_DYNAMO_BACKEND": "no" if recipe.compile == "off" else "inductor",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
        "ACCELERATE_GRADIENT_CLIPPING": str(recipe.clip_norm).lower(),
    }
    theirs = {name: value.lower() for name, value in sorted(environment.items()) if name.startswith(_PREFIX)}
    return [name for name, value in theirs.items() if name not in _APPLY and value not in (*_OFF, same.get(name))]
