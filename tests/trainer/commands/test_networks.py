import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from models import export, factory
from models.config import ModelConfig
from models.weights import Origin
from tests.trainer.evidence.runs import RESULT, recipe, write
from trainer.commands.cli import main
from trainer.recipe.config import InitConfig, Recipe
from trainer.recipe.decode import decode

BAD = [
    (["list", "ghastnet"], "did you mean ghostnet_050"),
    (["summary", "resnet5O"], "did you mean resnet50"),
    (["summary", "inception_v3", "--image-size", "32"], "--image-size: 32 is too small for inception_v3"),
    (["summary", "resnet18", "--ghost", "2"], "model.ghost: resnet18 has no such option"),
    (["summary", "resnet50", "--num-classes", "-1"], "--num-classes: -1; must be at least 1"),
    (["summary", "resnet50", "--drop-path", "1"], "--drop-path: 1.0; must be at least 0 and below 1"),
    (["summary", "resnet50", "--batch", "0"], "--batch: 0; must be at least 1"),
    (["summary", "inception_v3", "--format", "keras"], "format: keras cannot name"),
    (["summary", "timm/inception_v4", "--image-size", "20"], "timm/inception_v4 does not take 64 images of 20 px"),
    (["summary", "torchvision/vit_b_16", "--image-size", "200"], "torchvision/vit_b_16 does not take 64 images of 200"),
    (["summary", "timm/resnet50.nonsense"], "model.name: 'timm/resnet50.nonsense'"),
    (["summary", "torchvision/resnet50.nonsense"], "'torchvision/resnet50.nonsense' is unknown"),
    (["summary", "resnet18", "--image-size", "0"], "--image-size: 0 is too small for resnet18"),
    (["summary", "resnet18", "--batch", "9999999999999"], "--batch: 9999999999999; must be at least 1 and at most"),
    (["summary", "plain18", "--format", "keras"], "format: keras cannot name layer1.0 (PlainBlock)"),
    (["summary", "resnet18", "--deep-stem", "True", "--format", "keras"], "format: keras cannot name conv1.0"),
    (["list", "timm/resnet18"], "'timm/resnet18' is none of ours"),
    (["validate", "resnet5O"], "did you mean resnet50"),
    (["validate", "resnet20", "--batch", "1"], "--batch: 1; must be at least 2"),
    (["export", "resnet18", "--weights", "absent.pt", "--to", "pt2"], "WEIGHTS: 'absent.pt' names no weights"),
    (["export", "resnet20", "--weights", "torchvision", "--to", "pt2"], "'torchvision/resnet20' is unknown; did you"),
    (["export", "resnet18", "--weights", "x", "--to", "pt2", "--output", "no/x.pt2"], "--output: no is not a folder"),
    (["export", "resnet18", "--weights", "x", "--to", "pt2", "--output", "x.bin"], "name a file that ends in .pt2"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD)
def test_bad_input_is_answered_on_one_screen_with_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *arguments]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert len(captured.err.splitlines()) < 24
    assert captured.out == ""


def test_an_unknown_flag_exits_with_code_2() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["models", "summary", "resnet18", "--bacth", "3"])


def test_list_shows_figures_paper_and_reference_of_matching_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "ResNet50*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "resnet50", "resnet50_v1"]
    figures, paper, reference = (
        ["25,557,032", "4.089", "G", "224"],
        ["1611.05431", "Table", "1"],
        "torchvision/resnet50",
    )
    assert lines[1].split() == ["resnet50", *figures, *paper, reference]


def test_summary_prints_the_table_of_the_paper_s_classes_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "summary", "resnet20", "--batch", "1"]) == 0
    out = capsys.readouterr().out
    assert "[1, 10]" in out
    assert "Total params: 269,722" in out


