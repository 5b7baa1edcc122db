from tests.system.measured import MEASURED
from tests.trainer.telemetry.watched import point


def test_broken_images_and_skipped_steps_are_said_where_there_are_any() -> None:
    assert point(40).line().endswith("  broken images 2  skipped steps 1")


def test_utilisation_is_what_was_done_of_what_could_be() -> None:
    assert (point(1).pace.mfu, point(2).pace.mfu) == (0.25, None)


def test_times_and_sizes_are_those_that_no_two_runs_have_in_common() -> None:
    groups = point(1).groups()
    for group in ("throughput", "time", "machine"):
        assert set(groups[group]) <= MEASURED
    for group in ("train", "input"):
        assert not set(groups[group]) & MEASURED
