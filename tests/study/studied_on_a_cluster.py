"""What `test_ray.py` starts: a study on a cluster of two nodes, one of which is killed when it is at work.

In a process of its own: a cluster leaves much behind. Prints what happened as JSON.
"""

import json
import sys
import threading
import time

import psutil
from counted import let_go, waiting
from ray.cluster_utils import Cluster

from regex_lib.study import Store, plan, read_study, run_jobs
from regex_lib.study.ray_pool import RayPool


def kill_a_node_in_the_middle(cluster: Cluster, node: object) -> None:
    """When every model is being measured, each on its own node; what is left goes on when the node's worker is dead."""
    deadline = time.monotonic() + 900
    while len(waiting()) < 2:
        assert time.monotonic() < deadline, "the nodes did not get to work"
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    while all(map(is_alive, waiting())):
        assert time.monotonic() < deadline, "the worker outlives its node"
        time.sleep(0.05)
    let_go()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    study, folder = sys.argv[1:]
    options = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    node = cluster.add_node(**options)
    cluster.wait_for_nodes()
    jobs, store = plan(read_study(study)), Store(folder)
    threading.Thread(target=kill_a_node_in_the_middle, args=(cluster, node), daemon=True).start()
    progress = []
    pool = RayPool(store, address=cluster.address)
    failures = run_jobs(jobs, store, pool, report=progress.append)
    deaths = [error for one in progress for error in one.failures.values()]
    cluster.shutdown()
    print(json.dumps({"failures": len(failures), "deaths": deaths}))  # noqa: T201
