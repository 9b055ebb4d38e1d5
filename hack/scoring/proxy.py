"""The suite of kube-proxy's recordings: its HTTP endpoints, and for each service where upstream's rules lead, against what
`kube-proxy show` says. Recordings that are nftables rule sets and their differences have nothing to be compared with."""

import datetime
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from . import mask
from .server import Server, free_port

# Families that come from Go's runtime and from libraries that upstream links but does not use here.
NOT_OURS = ("go_", "aggregator_", "apiserver_", "cardinality_")

# Flags that the recorded kube-proxy was started with; the others had their defaults.
FLAGS = ("cluster-cidr", "conntrack-max-per-core", "conntrack-tcp-timeout-close-wait", "conntrack-tcp-timeout-established", "hostname-override", "proxy-mode")

# Lines of /statusz about this run, and about the language it is not written in.
RUN_LINES = re.compile(r"^(Started|Up|Go version) .*\n", re.M)


def cgroup2():
    with open("/proc/self/mountinfo") as f:
        for line in f:
            fields, rest = line.split(" - ")
            if rest.startswith("cgroup2 "):
                return fields.split()[4]
    return None


class Proxy:
    def __init__(self, binaries, server, flags):
        self.binary = os.path.join(binaries, "kube-proxy")
        self.dir = tempfile.mkdtemp(prefix="skiff-score-proxy-")
        self.cgroup = os.path.join(cgroup2(), os.path.basename(self.dir))
        os.mkdir(self.cgroup)
        self.ports = {10256: free_port(), 10249: free_port()}
        self.flags = {"kubeconfig": os.path.join(server.dir, "admin.kubeconfig"), "healthz-bind-address": f"127.0.0.1:{self.ports[10256]}",
                      "metrics-bind-address": f"127.0.0.1:{self.ports[10249]}"}
        # The same in /configz.
        self.replaced = {"kubeconfig": self.flags["kubeconfig"], "healthzBindAddress": self.flags["healthz-bind-address"],
                         "metricsBindAddress": self.flags["metrics-bind-address"]}
        self.bpf = self.dir + "/bpf"
        given = {**{name: flags[name] for name in FLAGS}, **self.flags}
        with open(self.dir + "/log", "wb") as log:
            self.process = subprocess.Popen([self.binary, *(f"--{name}={value}" for name, value in given.items()), "--bpf-dir", self.bpf, "--cgroup", self.cgroup,
                                             "--packet-devices", "none", "--take-over=false"], stdout=log, stderr=log)
        for _ in range(100):
            if self.process.poll() is not None:
                break
            if "node" in self.show():
                return
            time.sleep(0.1)
        with open(self.dir + "/log", errors="replace") as f:
            text = f.read()[-2000:]
        self.close()
        raise SystemExit(f"kube-proxy did not start:\n{text}")

    def close(self):
        self.process.terminate()
        self.process.wait()
        subprocess.run([self.binary, "--cleanup", "--bpf-dir", self.bpf], check=False)
        os.rmdir(self.cgroup)
        shutil.rmtree(self.dir, ignore_errors=True)

    def show(self):
        """{frontend: sorted endpoints} for traffic from outside, as text lines."""
        text = subprocess.run([self.binary, "show", "--bpf-dir", self.bpf], capture_output=True, text=True).stdout
        out = {}
        for line in text.split("\n\n")[0].splitlines()[1:]:
            _, frontend, whom, _, to = line.split(None, 4)
            if whom != "inside":
                out[frontend] = sorted(to.split())
        return {"node": 1, **out} if "NodePorts answer on" in text else out

    def get(self, request):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[request["port"]], timeout=10)
        try:
            connection.request(request["method"], request["path"])
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def flags_of(text):
    return dict(line.partition(": ")[::2] for line in text.splitlines() if re.match(r"[a-z-]+: ", line))


