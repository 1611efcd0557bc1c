import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

# Before torch is imported: several threads on small networks cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Ray's workers import the tests' own environments by name.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)

import pytest
from hypothesis import settings
from killable_commands import processes_of

# The same examples in every run, so that a failure is a change's own. To look for more:
# pytest --hypothesis-profile=explore -k properties
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", max_examples=3000, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray with more logical CPUs than the machine has, for tests of several actors."""
    import ray

    # One that an earlier test started by itself counts the machine's own cores.
    ray.shutdown()
    context = ray.init("local", num_cpus=6, include_dashboard=False, log_to_driver=False)
    yield context
    ray.shutdown()


@pytest.fixture
def ray_folder():
    """A short path of its own for the Ray sessions of a test; none of their processes is left."""
    folder = tempfile.mkdtemp(prefix="cq")
    yield folder
    for pid in processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
