"""The suites: which recordings, what must exist before them, how each is replayed and compared."""

import base64
import glob
import http.server
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

from . import kubelet, lifecycles, mask, proxy, timeline
from .server import Server


class Result:
    def __init__(self):
        self.total, self.agreeing, self.differing, self.note = 0, [], {}, ""
        self.excepted, self.details = {}, []

    def add(self, name, differences):
        self.total += 1
        if differences:
            self.differing[name] = differences
        else:
            self.agreeing.append(name)

    def except_(self, name, why, differences):
        """A recording whose differences are the surroundings' (docs/compatibility.md)."""
        self.total += 1
        self.excepted[name] = [f"excepted: {why}", *differences]


def load(folder):
    """{name: recording} of a folder, in name order."""
    out = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(path) as f:
            out[os.path.splitext(os.path.basename(path))[0]] = json.load(f)
    return out


def body_of(headers, raw):
    """An answer's body in the recordings' form."""
    kind = (mask.find(headers, "Content-Type") or "").split(";")[0]
    if kind == "application/json" or (raw[:1] in (b"{", b"[") and kind != "text/plain"):
        try:
            return json.loads(raw)
        except ValueError:
            pass
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode(), "length": len(raw)}


def compare(recording, status, headers, raw):
    want = recording["response"]
    out = []
    if status != want["status"]:
        out.append(f"status: {status}; recorded {want['status']}")
    out += mask.headers(want.get("headers"), headers)
    if "body" in want and want["body"] is not None:
        body = mask.plain(want["body"])
        got = body_of(headers, raw)
        if isinstance(body, (dict, list)) and isinstance(got, str) and got[:1] in "{[":
            try:
                got = json.loads(got)
            except ValueError:
                pass
        if isinstance(body, dict) and "base64" in body:
            # Bytes hold uids and times: their form (the envelope's magic and its type) is what can be compared.
            recorded = base64.b64decode(body["base64"])
            if raw[:24] != recorded[:24]:
                out.append(f"body: starts with {raw[:24]!r}; recorded {recorded[:24]!r}")
        elif isinstance(body, str) and body.startswith("<") and body.endswith(">"):
            pass  # the recording left the body out
        else:
            out += mask.differences(body, got)
    return out


class Versions:
    """Resource versions and continue tokens of the recorded server, as they are called on ours."""

    def __init__(self, server):
        self.server, self.tokens = server, {}

    def path(self, path):
        for recorded, ours in self.tokens.items():
            path = path.replace("continue=" + recorded, "continue=" + ours)
        # Versions that the recorded server had had by then; made-up ones (1, 5, 999999999) stay.
        match = re.search(r"([?&]resourceVersion=)(\d{4,7})(?=&|$)", path)
        if match:
            _, _, raw = self.server.call("GET", "/api/v1/namespaces?limit=1")
            path = path[:match.start(2)] + json.loads(raw)["metadata"]["resourceVersion"] + path[match.end(2):]
        return path

    def learn(self, recorded, ours):
        if isinstance(recorded, dict) and isinstance(ours, dict):
            a, b = (recorded.get("metadata") or {}).get("continue"), (ours.get("metadata") or {}).get("continue")
            if a and b:
                self.tokens[a] = b


def replay(server, recording, versions=None):
    request = recording["request"]
    try:
        path = versions.path(request["path"]) if versions else request["path"]
        status, headers, raw = server.call(request["method"], path, request.get("as"), request.get("body"), request.get("headers"))
    except OSError as e:
        return [f"no answer: {type(e).__name__}: {e}"]
    if versions:
        versions.learn(recording["response"].get("body"), body_of(headers, raw))
    return compare(recording, status, headers, raw)


# --- surroundings: objects that recordings mention, made from the recordings themselves ------------------------------

