from pathlib import Path

import pytest

from tests.trainer.engines import context, together
from trainer.peers import PeerFailedError, on_main
from trainer.runtime import Runtime
from trainer.world import World


def failing(error: Exception) -> None:
    raise error


def test_rank_0_s_result_is_returned_and_its_error_raised_expected_or_not() -> None:
    runtime = Runtime(World(), "fp32", 1)
    assert on_main(runtime, lambda: 3, OSError) == 3
    with pytest.raises(OSError, match="full"):
        on_main(runtime, lambda: failing(OSError("full")), ValueError, OSError)
    with pytest.raises(ZeroDivisionError):
        on_main(runtime, lambda: 1 // 0, OSError)
    runtime.close()


def worked(world: World, images: Path, output: Path) -> list[object]:
    made = context(images, output, world=world)
    ends: list[object] = [on_main(made.runtime, lambda: world.rank + 7, ValueError)]
    try:
        on_main(made.runtime, lambda: failing(ValueError(str(world.rank))), ValueError)
    except (ValueError, PeerFailedError) as error:
        ends.append(error)
    made.runtime.close()
    return ends


@pytest.mark.slow
def test_rank_0_alone_works_and_all_leave_together_where_it_fails(images: Path, tmp_path: Path) -> None:
    (result, failure), (nothing, peer) = together(worked, images, tmp_path)
    assert (result, nothing) == (7, None)
    assert isinstance(failure, ValueError)
    assert str(failure) == "0"
    assert isinstance(peer, PeerFailedError)
