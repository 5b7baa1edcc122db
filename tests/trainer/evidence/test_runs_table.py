from dataclasses import replace

from tests.trainer.evidence.runs import START, TARGETS, account, recipe, score, train_records
from trainer.evidence import runs_table
from trainer.evidence.history import history


def groups(*accounts):
    return runs_table.groups(accounts, TARGETS)


def test_runs_that_differ_in_their_seed_alone_are_a_row_beside_the_published_figures() -> None:
    runs = [
        replace(
            account(top1, recipe=recipe(seed=seed)),
            history=history([START, *train_records(6 * (seed + 1), power_w=500.0)]),
        )
        for seed, top1 in enumerate((76.1, 76.3))
    ]
    found = groups(*runs)
    ours, torchvision, paper = runs_table.rows(found, TARGETS)
    # 6 and 12 minutes on 8 devices of 500 W
    assert ours == (
        *("resnet50", "2", "76.20 +- 0.14", "92.90 +- 0.00", "center-224/256", "76.13 (torchvision)", "reproduced"),
        *("0.150", "1.20", "0.600"),
    )
    assert torchvision[:7] == ("resnet50", "torchvision", "76.13", "92.86", "center-224/256", "-", "published")
    assert paper[:8] == ("resnet50", "paper", "75.30", "92.20", "ten-crop-224/256", "-", "published", "29 h on 8 P100")


def test_other_settings_and_other_images_are_other_rows() -> None:
    one, other = account(76.1, recipe=recipe()), account(75.0, recipe=recipe(precision="fp32", seed=1))
    elsewhere = account(76.1, recipe=recipe(seed=2))
    assert elsewhere.result
    elsewhere = replace(elsewhere, result={**elsewhere.result, "val_sha256": "other"})
    found = groups(one, other, elsewhere)
    assert [group.recipe for group in found] == ["resnet50", "resnet50", "resnet50 with precision fp32"]
    assert [row[0] for row in runs_table.rows(found, TARGETS)[3:]] == ["resnet50", "resnet50"]


def test_runs_of_a_recipe_stand_together_before_its_published_figures() -> None:
    found = groups(
        account(76.1, recipe=recipe()), account(1.0, recipe=recipe("demo")), account(None, recipe=recipe(epochs=9))
    )
    names = [row[0] for row in runs_table.rows(found, TARGETS)]
    assert names == ["resnet50", "resnet50 with epochs 9", "resnet50", "resnet50", "demo"]


def test_of_unfinished_runs_the_results_that_there_are_are_shown() -> None:
    found = groups(*(account(top1, recipe=recipe(seed=seed)) for seed, top1 in enumerate((76.1, None, 76.3))))
    assert runs_table.rows(found, TARGETS)[0][1:7] == (
        *("2 of 3", "76.20 +- 0.14", "92.90 +- 0.00", "center-224/256", "76.13 (torchvision)", "not finished"),
    )
    nothing = groups(account(None, recipe=recipe()))
    assert runs_table.rows(nothing, TARGETS)[0][1:5] == ("0 of 1", "-", "-", "-")


def test_the_accuracy_that_is_judged_is_the_one_that_is_shown() -> None:
    run = account(60.0, recipe=recipe(), evaluations=[score(76.2)])
    assert runs_table.rows(groups(run), TARGETS)[0][2] == "76.20"


def test_many_departures_are_counted() -> None:
    (group,) = groups(
        account(1.0, recipe=recipe(precision="fp32", clip_norm=1.0, epochs=9, precise_bn=8, max_skipped=3))
    )
    assert group.recipe == "resnet50 with epochs 9, max_skipped 3, precise_bn 8, 2 more"


def test_markdown_holds_the_table_and_each_verdict() -> None:
    found = groups(account(76.2, recipe=recipe()), account(None, recipe=recipe("demo")))
    lines = runs_table.as_markdown(found, TARGETS).splitlines()
    assert lines[0].startswith("| recipe | runs | top-1, % |")
    assert lines[2].startswith("| resnet50 | 1 | 76.20 | 92.90 | center-224/256 | 76.13 (torchvision) | reproduced |")
    assert "- resnet50: reproduced: Top-1 76.20 % (center-224/256, raw weights) is 0.07 points above" in "\n".join(
        lines
    )
    assert (
        "- demo: not finished: It stopped at its first step. The same command goes on from the newest checkpoint."
        in lines
    )


def test_a_run_that_has_not_listed_its_images_yet_keeps_its_group_open() -> None:
    begun = account(None, recipe=recipe(seed=1))
    (group,) = groups(begun, account(76.2, recipe=recipe()))
    assert group.verdict.word == "not finished"