KEPT = ("name", "namespace", "labels", "annotations", "finalizers", "generateName")
SERVER_OWNED = {"Event", "Lease", "Endpoints", "EndpointSlice", "ControllerRevision", "IPAddress", "ServiceCIDR", "FlowSchema",
                "PriorityLevelConfiguration", "APIService", "ComponentStatus"}


def objects_in(recordings):
    """{(apiVersion, kind, namespace, name): object}: the first full form in which each object was read or created."""
    found = {}

    def take(obj, api, kind):
        meta = obj.get("metadata") or {}
        if kind and api and meta.get("name") and meta.get("uid") and kind not in SERVER_OWNED:
            found.setdefault((api, kind, meta.get("namespace", ""), meta["name"]), {**obj, "apiVersion": api, "kind": kind})

    for recording in recordings:
        body = (recording.get("response") or {}).get("body") if isinstance(recording.get("response"), dict) else None
        request = recording.get("request") or {}
        if not isinstance(body, dict) or (recording["response"].get("status") or 500) >= 300 or request.get("method") not in ("GET", "POST", "PUT"):
            continue
        if "dryRun" in (request.get("path") or "") or body.get("apiVersion", "").startswith("meta.k8s.io"):
            continue
        kind = body.get("kind", "")
        if kind.endswith("List") and isinstance(body.get("items"), list):
            for item in body["items"]:
                if isinstance(item, dict):
                    take(item, body.get("apiVersion"), kind[:-4])
        else:
            take(body, body.get("apiVersion"), kind)
    return found


class Surroundings:
    def __init__(self, server):
        self.server = server
        self.plural = {}
        for path in self._versions():
            status, _, raw = server.call("GET", path)
            if status != 200:
                continue
            listing = json.loads(raw)
            for r in listing.get("resources", []):
                if "/" not in r["name"]:
                    self.plural[(listing["groupVersion"], r["kind"])] = (path, r["name"], r["namespaced"])

    def _versions(self):
        yield "/api/v1"
        status, _, raw = self.server.call("GET", "/apis")
        if status == 200:
            for group in json.loads(raw).get("groups", []):
                for version in group["versions"]:
                    yield "/apis/" + version["groupVersion"]

    def namespaces(self, names):
        for name in names:
            self.server.call("POST", "/api/v1/namespaces", "admin", {"metadata": {"name": name}})
            # Where no controller runs beside the API server.
            self.server.call("POST", f"/api/v1/namespaces/{name}/serviceaccounts", "admin", {"metadata": {"name": "default"}})

    def create(self, obj):
        """Creates the object, then its recorded status. True if it is there."""
        where = self.plural.get((obj["apiVersion"], obj["kind"]))
        if not where:
            return False
        path, plural, namespaced = where
        meta = {k: v for k, v in obj["metadata"].items() if k in KEPT}
        body = {**{k: v for k, v in mask.plain(obj).items() if k != "status"}, "metadata": meta}
        collection = f"{path}/namespaces/{meta.get('namespace', 'default')}/{plural}" if namespaced else f"{path}/{plural}"
        status, _, raw = self.server.call("POST", collection, "admin", body)
        if status == 201 and obj.get("status"):
            self.server.call("PUT", f"{collection}/{meta['name']}/status", "admin", {**json.loads(raw), "status": obj["status"]})
        return status in (201, 409)


# --- suites ----------------------------------------------------------------------------------------------------------


