from pathlib import Path

from trainer.evaluation.protocol import parse
from trainer.evaluation.request import Request
from trainer.rundir import RunDirectory
from trainer.sources import Source


def test_every_evaluation_of_a_run_has_a_folder_of_its_own() -> None:
    run, ten = RunDirectory(Path("/runs/r")), parse("ten-crop")

    def folder(file: Path, which: str = "ema", **flags: object) -> str:
        source = Source(text="r", kind="weights", file=file, run=run, which=which)  # pyright: ignore[reportArgumentType]
        return str(Request(**flags).folder(source, "val", ten))  # pyright: ignore[reportArgumentType]

    step = run.checkpoints / "step-0000000010"
    assert folder(run.weights) == "/runs/r/evaluations/val-ten-crop-224_256"
    assert folder(run.weights, labels="real") == "/runs/r/evaluations/val-real-ten-crop-224_256"
    assert folder(run.weights, labels="x/mine.json") == "/runs/r/evaluations/val-mine-ten-crop-224_256"
    assert folder(step / "ema.safetensors").endswith("/val-ten-crop-224_256-step-0000000010-ema")
    assert folder(step / "model.safetensors", "raw").endswith("/val-ten-crop-224_256-step-0000000010-raw")
    assert folder(run.weights, output=Path("out")) == "out"


def test_a_package_s_figures_lie_here_and_a_comparison_is_named_by_both() -> None:
    source = Source(text="timm/resnet18.a1_in1k", kind="package")
    folder = Request().folder(source, "imagenet-r", parse("center-288/288+bicubic"))
    assert folder == Path("evaluations/timm_resnet18.a1_in1k/imagenet-r-center-288_288+bicubic")
    both = Request().comparison_folder(source, Source(text="runs/a", kind="weights"))
    assert both == Path("evaluations/timm_resnet18.a1_in1k--runs_a")


def test_a_folder_s_name_is_safe_whatever_its_parts_are_called() -> None:
    source = Source(text="..", kind="package")
    assert Request().folder(source, "..", parse("resize-96")) == Path("evaluations/weights/-resize-96")
