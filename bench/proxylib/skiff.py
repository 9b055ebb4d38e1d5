"""Skiff's kube-proxy, with an API server of either kind."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from proxylib.world import ADDRESS, PROGRAMS

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
API = ["env", "PYTHONPATH=" + BENCH, sys.executable, "-m", "proxylib.api"]


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024


class Skiff:
    name = "skiff"
    flags = []

    def __init__(self, world, count, endpoints=2, targets=True, api="memory"):
        self.world = world
        self.dir = tempfile.mkdtemp(prefix="skiff-bench-")
        config = self.dir + "/kubeconfig"
        served = [ADDRESS["one"], ADDRESS["two"]] if targets else []
        if api == "memory":
            self.api = subprocess.Popen(self.world.inside("node", PROGRAMS.bin + "/kube-proxy-bench-api", config, str(count - len(served[:1])), str(endpoints), *served),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            while not os.path.exists(config):
                time.sleep(0.05)
        else:
            self.api = self.api_server(config, count - len(served[:1]), endpoints, served)
        self.bpf = ["--bpf-dir", self.dir + "/bpf", "--cgroup", world.cgroup]
        begin = time.monotonic()
        log = open(self.dir + "/log", "wb")
        self.process = subprocess.Popen(self.world.inside("node", PROGRAMS.proxy, "--kubeconfig", config, "--hostname-override", "n1", *self.bpf,
                                               "--packet-devices", "out0", "--healthz-bind-address", "127.0.0.1:10256", "--nodeport-addresses", "0.0.0.0/0", "-v", "2", *self.flags),
                                        stdout=log, stderr=log)

        def wait_for(text):
            while text not in open(self.dir + "/log", "rb").read():
                if self.process.poll() is not None:
                    raise SystemExit(open(self.dir + "/log").read())
                time.sleep(0.002)
            return time.monotonic() - begin
        self.sockets = wait_for(b"Services are served")
        self.loading = wait_for(b"Packets are translated")
        self.cpu = cpu(self.process.pid)
        time.sleep(8)
        self.rss = rss(self.process.pid)

    def api_server(self, config, count, endpoints, served):
        """Skiff's API server over TLS, its store on disk, with the same objects as kube-proxy-bench-api has."""
        log = open(self.dir + "/api-log", "wb")
        pki, program = self.dir + "/pki", PROGRAMS.bin + "/skiff-controlplane"
        api = subprocess.Popen(self.world.inside("node", PROGRAMS.bin + "/kube-apiserver", "--data-dir", self.dir + "/store", "--cert-dir", pki, "--bind-address", "127.0.0.1", "--secure-port", "6443",
                                                 "--advertise-address", "127.0.0.1", "--service-cluster-ip-range", "10.96.0.0/12"), stdout=log, stderr=log)
        files = {"admin": self.dir + "/admin", "proxy": config}
        for user, group in (("admin", "system:masters"), ("proxy", None)):
            while subprocess.run([program, "kubeconfig", "--cert-dir", pki, "--server", "https://127.0.0.1:6443", "--user", "admin" if group else "system:kube-proxy",
                                  *(["--group", group] if group else []), "--out", files[user]], capture_output=True).returncode != 0:
                time.sleep(0.1)
        subprocess.run(self.world.inside("node", *API, "fill", files["admin"], str(count), str(endpoints), *served[:1]), check=True)
        return api

    def put(self, to):
        """Changes the target by a PUT from inside the node; the time when that was answered."""
        if not hasattr(self, "putter"):
            self.putter = subprocess.Popen(self.world.inside("node", *API, "put", self.dir + "/admin"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.putter.stdin.write(to + "\n")
        self.putter.stdin.flush()
        return int(self.putter.stdout.readline())

    def change(self, to):
        def go():
            self.api.stdin.write("\n")
            self.api.stdin.flush()
            return int(self.api.stdout.readline())
        return go

    def maps_dir(self):
        return next(os.path.join(self.dir, "bpf", name) for name in os.listdir(self.dir + "/bpf") if name.startswith("maps-v"))

    def map_memory(self):
        """Kernel memory of the pinned maps, MiB."""
        total = 0
        for folder, _, names in os.walk(self.dir + "/bpf"):
            if "maps-v" not in folder:
                continue
            for name in names:
                out = subprocess.run(["bpftool", "-j", "map", "show", "pinned", os.path.join(folder, name)], capture_output=True, text=True)
                if out.returncode == 0:
                    total += json.loads(out.stdout).get("bytes_memlock", 0)
        return total / (1 << 20)

    def close(self):
        for process in (getattr(self, "putter", None), self.process, self.api):
            if process is None:
                continue
            process.terminate()
            process.wait()
        subprocess.run(self.world.inside("node", PROGRAMS.proxy, "--cleanup", *self.bpf), capture_output=True)
        shutil.rmtree(self.dir)


class SkiffSockets(Skiff):
    """What is left when no program looks at packets of pods."""
    name = "sockets"
    flags = ["--pod-packets=false"]
