import pytest
import torch

from models import factory
from models.config import ModelConfig
from models.trace import skeleton
from trainer import trainable
from trainer.recipe.config import Recipe


def found(name: str, *options: str, checkpointing: bool = False) -> list[str]:
    model = ModelConfig(name=name, num_classes=4, options=options or None)
    return trainable.problems(skeleton(model), Recipe(model=model, gradient_checkpointing=checkpointing))


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("timm/deit_tiny_distilled_patch16_224", "timm/deit_tiny_patch16_224"),
        ("timm/deit_tiny_distilled_patch16_224.fb_in1k", "timm/deit_tiny_patch16_224"),
        ("timm/pit_ti_distilled_224", "timm/pit_ti_224"),
        ("timm/repvit_m1", "another network, or --model.options distillation=False where it takes that"),
    ],
)
def test_a_head_that_learns_from_a_teacher_is_not_trained_without_one(name: str, use: str) -> None:
    assert found(name) == [
        f"model.name: {name} has a second head that learns from a teacher, and there is none here; use {use}"
    ]


def test_networks_with_one_head_are_trained() -> None:
    assert found("timm/pit_ti_224") == found("timm/repvit_m1", "distillation=False") == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("timm/test_vit", None),
        ("timm/test_convnext", None),
        ("resnet20", "gradient_checkpointing: resnet20 does not offer it; leave it out"),
        ("timm/convit_tiny", "gradient_checkpointing: timm/convit_tiny does not offer it; leave it out"),
        ("timm/test_resnet", "gradient_checkpointing: its second forward pass would update BatchNorm's statistics in"),
    ],
)
def test_checkpointing_is_for_networks_that_offer_it_and_have_no_statistics(name: str, problem: str | None) -> None:
    problems = found(name, checkpointing=True)
    assert [one.startswith(str(problem)) for one in problems] == [True] * bool(problem)


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_convnext"])
def test_losses_and_gradients_are_the_same_with_activations_computed_again(name: str) -> None:
    model = ModelConfig(name=name, num_classes=4, drop_path=0.3, img_size=32 if name.endswith("vit") else None)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    gradients, passes = list[list[torch.Tensor]](), list[int]()
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = factory.build(model).train()
        layer = next(module for path, module in network.named_modules() if path.endswith("mlp.fc1"))
        layer.register_forward_hook(lambda *_: passes.append(checkpointing))  # noqa: B023 - called in this turn
        if checkpointing:
            network.set_grad_checkpointing()  # pyright: ignore[reportCallIssue]
        torch.manual_seed(2)
        loss = network(images).square().mean()
        loss.backward()
        gradients.append([loss.detach(), *(weight.grad for weight in network.parameters() if weight.grad is not None)])
    assert passes == [False, True, True]
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