def test_summary_takes_the_network_s_options_and_other_packages_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "summary", "resnet50", "--ghost", "2", "--format", "csv"]) == 0
    assert "GhostModule" in capsys.readouterr().out
    assert main(["models", "summary", "torchvision/resnet18", "--batch", "2"]) == 0
    assert "Total params: 11,689,512" in capsys.readouterr().out


def test_summary_tells_what_no_layer_of_a_package_s_network_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "summary", "torchvision/vit_b_16", "--batch", "1"]) == 0
    out = capsys.readouterr().out
    # FlopCounterMode / 2, and torchvision's own count of parameters
    assert "Multiply-adds of one image: 17,56" in out
    assert "Total params: 86,567,656" in out
    assert "in no row above: 28,3" in out


def test_validate_prints_both_precisions_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "validate", "resnet20", "--image-size", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[4] for line in lines[1:]] == ["float64", "float32"]
    assert all(line.endswith("equal") for line in lines[1:])


def test_validate_exits_with_1_on_a_difference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from models import validate

    monkeypatch.setitem(validate.LIMITS, torch.float32, -1.0)
    assert main(["models", "validate", "resnet20", "--image-size", "8"]) == 1
    assert capsys.readouterr().out.endswith("DIFFERENT\n")


def test_export_writes_a_trained_network_under_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": factory.build(ModelConfig(name="resnet20", num_classes=10)).state_dict()}, "trained.pt")
    assert main(["models", "export", "resnet20", "--weights", "trained.pt", "--to", "safetensors"]) == 0
    assert capsys.readouterr().out.startswith("resnet20.safetensors: logits within 0.0e+00")
    assert Path("resnet20.safetensors").exists()


def test_help_is_shown_without_loading_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "launch", "models", "export", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--weights" in result.stdout
    assert "| torch" not in result.stderr


def test_a_run_is_exported_as_a_folder_with_a_page_of_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = InitConfig(weights="local-dir:/home/me/secret/first", sha256="5" * 64)
    trained = recipe(model=ModelConfig(name="resnet18", num_classes=3), init=init)
    run = write(tmp_path / "run", trained, result=RESULT)
    export.export(
        factory.build(trained.model), trained.model, run.weights, "safetensors", 64, Origin(classes=("a", "b", "c"))
    )
    command = [
        "models",
        "export",
        "resnet18",
        "--weights",
        str(run.path),
        "--to",
        "hub",
        "--image-size",
        "64",
        "--output",
    ]
    assert main([*command, str(tmp_path / "hub")]) == 0
    page = (tmp_path / "hub" / "README.md").read_text()
    head = yaml.safe_load(page.split("---\n")[1])
    assert head == {
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "timm"],
    }
    for part in (
        "**Not comparable.**",
        "began from local-dir:first (SHA-256 555555555555)",
        "76.20 %",
        RESULT["protocol"],
    ):
        assert part in page
    assert "secret" not in page
    assert "These weights are" not in page
    assert decode(Recipe, yaml.safe_load(page.split("```yaml\n")[1].removesuffix("```\n"))).epochs == trained.epochs
    settings = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert (settings["num_classes"], round(64 / settings["pretrained_cfg"]["crop_pct"])) == (3, 73)  # 256 for 224
    capsys.readouterr()
    assert main([*command, str(tmp_path / "hub")]) == 2  # the page may have been completed by hand
    assert "exists; name a new folder" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "lone"), "--weights", str(tmp_path / "hub" / "model.safetensors")]) == 0
    assert "## Recipe" not in (tmp_path / "lone" / "README.md").read_text()
    earlier = run.checkpoints / "step-00000005" / "model.safetensors"
    earlier.parent.mkdir(parents=True)
    shutil.copy(run.weights, earlier)
    assert main([*command, str(tmp_path / "earlier"), "--weights", str(earlier)]) == 0
    stated = "**These weights are step-00000005/model.safetensors**, the figures of the run's result."
    assert stated in (tmp_path / "earlier" / "README.md").read_text()
