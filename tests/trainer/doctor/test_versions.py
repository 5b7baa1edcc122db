import pytest

from trainer.doctor.versions import dali_finding, package_finding, torch_cuda


@pytest.mark.parametrize(
    ("version", "bounds", "keeps"),
    [
        ("2.15.0", ">=2.11,<2.16", True),
        ("2.15.0+cu132", "<2.16,>=2.11", True),
        ("2.16.0", "<2.16,>=2.11", False),
        ("2.9.1", ">=2.11", False),
        ("2.11", ">=2.11.0", True),
        ("1.0", "==1.0.0", True),
        ("3.14.0", ">=3.11,<3.14", False),
        ("0.29.2", "", True),
        ("2.16.0rc1", "<2.16", False),
        ("2.15.0a0+git1234", ">=2.15,<2.16", True),
    ],
)
def test_a_version_keeps_to_its_bounds(version: str, bounds: str, keeps: bool) -> None:
    assert (package_finding([f"torch{bounds}"], {"torch": version}).state == "good") is keeps


ASKED = [
    "python>=3.11,<3.14",
    "torch<2.16,>=2.11",
    'onnx<2,>=1.19; extra == "export"',
    "provenet[export]; extra == 'dev'",
]


@pytest.mark.parametrize(
    ("found", "state", "says"),
    [
        ({"python": "3.12.1", "torch": "2.15.0"}, "good", "python 3.12.1, torch 2.15.0"),
        ({"python": "3.12.1", "torch": "2.16.1"}, "bad", "torch 2.16.1, where <2.16,>=2.11 is required"),
        ({"python": "3.14.0", "torch": "2.15.0"}, "bad", "python 3.14.0, where <3.14,>=3.11 is required"),
        ({"python": "3.12.1"}, "bad", "torch is missing"),
        ({"python": "3.12.1", "torch": "2.15.0", "onnx": "1.2"}, "bad", "onnx 1.2, where <2,>=1.19 is required"),
    ],
)
def test_packages_are_held_against_what_is_asked(found: dict[str, str], state: str, says: str) -> None:
    finding = package_finding(ASKED, found)
    assert (finding.state, finding.message) == (state, says)
    assert bool(finding.fix) == (state == "bad")


@pytest.mark.parametrize(
    ("builds", "cuda", "on_gpu", "state", "says"),
    [
        (["nvidia-dali-cuda130"], "13.2", True, "good", "nvidia-dali-cuda130, and torch is built for CUDA 13.2"),
        (["nvidia-dali-cuda120"], "13.2", True, "bad", "nvidia-dali-cuda120 beside a torch built for CUDA 13.2"),
        (["nvidia-dali-cuda130"], "12.6", True, "bad", "nvidia-dali-cuda130 beside a torch built for CUDA 12.6"),
        (["nvidia-dali-cuda130"], "12.6", False, "note", "nvidia-dali-cuda130 beside a torch built for CUDA 12.6"),
        (["nvidia-dali-cuda130"], None, False, "good", "nvidia-dali-cuda130, and torch is built for CPUs alone"),
        ([], "13.2", True, "note", "not installed: images are loaded by threads alone"),
        (["nvidia-dali-cuda120", "nvidia-dali-cuda130"], "13.2", True, "bad", "are both installed"),
    ],
)
def test_dali_is_built_for_torch_s_cuda(
    builds: list[str], cuda: str | None, on_gpu: bool, state: str, says: str
) -> None:
    finding = dali_finding(builds, cuda, on_gpu=on_gpu)
    assert finding.state == state
    assert says in finding.message
    assert bool(finding.fix) == (state != "good")


def test_torch_s_build_is_read_without_loading_it() -> None:
    import torch  # here, to compare

    assert torch_cuda() == torch.version.cuda
