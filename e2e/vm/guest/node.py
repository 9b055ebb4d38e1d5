"""A node as an operator would set one up, in the virtual machine: default paths, the machine's cgroups from the root on, all of
Skiff and Debian's containerd. The machine is thrown away afterwards, so nothing here cleans up."""

import base64
import contextlib
import glob
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import time

BIN = os.environ.get("BIN", "/opt/skiff/bin")
LOG = os.environ.get("RESULTS", "/results") + "/log"
PKI = "/etc/kubernetes/pki"
IP = "192.0.2.10"
NAME = "vm"
CGROUP = "/sys/fs/cgroup"
# Emulated processors, shared with whatever else the host does.
PATIENCE = 240

def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read().strip()


CONTAINERD = """version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/skiff/pause:1"
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = %s
"""

KUBELET = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %s/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: %s
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: /etc/resolv.conf
"""
# The driver goes with the first process, as installers choose it.
SYSTEMD = read("/proc/1/comm") == "systemd"

def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def run(*argv, timeout=300):
    result = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def pid_of(name):
    """The pid of what an earlier part, or this one, started in this boot; None if it is gone."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(read(f"/run/node/{name}.pid"))
        if read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z":
            return pid
    return None


def spawn(name, *argv):
    if pid_of(name):
        return
    os.makedirs(LOG, exist_ok=True)
    with open(f"{LOG}/{name}.log", "ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
    process.returncode = 0  # the first process reaps it, should this one end first
    write(f"/run/node/{name}.pid", str(process.pid))


def kill(name):
    os.kill(pid_of(name), signal.SIGKILL)
    wait(f"{name} to end", lambda: not pid_of(name), interval=0.05)


def tails():
    for path in sorted(glob.glob(LOG + "/*.log")):
        print(f"----- the end of {path}")
        print("\n".join(read(path).splitlines()[-25:]))


def wait(what, predicate, seconds=PATIENCE, interval=0.5):
    """Until predicate() is true; its last value is returned."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = predicate()
            if last:
                return last
        except (OSError, http.client.HTTPException, KeyError, IndexError, StopIteration, ApiError) as e:
            last = e
        time.sleep(interval)
    raise AssertionError(f"timed out after {seconds}s waiting for {what}; last: {last!r}")


class ApiError(Exception):
    pass


class Client:
    """HTTPS with the administrator's certificate: to the API server, or to a kubelet."""

    def __init__(self, host, port, verify=True):
        config = read("/etc/kubernetes/admin.kubeconfig")
        files = {}
        for key in ("certificate-authority-data", "client-certificate-data", "client-key-data"):
            files[key] = f"/run/admin-{key}"
            write(files[key], base64.b64decode(re.search(key + r": *\"?([A-Za-z0-9+/=]+)", config).group(1)).decode())
        self.context = ssl.create_default_context(cafile=files["certificate-authority-data"])
        if not verify:
            # The kubelet's serving certificate is its own.
            self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.load_cert_chain(files["client-certificate-data"], files["client-key-data"])
        self.target, self.connection = (host, port), None

    def request(self, method, path, body=None, kind="application/json"):
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(*self.target, context=self.context, timeout=60)
            try:
                self.connection.request(method, path, body and (body if isinstance(body, str) else json.dumps(body)), {"Content-Type": kind})
                answer = self.connection.getresponse()
                text = answer.read().decode()
                break
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.connection = None
                if attempt == 2:
                    raise
        if answer.status >= 400:
            raise ApiError(f"{method} {path}: {answer.status} {text}")
        return text

    def get(self, path):
        return json.loads(self.request("GET", path))

    def post(self, path, body):
        return json.loads(self.request("POST", path, body))

    def delete(self, path, grace=None):
        return self.request("DELETE", path, None if grace is None else {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace})

    def patch(self, path, body, kind="application/strategic-merge-patch+json"):
        return json.loads(self.request("PATCH", path, body, kind))


def api():
    return Client("127.0.0.1", 6443)


PODS = "/api/v1/namespaces/default/pods"


def pod_manifest(name, command, resources=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "localhost/skiff/test:1", "command": command, "resources": resources or {}}], **spec}}


def cgroup(qos="", uid=None, container_id=None):
    """The directory of the pods', of a class of pods, of a pod or of a container, as upstream's drivers name it."""
    parts = ["kubepods"] + ([qos] if qos else []) + ([f"pod{uid}"] if uid else [])
    if not SYSTEMD:
        return "/".join([CGROUP] + parts + ([container_id] if container_id else []))
    parts = [p.replace("-", "_") for p in parts]
    slices = ["-".join(parts[:i + 1]) + ".slice" for i in range(len(parts))]
    return "/".join([CGROUP] + slices + ([f"cri-containerd-{container_id}.scope"] if container_id else []))


