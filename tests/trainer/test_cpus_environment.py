import os
import subprocess
import sys

import pytest

from trainer.cpus import ALLOCATOR, has_gpu

SHOW = """
import os, sys
from trainer.cpus import restart_with_allocator
restart_with_allocator()
print(os.environ["GLIBC_TUNABLES"], *sys.argv)
"""


@pytest.mark.parametrize("own", [None, "glibc.malloc.perturb=1"])
@pytest.mark.skipif(has_gpu() or sys.platform != "linux", reason="these are settings of Linux machines without GPU")
def test_a_process_begins_anew_with_the_allocator_s_settings_unless_the_user_has_his_own(own: str | None) -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    done = subprocess.run(
        [sys.executable, "-c", SHOW, "one", "two words"],
        env=variables | ({"GLIBC_TUNABLES": own} if own else {}),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{own or ALLOCATOR['GLIBC_TUNABLES']} -c one two words\n"
