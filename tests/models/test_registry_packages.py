import timm
import torchvision.models

from models.registry import model_names


def test_timm_s_sources_name_the_networks_that_timm_lists() -> None:
    assert model_names("timm") == sorted(timm.list_models())


def test_torchvision_s_sources_name_the_networks_that_torchvision_lists() -> None:
    assert model_names("torchvision") == sorted(torchvision.models.list_models(module=torchvision.models))


def test_an_absent_package_has_no_names() -> None:
    assert model_names("no_such_package") == []
