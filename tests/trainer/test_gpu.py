import torch

from trainer import gpu


def test_deterministic_algorithms_fill_no_memory_that_is_written_anyway() -> None:
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        gpu.choose_algorithms("fp32", deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch._C._get_deterministic_fill_uninitialized_memory()
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch._C._set_deterministic_fill_uninitialized_memory(True)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = before[:2]
        torch.backends.cuda.matmul.allow_tf32 = before[2]
