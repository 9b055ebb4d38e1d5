"""The suite of the kubelet's own endpoints: a one-node cluster whose kubelet has the recorded configuration and whose pods are the
recorded ones; every request is sent straight at the kubelet's ports under the recorded identity. Metrics are compared by family, type
and label names, statistics by their shape, streams by their handshake and by what each channel carried."""

import base64
import fnmatch
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time

from . import cluster, mask

ADDRESS = "10.250.0.1"
BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"

# Families of Go's runtime, and of libraries that upstream links into the kubelet without using them there.
NOT_OURS = ("go_", "aggregator_", "apiserver_", "cardinality_", "hidden_metric")

HEADERS = ["Content-Type", "Location", "Allow", "X-Content-Type-Options"]

# Lines of /statusz about this run, and about the language that it is not written in.
RUN_LINES = re.compile(r"^(Started|Up|Go version)= .*\n", re.M)

# What is this machine's in the recorded configuration, and stands in ours under the same name with another value.
PLACES = ["podLogsDir", "tlsCertFile", "tlsPrivateKeyFile", "cgroupRoot", "volumePluginDir", "containerRuntimeEndpoint"]


def parts(goldens):
    def load(path):
        with open(os.path.join(goldens, path)) as f:
            return json.load(f)["response"]["body"]

    pods = {p["metadata"]["name"]: p for p in load("kubelet/11-endpoints/pods.json")["items"] if p["metadata"]["namespace"] == "golden"}
    pods["sp"] = load("apiserver/08-subresources/ephemeralcontainers-get.json")
    return load("kubelet/11-endpoints/configz.json")["kubeletconfig"], pods


def manifest(pod):
    """A recorded pod as it was created: without what admission added."""
    spec = json.loads(json.dumps(pod["spec"]))
    spec.pop("volumes", None)
    for c in spec["containers"]:
        c["volumeMounts"] = [m for m in c.get("volumeMounts", []) if not m["name"].startswith("kube-api-access")]
        if c.get("args", [""])[0] == "netexec":  # any HTTP server
            c.update(image=BUSYBOX, command=["testserver", "-p", "8080"])
            del c["args"]
    for field in ("tolerations", "serviceAccount", "priority", "preemptionPolicy"):
        spec.pop(field, None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod["metadata"]["name"], "labels": pod["metadata"].get("labels", {})}, "spec": spec}


