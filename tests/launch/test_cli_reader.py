import os
import subprocess
import sys
from pathlib import Path

from tests.commands import HANGS_S

# each command in a process of its own, which writes to a pipe that nobody reads
EACH = """
import json, os, sys
from launch.cli import main
reader, writer = os.pipe()
os.close(reader)
codes = []
for words in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.dup2(writer, 1)
        sys.exit(main(words))
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(codes)
"""


def test_a_command_whose_reader_is_gone_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "recipe.yaml").touch()
    helps = [["--help"], ["models", "--help"], ["status", "--help"], ["models", "list", "--help"]]
    words = [*helps, ["status", str(tmp_path)], ["status", str(tmp_path), "--json"]]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", EACH, str(words).replace("'", '"')]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=HANGS_S, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == (f"{[0] * len(words)}\n", "")
