import pytest

from trainer.doctor.measures import enough_passes


@pytest.mark.parametrize(
    ("whole", "pass_s", "seconds", "passes"),
    [
        (1, 9.0, 1.0, 1),
        (32, 0.01, 1.0, 32),
        (32, 0.1, 1.0, 8),
        (32, 9.0, 1.0, 2),  # one pass of several would be no step of the recipe
        (9, 9.0, 1.0, 3),
        (6, 0.5, 1.6, 3),
    ],
)
def test_a_step_is_measured_in_as_many_passes_as_there_is_time_for(
    whole: int, pass_s: float, seconds: float, passes: int
) -> None:
    assert enough_passes(whole, pass_s, seconds) == passes
