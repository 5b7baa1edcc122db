"""`provenet doctor`: the values of its flags. The rest is in trainer/doctor/command.py."""

from collections.abc import Sequence

import tyro

from trainer.commands.parsing import named_recipe
from trainer.doctor.command import Doctor, DoctorSite


def default(words: Sequence[str]) -> Doctor:
    """The values of the recipe that was typed.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    return Doctor(recipe=tyro.MISSING, settings=named_recipe(words, "doctor"), site=DoctorSite())
