from pathlib import Path

import pytest

from tests.system.drill.cluster import SCRIPT, Cluster, ClusterError


def test_what_the_script_says_comes_through(tmp_path: Path) -> None:
    assert SCRIPT.exists()
    with pytest.raises(ClusterError, match=r"^cluster power-off n1: "):
        Cluster(tmp_path).power_off("n1")
    with pytest.raises(ClusterError, match="false"):
        Cluster(tmp_path).ask("false")
    assert Cluster(tmp_path).ask("echo", "a b") == "a b\n"


def test_a_client_asks_the_drill_s_cluster(tmp_path: Path) -> None:
    assert Cluster(tmp_path).environment["SLURM_CONF"] == f"{tmp_path}/etc/slurm.conf"
