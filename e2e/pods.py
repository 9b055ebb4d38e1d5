"""Small pods against the API server, for tests that run many at once: plain HTTP requests, no kubectl a step."""

import base64
import http.client
import json
import os
import socket
import ssl
import tempfile
import time
import urllib.parse

from lib import KUBECONFIG

TEST_IMAGE = "localhost/skiff/test:1"
AGNHOST = "localhost/skiff/agnhost:1"


class Api:
    def __init__(self):
        import yaml
        with open(KUBECONFIG) as f:
            config = yaml.safe_load(f)
        user = config["users"][0]["user"]
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pair:
            for field in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[field]) + b"\n")
            pair.flush()
            self.context = ssl._create_unverified_context()
            self.context.load_cert_chain(pair.name)
        self.address = config["clusters"][0]["cluster"]["server"].split("//")[1]

    def request(self, method, path, body=None, content_type="application/json"):
        """Status and body, whatever they are."""
        connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": content_type})
            answer = connection.getresponse()
            data = answer.read().decode(errors="replace")
            return answer.status, json.loads(data) if (answer.getheader("Content-Type") or "").startswith("application/json") else data
        finally:
            connection.close()

    def call(self, method, path, body=None, content_type="application/json"):
        """The body of a good answer."""
        status, data = self.request(method, path, body, content_type)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {data}")
        return data

    def messages(self, path, protocol):
        """All messages of a WebSocket until the server closes it."""
        host, port = self.address.rsplit(":", 1)
        with self.context.wrap_socket(socket.create_connection((host, int(port)), 60)) as connection:
            named = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{named}"
                               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
            stream = connection.makefile("rb")
            head = b"".join(iter(stream.readline, b"\r\n")).decode()
            if " 101 " not in head or (protocol and f"Sec-WebSocket-Protocol: {protocol}" not in head):
                raise AssertionError(head)
            out = []
            while True:
                opcode, length = stream.read(2)
                if length == 126:
                    length = int.from_bytes(stream.read(2), "big")
                payload = stream.read(length)
                if opcode == 0x88:
                    return out
                out.append(payload.decode())

    def merge(self, path, patch):
        return self.call("PATCH", path, patch, "application/merge-patch+json")


class KeptApi(Api):
    """One connection for all requests."""

    def __init__(self):
        super().__init__()
        self.connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=60)

    def request(self, method, path, body=None, content_type="application/json"):
        self.connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": content_type})
        answer = self.connection.getresponse()
        data = answer.read().decode(errors="replace")
        return answer.status, json.loads(data) if (answer.getheader("Content-Type") or "").startswith("application/json") else data


def container(command=None, name="c", **fields):
    """A container of the test image; `command` is a shell script, or absent for the image's own."""
    out = {"name": name, "image": TEST_IMAGE, **fields}
    if command is not None:
        out["command"] = ["sh", "-c", command]
    return out


class Pods:
    """The objects of one check: names begin with its own, so that checks can share a namespace."""

    def __init__(self, api, namespace, prefix):
        self.api, self.namespace, self.prefix, self.count = api, namespace, prefix, 0

    def name(self):
        self.count += 1
        return f"{self.prefix}-{self.count}"

    def path(self, plural, name="", group="/api/v1"):
        return f"{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def make(self, plural, body, group="/api/v1"):
        """Creates an object under a new name, which is returned."""
        body.setdefault("metadata", {}).setdefault("name", self.name())
        self.api.call("POST", self.path(plural, group=group), body)
        return body["metadata"]["name"]

    def pod(self, *containers, labels=None, annotations=None, **spec):
        metadata = {"labels": {"check": self.prefix, **(labels or {})}, "annotations": annotations or {}}
        return self.make("pods", {"metadata": metadata, "spec": {"containers": list(containers), "restartPolicy": "Never",
                                                                 "terminationGracePeriodSeconds": 1, **spec}})

    def get(self, name):
        return self.api.call("GET", self.path("pods", name))

    def until(self, name, what, predicate, seconds=90):
        """The pod, once predicate(pod) is true."""
        end = time.monotonic() + seconds
        while True:
            pod = self.get(name)
            if predicate(pod):
                return pod
            if time.monotonic() > end:
                raise AssertionError(f"pod {name} is not {what} after {seconds} s: {json.dumps(pod.get('status'))}")
            time.sleep(0.3)

    def phase(self, name, *phases, seconds=90):
        return self.until(name, " or ".join(phases), lambda p: p["status"].get("phase") in phases, seconds)

    def ready(self, name, seconds=90):
        return self.until(name, "ready", is_ready, seconds)

    def gone(self, name, seconds=60):
        end = time.monotonic() + seconds
        while self.api.request("GET", self.path("pods", name))[0] != 404:
            if time.monotonic() > end:
                raise AssertionError(f"pod {name} is still there after {seconds} s")
            time.sleep(0.3)

    def log(self, name, container_name="c", **query):
        return self.api.call("GET", self.path("pods", name) + "/log?" + urllib.parse.urlencode({"container": container_name, **query}))

    def output(self, command, volumes=None, **fields):
        """Runs a script to its good end in a pod of its own; what it wrote. Fields with the pod's names go to the pod."""
        of_pod = {k: fields.pop(k) for k in list(fields) if k in ("securityContext_pod", "hostNetwork", "hostAliases", "initContainers",
                                                                 "runtimeClassName", "labels", "annotations", "subdomain", "hostname")}
        if "securityContext_pod" in of_pod:
            of_pod["securityContext"] = of_pod.pop("securityContext_pod")
        name = self.pod(container(command, **fields), **({"volumes": volumes} if volumes else {}), **of_pod)
        pod = self.phase(name, "Succeeded", "Failed")
        text = self.log(name)
        if pod["status"]["phase"] != "Succeeded":
            raise AssertionError(f"pod {name} failed: {text}\n{json.dumps(pod['status'])}")
        return text

    def delete(self, name, grace=0):
        self.api.call("DELETE", self.path("pods", name), {"gracePeriodSeconds": grace})

    def events(self, name):
        return self.api.call("GET", self.path("events") + f"?fieldSelector=involvedObject.name%3D{name}")["items"]


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def restarts(pod, container_name="c"):
    return next((c["restartCount"] for c in pod["status"].get("containerStatuses", []) if c["name"] == container_name), 0)
