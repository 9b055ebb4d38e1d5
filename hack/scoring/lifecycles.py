"""Pod lifecycles: each recorded pod is created on a cluster of ours, its recorded actions are done when they were, and what a watch
sees is compared: the distinct statuses, whole and in order, and the distinct events, in order. Times are not compared.

What the recordings' surroundings (another version of containerd, ..) make different is listed in docs/compatibility.md,
and read from there.
"""

import base64
import concurrent.futures
import difflib
import fnmatch
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from . import cluster, mask

AT_ONCE = 14
SLACK = 15          # seconds that a busy machine may be slower than the recorded one
TRIES = 3           # a sequence that depends on who wins a race was recorded once; it counts when it is seen in one of these
SAVE = os.environ.get("SKIFF_SCORE_SAVE")  # a folder for what was seen, to look at afterwards
LONGEST_RETRY = 35  # seconds: longer recordings are replayed once
# Events about one container by one component are compared in strict order; others where the recording has them this far apart.
APART = 0.5

# What differs by chance only in these recordings, on top of mask.TEXTS.
TEXTS = [
    (re.compile(r"used: \d+, capacity: \d+"), "used: <n>, capacity: <n>"),
    (re.compile(r"dial udp|read udp"), "read udp"),
]


class Api:
    def __init__(self):
        import yaml
        with open(os.path.join(os.environ["SKIFF_DIR"], "admin.kubeconfig")) as f:
            config = yaml.safe_load(f)
        user = config["users"][0]["user"]
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pair:
            for field in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[field]) + b"\n")
            pair.flush()
            self.context = ssl._create_unverified_context()
            self.context.load_cert_chain(pair.name)
        self.address = config["clusters"][0]["cluster"]["server"].split("//")[1]

    def connect(self, timeout):
        return http.client.HTTPSConnection(self.address, context=self.context, timeout=timeout)

    def call(self, method, path, body=None, content_type="application/json"):
        connection = self.connect(30)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": content_type})
            answer = connection.getresponse()
            data = answer.read()
            try:
                return answer.status, json.loads(data)
            except ValueError:
                return answer.status, data.decode(errors="replace")
        finally:
            connection.close()


class Watch(threading.Thread):
    """Every state of every object of one resource in the namespace, by the uid that `key` takes from the object."""

    def __init__(self, api, resource, key):
        super().__init__(daemon=True)
        self.api, self.resource, self.key = api, resource, key
        self.seen, self.lock = {}, threading.Lock()
        self.start()

    def run(self):
        version = ""
        while True:
            try:
                connection = self.api.connect(600)
                connection.request("GET", f"/api/v1/namespaces/golden/{self.resource}?watch=1&resourceVersion={version or 0}")
                for line in connection.getresponse():
                    event = json.loads(line)
                    if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    with self.lock:
                        self.seen.setdefault(self.key(event["object"]), []).append((event["type"], event["object"]))
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.5)

    def of(self, uid):
        with self.lock:
            return list(self.seen.get(uid, []))


class Cluster:
    def __init__(self, api):
        self.api = api
        self.pods = Watch(api, "pods", lambda o: o["metadata"]["uid"])
        self.events = Watch(api, "events", lambda o: o["involvedObject"].get("uid", ""))


def runs_containerd_2():
    folder = os.environ.get("SKIFF_CONTAINERD")
    if not folder:
        return False
    with open(os.path.join(folder, "version")) as f:
        return f.read().startswith("containerd 2.")


class Exceptions:
    """The tables of docs/compatibility.md: rows of recordings, the recorded text, the text here, the reason. A row whose texts are
    both "-" excepts a whole recording; one whose text here is a field's path, that the field is missing."""

    def __init__(self):
        self.texts, self.whole, self.missing = [], [], []
        old_runtime = not runs_containerd_2()
        with open(os.path.join(cluster.ROOT, "docs/compatibility.md")) as f:
            section = ""
            for line in f:
                section = line if line.startswith("## ") else section
                cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
                if "lifecycles" not in section or len(cells) != 4 or not cells[0].startswith("`"):
                    continue
                names, recorded, here, why = [c.strip("`") for c in cells]
                if why.startswith("containerd 1.6") and not old_runtime:
                    continue
                if recorded == here == "-":
                    self.whole.append((names, why))
                elif here.startswith("missing: "):
                    self.missing.append((names, here[9:].split("."), why))
                else:
                    self.texts.append((names, "" if recorded == "-" else recorded, re.compile(here), why))

    def apply(self, name, value, used):
        """A text of ours as the recorded surroundings would have it."""
        for names, recorded, here, why in self.texts:
            if fnmatch.fnmatch(name, names):
                changed = here.sub(recorded, value)
                if changed != value:
                    used.add(why)
                value = changed
        return value

    def drop_missing(self, name, status, used):
        """A recorded status without the fields that the surroundings do not fill here."""
        def drop(value, path):
            if isinstance(value, list):
                for item in value:
                    drop(item, path[1:] if path[0] == "*" else path)
            elif isinstance(value, dict) and path[0] in value:
                if len(path) > 1:
                    drop(value[path[0]], path[1:])
                else:
                    del value[path[0]]
                    used.add(why)

        for names, path, why in self.missing:
            if fnmatch.fnmatch(name, names):
                drop(status, path)
        return status

    def whole_of(self, name):
        return next((why for names, why in self.whole if fnmatch.fnmatch(name, names)), None)


