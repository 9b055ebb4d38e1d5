"""What existed on the recorded server, and when: put together from every recording that shows an object whole. So a recording can
be replayed on what it was recorded on: the objects go into our store as they were, with their uids, times, statuses, owners of
fields and resource versions."""

import email.utils
import glob
import json
import os
import re

from . import mask

FOLDERS = ("01-discovery", "02-defaulting", "02-protobuf", "03-tables", "04-patches", "05-errors", "06-watch", "07-lists", "08-subresources", "09-reviews")
# Made by the server itself, or stored in another version than it was read in.
LEFT_OUT = {"Lease", "ControllerRevision", "IPAddress", "ServiceCIDR", "FlowSchema", "PriorityLevelConfiguration", "APIService", "ComponentStatus", "Scale",
            "TokenRequest", "Event"}

# Objects that recordings rest on and none shows whole.
UNSEEN = {"05-errors": [
    {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "lr", "namespace": "golden-quota"},
     "spec": {"limits": [{"type": "Container", "default": {"memory": "64Mi"}, "max": {"memory": "1Gi"}, "defaultRequest": {"memory": "64Mi"}}]}},
    {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "rq", "namespace": "golden-quota"},
     "spec": {"hard": {"requests.cpu": "1", "services.nodeports": "0"}}},
    {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "t-pvc", "namespace": "golden-api"},
     "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "t-rb", "namespace": "golden-api"},
     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gr"}, "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]},
    {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "t-sts", "namespace": "golden-api"},
     "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "sts"}},
              "template": {"metadata": {"labels": {"a": "sts"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pdbpod", "namespace": "golden-api", "labels": {"app": "pdb"}},
     "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "x"}]}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
    {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "t-pdb", "namespace": "golden-api"},
     "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "pdb"}}},
     "status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "np-a", "namespace": "golden-api"},
     "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 31999}]}},
    {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "golden-pc"}, "value": 1000},
    {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "golden-sc"}, "provisioner": "a.b/c"},
], "08-subresources": [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "golden"}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lg", "namespace": "golden"},
     "spec": {"nodeName": "played", "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]}, "status": {"phase": "Running"}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lgu", "namespace": "golden"}, "spec": {"containers": [{"name": "a", "image": "x"}]}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lgw", "namespace": "golden"},
     "spec": {"nodeName": "played", "containers": [{"name": "a", "image": "x"}]}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "v-logs", "namespace": "golden"},
     "spec": {"nodeName": "played", "containers": [{"name": "c", "image": "x"}]}, "status": {"phase": "Running"}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bind2", "namespace": "golden"},
     "spec": {"schedulingGates": [{"name": "example.com/g"}], "containers": [{"name": "c", "image": "x"}]}},
    {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "t-rc", "namespace": "golden-api"},
     "spec": {"replicas": 0, "selector": {"z": "z"}, "template": {"metadata": {"labels": {"z": "z"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sp", "namespace": "golden"}, "spec": {"ports": [{"name": "http", "port": 80}]}},
]}
# The same, made just before a recording.
UNSEEN_BEFORE = {
    "500-eviction-two-pdbs": [
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "t-pdb-2", "namespace": "golden-api"},
         "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "pdb"}}}}],
}


def date_of(recording):
    for key, value in (recording.get("response", {}).get("headers") or {}).items():
        if key.lower() == "date":
            return email.utils.parsedate_to_datetime(value if isinstance(value, str) else value[0]).timestamp()
    return None


def list_version(recording):
    """The resource version of a recorded list, or None."""
    body = (recording.get("response") or {}).get("body") if isinstance(recording, dict) else None
    if isinstance(body, dict) and str(body.get("kind", "")).endswith("List") and str((body.get("metadata") or {}).get("resourceVersion", "")).isdigit():
        return int(body["metadata"]["resourceVersion"])
    return None


def order_of(name, recording):
    """When a recording was made: its second, and within that by what it shows: what was done, by resource versions, before what was
    refused and before what deletes."""
    response = recording["response"]
    body = response.get("body") if isinstance(response.get("body"), dict) else {}
    version = (body.get("metadata") or {}).get("resourceVersion") if isinstance(body.get("metadata"), dict) else None
    method = recording["request"]["method"]
    return (date_of(recording) or 0, method == "DELETE", response["status"] >= 300, int(version) if str(version or "").isdigit() else 0, method == "GET", name)


def exchanges(document):
    """Every {request, response} of a file, which may hold several."""
    if not isinstance(document, dict):
        return
    if isinstance(document.get("request"), dict) and isinstance(document.get("response"), dict):
        yield document
        return
    for value in document.values():
        if isinstance(value, dict) and isinstance(value.get("request"), dict) and isinstance(value.get("response"), dict):
            yield value


class Kinds:
    """Where each kind is stored, from the interface tables beside the recordings."""

    def __init__(self, goldens):
        self.prefix, self.kind_of = {}, {}
        path = os.path.join(goldens, "../facts/api-resources.tsv")
        with open(path) as f:
            header = f.readline().rstrip("\n").split("\t")
            for line in f:
                row = dict(zip(header, line.rstrip("\n").split("\t")))
                api = row["version"] if not row["group"] else f"{row['group']}/{row['version']}"
                self.kind_of[(row["group"], row["plural"])] = row["kind"]
                if row["etcdPrefix"] != "-" and row["kind"] not in LEFT_OUT:
                    self.prefix[(api, row["kind"])] = row["etcdPrefix"]
        self.prefix[("golden.example.com/v1", "Widget")] = "/registry/golden.example.com/widgets"
        self.kind_of[("golden.example.com", "widgets")] = "Widget"

    def key(self, obj):
        """The store's key of an object, or None for what is not stored as it is read."""
        prefix = self.prefix.get((obj.get("apiVersion"), obj.get("kind")))
        if not prefix:
            return None
        meta = obj["metadata"]
        return "/".join([prefix, *([meta["namespace"]] if meta.get("namespace") else []), meta["name"]])

    PATH = re.compile(r"^/(?:api/(?P<core>[^/]+)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<ns>[^/]+))?/(?P<plural>[^/?]+)(?:/(?P<name>[^/?]+))?(?:/(?P<sub>[^?]+))?(?:\?|$)")

    def target(self, recording):
        """(key, subresource) of the object that a request names."""
        request = recording["request"]
        path = request["path"]
        whole = re.match(r"^/api/v1/namespaces/([^/?]+)(?:/(status|finalize))?(?:\?|$)", path)
        if whole:
            return "/registry/namespaces/" + whole.group(1), whole.group(2)
        match = self.PATH.match(path)
        if not match:
            return None, None
        api = match["core"] or f"{match['group']}/{match['version']}"
        kind = self.kind_of.get((match["group"] or "", match["plural"]))
        name = match["name"]
        if not name and isinstance(request.get("body"), dict):
            name = (request["body"].get("metadata") or {}).get("name")
        if not kind or not name:
            return None, None
        meta = {"name": name, **({"namespace": match["ns"]} if match["ns"] else {})}
        return self.key({"apiVersion": api, "kind": kind, "metadata": meta}), match["sub"]


class Timeline:
    def __init__(self, goldens):
        self.kinds = Kinds(goldens)
        self.seen = []  # (seconds, order, folder, name, key, object or None)
        self.begin, self.end = {}, {}  # folder -> seconds
        self.made = {}  # folder -> keys that its own recordings create
        order = 0
        for folder in FOLDERS:
            for path in sorted(glob.glob(os.path.join(goldens, "apiserver", folder, "*.json"))):
                with open(path) as f:
                    document = json.load(f)
                for one in exchanges(document):
                    order += 1
                    self._take(one, folder, os.path.splitext(os.path.basename(path))[0], order)
        self.seen.sort(key=lambda s: (s[0], s[1]))

    def _take(self, one, folder, name, order):
        at = date_of(one)
        if at is None:
            return
        self.begin[folder] = min(at, self.begin.get(folder, at))
        self.end[folder] = max(at, self.end.get(folder, at))
        response, request = one["response"], one["request"]
        for event in response.get("events") or []:
            obj = (event.get("event") or {}).get("object") or {}
            if (event.get("event") or {}).get("type") in ("ADDED", "MODIFIED"):
                self._keep(at + event.get("t", 0), order, folder, name, obj, obj.get("apiVersion"), obj.get("kind"))
            elif (event.get("event") or {}).get("type") == "DELETED" and obj.get("kind") in ("ConfigMap", "Pod"):
                self.seen.append((at + event["t"], order, folder, name, self.kinds.key(obj), None))
        for action in one.get("actionsMeanwhile") or []:
            if action["method"] == "POST":
                key, _ = self.kinds.target({"request": action})
                self.made.setdefault(folder, set()).add(key)
        if request["method"] in ("POST", "PATCH") and response.get("status") == 201 and "dryRun" not in request["path"]:
            key, sub = self.kinds.target(one)
            if key and not sub:
                self.made.setdefault(folder, set()).add(key)
        body = response.get("body")
        if not isinstance(body, dict) or (response.get("status") or 500) >= 300 or "dryRun" in request["path"] or body.get("apiVersion", "").startswith("meta.k8s.io"):
            return
        kind = body.get("kind", "")
        if request["method"] == "DELETE":
            key, _ = self.kinds.target(one)
            waits = kind != "Status" and ((body.get("metadata") or {}).get("finalizers") or (body.get("metadata") or {}).get("deletionGracePeriodSeconds"))
            if key and not waits and kind != "Namespace":
                self.seen.append((at, order, folder, name, key, None))
                return
        if kind.endswith("List") and isinstance(body.get("items"), list):
            for item in body["items"]:
                if isinstance(item, dict):
                    self._keep(at, order, folder, name, item, body.get("apiVersion"), kind[:-4])
        else:
            self._keep(at, order, folder, name, body, body.get("apiVersion"), kind)

    def _keep(self, at, order, folder, name, obj, api, kind):
        meta = obj.get("metadata") or {}
        if not (api and kind and meta.get("name") and meta.get("uid")):
            return
        obj = mask.plain({**obj, "apiVersion": api, "kind": kind})
        key = self.kinds.key(obj)
        if key:
            self.seen.append((at, order, folder, name, key, obj))

    def before(self, folder):
        """{key: object} as a folder's recordings began: what was seen last before them, else what is seen first in or after them
        and was not made by them."""
        begin, end = self.begin.get(folder, 0), self.end.get(folder, 0)
        if folder == "06-watch":
            end = begin + 1  # what comes later comes by what others do meanwhile
        out, gone = {}, set()
        for at, _, where, name, key, obj in self.seen:
            if at < begin:
                if obj is None:
                    out.pop(key, None)
                    gone.add(key)
                else:
                    out[key] = obj
                    gone.discard(key)
        for at, _, where, name, key, obj in self.seen:
            if at < begin or obj is None or key in out or key in gone or key in self.made.get(folder, ()):
                continue
            created = obj["metadata"].get("creationTimestamp")
            if created and _seconds(created) <= end:
                out[key] = obj
        return out

    def newest(self):
        return max((int(s[5]["metadata"].get("resourceVersion") or 0) for s in self.seen if s[5]), default=0)


def _seconds(timestamp):
    import datetime
    return datetime.datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()


CONTROLLER = "kube-controller-manager"


def state_before(previous, recording):
    """What the object of a recorded write was just before it: the object as it was seen last, with what the controllers did to it
    meanwhile, which only the write's own answer shows (a status, a revision, the fields that they own)."""
    answer = recording["response"].get("body")
    if previous is None or not isinstance(answer, dict) or answer.get("kind") != previous.get("kind") or recording["request"]["method"] == "POST":
        return previous
    if (answer.get("metadata") or {}).get("uid") != previous["metadata"].get("uid"):
        return previous
    out = json.loads(json.dumps(previous))
    now, was = answer["metadata"], out["metadata"]
    if "status" in answer and not recording["request"]["path"].split("?")[0].endswith("/status"):
        out["status"] = answer["status"]
    revision = "deployment.kubernetes.io/revision"
    if revision in (now.get("annotations") or {}):
        was.setdefault("annotations", {})[revision] = now["annotations"][revision]
    theirs = [m for m in now.get("managedFields") or [] if m.get("manager") == CONTROLLER]
    if theirs:
        was["managedFields"] = [m for m in was.get("managedFields") or [] if m.get("manager") != CONTROLLER] + theirs
    # Owners of fields stand in the order of their times. The recorded ones are of one second, the replayed one is of today: times
    # around it keep the recorded order.
    owner = lambda m: (m.get("manager"), m.get("operation"), m.get("subresource"))  # noqa: E731
    order = [owner(m) for m in now.get("managedFields") or []]
    writer = re.search(r"fieldManager=([^&]+)", recording["request"]["path"])
    writer = writer.group(1) if writer else "golden"
    at = max((i for i, o in enumerate(order) if o[0] == writer), default=len(order))
    for m in was.get("managedFields") or []:
        if owner(m) in order and "time" in m:
            i = order.index(owner(m))
            m["time"] = f"{2000 if i < at else 2050 if i == at else 2099}-01-01T00:00:{i:02}Z"
    return out
