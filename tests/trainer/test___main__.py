import subprocess
import sys

import pytest

# a process group of one stands; a GPU is pretended, as whether there is one is all that is asked
PROGRAM = """
import atexit, logging, sys
import torch, torch.distributed as dist
from trainer import runtime
from trainer.__main__ import leave
logging.basicConfig(stream=sys.stdout)
torch.cuda.is_initialized = lambda: {on_gpu}
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
if {closed}:
    dist.destroy_process_group()
atexit.register(print, "teardown")
logging.warning("said")
print("printed")
leave(70)
"""


@pytest.mark.parametrize(
    ("on_gpu", "closed", "torn_down"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_a_process_that_leaves_work_on_a_gpu_ends_at_once_with_all_that_it_said(
    on_gpu: bool, closed: bool, torn_down: bool
) -> None:
    program = PROGRAM.format(on_gpu=on_gpu, closed=closed)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 70, done.stderr
    assert done.stdout.splitlines() == ["WARNING:root:said", "printed", *(["teardown"] if torn_down else [])]
