"""`provenet doctor`: the values of its flags. The rest is in trainer/doctor/command.py."""

from collections.abc import Sequence

import tyro

from trainer.commands.parsing import named_recipe
from trainer.doctor.command import Doctor
from trainer.doctor.config import DoctorConfig, DoctorSite


def default(words: Sequence[str]) -> Doctor:
    """The values of the recipe that was typed.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    recipe = named_recipe(words, "doctor")
    return Doctor(recipe=tyro.MISSING, settings=recipe, site=DoctorSite(), patience=DoctorConfig())
