"""What the end-to-end tests share: the cluster, kubectl, polling, load, snapshots of the machine.

Tests are unittest modules run by e2e/run, which puts them into namespaces of their own.
"""

import calendar
import contextlib
import glob
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = os.environ["SKIFF_NAME"]
DIR = os.environ["SKIFF_DIR"]
BIN = os.environ["SKIFF_BIN"]
KUBECONFIG = os.path.join(DIR, "admin.kubeconfig")


def kubectls():
    """Every kubectl on the machine: {version: path}."""
    found = {}
    first = shutil.which("kubectl")
    if not first:
        raise unittest.SkipTest("no kubectl on this machine")
    folder = os.path.dirname(os.path.realpath(first))
    for path in [first] + sorted(glob.glob(os.path.join(folder, "kubectl.1.*"))):
        out = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True)
        with contextlib.suppress(ValueError, KeyError):
            found.setdefault(json.loads(out.stdout)["clientVersion"]["gitVersion"], path)
    return found


def run(*argv, check=True, input=None, timeout=120, env=None):
    """Runs a command; returns the CompletedProcess with text. A failure shows both outputs."""
    result = subprocess.run(argv, capture_output=True, text=True, input=input, timeout=timeout, cwd=ROOT,
                            env={**os.environ, "KUBECONFIG": KUBECONFIG, **(env or {})})
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def kubectl(*argv, check=True, input=None, timeout=120, binary="kubectl"):
    """kubectl's standard output (with check) or the whole result."""
    result = run(binary, *argv, check=check, input=input, timeout=timeout)
    return result.stdout if check else result


def get(*argv):
    """An object or list as a dict."""
    return json.loads(kubectl("get", *argv, "-o", "json"))


def apply(text):
    return kubectl("apply", "-f", "-", input=text)


def wait(what, predicate, seconds=60, interval=0.1):
    """Until predicate() is true; its last value is returned."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.TimeoutExpired, AssertionError, KeyError, IndexError):
            last = predicate()
            if last:
                return last
        time.sleep(interval)
    raise AssertionError(f"timed out after {seconds}s waiting for {what}; last: {last!r}")


def up(*args):
    result = run("hack/up", "--no-build", *args, timeout=300)
    return result.stdout


def down():
    return run("hack/down", timeout=120).stdout


def pid_of(process):
    """The pid of a process that hack/up started: "kubelet-n1", "controlplane", ..."""
    with open(os.path.join(DIR, "run", process + ".pid")) as f:
        return int(f.read().split()[0])


def kill(process):
    """kill -9; what is gone hack/up and start_again start again."""
    pid = pid_of(process)
    os.kill(pid, signal.SIGKILL)
    wait(f"{process} to be gone", lambda: not os.path.exists(f"/proc/{pid}"), 30)
    return pid


def restart():
    """Starts what hack/up started and has ended, by a whole hack/up; nothing else is touched. Where configurations are the same,
    start_again is quicker."""
    return up(*(["--nodes", os.environ["SKIFF_NODES"]] if "SKIFF_NODES" in os.environ else []))


def command_of(process):
    """The command line of a process that hack/up started."""
    with open(f"/proc/{pid_of(process)}/cmdline", "rb") as f:
        return f.read().decode().split("\0")[:-1]


def start(process, command):
    """Starts a program as hack/up would, under that name."""
    run("bash", "-c", '. hack/lib/cluster.sh; spawn "$@"', "spawn", process, *command)


def start_again(process, command):
    """Starts what hack/up had started, in the namespaces and the cgroup of its node; `command` is command_of it before its end."""
    name, _, node = process.rpartition("-")
    function = ["node_spawn", node, name] if name else ["spawn", process]
    run("bash", "-c", '. hack/lib/containerd.sh; . hack/lib/cluster.sh; "$@"', "start_again", *function, *command)
    if process == "controlplane":
        wait("the API server", lambda: kubectl("get", "--raw", "/readyz"))


def kill_and_start(process):
    command = command_of(process)
    kill(process)
    start_again(process, command)


def kubelet_again(start=start_again):
    """Kills the kubelet of n1 and starts it by start(process, command); returns once the new one has given a sign of life."""
    def renewed():
        return get("lease", "n1", "-n", "kube-node-lease")["spec"]["renewTime"]

    command = command_of("kubelet-n1")
    kill("kubelet-n1")
    before = renewed()
    start("kubelet-n1", command)
    wait("the kubelet to go on", lambda: renewed() != before)


def wait_for_age(seconds, pods):
    """Until the youngest container of these pods is so old."""
    started = max(c["state"]["running"]["startedAt"] for p in pods for c in p["status"]["containerStatuses"])
    # Told in whole seconds.
    time.sleep(max(0.0, calendar.timegm(time.strptime(started, "%Y-%m-%dT%H:%M:%SZ")) + 1 + seconds - time.time()))


def processes():
    """{pid: command} of what carries this cluster's directory in its command line."""
    out = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            with open(path, "rb") as f:
                command = f.read().replace(b"\0", b" ").decode(errors="replace")
            if DIR in command and "e2e/" not in command and str(os.getpid()) != path.split("/")[2]:
                out[int(path.split("/")[2])] = command
    return out


