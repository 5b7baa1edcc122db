from pathlib import Path

from tests.trainer.evidence.runs import RESULT, recipe, write
from trainer.evidence import card


def test_the_page_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    run = write(tmp_path / "run", recipe("plain18"), [], RESULT)
    page = card.text("plain18", run, run.weights)
    assert "    provenet evaluate run --data DATA --protocol ten-crop-224/256" in page
    assert str(tmp_path) not in page
