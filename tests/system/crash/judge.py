"""Whether a run that was ended somewhere and started again is the run that was never stopped."""

import os
import re
from pathlib import Path

from tests.system.running import curves, points, same_bits, state
from trainer.exits import BAD_INPUT, code_of

COMPLETE = ("report.md", "report.html", "curves.png", "result.json", "model.safetensors", "recipe.yaml")


def faults(run: Path, whole: Path) -> list[str]:
    """What differs, one phrase each."""
    missing = [f"no {name}" for name in COMPLETE if not (run / name).exists()]
    strays = [f"stray {name}" for name in sorted(names(run) - names(whole) - {"deaths.txt"})]
    if missing:
        return missing + strays
    differs = {
        "weights": not same_bits(state(run), state(whole)),
        "file of weights": (run / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes(),
        "metrics": points(run) != points(whole),
        "curves": curves(run) != curves(whole),
        "pictures": (run / "curves.png").read_bytes()[-8:-4] != b"IEND",
        "report": not (run / "report.html").read_text().rstrip().endswith("</html>"),
    }
    return [f"other {name}" for name, wrong in differs.items() if wrong] + strays


def ending(code: int, output: str, run: Path, error: int) -> list[str]:
    """What is wrong with the end of a start that met this `errno`: it went on, or said why it could not."""
    if not code:
        return []
    wanted = {code_of(OSError(error, "")), *([BAD_INPUT] if "cannot start" in output else [])}
    told = re.search(rf"{re.escape(str(run))}[^:]*: .*{os.strerror(error)}", output[-1500:])
    wrong = {f"exit code {code}": code not in wanted, "no cause said": not told, "a traceback": "Traceback" in output}
    return [f"first start: {name}" for name, is_so in wrong.items() if is_so]


def names(run: Path) -> set[str]:
    """Files and folders, those of TensorBoard's starts as one."""
    paths = (path.relative_to(run).as_posix() for path in run.rglob("*"))
    return {re.sub(r"tfevents.*", "tfevents", path) for path in paths}