def snapshot():
    """Everything that hack/down must have taken away: compare two of these."""
    def lines(*argv):
        return sorted(subprocess.run(argv, capture_output=True, text=True).stdout.splitlines())

    mounts = sorted(line.split()[4] for line in open("/proc/self/mountinfo"))
    cgroups = sorted(path for mount in lines("findmnt", "-rn", "-t", "cgroup,cgroup2", "-o", "TARGET")
                     for path in glob.glob(os.path.join(mount, NAME, "n[0-9]*")))
    links = [re.sub(r"^\d+: ([^:@]+).*", r"\1", line) for line in lines("ip", "-o", "link")]
    return {
        "mounts": mounts,
        "cgroups": cgroups,
        "links": sorted(links),
        "namespaces": sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else [],
        "nft tables": lines("nft", "list", "tables"),
        "routes": lines("ip", "route"),
        "processes": sorted(processes().values()),
        "files": sorted(glob.glob(DIR + "/*")),
        "container logs": sorted(glob.glob("/var/log/containers/*")),
        "bpf programs": sorted(lines("bpftool", "cgroup", "show", os.environ["SKIFF_CGROUP"])),
        "kernel settings": lines("sysctl", "vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "kernel.keys"),
    }


class Load:
    """A steady stream of requests to http://HOST:PORT/ from several threads, each request a new connection unless
    keep_alive. Counts answers by body, keeps every failure."""

    def __init__(self, host, port, threads=2, rate=50, keep_alive=False, path="/"):
        self.target, self.path, self.keep_alive = (host, port), path, keep_alive
        self.answers, self.failures, self.requests = {}, [], 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(threads / rate,)) for _ in range(threads)]

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for t in self._threads:
            t.join()

    def _run(self, interval):
        connection = None
        while not self._stop.is_set():
            begin = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*self.target, timeout=30)
                connection.request("GET", self.path, headers={} if self.keep_alive else {"Connection": "close"})
                answer = connection.getresponse()
                body = answer.read().decode().strip()
                if answer.status != 200:
                    raise OSError(f"status {answer.status}: {body}")
                with self._lock:
                    self.requests += 1
                    self.answers[body] = self.answers.get(body, 0) + 1
                if not self.keep_alive or answer.getheader("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as e:
                with self._lock:
                    self.requests += 1
                    self.failures.append(f"{time.strftime('%H:%M:%S')} {type(e).__name__}: {e}")
                connection = None
            self._stop.wait(max(0.0, interval - (time.monotonic() - begin)))


class ClusterTest(unittest.TestCase):
    """A cluster for the module's tests; subclasses set NODES."""

    NODES = 1
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        os.environ["SKIFF_NODES"] = str(cls.NODES)
        os.environ["KUBECONFIG"] = KUBECONFIG
        print(up("--nodes", str(cls.NODES)))

    @classmethod
    def tearDownClass(cls):
        down()


def main():
    unittest.main(verbosity=2)
