import os

# Before torch is imported: several threads on small networks cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray with more logical CPUs than the machine has, for tests of several actors."""
    import ray

    context = ray.init(
        num_cpus=6, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True
    )
    yield context
    ray.shutdown()
