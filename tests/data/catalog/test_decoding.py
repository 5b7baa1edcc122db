import subprocess
import sys
from pathlib import Path

import pytest

from data.catalog.decoding import decoding
from data.types import BrokenImageError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("Failed to decode frame 0"), "Failed to decode frame 0"),
        (NotImplementedError("Unimplemented\npixel format"), "Unimplemented pixel format"),
        (OSError(5, "Input/output error", "name"), "Input/output error"),
        (BrokenImageError("as it says"), "as it says"),
        (MemoryError(), "its decoder asks for more memory than its pixels take"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 999), "x" * 200),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_decoder_raises_is_the_image_s_fault(error: Exception, reason: str) -> None:
    with pytest.raises(BrokenImageError) as raised, decoding():
        raise error
    assert str(raised.value) == reason


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_what_ends_a_process_is_not(error: BaseException) -> None:
    with pytest.raises(type(error)), decoding():
        raise error


def test_a_machine_without_memory_is_not() -> None:
    """In a process of its own: what other tests hold and free while it runs would count."""
    script = """
import resource
from pathlib import Path
from data.catalog.decoding import decoding
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
try:
    with decoding():
        raise MemoryError
except MemoryError:
    print("not the image's fault")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr) == ("not the image's fault\n", "")
