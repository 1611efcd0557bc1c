"""Hosts on one machine: network namespaces with addresses of their own, and Ray nodes on them.

Each host has a /tmp/ray and a home folder of its own, and a Python on which only Ray and Torch are
installed, unless a test gives it more. Needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
#: What is installed on a bare host: these, and Ray's `default` extra, which this machine may lack.
BARE = ("torch", "ray[rllib,tune]")
#: Seconds until a cluster must stand.
PATIENCE_S = 120


def can_make_hosts() -> bool:
    """Whether this machine lets us make network namespaces and mounts."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("unshare")):
        return False
    name = f"cq{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode:
        return False
    mount = ["ip", "netns", "exec", name, "unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], check=False)
    return mounted.returncode == 0


def closure(names: tuple[str, ...]) -> list[metadata.Distribution]:
    """The installed distributions that requirements need, each once."""
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(name), "") for name in names]
    while waiting:
        requirement, _ = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            distribution = found.setdefault(name, metadata.distribution(requirement.name))
        except metadata.PackageNotFoundError:
            continue
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in distribution.requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append((needed, extra))
    return list(found.values())


def bare_python(folder: Path) -> Path:
    """A virtual environment that sees what Ray and Torch need of this one's packages, and no more.

    Returns:
        Its folder.
    """
    seen, venv = folder / "site", folder / "venv"
    seen.mkdir(parents=True)
    for distribution in closure(BARE):
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            link, target = seen / top, Path(distribution.locate_file(top))
            if not link.exists() and target.exists():
                link.symlink_to(target)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "bare.pth").write_text(f"{seen}\n", encoding="utf-8")
    pins = ["-c", str(ROOT / "constraints.txt")]
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", *pins]
    subprocess.run([*pip, f"ray[default]=={metadata.version('ray')}"], check=True)
    ray = venv / "bin" / "ray"
    ray.write_text(
        f"#!{venv}/bin/python\nfrom ray.scripts.scripts import main\nmain()\n", encoding="utf-8"
    )
    ray.chmod(0o755)
    return venv


class Hosts:
    """Hosts on one network: the head, and workers, each a Ray node once `start` was called.

    Args:
        folder: Where the hosts keep what is theirs.
        shared: A folder that all of them see.
        count: How many, the head among them.
        environment: Environment variables of all hosts.
        venv: The virtual environment on them.
    """

    def __init__(
        self,
        folder: Path,
        shared: Path,
        count: int,
        environment: dict[str, str],
        venv: Path,
    ) -> None:
        self._folder, self._shared = folder, shared
        self._environment, self._venv = environment, venv
        self._prefix = f"cq{os.getpid()}"
        self.addresses = [f"10.213.{i}.2" for i in range(count)]
        self._nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Hosts:
        try:
            self._make_network()
        except BaseException:
            self._unmake_network()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self._nodes):
            node.terminate()
        for node in self._nodes:
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()
        self._unmake_network()

    def _make_network(self) -> None:
        """One link from each host to a router, since a kernel may have no bridges."""
        router = f"{self._prefix}r"
        _ip("netns", "add", router)
        _ip("netns", "exec", router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for i, address in enumerate(self.addresses):
            host, gateway = self._host(i), address.rpartition(".")[0] + ".1"
            _ip("netns", "add", host)
            _ip("link", "add", "eth", "netns", host, "type", "veth",
                "peer", "name", f"p{i}", "netns", router)  # fmt: skip
            for name, link, own in ((router, f"p{i}", gateway), (host, "eth", address)):
                _ip("-n", name, "addr", "add", f"{own}/24", "dev", link)
                _ip("-n", name, "link", "set", link, "up")
            _ip("-n", host, "link", "set", "lo", "up")
            _ip("-n", host, "route", "add", "default", "via", gateway)

    def _unmake_network(self) -> None:
        for name in [*map(self._host, range(len(self.addresses))), f"{self._prefix}r"]:
            pids = subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
            )
            for pid in pids.stdout.split():
                subprocess.run(["kill", "-9", pid], check=False)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _host(self, i: int) -> str:
        return f"{self._prefix}h{i}"

    def command(self, i: int, words: list[str]) -> tuple[list[str], dict[str, str]]:
        """What runs words on a host, and their environment.

        Each host sees `shared` as /mnt/shared, and a /tmp/ray and a home of its own.
        """
        home, scratch = self.home(i), self._folder / f"ray{i}"
        for path in (scratch, Path("/tmp/ray")):
            path.mkdir(parents=True, exist_ok=True)
        inside = (
            f"mount --bind {scratch} /tmp/ray && mount -t tmpfs none /mnt && mkdir /mnt/shared"
            f' && mount --bind {self._shared} /mnt/shared && exec "$@"'
        )
        line = ["ip", "netns", "exec", self._host(i), "unshare", "-m", "sh", "-c", inside, "sh"]
        kept = {k: v for k, v in os.environ.items() if k in ("LANG", "OMP_NUM_THREADS", "TZ")}
        environment = {
            **kept,
            "HOME": str(home),
            "PATH": f"{self._venv}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "RAY_API_SERVER_ADDRESS": f"http://{self.addresses[0]}:8265",
            **self._environment,
        }
        return [*line, *words], environment

    def home(self, i: int) -> Path:
        """A host's home folder."""
        home = self._folder / f"home{i}"
        home.mkdir(parents=True, exist_ok=True)
        return home

    def run(
        self, i: int, words: list[str], cwd: Path | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess:
        """Runs a command on a host to its end; output and errors together, as text."""
        line, environment = self.command(i, words)
        return subprocess.run(
            line, env=environment, cwd=cwd or self._folder, timeout=timeout, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def start(self, cpus: int) -> None:
        """Starts the head and its workers, with so many CPUs each, and waits for all of them."""
        size = str(100 * 1024**2)
        shared = ["--num-cpus", str(cpus), "--object-store-memory", size, "--block"]
        for i, address in enumerate(self.addresses):
            words = ["ray", "start", "--node-ip-address", address, *shared]
            if i:
                words += ["--address", f"{self.addresses[0]}:6379"]
            else:
                words += ["--head", "--port", "6379", "--dashboard-host", address]
            line, environment = self.command(i, words)
            with open(self._folder / f"node{i}.log", "wb") as log:
                self._nodes.append(subprocess.Popen(line, env=environment, stdout=log, stderr=log))
            if not i:
                self._wait_for("is the head up", ["ray", "status"], "Total Usage")
        wanted = f"/{float(cpus * len(self.addresses))} CPU"
        self._wait_for("are all nodes up", ["ray", "status"], wanted)

    def _wait_for(self, what: str, words: list[str], wanted: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        said = ""
        while time.monotonic() < deadline:
            said = self.run(0, ["env", f"RAY_ADDRESS={self.addresses[0]}:6379", *words]).stdout
            if wanted in said:
                return
            time.sleep(0.5)
        raise TimeoutError(f"{what}? {wanted!r} is not in:\n{said}")


def _ip(*words: str) -> None:
    made = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if made.returncode:
        raise OSError(f"ip {' '.join(words)}: {made.stderr.strip()}")
