"""What may differ between a recording and its replay: one explicit list, and the comparison that uses it."""

import re

# Fields, by the end of their path ("*" is any list index or key). A masked field must be there (or not) on both sides; its value is free.
FIELDS = [
    "metadata.uid", "metadata.resourceVersion", "metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.selfLink",
    "metadata.continue", "metadata.managedFields.*.time", "ownerReferences.*.uid", "details.uid", "involvedObject.uid", "involvedObject.resourceVersion",
    "lastTransitionTime", "lastUpdateTime", "lastProbeTime", "lastHeartbeatTime", "startTime", "startedAt", "finishedAt", "eventTime",
    "firstTimestamp", "lastTimestamp", "renewTime", "acquireTime", "expirationTimestamp", "completionTime", "lastScheduleTime",
    "spec.clusterIP", "spec.clusterIPs.*", "spec.ports.*.nodePort", "spec.healthCheckNodePort", "status.hostIP", "status.podIP", "podIPs.*.ip", "hostIPs.*.ip",
    "containerID", "imageID", "nodeInfo.*", "spec.claimRef.uid", "status.token", "spec.token", "spec.request", "serverAddressByClientCIDRs.*.serverAddress",
    "gitCommit", "buildDate", "goVersion", "gitTreeState", "emulationMajor", "emulationMinor", "minCompatibilityMajor", "minCompatibilityMinor", "caBundle", "keys.*.kid", "keys.*.n",
    "metadata.remainingItemCount", "paths.*.serverRelativeURL", "columnDefinitions.*.description", "compiler", "extra.authentication.kubernetes.io/credential-id.*",
]

# Texts: (pattern, what stands for it).
TEXTS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"kube-api-access-[a-z0-9]{5}"), "kube-api-access-<random>"),
    (re.compile(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(:\d+)?\b"), "<address>"),
    (re.compile(r"containerd://[0-9a-f]{64}"), "<container>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"(?<=-)[bcdf0-9]{8,10}(?=\b)"), "<template-hash>"),
    (re.compile(r"-----BEGIN [A-Z ]+-----[^-]+-----END [A-Z ]+-----\n?|<scrubbed-[a-z-]+>|<modulus[^>]*>"), "<scrubbed>"),
    (re.compile(r"([Tt]oo (?:large|old) resource version: )\d+( \(\d+\)|, current: \d+)"), r"\1<versions>"),
    (re.compile(r"([Rr]esource[Vv]ersion[^0-9]{0,40})\d+"), r"\1<version>"),
]

# Differences of the recorded server from plain upstream (see the recordings' README).
DROPPED_SOURCES = {"openshift-service-ca.crt"}

HEADERS = ["Content-Type", "Warning", "Location", "Retry-After", "Allow"]

_FIELD_PATTERNS = [re.compile(r"(^|\.)" + re.escape(f).replace(r"\*", r"[^.]+") + "$") for f in FIELDS]


def field_is_masked(path):
    return any(p.search(path) for p in _FIELD_PATTERNS)


def text(value):
    for pattern, stand_in in TEXTS:
        value = pattern.sub(stand_in, value)
    return value


def plain(value):
    """A recording without what only its own server adds."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value
                if not (isinstance(v, dict) and isinstance(v.get("configMap"), dict) and v["configMap"].get("name") in DROPPED_SOURCES)]
    return value


def differences(want, got, path=""):
    """Lines that say where `got` is not as recorded."""
    if field_is_masked(path):
        return []
    if isinstance(want, dict) and isinstance(got, dict):
        out = []
        prefix = (want.get("metadata") or {}).get("generateName") if isinstance(want.get("metadata"), dict) else None
        if prefix and isinstance(got.get("metadata"), dict) and str(got["metadata"].get("name", "")).startswith(prefix):
            # A made-up name.
            got = {**got, "metadata": {**got["metadata"], "name": want["metadata"].get("name")}}
        for key in sorted(set(want) | set(got), key=str):
            at = f"{path}.{key}" if path else str(key)
            if key not in got:
                out.append(f"{at}: missing; recorded {short(want[key])}")
            elif key not in want:
                out.append(f"{at}: {short(got[key])}; not recorded")
            else:
                out += differences(want[key], got[key], at)
        return out
    if isinstance(want, list) and isinstance(got, list):
        out = []
        for i in range(max(len(want), len(got))):
            at = f"{path}.{i}"
            if i >= len(got):
                out.append(f"{at}: missing; recorded {short(want[i])}")
            elif i >= len(want):
                out.append(f"{at}: {short(got[i])}; not recorded")
            else:
                out += differences(want[i], got[i], at)
        return out
    if isinstance(want, str) and isinstance(got, str):
        return [] if text(want) == text(got) else [f"{path}: {short(got)}; recorded {short(want)}"]
    if type(want) is type(got) and want == got:
        return []
    return [f"{path}: {short(got)}; recorded {short(want)}"]


def short(value, limit=160):
    shown = repr(value)
    return shown if len(shown) <= limit else shown[:limit] + "…"


def headers(want, got):
    """Compares the headers that clients look at."""
    out = []
    for name in HEADERS:
        a, b = find(want, name), find(got, name)
        if text(a or "") != text(b or ""):
            out.append(f"header {name}: {b!r}; recorded {a!r}")
    return out


def find(fields, name):
    for key, value in (fields or {}).items():
        if key.lower() == name.lower():
            return value if isinstance(value, str) else ", ".join(value)
    return None
