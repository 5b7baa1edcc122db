import pytest

from launch.plan import plan_table
from tests.launch.plan.forecasts import forecast
from trainer.recipe.config import Recipe


def test_off_a_terminal_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    model = forecast(train_images=8000, val_images=0, startup_s=0.0)
    plan_table.show([model.run(1), model.run(8)])
    head, one, eight = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "GPUs"
    # 90 epochs of ten steps, 8 s each, alone; 1.1004 s on eight (test_forecast.py)
    assert one.split() == ["1", "1", "100", "100", "%", "1.3", "2.0", "2.0", "0", "compute", "1"]
    assert eight.split() == ["8", "2", "727", "91", "%", "0.18", "0.28", "2.2", "0", "compute", "1"]


def test_on_a_terminal_of_80_columns_nothing_is_cut_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's sign for a terminal
    monkeypatch.setenv("COLUMNS", "80")
    model = forecast(recipe=Recipe(global_batch=102_400, micro_batch=100), network_gb_s=0.01, hours=2.0)
    plan_table.show([model.run(1), model.run(1024)])
    said = capsys.readouterr().out
    assert "…" not in said
    assert "efficiency" in said
    assert "network" in said


def test_counts_that_are_left_out_say_why() -> None:
    recipe = Recipe(global_batch=256, micro_batch=32)
    assert plan_table.left_out(recipe, []) == ""
    said = plan_table.left_out(recipe, [16, 1024])
    assert said.startswith(
        "not on 16, 1,024 GPUs: global_batch 256 cannot be divided among them in micro-batches of 32"
    )
    assert "--global-batch 32768 reaches 1,024" in said


def test_a_row_is_explained_part_by_part() -> None:
    model = forecast(train_images=8000, val_images=300)
    lines = plan_table.detail(model.run(8), model).splitlines()
    assert lines[0] == "8 GPUs on 2 nodes"
    assert lines[1].split("step ")[1].strip() == (
        "1,100.4 ms, of which 1 x 100 images 1,000.0 ms, slowest GPU 43.0 ms, all-reduce 57.3 ms "
        "(172.0 ms more are hidden)"
    )
    # 10 million numbers an image in bf16 and a tenth more, its 150,528 pixels as floats and as two batches of bytes; 26
    # million weights, their gradients and momenta, and the state dict of 400 MB
    assert lines[3].endswith(
        "about 3.9 GB of the a100's 80: 2.3 for 100 images, 0.6 for weights and momenta, 1 for CUDA"
    )
    assert lines[4].endswith("80.0 MB/s are read, 40.0 MB/s a node, until the images (880.0 MB) are in its memory")
    assert lines[5].endswith("10 steps, evaluation 0.1 s")
    assert "504.9 MB; training waits 63.1 ms, its write takes 1.3 s" in lines[6]


def test_a_micro_batch_that_does_not_fit_the_card_says_what_finds_one() -> None:
    model = forecast(recipe=Recipe(global_batch=8000, micro_batch=1000), gpu="rtx4090")
    (memory,) = [line for line in plan_table.detail(model.run(8), model).splitlines() if "memory  " in line]
    assert memory.endswith("; too much: --accumulate auto finds what fits")


def test_every_assumption_is_printed() -> None:
    recipe = Recipe(global_batch=800, micro_batch=100, sync_bn=True, gradient_compression="bf16")
    said = plan_table.assumptions(forecast(recipe=recipe), ["one GPU: 100 images/s"])
    assert said.startswith("assumed\n  - one GPU: 100 images/s\n")
    for words in (
        "1,281,167 training and 50,000 evaluation images",
        "52.4 MB of gradients in a ring over all GPUs, at 80 % of its slowest link's line rate: 10 GB/s a GPU",
        "backward, 2/3 of a step, hides all buckets but the last",
        "step times vary by 3 % (standard deviation)",
        "sync_bn: its small all-reduces",
        "14 are met within 6 %; of 3, each on 8 GPUs of one node, it is 9 to 14 % too high",
    ):
        assert words in said