class Node:
    """The cluster's node n1 with a kubelet of the recorded configuration, and connections to its ports."""

    def __init__(self, binaries, config):
        self.dir = os.environ["SKIFF_DIR"]
        self.config = json.loads(json.dumps(config))
        d = self.dir + "/n1"
        cert, key = self.serving_pair(binaries)
        self.config.update({
            "podLogsDir": d + "/podlogs", "tlsCertFile": cert, "tlsPrivateKeyFile": key, "volumePluginDir": d + "/volplugins",
            "cgroupRoot": f"/{os.environ['SKIFF_NAME']}/n1", "containerRuntimeEndpoint": f"unix://{d}/containerd.sock"})
        self.config["authentication"]["x509"]["clientCAFile"] = self.dir + "/pki/ca.crt"
        self.restart(binaries)
        self.contexts = {None: self.context(None), "admin": self.context(self.dir + "/admin.kubeconfig"),
                         "system:node:n1": self.context(d + "/kubelet.kubeconfig")}

    def serving_pair(self, binaries):
        d = self.dir + "/n1/kubelet/pki"
        return d + "/kubelet.crt", d + "/kubelet.key"

    def restart(self, binaries):
        with open(self.dir + "/run/kubelet-n1.pid") as f:
            pid = int(f.read().split()[0])
        os.kill(pid, signal.SIGTERM)
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.05)
        d = self.dir + "/n1"
        # Only what an operator would have written down; what comes from a default must come from ours.
        written = {k: self.config[k] for k in (*PLACES, "authentication", "authorization", "clusterDNS", "clusterDomain", "resolvConf", "maxPods",
                                               "failSwapOn", "failCgroupV1", "logging", "cgroupDriver")}
        with open(d + "/kubelet.yaml", "w") as f:
            json.dump({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **written}, f)
        self.arguments = [f"--config={d}/kubelet.yaml", f"--kubeconfig={d}/kubelet.kubeconfig", f"--root-dir={d}/kubelet", "--hostname-override=n1",
                          f"--node-ip={ADDRESS}", f"--cert-dir={d}/kubelet/pki", "--v=1"]
        with open(self.dir + "/log/kubelet-n1.log", "ab") as log:
            process = subprocess.Popen([os.path.join(binaries, "kubelet"), *self.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        with open(f"/proc/{process.pid}/stat") as f:
            started = f.read().rsplit(") ", 1)[1].split()[19]
        with open(self.dir + "/run/kubelet-n1.pid", "w") as f:
            f.write(f"{process.pid} {started}\n")
        self.process = process

    def context(self, kubeconfig):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if kubeconfig:
            import yaml
            with open(kubeconfig) as f:
                user = yaml.safe_load(f)["users"][0]["user"]
            with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pair:
                for field in ("client-certificate-data", "client-key-data"):
                    pair.write(base64.b64decode(user[field]) + b"\n")
                pair.flush()
                context.load_cert_chain(pair.name)
        return context

    def call(self, request, token):
        who, headers = request["as"], {k: v for k, v in (request.get("headers") or {}).items() if k != "Authorization"}
        headers["User-Agent"] = "golden/1.0"
        context = self.contexts["admin"]
        if who.startswith("system:serviceaccount:"):
            headers["Authorization"], context = "Bearer " + token, self.contexts[None]
        elif who.startswith("bad"):
            headers["Authorization"], context = "Bearer nonsense", self.contexts[None]
        elif who.startswith("no "):
            context = self.contexts[None]
        elif who.startswith("system:node:"):
            context = self.contexts[who]
        connection = http.client.HTTPSConnection(ADDRESS, 10250, context=context, timeout=30)
        try:
            connection.putrequest(request["method"], request["path"], skip_accept_encoding=True)
            for key, value in headers.items():
                connection.putheader(key, value)
            if request["method"] in ("POST", "PUT"):
                connection.putheader("Content-Length", "0")
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def raw(self, head, more, port=10250, who="admin", quiet=2.0):
        """Sends a head (and bytes once it is answered by 101); the answered head and what follows, until the end or a silence."""
        plain = socket.create_connection((ADDRESS, port), timeout=10)
        with self.contexts[who].wrap_socket(plain) as s:
            s.sendall(head.encode() + b"\r\n\r\n")
            data = b""
            while b"\r\n\r\n" not in data:
                got = s.recv(65536)
                if not got:
                    break
                data += got
            answered, _, rest = data.partition(b"\r\n\r\n")
            if more and b" 101 " in answered.split(b"\r\n")[0]:
                s.sendall(more)
            s.settimeout(quiet)
            closed = False
            try:
                while True:
                    got = s.recv(65536)
                    if not got:
                        closed = True
                        break
                    rest += got
            except (TimeoutError, socket.timeout, ssl.SSLError, OSError):
                pass
            return answered.decode(), rest, closed


# --- comparing ------------------------------------------------------------------------------------------------------------------------


def head_differences(want, got):
    out = []
    want_lines, got_lines = want.split("\r\n"), got.split("\r\n")
    if want_lines[0] != got_lines[0]:
        out.append(f"status line: {got_lines[0]!r}; recorded {want_lines[0]!r}")
    fields = lambda lines: sorted(re.sub(r"^Audit-Id: .*", "Audit-Id: <uid>", h) for h in lines[1:] if not h.startswith("Date:"))  # noqa: E731
    if fields(want_lines) != fields(got_lines):
        out += [f"header missing: {h!r}" for h in fields(want_lines) if h not in got_lines]
        out += [f"header not recorded: {h!r}" for h in fields(got_lines) if h not in want_lines]
    return out


def web_socket_frames(data):
    out = []
    while len(data) >= 2:
        length, at = data[1] & 0x7F, 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + length:
            break
        out.append((data[0] & 0x0F, data[at:at + length]))
        data = data[at + length:]
    return out


ID = re.compile(rb"\b[0-9a-f]{64}\b")
NETNS = re.compile(rb"cni-[0-9a-f-]{36}")
DATE = re.compile(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [0-9:]{8} GMT")


HTTP = re.compile(rb"HTTP/1\.[01] (\d+) .*?\r\n\r\n", re.S)


def masked(data):
    data = HTTP.sub(rb"<HTTP \1>", data)  # the pod's server is another
    return DATE.sub(b"<date>", NETNS.sub(b"<netns>", ID.sub(b"<id>", data)))


def channels(frames, textual):
    """What each channel carried, joined (how output is cut into messages is chance), with which empty messages, and the close."""
    out, joined, first = [], {}, True
    for opcode, payload in frames:
        if opcode == 8:
            out.append(("close", int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")))
            continue
        if opcode not in (1, 2):
            continue
        channel, body = payload[:1], payload[1:]
        if first:
            out.append(("first", opcode, channel, body if len(body) < 3 else b"..."))
            first = False
        joined.setdefault((opcode, channel), b"")
        joined[(opcode, channel)] += base64.b64decode(body) if textual and opcode == 1 else body
    return out + sorted(("channel", opcode, channel, masked(body)) for (opcode, channel), body in joined.items())


def replay_stream(node, recording, port=10250, who="admin"):
    request, want = recording["request"], recording["response"]
    head = request["rawHead"].replace("10.250.0.11", ADDRESS)
    more = base64.b64decode(request.get("afterUpgradeSentBase64") or "")
    answered, rest, closed = node.raw(head, more, port, who)
    out = head_differences(want["rawHead"], answered)
    if "frames" in want:
        textual = "base64" in request["rawHead"]
        recorded = [(f["opcode"], base64.b64decode(f["payloadBase64"])) for f in want["frames"]]
        a, b = channels(recorded, textual), channels(web_socket_frames(rest), textual)
        out += [f"frames missing: {mask.short(x, 600)}" for x in a if x not in b] + [f"frames not recorded: {mask.short(x, 600)}" for x in b if x not in a]
    elif isinstance(want.get("afterHead"), dict):
        try:
            out += mask.differences(want["afterHead"], json.loads(rest))
        except ValueError:
            out.append(f"after the head: {rest!r}; recorded {want['afterHead']!r}")
    elif want.get("afterHead") and rest.decode(errors="replace") != want["afterHead"]:
        out.append(f"after the head: {rest!r}; recorded {want['afterHead']!r}")
    if closed != ("closed by server" in want.get("note", [])):
        out.append(f"closed by the server: {closed}; recorded {not closed}")
    return out


SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ")
LABEL = re.compile(r'([a-zA-Z_]\w*)="(?:[^"\\]|\\.)*"')


def families(text):
    """{family: (type, help, label names)}; the samples of histograms count for their family."""
    out = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, *rest = line.split(" ", 3)
            out.setdefault(name, ["", "", set()])[1] = rest[0] if rest else ""
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            out.setdefault(name, ["", "", set()])[0] = kind
        elif found := SAMPLE.match(line):
            name = found[1]
            if name not in out:
                name = re.sub(r"_(bucket|sum|count)$", "", name)
            labels = frozenset(LABEL.findall(found[2] or "")) - {"le", "quantile"}
            out.setdefault(name, ["", "", set()])[2].add(labels)
    return {n: v for n, v in out.items() if not n.startswith(NOT_OURS)}


def metrics_differences(recorded, ours):
    out = []
    a, b = families(recorded), families(ours)
    for name, (kind, text, labels) in a.items():
        if name not in b:
            out.append(f"metric {name} ({kind}): missing")
            continue
        if b[name][0] != kind:
            out.append(f"metric {name}: type {b[name][0]}; recorded {kind}")
        if b[name][1] != text:
            out.append(f"metric {name}: help {b[name][1]!r}; recorded {text!r}")
        names = lambda sets: sorted(set().union(*sets)) if sets else []  # noqa: E731
        if names(b[name][2]) != names(labels):
            out.append(f"metric {name}: labels {names(b[name][2])}; recorded {names(labels)}")
    return out


def shape(value):
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(v), sort_keys=True) for v in value})
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def stats_differences(want, got):
    # Which devices and system containers there are is the machine's; what is said of each is not.
    def named(summary):
        node = dict(summary["node"])
        containers = {c["name"]: shape(c) for c in node.pop("systemContainers", [])}
        pods = {p["podRef"]["name"]: p for p in summary["pods"] if p["podRef"]["namespace"] == "golden"}
        for pod in pods.values():
            pod.pop("network", None)  # the recorded pod was too young to have been measured
            pod["containers"] = {c["name"]: shape(c) for c in pod.get("containers", [])}
        return {"node": shape(node), "systemContainers": containers, "lg": shape(pods["lg"]) if "lg" in pods else None}

    return mask.differences(named(want), named(got))


def pod_list_differences(want, got):
    """The pods that both have: the recorded node was busy with others as well."""
    only = lambda body: {p["metadata"]["name"]: p for p in body.get("items") or [] if p["metadata"]["namespace"] == "golden"}  # noqa: E731
    a, b = only(mask.plain(want)), only(got)
    out = mask.differences({k: v for k, v in want.items() if k != "items"}, {k: v for k, v in got.items() if k != "items"})
    for name in ("lg",):
        if name not in b:
            out.append(f"items[{name}]: missing")
            continue
        trim = lambda p: {**p, "metadata": {k: v for k, v in p["metadata"].items() if k not in ("managedFields", "labels")}}  # noqa: E731
        out += mask.differences(trim(a[name]), trim(b[name]), f"items[{name}]")
    return out


def replay_http(node, folder, name, recording, token):
    request, want = recording["request"], recording["response"]
    status, headers, raw = node.call(request, token)
    out = [f"status: {status}; recorded {want['status']}: {raw[:200]!r}"] if status != want["status"] else []
    for field in HEADERS:
        a, b = mask.find(want["headers"], field), mask.find(headers, field)
        if a != b:
            out.append(f"header {field}: {b!r}; recorded {a!r}")
    if (mask.find(want["headers"], "Process-Start-Time-Unix") is None) != (mask.find(headers, "Process-Start-Time-Unix") is None):
        out.append("header Process-Start-Time-Unix: on one side only")
    body = want["body"]
    if isinstance(body, str) and body.startswith("see "):
        with open(os.path.join(folder, body[4:])) as f:
            return out + metrics_differences(f.read(), raw.decode())
    if isinstance(body, dict) and "base64" in body:
        if "pprof/cmdline" in request["path"]:
            mine = raw.decode().split("\0")[1:]
            return out + ([] if mine == node.arguments else [f"body: {mine}; started with {node.arguments}"])
        recorded = base64.b64decode(body["base64"])
        # Delimited messages: all but the value at the end must agree.
        return out + ([] if raw[:-8] == recorded[:-8] and len(raw) == len(recorded) else [f"body: {raw!r}; recorded {recorded!r}"])
    if isinstance(body, str):
        text = raw.decode(errors="replace")
        if "# TYPE " in body:
            return out + metrics_differences(body, text)
        if name == "logs-listing":  # the machine's own files
            frame = lambda t: [line for line in t.splitlines() if not line.startswith("<a href=")]  # noqa: E731
            return out + mask.differences(frame(body), frame(text))
        if name == "flagz":
            return out + flag_differences(body, text)
        a, b = mask.text(RUN_LINES.sub("", body)), mask.text(RUN_LINES.sub("", text))
        if "/containerLogs/" in request["path"]:  # which of two streams' lines comes first is chance
            a, b = "\n".join(sorted(a.split("\n"))), "\n".join(sorted(b.split("\n")))
        return out + ([] if a == b else [f"body: {mask.short(b, 700)}; recorded {mask.short(a, 700)}"])
    try:
        got = json.loads(raw)
    except ValueError:
        return out + [f"body: not JSON: {raw[:200]!r}"]
    if "kubeletconfig" in body:
        wanted = {k: node.config[k] if k in PLACES or k == "authentication" else v for k, v in body["kubeletconfig"].items()}
        return out + mask.differences(wanted, got.get("kubeletconfig"))
    if "node" in body:
        return out + stats_differences(body, got)
    if body.get("kind") == "PodList":
        return out + pod_list_differences(body, got)
    return out + mask.differences(mask.plain(body), got)


# Flags of libraries that only upstream links; and those whose recorded value is the laboratory's.
PLACE_FLAGS = {"cert-dir", "config", "kubeconfig", "node-ip", "root-dir", "hostname-override"}


def flag_differences(want, got):
    split = lambda text: (text.splitlines()[:3], {line.split(" ")[0]: line for line in text.splitlines()[3:]})  # noqa: E731
    (head, flags), (our_head, ours) = split(want), split(got)
    out = mask.differences(head, our_head, "head")
    out += [f"flag {n}: {ours.get(n)!r}; recorded {line!r}" for n, line in flags.items() if n not in ours or (ours[n] != line and n not in PLACE_FLAGS)]
    out += [f"flag {n}: not recorded" for n in ours if n not in flags]
    return out


def replay_port(recording):
    request, want = recording["request"], recording["response"]
    try:
        connection = http.client.HTTPConnection(request["address"], request["port"], timeout=5)
        connection.request(request["method"], request["path"])
        answer = connection.getresponse()
    except ConnectionRefusedError:
        return [] if want["curlExit"] == 7 else [f"refused; recorded {want['raw'][:60]!r}"]
    body = answer.read().decode()
    lines = want["raw"].split("\n\n")
    out = [] if want["curlExit"] == 0 else ["answered; recorded a refused connection"]
    if f" {answer.status} " not in lines[0]:
        out.append(f"status: {answer.status}; recorded {lines[0].splitlines()[0]}")
    if body != lines[-1]:
        out.append(f"body: {body!r}; recorded {lines[-1]!r}")
    return out


class Excepted:
    """The table of docs/compatibility.md that is for this suite: differences that come from the runtime around the kubelet."""

    def __init__(self, section):
        self.rows, self.used = [], set()
        with open(os.path.join(cluster.ROOT, "docs/compatibility.md")) as f:
            at = ""
            for line in f:
                at = line[3:].strip() if line.startswith("## ") else at
                cells = [c.strip().strip("`").replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
                if at == section and len(cells) == 3 and line.startswith("| `"):
                    self.rows.append((cells[0], re.compile(cells[1])))

    def left(self, name, differences):
        out = [d for d in differences if not any(fnmatch.fnmatch(name, names) and pattern.search(d) for names, pattern in self.rows)]
        if len(out) < len(differences):
            self.used.add(name)
        return out

    def note(self):
        return f"{len(self.used)} with differences that docs/compatibility.md excepts" if self.used else ""


# --- the suite ------------------------------------------------------------------------------------------------------------------------


def wait(what, predicate, seconds=60):
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            raise SystemExit(f"timed out waiting for {what}")
        time.sleep(0.1)


def start(goldens, binaries):
    """(API, node, token of golden/default): a cluster with the recorded kubelet and pods."""
    cluster.enter()
    cluster.up(binaries)
    from .lifecycles import Api
    api = Api()
    api.call("DELETE", "/apis/apps/v1/namespaces/default/deployments/hello?propagationPolicy=Background")
    config, pods = parts(goldens)
    node = Node(binaries, config)
    cluster.rename_image("localhost/skiff/test:1", BUSYBOX)
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "golden"}})
    wait("the default service account", lambda: api.call("GET", "/api/v1/namespaces/golden/serviceaccounts/default")[0] == 200)
    wait("the ready node", lambda: any(c["type"] == "Ready" and c["status"] == "True"
                                       for c in api.call("GET", "/api/v1/nodes/n1")[1].get("status", {}).get("conditions", [])))
    for pod in pods.values():
        status, answer = api.call("POST", "/api/v1/namespaces/golden/pods", manifest(pod))
        if status != 201:
            raise SystemExit(f"cannot create pod {pod['metadata']['name']}: {answer}")
    status, answer = api.call("POST", "/api/v1/namespaces/golden/serviceaccounts/default/token", {"spec": {"audiences": []}})
    token = answer["status"]["token"]

    def settled():
        ready = lambda name, n: [c["name"] for c in api.call("GET", f"/api/v1/namespaces/golden/pods/{name}")[1].get("status", {}).get(  # noqa: E731
            "containerStatuses", []) if c.get("state", {}).get("running")].__len__() == n
        return ready("sp", 2) and ready("lg", 1)

    wait("the recorded pods", settled)
    # A rate needs two readings: upstream takes them all the time, ours when asked.
    node.call({"method": "GET", "path": "/stats/summary", "as": "admin certificate"}, token)
    time.sleep(12)  # until lg has said its lines
    return api, node, token


