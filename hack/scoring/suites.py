"""The suites: which recordings, what must exist before them, how each is replayed and compared."""

import base64
import glob
import json
import os
import re
import time

from . import kubelet, lifecycles, mask, proxy
from .server import Server


class Result:
    def __init__(self):
        self.total, self.agreeing, self.differing, self.note = 0, [], {}, ""

    def add(self, name, differences):
        self.total += 1
        if differences:
            self.differing[name] = differences
        else:
            self.agreeing.append(name)


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


def simple(folder, order=None, prepare=None, components="kube-apiserver", settle=0.0):
    """A suite that replays a folder's recordings one after the other on one server. `settle`: seconds that controllers get
    after each write, where the recorded ones had them."""

    def go(goldens, binaries, only):
        result = Result()
        everything = load(os.path.join(goldens, "apiserver", folder))
        recordings = {n: r for n, r in everything.items() if isinstance(r.get("request"), dict) and isinstance(r.get("response"), dict) and "status" in r["response"]}
        skipped = len([n for n in everything if n not in recordings and n != "ORDER"])
        with Server(binaries, components) as server:
            around, versions = Surroundings(server), Versions(server)
            around.namespaces(["golden-api", "golden", "golden-quota", "golden-term"])
            if prepare:
                prepare(goldens, server, around, recordings)
            names = list(recordings)
            if order:
                with open(os.path.join(goldens, "apiserver", folder, "ORDER.json")) as f:
                    names = [n for n in json.load(f)["order"] if n in recordings]
            # What deletes goes last, where no order is recorded.
            names.sort(key=lambda n: not order and (n.startswith("deletecollection") or recordings[n]["request"]["method"] == "DELETE"))
            for name in names:
                differences = replay(server, recordings[name], versions)
                if settle and recordings[name]["request"]["method"] != "GET":
                    time.sleep(settle)
                if only in name:
                    result.add(name, differences)
        if skipped:
            result.total += skipped
            result.note = f"{skipped} of another form are not replayed yet"
        return result

    return go


def with_crd(goldens, server, around, recordings):
    path = os.path.join(goldens, "apiserver", "02-defaulting", "crd.json")
    if os.path.exists(path):
        with open(path) as f:
            r = json.load(f)["request"]
        server.call(r["method"], r["path"].replace("?dryRun=All", ""), "admin", r["body"])


def with_objects(goldens, server, around, recordings):
    """The folder's own objects, and those of the folders that read the same namespace."""
    with_crd(goldens, server, around, recordings)
    for folder in ("07-lists", "02-protobuf", "05-errors", "03-tables"):
        for key, obj in objects_in(load(os.path.join(goldens, "apiserver", folder)).values()).items():
            if key[1] not in ("Namespace", "CustomResourceDefinition"):
                around.create(obj)


def by_name(goldens, binaries, only):
    """Tables: the columns must be the recorded ones, and the cells of every row that exists on both sides. Rows that are not there
    (their objects cannot be made from the recordings) are told by the note."""
    result = Result()
    recordings = load(os.path.join(goldens, "apiserver", "03-tables"))
    missing = rows = 0
    with Server(binaries) as server:
        around = Surroundings(server)
        around.namespaces(["golden-api", "golden"])
        with_objects(goldens, server, around, recordings)
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


def watch(goldens, binaries, only):
    """Watches that end by themselves without anything happening meanwhile; the others need a second actor and are counted as not
    agreeing."""
    result = Result()
    recordings = load(os.path.join(goldens, "apiserver", "06-watch"))
    with Server(binaries) as server:
        around = Surroundings(server)
        around.namespaces(["golden-api", "golden"])
        with_crd(goldens, server, around, recordings)
        for recording in recordings.values():
            for event in (recording.get("response") or {}).get("events") or []:
                obj = (event.get("event") or {}).get("object") or {}
                if (event.get("event") or {}).get("type") == "ADDED" and obj.get("kind") == "ConfigMap" and event["t"] < 0.3:
                    around.create(obj)
        for name, recording in recordings.items():
            if only not in name:
                continue
            want = recording.get("response") or {}
            if recording.get("actionsMeanwhile") or "timeoutSeconds" not in recording["request"]["path"] or not want.get("closedByServer", True):
                result.add(name, ["not replayed: needs writes meanwhile or has no end"])
                continue
            request = recording["request"]
            status, headers, raw = server.call(request["method"], request["path"], request.get("as"), None, request.get("headers"), timeout=90)
            out = [f"status: {status}; recorded {want['status']}"] if status != want["status"] else []
            out += mask.headers({k: v for k, v in want["headers"].items() if k.lower() == "content-type"}, {k: v for k, v in headers.items() if k.lower() == "content-type"})
            if want.get("events") is not None:
                try:
                    got = [json.loads(line) for line in raw.decode().splitlines() if line.strip()]
                except ValueError:
                    got = None
                if got is not None:
                    strip = lambda e: e if "type" not in e or "object" not in e else {"type": e["type"], "object": mask.plain({**e["object"], "metadata": {k: v for k, v in (e["object"].get("metadata") or {}).items() if k != "managedFields"}})}  # noqa: E731
                    out += mask.differences([strip(e["event"]) for e in want["events"] if "event" in e], [strip(e) for e in got], "events")
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


ALL = {
    "discovery": simple("01-discovery", prepare=with_crd),
    "defaulting": simple("02-defaulting", prepare=with_crd),
    "tables": by_name,
    "patches": simple("04-patches", order=True, prepare=with_crd, components="all", settle=0.3),
    "errors": simple("05-errors", prepare=with_objects),
    "watch": watch,
    "lists": simple("07-lists", prepare=with_objects),
    "subresources": simple("08-subresources", prepare=with_objects, components="all"),
    "reviews": simple("09-reviews", prepare=with_objects),
    "kubelet": kubelet_endpoints,
    "lifecycles": pod_lifecycles,
    "proxy": proxy.suite(load, Result),
}


NEED_NAMESPACES = {"kubelet", "lifecycles"}


def run(name, goldens, binaries, only):
    return ALL[name](goldens, binaries, only)