# Bodies that the recordings could not hold: what a document lost when it was read (a field twice), or its length alone.
def raw_body(name, recording, server):
    request = recording["request"]
    if name in ("201-fieldvalidation-warn", "400-fieldvalidation-strict"):
        doubled = '{"metadata":{"name":"fv"},"data":{"a":"b","a":"c"},"nope":1'
        warned = str((recording["response"].get("headers") or {}).get("Warning"))
        return doubled + (',"metadata":{"name":"fv"}}' if "metadata" in warned else "}")
    length = request.get("bodyLength")
    if name == "413-request-too-large":
        return '{"metadata":{"name":"big"},"data":{"a":"' + "x" * (length - 43) + '"}}'
    if name == "422-annotations-too-long":
        return '{"metadata":{"name":"big","annotations":{"a":"' + "x" * (length - 50) + '"}}}'
    if name == "413-json-patch-too-many-ops":
        request["headers"] = {"Content-Type": "application/json-patch+json"}
        return json.dumps([{"op": "add", "path": "/data/z", "value": "1"}] * 10001)
    if name.startswith("tokenreview-") and "scrubbed" in str(request["body"]):
        token = server._token("system:serviceaccount:golden-api:ga")
        return json.dumps({**request["body"], "spec": {**request["body"]["spec"], "token": token}})
    if name == "csr":
        return json.dumps(request["body"]).replace("<scrubbed-base64-pem>", base64.b64encode(signing_request()).decode())
    return None