def run(result, goldens, recordings, binaries, only):
    folder = os.path.join(goldens, "kubelet/11-endpoints")
    excepted = Excepted("kubelet")
    _, node, token = start(goldens, binaries)
    for name, recording in recordings.items():
        if only not in name:
            continue
        try:
            if "rawHead" in recording["request"]:
                differences = replay_stream(node, recording)
            elif "port" in recording["request"]:
                differences = replay_port(recording)
            else:
                differences = replay_http(node, folder, name, recording, token)
        except (OSError, http.client.HTTPException) as e:
            differences = [f"no answer: {type(e).__name__}: {e}"]
        result.add(name, excepted.left(name, differences))
    result.note = excepted.note()
    if node.process.poll() is not None:
        raise SystemExit(f"the kubelet has ended: {node.process.returncode}")


def run_through_api(result, recordings, binaries, only, goldens):
    """Logs, exec, attach and port-forward as a client of the API server sees them."""
    from .suites import compare
    excepted = Excepted("streaming")
    api, node, _ = start(goldens, binaries)
    waiting = {"name": "a", "image": BUSYBOX, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    for name, spec in (("lgw", {"nodeName": "n1", "containers": [waiting], "volumes": [{"name": "v", "configMap": {"name": "nosuch"}}]}),
                       ("lgu", {"schedulerName": "nobody", "containers": [{"name": "a", "image": BUSYBOX}]})):
        status, answer = api.call("POST", "/api/v1/namespaces/golden/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        if status != 201:
            raise SystemExit(f"cannot create pod {name}: {answer}")
    time.sleep(4)
    port = int(api.address.rsplit(":", 1)[1])
    for name, recording in recordings.items():
        if only not in name:
            continue
        request = recording["request"]
        try:
            if "rawHead" in request:
                who = None if "anonymous" in name else "admin"
                result.add(name, excepted.left(name, replay_stream(node, recording, port, who)))
                continue
            connection = api.connect(30)
            connection.putrequest(request["method"], request["path"], skip_accept_encoding=True)
            for key, value in (request.get("headers") or {}).items():
                connection.putheader(key, value)
            connection.endheaders()
            answer = connection.getresponse()
            raw = answer.read()
            connection.close()
            if isinstance(recording["response"]["body"], str) and mask.find(recording["response"]["headers"], "Content-Type") == "text/plain":
                # How the lines of two streams interleave is chance; the recorded answers were cut where they were.
                want = recording["response"]["body"]
                out = [f"status: {answer.status}; recorded {recording['response']['status']}"] if answer.status != recording["response"]["status"] else []
                kind = answer.getheader("Content-Type")
                out += [f"header Content-Type: {kind!r}"] if kind != "text/plain" else []
                got = raw.decode(errors="replace")
                if sorted(line_of(x) for x in want.split("\n")) != sorted(line_of(x) for x in got.split("\n")) and "limitBytes" not in request["path"]:
                    out.append(f"body: {mask.short(got, 600)}; recorded {mask.short(want, 600)}")
                if "limitBytes" in request["path"] and len(got) != len(want) and "unable to retrieve" not in want:
                    out.append(f"body: {len(got)} bytes; recorded {len(want)}")
                result.add(name, out)
            else:
                result.add(name, compare(recording, answer.status, dict(answer.getheaders()), raw))
        except (OSError, http.client.HTTPException) as e:
            result.add(name, [f"no answer: {type(e).__name__}: {e}"])
    result.note = excepted.note()


def line_of(text):
    return re.sub(r"^\S+Z ", "<time> ", text)
