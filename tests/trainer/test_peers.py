import pytest

from trainer.peers import aside
from trainer.runtime import Runtime
from trainer.world import World


def test_what_goes_wrong_beside_the_others_is_given_back_and_a_fault_is_raised() -> None:
    runtime = Runtime(World(), "fp32", 1)
    assert aside(runtime, lambda: None) is None
    assert str(aside(runtime, lambda: OSError("full"))) == "full"
    with pytest.raises(ZeroDivisionError):
        aside(runtime, lambda: 1 // 0)  # pyright: ignore[reportArgumentType]
    runtime.close()
