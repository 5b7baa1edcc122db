import json
import os
import subprocess
import sys
from pathlib import Path

from launch.job import TrainJob, together
from launch.site import ClusterConfig
from tests.launch import stand_ins
from trainer.recipe.config import SiteConfig


def test_the_job_of_a_task_comes_from_the_input_and_nothing_is_read_of_the_run_directory(tmp_path: Path) -> None:
    path, calls = stand_ins.slurm(tmp_path / "bin", srun="exit 2")
    runs = [tmp_path / name for name in ("a", "it's b")]
    jobs = [
        TrainJob(site=SiteConfig(data=tmp_path, output=run), cluster=ClusterConfig(nodes=2), code=tmp_path / "code.zip")
        for run in runs
    ]
    (runs[1] / "launch").mkdir(parents=True)
    task = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_ID": "14", "PATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "launch.worker"],
        input=together(jobs),
        env={**os.environ, **task},
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert calls.read_text().endswith(f" train {runs[1]}/recipe.yaml --data {tmp_path} --output {runs[1]}\n")
    begun, ended = map(json.loads, (runs[1] / "launch" / "attempts.jsonl").read_text().splitlines())
    assert (begun["job"], ended["then"]) == ("12_1", "stopped")
