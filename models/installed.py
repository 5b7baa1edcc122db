"""Names of the networks in timm and torchvision, read from their installed sources: no import, so no torch."""

import importlib.util
import re
from pathlib import Path

# timm: `@register_model` above `def name(`; torchvision puts a second decorator between the two.
_REGISTERED = re.compile(r"^@register_model(?:\(\))?\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def model_names(package: str) -> list[str]:
    """Every registered network of `package` ("timm" or "torchvision"), sorted; empty where it has no sources."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    sources = sorted(Path(spec.origin).parent.joinpath("models").glob("*.py"))
    return sorted(name for path in sources for name in _REGISTERED.findall(path.read_text(encoding="utf-8")))
