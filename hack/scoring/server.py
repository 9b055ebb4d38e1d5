"""An API server of our own for the replay, and requests to it under the recordings' identities."""

import base64
import http.client
import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import time
import urllib.parse


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """skiff-controlplane on a free port with state in a temporary directory."""

    def __init__(self, binaries, components="all"):
        self.binaries = binaries
        self.dir = tempfile.mkdtemp(prefix="skiff-score-")
        self.port = free_port()
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.components = components
        self._contexts = {}
        self._tokens = {}
        self._start()

    def _start(self):
        self.process = subprocess.Popen(
            [os.path.join(self.binaries, "skiff-controlplane"), self.components, "--data-dir", self.dir + "/data", "--cert-dir", self.dir + "/pki",
             "--bind-address", "127.0.0.1", "--secure-port", str(self.port), "--advertise-address", "127.0.0.1", "--service-cluster-ip-range", "10.96.0.0/16",
             "--write-kubeconfig", self.dir], stdout=self.log, stderr=self.log)
        end = time.monotonic() + 20
        while True:
            try:
                if self.call("GET", "/readyz", "admin")[0] == 200:
                    break
            except OSError:
                pass
            if time.monotonic() > end or self.process.poll() is not None:
                with open(os.path.join(self.dir, "log"), errors="replace") as f:
                    raise SystemExit(f"the API server did not become ready:\n{f.read()[-3000:]}")
            time.sleep(0.05)

    def plant(self, changes, revision=0, compacted=None, replace=True):
        """Stops the server, puts objects into its store ({key: object, or None to take it out}), and starts it again. A new object is
        stored at its own resource version, where that is free. `revision`: what the store counts at least. `compacted`: what can
        no longer be read. `replace` False: what is there stays."""
        self.process.kill()
        self.process.wait()
        store = sqlite3.connect(os.path.join(self.dir, "data/store.db"))
        now = {k: (r, c) for r, k, c in store.execute("SELECT revision, key, create_revision FROM log WHERE revision IN (SELECT max(revision) FROM log GROUP BY key) AND value IS NOT NULL")}
        newest = max(store.execute("SELECT coalesce(max(revision), 1) FROM log").fetchone()[0], *(n for n, in store.execute("SELECT coalesce(max(number), 0) FROM facts WHERE name = 'revision'")))
        wanted = lambda obj: int((obj["metadata"].get("resourceVersion") or 0)) if obj else 0  # noqa: E731
        for key, obj in sorted(changes.items(), key=lambda c: wanted(c[1])):
            have, born = now.get(key.encode(), (0, 0))
            if have and not replace or (obj is None and not have):
                continue
            newest = max(newest + 1, wanted(obj))
            data = None
            if obj is not None:
                stored = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}
                data = json.dumps(stored, separators=(",", ":")).encode()
            store.execute("INSERT INTO log(revision, key, create_revision, previous_revision, expires, value) VALUES(?,?,?,?,0,?)", (newest, key.encode(), born or newest, have, data))
        for name, number in (("revision", max(newest, revision)), ("compacted", compacted)):
            if number is not None:
                store.execute("INSERT OR REPLACE INTO facts VALUES(?, ?)", (name, number))
        store.commit()
        store.close()
        self._start()

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _context(self, identity):
        """A TLS context with the client certificate of an identity (None: without)."""
        if identity in self._contexts:
            return self._contexts[identity]
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if identity:
            import yaml
            path = os.path.join(self.dir, identity.replace(":", "_") + "-user.kubeconfig")
            if not os.path.exists(path):
                groups = ["--group", "system:nodes"] if identity.startswith("system:node:") else ["--group", "system:masters"] if identity == "admin" else []
                subprocess.run([os.path.join(self.binaries, "skiff-controlplane"), "kubeconfig", "--cert-dir", self.dir + "/pki", "--server",
                                f"https://127.0.0.1:{self.port}", "--user", identity, *groups, "--out", path], check=True, capture_output=True)
            with open(path) as f:
                user = yaml.safe_load(f)["users"][0]["user"]
            pair = os.path.join(self.dir, identity.replace(":", "_") + ".pem")
            with open(pair, "wb") as f:
                for field in ("client-certificate-data", "client-key-data"):
                    f.write(base64.b64decode(user[field]) + b"\n")
            context.load_cert_chain(pair)
        self._contexts[identity] = context
        return context

    def _token(self, account):
        """A service account's token ("system:serviceaccount:NS:NAME")."""
        if account not in self._tokens:
            _, _, ns, name = account.split(":")
            self.call("POST", f"/api/v1/namespaces/{ns}/serviceaccounts", "admin", {"metadata": {"name": name}})
            status, _, body = self.call("POST", f"/api/v1/namespaces/{ns}/serviceaccounts/{name}/token", "admin", {"spec": {"audiences": []}})
            self._tokens[account] = json.loads(body)["status"]["token"] if status == 201 else "none"
        return self._tokens[account]

    def call(self, method, path, identity="admin", body=None, headers=None, timeout=30):
        """(status, headers, body bytes). `identity` as in the recordings' `as`."""
        headers = dict(headers or {})
        headers.setdefault("User-Agent", "golden/1.0")
        who = (identity or "admin").split(" ")[0]
        if who.startswith("system:serviceaccount:"):
            headers["Authorization"] = "Bearer " + self._token(who)
            who = None
        elif who == "bad":
            headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
            headers["Authorization"] = "Bearer nonsense"
            who = None
        elif who == "basic":
            headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
            headers["Authorization"] = "Basic " + base64.b64encode(b"a:b").decode()
            who = None
        elif who == "anonymous":
            who = None
        elif not who.startswith("system:"):
            who = "admin"
        if isinstance(body, dict) and set(body) == {"base64", "length"}:
            data = base64.b64decode(body["base64"])
        elif isinstance(body, (dict, list)):
            data = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        else:
            data = body.encode() if isinstance(body, str) else body
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._context(who), timeout=timeout)
        try:
            connection.putrequest(method, urllib.parse.quote(path, safe="/%?&=:,;+@!$'()*~[]\"{}|"), skip_accept_encoding=True)
            if data is not None:
                headers["Content-Length"] = str(len(data))
            for key, value in headers.items():
                if key.lower() not in ("host", "accept-encoding"):
                    connection.putheader(key, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            merged = {}
            for key, value in answer.getheaders():
                merged[key] = merged[key] + ", " + value if key in merged else value
            return answer.status, merged, answer.read()
        finally:
            connection.close()
