"""Pod lifecycles: each recorded pod is created on a cluster of ours, its recorded actions are done at their times, and the distinct
statuses that a watch sees, and the events, are compared in order. Times and intervals are not compared."""

import base64
import concurrent.futures
import http.client
import json
import os
import ssl
import tempfile
import threading
import time

from . import cluster, mask

# A recording that takes longer is not replayed: a score is to be had in minutes.
LONGEST = 45
AT_ONCE = 8


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
    def __init__(self, api, name):
        super().__init__(daemon=True)
        self.api, self.name, self.statuses, self.uid = api, name, [], ""
        self.start()

    def run(self):
        try:
            connection = self.api.connect(LONGEST + 60)
            connection.request("GET", f"/api/v1/namespaces/golden/pods?watch=1&fieldSelector=metadata.name%3D{self.name}")
            for line in connection.getresponse():
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    self.uid = event["object"]["metadata"]["uid"]
                    self.statuses.append((event["type"], event["object"].get("status") or {}))
        except (OSError, ValueError, http.client.HTTPException):
            pass


def digest(kind, status):
    """A status in one line: what must agree."""
    def container(c):
        (state, detail), = (c.get("state") or {"none": {}}).items()
        parts = [c["name"], state, detail.get("reason", ""), str(detail.get("exitCode", "")), mask.text(detail.get("message", ""))]
        last = (c.get("lastState") or {}).get("terminated")
        return ":".join(parts) + f" r{c.get('restartCount', 0)}" + (" R" if c.get("ready") else "") + (" S" if c.get("started") else "") + \
            (f" last={last.get('reason', '')}:{last.get('exitCode')}" if last else "")

    conditions = sorted(f"{c['type']}={c['status']}" + (f"({c.get('reason', '')}: {mask.text(c.get('message', ''))})" if c["status"] != "True" else "")
                        for c in status.get("conditions", []))
    groups = [f"{label}[{'; '.join(container(c) for c in status.get(key, []))}]" for label, key in
              (("I", "initContainerStatuses"), ("C", "containerStatuses"), ("E", "ephemeralContainerStatuses")) if status.get(key)]
    return " ".join([kind if kind == "DELETED" else "", status.get("phase", ""), status.get("reason", ""), mask.text(status.get("message", "")),
                     *groups, "{" + " ".join(conditions) + "}", status.get("qosClass", "")]).strip()


def distinct(pairs):
    out = []
    for kind, status in pairs:
        line = digest(kind, status)
        if line not in out:
            out.append(line)
    return out


def event_lines(events, uid):
    seen = []
    for event in events:
        line = f"event {event['type']} {event['reason']}: {mask.text(event['message'].replace(uid, '<uid>') if uid else event['message'])}"
        if line not in seen:
            seen.append(line)
    return seen


def replay(api, recording):
    name = recording["name"]
    for extra in recording.get("before") or []:
        if isinstance(extra, dict) and extra.get("path"):
            api.call(extra.get("method", "POST"), extra["path"], extra.get("body"))
    watch = Watch(api, name)
    time.sleep(0.2)
    begin = time.monotonic()
    status, answer = api.call("POST", "/api/v1/namespaces/golden/pods", recording["manifest"])
    if status != recording["createStatus"]:
        return [f"create: {status}; recorded {recording['createStatus']}: {str(answer)[:200]}"]
    for action in recording["actions"]:
        time.sleep(max(0, begin + action["t"] - time.monotonic()))
        api.call(action["method"], action["path"], action.get("body"), action.get("contentType") or "application/json")
    last = max([o["t"] for o in recording["observations"]] + [0])
    want = distinct((o["event"], o["status"]) for o in recording["observations"])
    end = begin + last + 4
    while time.monotonic() < end and not (time.monotonic() > begin + last and distinct(list(watch.statuses)) == want):
        time.sleep(0.2)
    got = distinct(list(watch.statuses))
    _, listing = api.call("GET", f"/api/v1/namespaces/golden/events?fieldSelector=involvedObject.name%3D{name}")
    events = sorted(listing.get("items", []), key=lambda e: (e.get("firstTimestamp") or e.get("eventTime") or "", int(e["metadata"]["resourceVersion"])))
    want += event_lines(sorted(recording["events"], key=lambda e: e["t"]), "")
    got += event_lines(events, watch.uid)
    api.call("DELETE", f"/api/v1/namespaces/golden/pods/{name}?gracePeriodSeconds=0", {"gracePeriodSeconds": 0})
    want_set, got_set = set(want), set(got)
    return [f"missing: {line}" for line in want if line not in got_set] + [f"not recorded: {line}" for line in got if line not in want_set]


def run(result, recordings, binaries, only):
    cluster.enter()
    cluster.up(binaries)
    api = Api()
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "golden"}})
    chosen = {n: r for n, r in recordings.items() if only in n}
    short = {n: r for n, r in chosen.items() if max([o["t"] for o in r["observations"]] + [0]) <= LONGEST}
    images = {c["image"] for r in chosen.values() for k in ("containers", "initContainers") for c in (r["manifest"]["spec"].get(k) or [])}
    cluster.alias_images(i for i in images if "invalid" not in i and "absent" not in i and ":" in i and i.islower())
    time.sleep(1)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for name, differences in zip(short, pool.map(lambda r: replay(api, r), short.values())):
            result.add(name, differences)
    left = len(chosen) - len(short)
    result.total += left
    if left:
        result.note = f"{left} last longer than {LONGEST} s and are not replayed"