def signing_request():
    """A certificate request, for those that the recordings left out."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", directory + "/key",
                        "-subj", "/CN=golden", "-out", directory + "/csr"], check=True, capture_output=True)
        with open(directory + "/csr", "rb") as f:
            return f.read()


def simple(folder, order=None, prepare=None, components="kube-apiserver", planted=True):
    """A suite that replays a folder's recordings in their order on one server. `planted`: on the objects that were there when they
    were recorded; and before each write, the object that it is about is as it was then."""

    def go(goldens, binaries, only):
        result = Result()
        everything = load(os.path.join(goldens, "apiserver", folder))
        recordings = {n: r for n, r in everything.items() if isinstance(r.get("request"), dict) and isinstance(r.get("response"), dict) and "status" in r["response"]}
        skipped = len([n for n in everything if n not in recordings and n != "ORDER"])
        names = list(recordings)
        if order:
            with open(os.path.join(goldens, "apiserver", folder, "ORDER.json")) as f:
                names = [n for n in json.load(f)["order"] if n in recordings]
        else:
            names.sort(key=lambda n: timeline.order_of(n, recordings[n]))
        with Server(binaries, components) as server:
            around, versions = Surroundings(server), Versions(server)
            around.namespaces(["golden-api", "golden", "golden-quota", "golden-term"])
            state = World(goldens, server, folder, compacted=6000 if folder == "07-lists" else None) if planted else None
            for obj in timeline.UNSEEN.get(folder, ()) if planted else ():
                around.create(obj)
            if prepare:
                prepare(goldens, server, around, recordings)
            for name in names:
                recording = recordings[name]
                if state:
                    state.restore(recording)
                    for obj in timeline.UNSEEN_BEFORE.get(name, ()):
                        around.create(obj)
                    recording = state.versioned(recording)
                raw = raw_body(name, recording, server)
                if "If-None-Match" in (recording["request"].get("headers") or {}):
                    # The tag of what this server has.
                    _, answered, _ = server.call("GET", recording["request"]["path"], "admin", None, {"Accept": recording["request"]["headers"]["Accept"]})
                    headers = {**recording["request"]["headers"], "If-None-Match": mask.find(answered, "Etag")}
                    recording = {**recording, "request": {**recording["request"], "headers": headers}}
                if raw is not None:
                    recording = {**recording, "request": {**recording["request"], "body": raw}}
                differences = replay(server, recording, versions)
                if state:
                    state.learn(recording)
                if name == "crd":
                    established(server)
                if only in name:
                    result.add(name, differences)
        if skipped:
            result.total += skipped
            result.note = f"{skipped} of another form are not replayed yet"
        return result

    return go


class PlayedKubelet:
    """The kubelet's side of the recorded logs, played: it says what upstream's said to the same questions, so that what the API server
    makes of questions and answers is what is compared."""

    def __init__(self, recordings, directory):
        answers = {}
        for recording in recordings.values():
            parts = urllib.parse.urlsplit(recording["request"]["path"])
            if parts.path.endswith("/log") and isinstance(recording["response"].get("status"), int):
                query = dict(urllib.parse.parse_qsl(parts.query))
                container = query.pop("container", None)
                query.pop("insecureSkipTLSVerifyBackend", None)
                body = recording["response"].get("body")
                status = recording["response"]["status"]
                text = body if isinstance(body, str) else (body or {}).get("message", "")
                answers[(parts.path.split("/")[-2], container, frozenset(query.items()))] = (status, text)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                parts = urllib.parse.urlsplit(self.path)
                _, _, _, pod, container = parts.path.split("/")
                query = frozenset(urllib.parse.parse_qsl(parts.query))
                status, text = answers.get((pod, container, query)) or answers.get((pod, None, query)) or (404, "not recorded")
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=played",
                        "-keyout", directory + "/played.key", "-out", directory + "/played.crt"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory + "/played.crt", directory + "/played.key")
        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.socket = context.wrap_socket(self.listener.socket, server_side=True)
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def node(self):
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "played"},
                "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                           "daemonEndpoints": {"kubeletEndpoint": {"Port": self.listener.server_address[1]}}}}


def with_played_kubelet(goldens, server, around, recordings):
    around.create(PlayedKubelet(recordings, server.dir).node())


class World:
    """The recorded server's objects in ours, and how each was last seen there."""

    def __init__(self, goldens, server, folder, compacted=None):
        self.server = server
        self.timeline = timeline.Timeline(goldens)
        self.state = self.timeline.before(folder)
        # What the first list does not yet hold comes when a list does.
        lists = [timeline.list_version(r) for r in load(os.path.join(goldens, "apiserver", folder)).values()] if folder == "07-lists" else []
        first = min((v for v in lists if v), default=None)
        version = lambda obj: int(obj["metadata"].get("resourceVersion") or 0)  # noqa: E731
        self.later = {k: o for k, o in self.state.items() if first and version(o) > first}
        self.state = {k: o for k, o in self.state.items() if k not in self.later}
        server.plant(self.state, revision=self.timeline.newest(), compacted=compacted)

    def restore(self, recording):
        """Makes the object that a request is about what it was before the recorded one."""
        method, answer = recording["request"]["method"], recording["response"]
        key, sub = self.timeline.kinds.target(recording)
        now = timeline.list_version(recording) or 0
        if self.later and now >= min(int(o["metadata"]["resourceVersion"]) for o in self.later.values()):
            self.server.plant(self.later)
            self.state.update(self.later)
            self.later = {}
        body = answer.get("body") if isinstance(answer.get("body"), dict) else {}
        if not key or "dryRun" in recording["request"]["path"] or sub in ("log", "proxy", "token"):
            return
        create = method == "POST" and not sub
        want = timeline.state_before(self.state.get(key), recording)
        recorded_uid = (body.get("metadata") or {}).get("uid")
        if (create and answer.get("status") != 409) or (method == "PATCH" and answer.get("status") == 201):
            want = None  # it was not there
        elif want and recorded_uid and recorded_uid != want["metadata"].get("uid") and self.timeline.kinds.key(body) == key:
            # Another of the same name had been made meanwhile: what the answer shows, before its deletion.
            want = mask.plain({**body, "metadata": {k: v for k, v in body["metadata"].items() if not k.startswith("deletion")}})
            if "deletionTimestamp" in body["metadata"] and body["metadata"].get("generation"):
                want["metadata"]["generation"] -= 1
        elif want is None:
            return
        if sub == "binding" and answer.get("status") == 201 and want["spec"].get("nodeName"):
            # Seen only once it was bound.
            want = {**want, "spec": {k: v for k, v in want["spec"].items() if k != "nodeName"}, "status": {"phase": "Pending"}}
        path = recording["request"]["path"].split("?")[0]
        if sub:
            path = path[:-len(sub) - 1]
        if create:
            path += "/" + key.split("/")[-1]
        status, _, raw = self.server.call("GET", path)
        have = json.loads(raw) if status == 200 else None
        owners = len(((want or {}).get("metadata") or {}).get("managedFields") or [])
        if (have is None) != (want is None) or (want is not None and (mask.differences(want, have) or (method != "GET" and owners > 1))):
            self.server.plant({key: want})

    def versioned(self, recording):
        """The recording with our object's resource version where the recorded one's stands in a PUT."""
        key, _ = self.timeline.kinds.target(recording)
        known = self.state.get(key) if key else None
        body = recording["request"].get("body")
        if recording["request"]["method"] != "PUT" or not known or not isinstance(body, dict):
            return recording
        # One that was refused named another version, and still does.
        if recording["response"]["status"] >= 300 or not (body.get("metadata") or {}).get("resourceVersion"):
            return recording
        _, _, raw = self.server.call("GET", recording["request"]["path"].split("?")[0])
        ours = json.loads(raw)["metadata"]["resourceVersion"]
        return {**recording, "request": {**recording["request"], "body": {**body, "metadata": {**body["metadata"], "resourceVersion": ours}}}}

    def learn(self, recording):
        """What the recorded answer says of the object."""
        key, sub = self.timeline.kinds.target(recording)
        body = recording["response"].get("body")
        if not key or "dryRun" in recording["request"]["path"] or not isinstance(body, dict) or recording["response"]["status"] >= 300:
            return
        if body.get("kind") and self.timeline.kinds.key({**body, "metadata": body.get("metadata") or {}} if (body.get("metadata") or {}).get("name") else {"apiVersion": "", "kind": ""}) == key:
            self.state[key] = mask.plain(body)
        elif sub in ("scale", "binding") and recording["request"]["method"] != "GET":
            # Changed in a way that the answer does not show.
            self.state.pop(key, None)
        elif recording["request"]["method"] == "DELETE" and not sub:
            self.state.pop(key, None)


