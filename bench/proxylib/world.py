"""A node with its pods for each way of serving, all of network namespaces, and the services in them."""

import json
import os
import subprocess
import types

ADDRESS = {"client": "10.244.0.2", "one": "10.244.0.3", "two": "10.244.0.4", "out": "10.250.0.2"}
CLUSTER_IP, NODE_IP, NODE_PORT = "10.111.0.1", "10.250.0.1", 30080
# Where the programs are: `bin` those of the benchmark, `proxy` the kube-proxy that is measured.
PROGRAMS = types.SimpleNamespace(bin="", proxy="")


def sh(command, data=None):
    result = subprocess.run(command, shell=True, input=data, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{command}: {result.stderr}")
    return result.stdout


def cgroup2():
    with open("/proc/self/mountinfo") as f:
        for line in f:
            if " - cgroup2 " in line:
                return line.split()[4]
    raise SystemExit("no cgroup v2 hierarchy")


class World:
    """A node with its pods; `way` is what makes services work there."""

    def __init__(self, name):
        self.ns = {part: f"skb{os.getpid()}{name[:2]}{part}" for part in ("node", "client", "one", "two", "out")}
        self.servers, self.way = [], None
        self.cgroup = os.path.join(cgroup2(), self.ns["node"])  # every client is in one, as one of Skiff's must be
        os.mkdir(self.cgroup)
        for ns in self.ns.values():
            sh(f"ip netns add {ns} && ip -n {ns} link set lo up")
        for part, address in ADDRESS.items():
            node, ns = self.ns["node"], self.ns[part]
            device = "out0" if part == "out" else part + "0"
            sh(f"ip -n {node} link add {device} type veth peer name eth0 netns {ns}")
            gateway = NODE_IP if part == "out" else "10.244.0.1"
            sh(f"ip -n {node} addr add {gateway}/{24 if part == 'out' else 32} dev {device} && ip -n {node} link set {device} up")
            sh(f"ip -n {ns} addr add {address}/{24 if part == 'out' else 32} dev eth0 && ip -n {ns} link set eth0 up")
            if part != "out":
                sh(f"ip -n {node} route add {address}/32 dev {device}")
                sh(f"ip -n {ns} route add 10.244.0.1/32 dev eth0 && ip -n {ns} route add default via 10.244.0.1")
            else:
                sh(f"ip -n {ns} route add default via {NODE_IP}")
        sh(" ".join(self.inside("node", "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0")))
        for part, byte in (("one", "1"), ("two", "2")):
            self.servers.append(subprocess.Popen(self.inside(part, "env", "BYTE=" + byte, PROGRAMS.bin + "/kube-proxy-bench-load", "serve", "8080")))

    def inside(self, part, *argv):
        return ["nsenter", "--net=/run/netns/" + self.ns[part], *argv]

    def load(self, part, *argv):
        enter = f"echo $$ > {self.cgroup}/cgroup.procs; exec \"$@\"" if part == "client" else 'exec "$@"'
        return self.inside(part, "bash", "-c", enter, "_", PROGRAMS.bin + "/kube-proxy-bench-load", *map(str, argv))

    def measure(self, part, *argv):
        out = subprocess.run(self.load(part, *argv), capture_output=True, text=True).stdout
        return json.loads(out) if out else None

    def close(self):
        if self.way:
            self.way.close()
        for server in self.servers:
            server.terminate()
            server.wait()
        for ns in self.ns.values():
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)
        os.rmdir(self.cgroup)


def service_ip(i):
    return f"10.{97 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}"


def endpoint_ip(n):
    return f"10.{128 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}"


def services(count, target):
    """(name, cluster IP, endpoints) of all; the last one is what is measured."""
    for i in range(count - 1):
        yield f"service-{i}", service_ip(i), [endpoint_ip(2 * i), endpoint_ip(2 * i + 1)]
    yield "target", CLUSTER_IP, [target]
