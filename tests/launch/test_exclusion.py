import json
import os
from pathlib import Path

import pytest

from launch import exclusion
from launch.attempts import Attempt
from launch.site import ClusterConfig
from trainer.rundir import RunDirectory


def test_slurm_is_asked_with_all_that_limits_the_job_s_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the job, requeued without its node, would wait for ever."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n')
    (tmp_path / "sbatch").chmod(0o755)
    run, faults = RunDirectory(tmp_path), {"n1": "GPU 1: hot"}
    run.metrics.write_text(json.dumps({"kind": "start", "time": 5.0, "gpu_faults": faults}) + "\n")
    cluster = ClusterConfig(memory_gb=1.5, exclude="n[7-9]", sbatch=("nodelist=n[1-2]", "exclusive"))
    begun = Attempt(number=1, job="12", restart=0, nodes="n1", step=0, time=4.0)
    assert exclusion.faulty(run, begun, cluster, []) == faults
    asked = (tmp_path / "asked").read_text().split()
    assert {"--mem=1536M", "--exclude=n[7-9],n1", "--nodelist=n[1-2]", "--exclusive"} < set(asked)
