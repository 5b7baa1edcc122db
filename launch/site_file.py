"""A site's own defaults of the cluster's flags: flags are preferred to them, and they to variables SBATCH_*."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from launch.site import ClusterConfig
from trainer.recipe import recipes
from trainer.recipe.decode import InvalidConfigError, decode, encode

VARIABLE = "PROVENET_SITE"


def find(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file that PROVENET_SITE names, or ~/.config/provenet/site.yaml if there is one."""
    if named := environment.get(VARIABLE):
        return Path(named)
    usual = Path.home() / ".config" / "provenet" / "site.yaml"
    return usual if usual.exists() else None


def defaults(words: Sequence[str] = ()) -> ClusterConfig:
    """The cluster's flags where none are typed; the site's are of no use to `--cluster local` among the words.

    Raises:
        InvalidConfigError: The file cannot be read, or holds problems; all of them are listed.
    """
    file = find()
    if file is None or re.search(r"(^|\0)--cluster[=\0]local(\0|$)", "\0".join(words)):
        return ClusterConfig()
    content = recipes.read(file)
    try:
        return decode(ClusterConfig, {} if content is None else content)
    except InvalidConfigError as error:
        raise InvalidConfigError(f"{file}: {problem}" for problem in error.problems) from None


def origins(cluster: ClusterConfig) -> Iterator[str]:
    """Where each value comes from that is not the project's default: the site's file, or a flag."""
    file, site, usual = find(), defaults(), ClusterConfig()
    for name in (field.name for field in fields(cluster)):
        value, of_site = getattr(cluster, name), getattr(site, name)
        if value != getattr(usual, name):
            origin = str(file) if value == of_site else "a flag, or an earlier submission"
            yield f"{name}: {', '.join(encode(value)) if isinstance(value, tuple) else value} (from {origin})"