def with_crd(goldens, server, around, recordings):
    path = os.path.join(goldens, "apiserver", "02-defaulting", "crd.json")
    if os.path.exists(path):
        with open(path) as f:
            r = json.load(f)["request"]
        server.call(r["method"], r["path"].replace("?dryRun=All", ""), "admin", r["body"])
        established(server)


def established(server):
    """Waits until the recordings' custom resources are served."""
    end = time.monotonic() + 5
    while time.monotonic() < end and server.call("GET", "/apis/golden.example.com/v1")[0] != 200:
        time.sleep(0.05)


def by_name(goldens, binaries, only):
    """Tables: the columns must be the recorded ones, and the cells of every row that exists on both sides. Rows that are not there
    (their objects cannot be made from the recordings) are told by the note."""
    result = Result()
    recordings = load(os.path.join(goldens, "apiserver", "03-tables"))
    missing = rows = 0
    with Server(binaries) as server:
        around = Surroundings(server)
        around.namespaces(["golden-api", "golden"])
        World(goldens, server, "03-tables")
        for name, recording in recordings.items():
            if only not in name:
                continue
            if "response" not in recording:
                result.total += 1
                continue
            request, want = recording["request"], recording["response"]
            status, headers, raw = server.call(request["method"], request["path"], request.get("as"), request.get("body"), request.get("headers"))
            body = body_of(headers, raw)
            if not isinstance(want.get("body"), dict) or "columnDefinitions" not in want["body"] or not isinstance(body, dict):
                result.add(name, compare(recording, status, headers, raw))
                continue
            out = mask.headers(want.get("headers"), headers)
            out += mask.differences([{k: v for k, v in c.items() if k != "description"} for c in want["body"]["columnDefinitions"]],
                                    [{k: v for k, v in c.items() if k != "description"} for c in body.get("columnDefinitions", [])], "columnDefinitions")
            ages = [i for i, c in enumerate(want["body"]["columnDefinitions"]) if c["name"] in ("Age", "Last Seen", "First Seen", "Duration", "Last Schedule", "Cluster-IP")]
            name_of = lambda row: ((row.get("object") or {}).get("metadata") or {}).get("name") or row["cells"][0]  # noqa: E731
            ours = {name_of(r): r for r in body.get("rows") or []}
            for row in want["body"]["rows"] or []:
                rows += 1
                mine = ours.get(name_of(row))
                if mine is None:
                    missing += 1
                    continue
                cells = lambda r: ["<age>" if i in ages else c for i, c in enumerate(r["cells"])]  # noqa: E731
                out += mask.differences(cells(row), cells(mine), f"rows[{name_of(row)}].cells")
            result.add(name, out)
    result.note = f"{rows - missing} of {rows} recorded rows could be made here"
    return result