def families(text):
    return {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE ") and not line.split()[2].startswith(NOT_OURS)}


def replay_http(proxy, folder, recording):
    request, want = recording["request"], recording["response"]
    status, headers, raw = proxy.get(request)
    out = []
    if f" {status} " not in want["statusLine"] + " ":
        out.append(f"status: {status}; recorded {want['statusLine']}")
    recorded_headers = dict(h.split(": ", 1) for h in want["headers"])
    out += mask.headers(recorded_headers, headers)
    body = want["body"]
    if isinstance(body, str) and body.startswith("see "):
        with open(os.path.join(folder, body[4:])) as f:
            recorded, ours = families(f.read()), families(raw.decode())
        out += [f"metric {name} ({kind}): missing" for name, kind in recorded.items() if ours.get(name) != kind]
    elif isinstance(body, dict):
        text = json.dumps(body)
        for name, value in proxy.replaced.items():
            text = re.sub(rf'"{name}": "[^"]*"', f'"{name}": "{value}"', text)
        out += mask.differences(json.loads(text), json.loads(raw))
    elif request["path"] == "/flagz":
        ours, recorded = flags_of(raw.decode()), {**flags_of(body), **proxy.flags}
        out += [f"{name}: {ours.get(name)}; recorded {value}" for name, value in recorded.items() if ours.get(name) != value]
    elif mask.text(RUN_LINES.sub("", raw.decode())) != mask.text(RUN_LINES.sub("", body)):
        out.append(f"body: {mask.short(raw.decode())}; recorded {mask.short(body)}")
    return out


def rules(recording):
    """Where upstream's chains lead traffic from outside: {frontend: sorted endpoints}."""
    to, goto, single, chain = {}, {}, [], None
    for line in (line.strip() for line in recording["nftChains"]):
        if line.startswith("chain "):
            chain = line.split()[1]
        elif "dnat" in line and " map { " in line:
            to[chain] = [f"{ip}:{port}" for ip, port in re.findall(r"\d+ : ([0-9.]+) \. (\d+)", line)]
        elif "dnat to " in line:
            single.append(line.split("dnat to ")[1].split()[0])
        elif line.startswith("goto "):
            goto[chain] = line.split()[1]
    out = {}
    for line in recording["nftElementLines"]:
        found = re.search(r"(?:([0-9.]+) \. )?(tcp|udp|sctp) \. (\d+) : goto ([^ ,]+)", line)
        if not found or found[4].startswith("firewall-"):
            continue
        name = found[4]
        while name in goto:
            name = goto[name]
        out[f"{found[1] or 'node'}:{found[3]}/{found[2].upper()}"] = sorted(to.get(name) or single) or ["refused"]
    return out


def replay_service(server, proxy, recording):
    service = recording["service"]
    ns, name = service["metadata"]["namespace"], service["metadata"]["name"]
    meta = {"name": name, "namespace": ns}
    status, _, raw = server.call("POST", f"/api/v1/namespaces/{ns}/services", "admin", {"kind": "Service", "apiVersion": "v1", "metadata": meta, "spec": service["spec"]})
    if status != 201:
        return [f"the service could not be made: {raw[:200]!r}"]
    made = json.loads(raw)
    made["status"] = service.get("status", {})
    server.call("PUT", f"/api/v1/namespaces/{ns}/services/{name}/status", "admin", made)
    for item in recording.get("endpointSlices", []):
        slice_meta = {k: item["metadata"][k] for k in ("name", "namespace", "labels") if k in item["metadata"]}
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        slice_meta["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": now}
        status, _, raw = server.call("POST", f"/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices", "admin",
                                     {**item, "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": slice_meta})
        if status != 201:
            return [f"the slice could not be made: {raw[:200]!r}"]
    want = rules(recording)
    ips = {f.split(":")[0] for f in want} | set(service["spec"].get("clusterIPs") or []) - {"None"}
    ports = {f"node:{p['nodePort']}/{p.get('protocol', 'TCP')}" for p in service["spec"].get("ports", []) if p.get("nodePort")}
    for _ in range(30):
        have = {f: to for f, to in proxy.show().items() if f in ports or f.split(":")[0] in ips - {"node"}}
        # Refusals are rules of their own upstream; here they are frontends without endpoints.
        if {f: t for f, t in have.items() if t != ["refused"]} == {f: t for f, t in want.items() if t != ["refused"]}:
            return []
        time.sleep(0.1)
    return mask.differences(want, have) or [f"{have}; recorded {want}"]


def suite(load, make_result):
    def go(goldens, binaries, only):
        folder = os.path.join(goldens, "proxy/15-kube-proxy")
        result = make_result()
        if os.geteuid() != 0 or cgroup2() is None:
            result.note = "needs root and a cgroup v2 hierarchy"
            return result
        recordings = {n: r for n, r in load(folder).items() if only in n}
        replayed = {n: r for n, r in recordings.items() if "request" in r or "service" in r}
        if len(replayed) < len(recordings):
            result.note = "without rule sets of nftables and what clients saw"
        flags = flags_of(load(folder)["flagz"]["response"]["body"])
        with Server(binaries, "kube-apiserver") as server:
            server.call("POST", "/api/v1/nodes", "admin", {"metadata": {"name": "n1"}})
            node = json.loads(server.call("GET", "/api/v1/nodes/n1", "admin")[2])
            node["status"]["addresses"] = [{"type": "InternalIP", "address": flags["nodeport-addresses"].strip("[]").split("/")[0]}]
            server.call("PUT", "/api/v1/nodes/n1/status", "admin", node)
            server.call("POST", "/api/v1/namespaces", "admin", {"metadata": {"name": "golden"}})
            proxy = Proxy(binaries, server, flags)
            try:
                # Services first: some metrics appear with the first change.
                for name, recording in sorted(replayed.items(), key=lambda item: ("request" in item[1], item[0])):
                    if "request" in recording:
                        result.add(name, replay_http(proxy, folder, recording))
                    else:
                        result.add(name, replay_service(server, proxy, recording))
            finally:
                proxy.close()
        return result

    return go
