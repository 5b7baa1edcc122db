from pathlib import Path

from trainer.evaluation.protocol import parse
from trainer.evaluation.session import Request
from trainer.evaluation.weights_source import Source
from trainer.rundir import RunDirectory

NOTHING = {field: None for field in ("data", "protocol", "labels", "output", "precision", "loader", "threads")}


def request(*sources: Source, **changes: object) -> Request:
    settings = {**NOTHING, "compare": False, "batch": 1, "max_broken": 0.0, **changes}
    return Request(sources=list(sources), **settings)  # pyright: ignore[reportArgumentType]


def test_every_evaluation_of_a_run_has_a_folder_of_its_own() -> None:
    run, ten = RunDirectory(Path("/runs/r")), parse("ten-crop")

    def folder(file: Path, which: str = "ema", **flags: object) -> str:
        source = Source(text="r", kind="weights", file=file, run=run, which=which)  # pyright: ignore[reportArgumentType]
        return str(request(source, **flags).folder(source, "val", ten))

    step = run.checkpoints / "step-0000000010"
    assert folder(run.weights) == "/runs/r/evaluations/val-ten-crop-224_256"
    assert folder(run.weights, labels="real") == "/runs/r/evaluations/val-real-ten-crop-224_256"
    assert folder(run.weights, labels="x/mine.json") == "/runs/r/evaluations/val-mine-ten-crop-224_256"
    assert folder(step / "ema.safetensors").endswith("/val-ten-crop-224_256-step-0000000010-ema")
    assert folder(step / "model.safetensors", "raw").endswith("/val-ten-crop-224_256-step-0000000010-raw")
    assert folder(run.weights, output=Path("out")) == "out"


def test_a_package_s_figures_lie_here_and_a_comparison_is_named_by_both() -> None:
    source = Source(text="timm/resnet18.a1_in1k", kind="package")
    found = request(source).folder(source, "imagenet-r", parse("center-288/288+bicubic"))
    assert found == Path("evaluations/timm_resnet18.a1_in1k/imagenet-r-center-288_288+bicubic")
    both = request(source, Source(text="runs/a", kind="weights"), compare=True)
    assert both.comparison_folder() == Path("evaluations/timm_resnet18.a1_in1k--runs_a")
