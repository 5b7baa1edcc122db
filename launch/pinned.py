"""A copy of the code for a job, so that editing the checkout changes no queued job. Standard library only.

The copy is a zip archive whose name holds its SHA-256. Where others can write the folder of a run, they can put an
archive of their own in its place: a job reads it once into memory, compares the hash with that in the name, which its
script holds, and imports from there. Neither a private folder nor its removal is needed.
"""

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from data.durable import replace
from trainer import imports
from trainer.commit import FILE, commit

PACKAGES = ("launch", "trainer", "models", "data")
_ROOT = Path(__file__).parents[1]
_COMMIT = f"trainer/{FILE}"

_BOOT = """
import hashlib, os, runpy, sys
with open(sys.argv[1], "rb") as stream:
    code = stream.read()
if f"code-{hashlib.sha256(code).hexdigest()}.zip" != os.path.basename(sys.argv[1]):
    sys.exit(f"{sys.argv[1]} is not what was submitted; nothing of it is run")
memory = os.memfd_create("code")
os.write(memory, code)
sys.path.insert(0, f"/proc/{os.getpid()}/fd/{memory}")
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def pin(folder: Path, *, dry_run: bool = False) -> Path:
    """Put an archive of the code into a folder, but for a `dry_run`; returns its path."""
    content = _archive()
    file = folder / f"code-{hashlib.sha256(content).hexdigest()}.zip"
    if not dry_run:
        replace(file, content, flushed=True)
    return file


def is_whole(file: Path) -> bool:
    """Whether this is an archive of `pin` that nobody has changed."""
    return file.is_file() and file.name == f"code-{hashlib.sha256(file.read_bytes()).hexdigest()}.zip"


def command(code: Path, module: str) -> tuple[str, ...]:
    """The command that checks an archive and runs a module of it; the module's arguments follow."""
    return (sys.executable, "-uP", "-c", _BOOT, str(code), module)


def commit_of(code: Path) -> str:
    with ZipFile(code) as archive:
        return archive.read(_COMMIT).decode().strip()


def _archive() -> bytes:
    """All files of the code, its commit, and the user's files that this process has executed; equal for equal ones."""
    content = io.BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as archive:
        for source in _sources():
            archive.writestr(ZipInfo(str(source)), (_ROOT / source).read_bytes(), ZIP_DEFLATED)
        archive.writestr(ZipInfo(_COMMIT), commit(), ZIP_DEFLATED)
        for sha256, file in sorted(imports.LOADED.items()):
            archive.writestr(ZipInfo(str(imports.copy(sha256, Path("trainer")))), file, ZIP_DEFLATED)
    return content.getvalue()


def _sources() -> Iterator[Path]:
    """Every file of the packages without __pycache__, relative to their common folder, sorted."""
    for package in PACKAGES:
        for file in sorted((_ROOT / package).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and file.name != FILE:
                yield file.relative_to(_ROOT)
