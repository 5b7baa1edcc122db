from dataclasses import fields
from pathlib import Path

from trainer.config import SiteConfig
from trainer.doctor.config import DoctorSite


def test_it_takes_all_settings_of_a_run_and_makes_a_runs_of_them() -> None:
    assert [field.name for field in fields(DoctorSite)] == [field.name for field in fields(SiteConfig)]
    placed = DoctorSite(threads=3, save_steps=7).placed(Path("a"), Path("b"))
    assert placed == SiteConfig(data=Path("a"), output=Path("b"), threads=3, save_steps=7)