class Actor(threading.Thread):
    """What others did on the recorded server while a watch ran, done again at its times; for a pod, what its kubelet wrote."""

    def __init__(self, server, recording):
        super().__init__(daemon=True)
        self.server = server
        self.steps = [(a["t"], a["method"], a["path"], a.get("body"), a.get("headers")) for a in recording.get("actionsMeanwhile") or []]
        bound = False
        for event in recording["response"].get("events") or []:
            obj = (event.get("event") or {}).get("object") or {}
            if obj.get("kind") != "Pod" or not self.steps:
                continue
            path = f"/api/v1/namespaces/{obj['metadata']['namespace']}/pods/{obj['metadata']['name']}"
            if not bound:
                self.steps.append((event["t"] - 0.2, "POST", path + "/binding", {"metadata": {"name": obj["metadata"]["name"]}, "target": {"kind": "Node", "name": obj["spec"]["nodeName"]}}, None))
                bound = True
            status = {"phase": "Succeeded"} if event["event"]["type"] == "DELETED" else obj["status"]
            self.steps.append((event["t"], "PATCH", path + "/status", {"status": status}, {"Content-Type": "application/merge-patch+json"}))
        self.steps.sort(key=lambda s: s[0])
        self.start()

    def run(self):
        begin = time.monotonic()
        for at, method, path, body, headers in self.steps:
            time.sleep(max(0, begin + at - time.monotonic()))
            self.server.call(method, path, "admin", body, headers)


def watch_events(events):
    """Events as they are compared: without what only the recorded cluster added, and without bookmarks that tell of its own traffic."""
    out = []
    for event in events:
        if not isinstance(event, dict) or "type" not in event:
            out.append(event)
            continue
        obj = event.get("object") or {}
        if (obj.get("metadata") or {}).get("name") in mask.DROPPED_SOURCES:
            continue
        if event["type"] == "BOOKMARK" and not (obj.get("metadata") or {}).get("annotations") and any(e.get("type") == "BOOKMARK" for e in out if isinstance(e, dict)):
            continue
        if event["type"] == "BOOKMARK":
            event = {"type": "BOOKMARK", "object": {k: v for k, v in obj.items() if k in ("kind", "apiVersion", "metadata")}}
        else:
            meta = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "managedFields"}
            event = {"type": event["type"], "object": mask.plain({**obj, "metadata": meta})}
        if obj.get("kind") == "Table":
            # An age is the time that the replay took.
            event["object"]["rows"] = [{**r, "cells": r["cells"][:-1], "object": {**r["object"], "metadata": {k: v for k, v in r["object"]["metadata"].items() if k != "managedFields"}}}
                                       for r in obj["rows"]]
        out.append(event)
    return out


def frames_of(raw):
    """Type of each length-delimited protobuf event."""
    out = []
    while len(raw) >= 4:
        size = int.from_bytes(raw[:4], "big")
        out.append(raw[4:4 + size][:12])
        raw = raw[4 + size:]
    return out


