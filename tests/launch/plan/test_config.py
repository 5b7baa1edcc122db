from pathlib import Path
from typing import Any

import pytest

from launch.plan.config import PlanConfig, plan_problems


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"nodes": 128}, []),
        (
            {"nodes": 129},
            ["--nodes: 129 of 8 GPUs make 1,032; a plan goes to 1,024, so use at most 128"],
        ),
        (
            {"measured": Path("doctor.json"), "images_per_s": 1.0, "loader_images_per_s": 2.0},
            [
                "--images-per-s: --measured gives it too; leave one out",
                "--loader-images-per-s: --measured gives it too; leave one out",
            ],
        ),
    ],
)
def test_flags_that_do_not_fit_together_are_named_with_their_mend(given: dict[str, Any], expected: list[str]) -> None:
    assert plan_problems(PlanConfig(**given)) == expected