def condition(thing, kind):
    return next((c["status"] for c in thing["status"].get("conditions", []) if c["type"] == kind), None)


def ready(client, name):
    pod = client.get(f"{PODS}/{name}")
    return pod if condition(pod, "Ready") == "True" else None


def container(pod):
    return pod["status"]["containerStatuses"][0]


def start_kubelet():
    spawn("kubelet", f"{BIN}/kubelet", "--config", "/var/lib/kubelet/config.yaml", "--kubeconfig", "/etc/kubernetes/kubelet.conf",
          "--hostname-override", NAME, "--node-ip", IP, "-v", "2")


def start_containerd():
    spawn("containerd", "containerd")
    wait("containerd", lambda: os.path.exists("/run/containerd/containerd.sock") and
         subprocess.run(["ctr", "version"], capture_output=True).returncode == 0)


def start():
    """Everything, new or after a boot; returns a client once the node is Ready."""
    if not os.path.exists("/sys/class/net/eth0"):
        run("ip", "link", "add", "eth0", "type", "dummy")
        run("ip", "addr", "add", IP + "/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "route", "add", "default", "dev", "eth0")
    write("/etc/containerd/config.toml", CONTAINERD % str(SYSTEMD).lower())
    write("/var/lib/kubelet/config.yaml", KUBELET % (PKI, "systemd" if SYSTEMD else "cgroupfs"))
    for source, target in (("skiff-cni", "skiff-cni"), ("skiff-cni", "loopback")):
        os.makedirs("/opt/cni/bin", exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(f"{BIN}/{source}", f"/opt/cni/bin/{target}")
    spawn("controlplane", f"{BIN}/skiff-controlplane", "all", "--data-dir", "/var/lib/skiff", "--cert-dir", PKI, "--bind-address", "0.0.0.0",
          "--secure-port", "6443", "--advertise-address", IP, "--service-cluster-ip-range", "10.96.0.0/16", "--cluster-cidr", "10.244.0.0/16",
          "--write-kubeconfig", "/etc/kubernetes")
    start_containerd()
    images = run("ctr", "-n", "k8s.io", "images", "ls", "-q")
    for name in ("pause", "test"):
        if f"skiff/{name}" not in images:
            run("ctr", "-n", "k8s.io", "images", "import", f"/opt/skiff/images/{name}.tar")
    wait("the administrator's credentials", lambda: os.path.exists("/etc/kubernetes/admin.kubeconfig"))
    client = api()
    wait("the API server", lambda: client.request("GET", "/readyz"))
    with contextlib.suppress(ApiError):  # it is there after a boot
        for document in read("/opt/skiff/hack/cni-rbac.yaml").split("\n---"):
            kind = re.search(r"^kind: (\w+)", document, re.M).group(1)
            client.request("POST", f"/apis/rbac.authorization.k8s.io/v1/{kind.lower()}s", document, "application/yaml")
    for name, user, group in (("kubelet", f"system:node:{NAME}", "system:nodes"), ("proxy", "system:kube-proxy", None), ("cni", "system:skiff-cni", None)):
        if not os.path.exists(f"/etc/kubernetes/{name}.conf"):
            run(f"{BIN}/skiff-controlplane", "kubeconfig", "--cert-dir", PKI, "--server", f"https://{IP}:6443", "--user", user,
                *(["--group", group] if group else []), "--out", f"/etc/kubernetes/{name}.conf")
    start_kubelet()
    spawn("cni", f"{BIN}/skiff-cni-agent", "--kubeconfig", "/etc/kubernetes/cni.conf", "--node-name", NAME, "--cluster-cidr", "10.244.0.0/16")
    spawn("proxy", f"{BIN}/kube-proxy", "--kubeconfig", "/etc/kubernetes/proxy.conf", "--hostname-override", NAME, "--cluster-cidr", "10.244.0.0/16")
    wait("the node to be Ready", lambda: condition(client.get(f"/api/v1/nodes/{NAME}"), "Ready") == "True")
    wait("the default service account", lambda: client.get("/api/v1/namespaces/default/serviceaccounts/default"))
    return client


def main(case):
    """Runs a unittest case as the part that the first process started."""
    import sys
    import unittest
    program = unittest.main(module=sys.modules[case.__module__], argv=["part", "-v"], exit=False, warnings="ignore")
    if not program.result.wasSuccessful():
        with contextlib.suppress(Exception):
            tails()
    sys.stdout.flush()
    os._exit(0 if program.result.wasSuccessful() else 1)