def watch(goldens, binaries, only):
    """Watches, each on the objects that the recorded one found, with what happened meanwhile done again at its times."""
    result = Result()
    recordings = load(os.path.join(goldens, "apiserver", "06-watch"))
    with Server(binaries, "kube-apiserver") as server:
        around = Surroundings(server)
        around.namespaces(["golden-api", "golden"])
        world = World(goldens, server, "06-watch", compacted=6000)
        versions = {}  # recorded -> ours
        for name, recording in sorted(recordings.items(), key=lambda r: (timeline.date_of(r[1]) or 0, r[0])):
            if only not in name:
                continue
            want, request, path = recording["response"], recording["request"], recording["request"]["path"]
            match = re.search(r"([?&]resourceVersion=)(\d{4,7})(?=&|$)", path)
            if match:
                _, _, raw = server.call("GET", "/api/v1/namespaces?limit=1")
                ours = versions.get(int(match.group(2))) or json.loads(raw)["metadata"]["resourceVersion"]
                path = path[:match.start(2)] + ours + path[match.end(2):]
            actor = Actor(server, recording)
            status, headers, raw = server.call(request["method"], path, request.get("as"), None, request.get("headers"), timeout=120)
            actor.join()
            out = [f"status: {status}; recorded {want['status']}"] if status != want["status"] else []
            out += mask.headers({k: v for k, v in want["headers"].items() if k.lower() == "content-type"}, {k: v for k, v in headers.items() if k.lower() == "content-type"})
            if want.get("frames") is not None:
                out += mask.differences([base64.b64decode(f["base64"])[4:11] for f in want["frames"]], [f[:7] for f in frames_of(raw)], "frames")
            elif request.get("headers", {}).get("Accept") != "application/yaml":
                try:
                    got = [json.loads(line) for line in raw.decode().splitlines() if line.strip()]
                except ValueError:
                    got = [raw.decode(errors="replace")]
                recorded = [e["event"] for e in want["events"] if "event" in e]
                if recorded:
                    for theirs, mine in zip(recorded, got):
                        if isinstance(mine, dict) and "object" in mine and "object" in theirs:
                            a, b = ((o["object"].get("metadata") or {}).get("resourceVersion") for o in (theirs, mine))
                            if a and b:
                                versions[int(a)] = b
                    out += mask.differences(watch_events(recorded), watch_events(got), "events")
            result.add(name, out)
    return result


def pod_lifecycles(goldens, binaries, only):
    result = Result()
    if os.geteuid() != 0:
        result.note = "needs root"
        return result
    lifecycles.run(result, load(os.path.join(goldens, "kubelet", "13-pod-lifecycles")), binaries, only)
    return result


def kubelet_endpoints(goldens, binaries, only):
    result = Result()
    if os.geteuid() != 0:
        result.note = "needs root"
        return result
    kubelet.run(result, goldens, load(os.path.join(goldens, "kubelet", "11-endpoints")), binaries, only)
    return result


def streaming(goldens, binaries, only):
    result = Result()
    if os.geteuid() != 0:
        result.note = "needs root"
        return result
    recordings = {n: r for n, r in load(os.path.join(goldens, "apiserver", "08-subresources")).items() if n.startswith(("log-", "stream-"))}
    recordings.pop("stream-ws-watch", None)  # of the API server alone: in subresources
    kubelet.run_through_api(result, recordings, binaries, only, goldens)
    return result


ALL = {
    "discovery": simple("01-discovery", prepare=with_crd, planted=False),
    "defaulting": simple("02-defaulting", planted=False),
    "tables": by_name,
    "patches": simple("04-patches", order=True),
    "errors": simple("05-errors"),
    "watch": watch,
    "lists": simple("07-lists"),
    "subresources": simple("08-subresources", prepare=with_played_kubelet),
    "reviews": simple("09-reviews"),
    "kubelet": kubelet_endpoints,
    "streaming": streaming,
    "lifecycles": pod_lifecycles,
    "proxy": proxy.suite(load, Result),
}


NEED_NAMESPACES = {"kubelet", "streaming", "lifecycles"}


def run(name, goldens, binaries, only):
    return ALL[name](goldens, binaries, only)
