import subprocess
import sys

import pytest

# a process group of one is open; a GPU is pretended, as only whether there is one is asked
PROGRAM = """
import atexit, logging, os, sys, threading, time
import torch, torch.distributed as dist
from trainer import __main__ as program, runtime

def command():
    logging.basicConfig(stream=sys.stdout)
    torch.cuda.is_initialized = lambda: {on_gpu}
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    if {closed}:
        dist.destroy_process_group()
    atexit.register(print, "teardown")
    threading.Thread(target=lambda: (time.sleep(0.1), print("written"))).start()
    logging.warning("said")
    print("printed")
    return {code}

class AtTeardown:
    def __del__(self, write=os.write):
        write(1, b"interpreter gone\\n")

kept = AtTeardown()
program.run = command
program.start()
"""


@pytest.mark.parametrize(
    ("on_gpu", "closed", "code", "waits"),
    [(True, False, 70, False), (True, True, 70, True), (True, False, 0, True), (False, False, 70, True)],
)
def test_a_process_ends_with_all_that_it_said_and_without_the_interpreter_s_teardown(
    on_gpu: bool, closed: bool, code: int, waits: bool
) -> None:
    program = PROGRAM.format(on_gpu=on_gpu, closed=closed, code=code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines() == ["WARNING:root:said", "printed", *(["written", "teardown"] if waits else [])]
