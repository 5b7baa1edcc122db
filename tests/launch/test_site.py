from pathlib import Path

import pytest

from launch.site import ClusterConfig, cluster_problems, path_problems

TASKS = "use --gpus-per-node or --processes-per-node"


@pytest.mark.parametrize(
    ("cluster", "tasks", "world"),
    [
        (ClusterConfig(), 1, 1),
        (ClusterConfig(nodes=2, gpus_per_node=8), 8, 16),
        (ClusterConfig(nodes=3, processes_per_node=4), 4, 12),
        (ClusterConfig(nodes=2, gpus_per_node=4, processes_per_node=4), 4, 8),
        (ClusterConfig(hours=0.05), 1, 1),  # the grace of 120 s and a margin of 60 s, to the second
        (ClusterConfig(cluster="local", gpus_per_node=2, interface="lo", env=("A=1",)), 2, 2),
    ],
)
def test_gpus_or_else_processes_are_the_ranks(cluster: ClusterConfig, tasks: int, world: int) -> None:
    assert (cluster.tasks_per_node, cluster.world_size) == (tasks, world)
    assert cluster_problems(cluster) == []


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (
            ClusterConfig(gpus_per_node=2, processes_per_node=4),
            "--processes-per-node: 4, but --gpus-per-node 2 starts a process for each; leave it out",
        ),
        (ClusterConfig(hours=0.049), "--hours: 0.049 is too short for --grace-s 120; use at least 0.05"),
        (ClusterConfig(cluster="local", nodes=2), "--nodes: 2, but --cluster local is only this machine"),
        (
            ClusterConfig(cluster="local", memory_gb=2.0),
            "--memory-gb: --cluster local has no queue; leave it out, or give None",
        ),
        (
            ClusterConfig(cluster="local", partition="gpu"),
            "--partition: --cluster local has no queue; leave it out, or give None",
        ),
        (
            ClusterConfig(cluster="local", setup=("module load cuda",)),
            "--setup: --cluster local has no script; run it before this command",
        ),
        (ClusterConfig(qos="a\tb"), "--qos: 'a\\tb' holds a control character; leave it out"),
        (ClusterConfig(interface="\x00"), "--interface: '\\x00' holds a control character; leave it out"),
        (ClusterConfig(setup=("a\nb",)), "--setup: 'a\\nb' holds a control character; leave it out"),
        (ClusterConfig(account="\udcff"), "--account: '\\udcff' holds a control character; leave it out"),
        (ClusterConfig(env=("A=\udcff",)), "--env: 'A=\\udcff' holds a control character; leave it out"),
        (ClusterConfig(env=("=1",)), "--env: '' is not the name of a variable; expected NAME=VALUE or NAME"),
        (ClusterConfig(env=("1A=1",)), "--env: '1A' is not the name of a variable; expected NAME=VALUE or NAME"),
        (ClusterConfig(env=("A$(x)=1",)), "--env: 'A$(x)' is not the name of a variable; expected NAME=VALUE or NAME"),
        (
            ClusterConfig(env=("PYTHONSAFEPATH=",)),
            "--env: PYTHONSAFEPATH is set for every job; leave it out",
        ),
        (ClusterConfig(cluster="local", srun=("mpi=none",)), "--srun: --cluster local has no Slurm; leave it out"),
        (ClusterConfig(sbatch=("time=1",)), "--sbatch: time is set for every job; use --hours"),
        (ClusterConfig(sbatch=("ntasks=1",)), f"--sbatch: ntasks is set for every job; {TASKS}"),
        (ClusterConfig(srun=("label",)), "--srun: label is set for every job; leave it out"),
        (
            ClusterConfig(sbatch=("-p=x",)),
            "--sbatch: '-p' is not the long name of an option; expected KEY=VALUE or KEY",
        ),
        (ClusterConfig(sbatch=("comment=a\nb",)), "--sbatch: 'comment=a\\nb' holds a control character; leave it out"),
        (ClusterConfig(env=("NOT_SET_HERE",)), "--env: NOT_SET_HERE is not set here; give NOT_SET_HERE=VALUE"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_flag_to_change(cluster: ClusterConfig, expected: str) -> None:
    assert cluster_problems(cluster) == [expected]


@pytest.mark.parametrize("entry", ["A=", "A=b=c", 'A=it\'s $(touch pwned) "x"', "HOME", "_a1=ü"])
def test_a_variable_may_have_any_value_that_is_text(entry: str) -> None:
    assert cluster_problems(ClusterConfig(env=(entry,))) == []


@pytest.mark.parametrize(
    ("name", "strange"),
    [
        ("it's $(touch pwned) \"x\" ;rm *", ""), ("-dash ü日本#", ""), ("50%", "'%'"), ("a\\b%j", "'%', '\\\\'"),
        ("a\nb", "'\\n'"), ("\x7f", "'\\x7f'"), ("\udcff", "'\\udcff'"),
    ],
)  # fmt: skip
def test_a_path_holds_nothing_that_slurm_or_python_take_for_something_else(name: str, strange: str) -> None:
    path = str(Path("/runs") / name)
    expected = f"--output: {path!r} holds {strange}, which a job's path cannot have; name another"
    assert path_problems("--output", path) == ([expected] if strange else [])
