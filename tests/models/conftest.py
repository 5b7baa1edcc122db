import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """1202 layers take seconds where others take milliseconds; they do nothing that 110 do not."""
    for item in items:
        if "resnet1202" in item.name:
            item.add_marker(pytest.mark.slow)