def masked(value, path=""):
    """A status without what differs by chance; what is absent or empty stays so."""
    if value in (None, "", [], {}):
        return value
    if mask.field_is_masked(path) and isinstance(value, str):
        return "<masked>"
    if isinstance(value, dict):
        return {k: masked(v, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [masked(v, f"{path}.{i}") for i, v in enumerate(value)]
    if isinstance(value, str):
        return text(value)
    return value


def text(value):
    value = mask.text(value)
    value = value.replace(os.path.join(os.environ["SKIFF_DIR"], "n1"), "/var/lab/n1")
    for pattern, stand_in in TEXTS:
        value = pattern.sub(stand_in, value)
    return value


def each_text(value, change):
    if isinstance(value, dict):
        return {k: each_text(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [each_text(v, change) for v in value]
    return change(value) if isinstance(value, str) else value


# On cgroup v1 a pod without a memory limit shows the kernel's "no limit".
UNLIMITED = "9007199254740988Ki"


def observation(kind, status, generation, deletion, grace):
    return {"event": kind, "generation": generation, "deleting": deletion is not None, "grace": grace, "status": masked(status or {})}


def recorded_statuses(recording, exceptions, used):
    out = []
    for o in recording["observations"]:
        status = exceptions.drop_missing(recording["name"], json.loads(json.dumps(o["status"])), used)
        out.append(observation(o["event"], status, o["generation"], o.get("deletionTimestamp"), o.get("deletionGracePeriodSeconds")))
    return out


def without_resources(seen):
    """status.resources tells what the pod's cgroup has from the first sync after the API server said Running, and the specification
    before: which sync that is depends on who is faster. So its values are compared apart (compare_resources)."""
    return {**seen, "status": {k: v for k, v in seen["status"].items() if k != "resources"}}


def compare_resources(want, got):
    """Each value is a recorded one, and each recorded one is seen; what only the cgroup of an unlimited pod tells may come sooner or
    later than recorded."""
    def values(side):
        return distinct([s["status"].get("resources") for s in side])

    def racing(value):
        return not value or (value.get("limits") or {}).get("memory") == UNLIMITED

    recorded, seen = values(want), values(got)
    return [f"status.resources missing: {v}" for v in recorded if v not in seen and not racing(v)] + \
        [f"status.resources not recorded: {v}" for v in seen if v not in recorded and not racing(v)]


class Seen:
    """What the watches tell of one pod, in the form that is compared; each object is looked at once."""

    def __init__(self, cluster_, uid, name, exceptions):
        self.cluster, self.uid, self.name, self.exceptions = cluster_, uid, name, exceptions
        self.used, self.statuses, self.events, self.counts = set(), [], [], [0, 0]

    def look(self):
        pods, events = self.cluster.pods.of(self.uid), self.cluster.events.of(self.uid)
        for kind, pod in pods[self.counts[0]:]:
            meta = pod["metadata"]
            seen = observation(kind, pod.get("status"), meta.get("generation"), meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds"))
            self.statuses = distinct([*self.statuses, each_text(seen, lambda value: self.exceptions.apply(self.name, value, self.used))])
        for _, e in events[self.counts[1]:]:
            line = event_line(e["type"], e["reason"], e.get("message"), e["involvedObject"].get("fieldPath"))
            self.events = distinct([*self.events, self.exceptions.apply(self.name, line, self.used)])
        changed = self.counts != [len(pods), len(events)]
        self.counts = [len(pods), len(events)]
        return changed


def distinct(values):
    """First appearances, in order."""
    out = []
    for value in values:
        if value not in out:
            out.append(value)
    return out


def digest(seen):
    """A status in one line."""
    status = seen["status"]

    def container(c):
        (state, detail), = (c.get("state") or {"none": {}}).items()
        last = (c.get("lastState") or {}).get("terminated")
        return ":".join([c["name"], state, detail.get("reason", ""), str(detail.get("exitCode", ""))]) + f" r{c.get('restartCount', 0)}" + \
            (" R" if c.get("ready") else "") + (" S" if c.get("started") else "") + (f" last={last.get('reason', '')}:{last.get('exitCode')}" if last else "")

    groups = [f"{label}[{'; '.join(container(c) for c in status.get(key, []))}]" for label, key in
              (("I", "initContainerStatuses"), ("C", "containerStatuses"), ("E", "ephemeralContainerStatuses")) if status.get(key)]
    conditions = " ".join(c["type"] + ("" if c["status"] == "True" else f"={c['status']}({c.get('reason', '')})") for c in status.get("conditions", []))
    deleting = f" deleting grace={seen['grace']}" if seen["deleting"] else ""
    return " ".join(filter(None, [seen["event"], status.get("phase", ""), status.get("reason", ""), *groups,
                                  f"g{seen['generation']}/{status.get('observedGeneration', '-')}{deleting}", "{" + conditions + "}"]))


def compare_statuses(want, got):
    out = compare_resources(want, got)
    want, got = [distinct([without_resources(s) for s in side]) for side in (want, got)]
    if got[:len(want)] == want:
        return out
    lines = [[digest(s) for s in side] for side in (want, got)]
    for op, a, b, c, d in difflib.SequenceMatcher(None, *lines, autojunk=False).get_opcodes():
        if op != "equal":
            out += [f"status missing: {line}" for line in lines[0][a:b]]
            if b < len(want) or op == "replace":
                out += [f"status not recorded: {line}" for line in lines[1][c:d]]
            continue
        for w, g in zip(want[a:b], got[c:d]):
            if w != g:
                out.append(f"status differs: {digest(w)}")
                out += ["    " + line for line in mask.differences(w, g)]
    return out


def event_line(type_, reason, message, field):
    return f"{type_} {reason}{' of ' + field if field else ''}: {text(message or '')}"


def recorded_events(recording):
    """[(line, (field path, who says it), first seen)], distinct, in order."""
    out = {}
    for e in sorted(recording["events"], key=lambda e: e["t"]):
        if e["t"] < 0:
            continue  # of an earlier pod of that name
        source = (e["fieldPath"] or "", e["object"].get("reportingComponent"))
        out.setdefault(event_line(e["type"], e["reason"], e["message"], e["fieldPath"]), (source, e["t"]))
    return [(line, source, t) for line, (source, t) in out.items()]


def compare_events(want, got):
    lines = [line for line, _, _ in want]
    out = [f"event missing: {line}" for line in lines if line not in got]
    out += [f"event not recorded: {line}" for line in got if line not in lines]
    at = {line: i for i, line in enumerate(got)}
    for i, (a, source_a, t_a) in enumerate(want):
        for b, source_b, t_b in want[i + 1:]:
            if a in at and b in at and at[a] > at[b] and (source_a == source_b or t_b - t_a > APART):
                out.append(f"event order: recorded before \"{b}\": \"{a}\"")
    return out


def window(recording):
    """Until when the recording surely looked."""
    return max([o["t"] for o in recording["observations"]] + [0] + [t for e in recording["events"] for t, _ in e["seen"]])


def needed(recording):
    """What was made before the pod: other kinds of objects. For other pods stand the NEIGHBOURS."""
    return [step for step in recording.get("before", []) if "path" in step and not step["path"].endswith("/pods")]


def replay(cluster_, recording, exceptions):
    """Differences, and the reasons of the exceptions that were needed."""
    name, api = recording["name"], cluster_.api
    excepted = set()
    states = recorded_statuses(recording, exceptions, excepted)
    want, want_events = distinct(states), recorded_events(recording)
    for step in needed(recording):
        code, answer = api.call(step["method"], step["path"], step["body"])
        if code != step["status"]:
            return [f"before: {step['method']} {step['path']}: {code}; recorded {step['status']}: {str(answer)[:200]}"], set()
    begin = time.monotonic()
    status, answer = api.call("POST", "/api/v1/namespaces/golden/pods", recording["manifest"])
    if status != recording["createStatus"]:
        return [f"create: {status}; recorded {recording['createStatus']}: {str(answer)[:200]}"], set()
    uid = answer["metadata"]["uid"]
    seen = Seen(cluster_, uid, name, exceptions)
    late = 0.0
    for action in recording["actions"]:
        # After the state that it came after, and as long after it.
        before = [o["t"] for o in recording["observations"] if o["t"] < action["t"]]
        count = len(distinct(states[:len(before)]))
        while len(seen.statuses) < count and time.monotonic() < begin + action["t"] + SLACK:
            time.sleep(0.1)
            seen.look()
        pause = max(begin + action["t"] + late - time.monotonic(), min(1.0, action["t"] - before[-1]) if before else 0)
        time.sleep(max(0.0, pause))
        late = max(late, time.monotonic() - begin - action["t"])
        code, answer = api.call(action["method"], action["path"], action.get("body"), action.get("contentType") or "application/json")
        if code != action["status"]:
            remove(cluster_, recording, uid)
            return [f"{action['method']} {action['path']}: {code}; recorded {action['status']}: {str(answer)[:200]}"], set()
    looked_until = begin + late + window(recording)
    differences = None
    while True:
        now = time.monotonic()
        if seen.look() or differences is None:
            differences = compare_statuses(want, seen.statuses) + compare_events(want_events, seen.events)
        # What is surplus does not go away.
        if now > looked_until and not any(" missing: " in d for d in differences) or now > looked_until + SLACK:
            break
        time.sleep(0.25)
    remove(cluster_, recording, uid)
    if SAVE:
        with open(os.path.join(SAVE, name + ".json"), "w") as f:
            json.dump({"want": want, "got": seen.statuses, "want_events": want_events, "events": seen.events}, f, indent=1)
    return differences, seen.used | excepted


def remove(cluster_, recording, uid):
    """Everything that the replay made; the name is free again afterwards."""
    api, path = cluster_.api, f"/api/v1/namespaces/golden/pods/{recording['name']}"
    for action in [*needed(recording), *recording["actions"]]:
        if action["method"] == "POST":
            api.call("DELETE", f"{action['path']}/{action['body']['metadata']['name']}")
    api.call("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    api.call("DELETE", path, {"gracePeriodSeconds": 1, "preconditions": {"uid": uid}})
    end = time.monotonic() + 20
    while time.monotonic() < end and api.call("GET", path)[0] != 404:
        time.sleep(0.2)


def silent_resolver():
    """The recorded node's resolver was out of reach: names are asked for and nobody answers."""
    quiet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    quiet.bind(("127.0.0.53", 53))
    path = os.path.join(os.environ["TMPDIR"], "resolv.conf")
    with open(path, "w") as f:
        f.write("nameserver 127.0.0.53\n")
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)
    return quiet


# The recorded node had other pods, which count where requests are added up; and one that held a host port.
NEIGHBOURS = [
    {"metadata": {"name": "neighbour"}, "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 0, "containers": [
        {"name": "c", "image": "registry.k8s.io/pause:3.10", "ports": [{"containerPort": 8080, "hostPort": 18081}],
         "resources": {"requests": {"cpu": "700m", "memory": "32Mi"}}}]}},
]


def run(result, recordings, binaries, only):
    cluster.enter()
    resolver = silent_resolver()
    cluster.up(binaries)
    api = Api()
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "golden"}})
    chosen = {n: r for n, r in recordings.items() if any(part in n for part in only.split(","))}
    images = {c["image"] for r in chosen.values() for k in ("containers", "initContainers") for c in (r["manifest"]["spec"].get(k) or [])}
    images |= {v["image"]["reference"] for r in chosen.values() for v in (r["manifest"]["spec"].get("volumes") or []) if "image" in v}
    cluster.alias_images({i for i in images if "invalid" not in i and "absent" not in i and ":" in i and i.islower()} | {"registry.k8s.io/pause:3.10"})
    for pod in NEIGHBOURS:
        api.call("POST", "/api/v1/namespaces/default/pods", pod)
    exceptions, used, again = Exceptions(), {}, {}
    watched = Cluster(api)
    time.sleep(1)
    left = sorted(chosen.values(), key=window, reverse=True)
    differences = {}
    for attempt in range(TRIES):
        # Who lost a race in a crowd gets a quieter machine.
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE if attempt == 0 else AT_ONCE // 4) as pool:
            for recording, (found, reasons) in zip(left, pool.map(lambda r: replay(watched, r, exceptions), left)):
                differences[recording["name"]], used[recording["name"]] = found, reasons
        left = [r for r in left if differences[r["name"]] and window(r) < LONGEST_RETRY and not exceptions.whole_of(r["name"])]
        if attempt == 0:
            again = {r["name"] for r in left}
    resolver.close()
    notes = {}
    for name in chosen:
        why = exceptions.whole_of(name)
        if differences[name] and why:
            notes.setdefault(why, []).append(name)
            result.except_(name, why, differences[name])
            continue
        result.add(name, differences[name])
        for reason in used[name] if not differences[name] else ():
            notes.setdefault(reason, []).append(name)
    raced = sorted(n for n in again if not differences[n])
    result.note = "; ".join(filter(None, [
        f"{sum(1 for n in chosen if used[n] and not differences[n])} with texts that docs/compatibility.md excepts" if notes else "",
        f"after a race: {', '.join(raced)}" if raced else ""]))
    result.details = [f"excepted: {why}: {', '.join(names)}" for why, names in sorted(notes.items())]
