from pathlib import Path

import pytest
import torch

from tests.benchmarks import our_loaders
from tests.benchmarks.loaders_config import BenchTask


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_s_loader_is_named_as_missing_where_there_is_no_gpu(tmp_path: Path) -> None:
    task = BenchTask(
        contender="dali_gpu", root=tmp_path, split="train", batch=1, threads=1, size=32, manifests=tmp_path
    )
    with pytest.raises(ModuleNotFoundError) as raised:
        next(our_loaders.batches(task))
    assert raised.value.name == "an NVIDIA GPU"
