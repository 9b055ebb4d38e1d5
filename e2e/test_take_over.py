"""A node changes hands: upstream's kubelet is stopped, ours goes on in its place, and back; the pods run on untouched.

SKIFF_UPSTREAM_KUBELET names upstream's program; without one the test is skipped.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import unittest
import urllib.request

import lib

UPSTREAM = os.environ.get("SKIFF_UPSTREAM_KUBELET", "")

PODS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1", b: "2"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {k: s}
---
apiVersion: v1
kind: Pod
metadata: {name: rich, labels: {l: v}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: localhost/skiff/test:1, command: [sh, -c, "echo first > /scratch/f"], volumeMounts: [{name: scratch, mountPath: /scratch}]}
  - {name: beside, image: localhost/skiff/test:1, command: [sleep, "10000"], restartPolicy: Always}
  containers:
  - name: main
    image: localhost/skiff/test:1
    command: [sh, -c, "while :; do date +%s >> /scratch/beats; sleep 1; done"]
    env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: A, valueFrom: {configMapKeyRef: {name: settings, key: a}}}]
    resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {memory: 64Mi}}
    securityContext: {runAsUser: 0, readOnlyRootFilesystem: true}
    lifecycle: {postStart: {exec: {command: ["true"]}}}
    startupProbe: {exec: {command: [cat, /scratch/f]}, periodSeconds: 1}
    readinessProbe: {exec: {command: [cat, /scratch/f]}, periodSeconds: 1}
    livenessProbe: {exec: {command: [cat, /scratch/f]}, periodSeconds: 1}
    volumeMounts:
    - {name: scratch, mountPath: /scratch}
    - {name: settings, mountPath: /etc/settings}
    - {name: settings, mountPath: /etc/one, subPath: b}
    - {name: all, mountPath: /etc/all}
  - {name: second, image: localhost/skiff/test:1, command: [sleep, "10000"]}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - name: all
    projected:
      sources:
      - {secret: {name: key}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: guaranteed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: localhost/skiff/test:1, command: [sleep, "10000"], resources: {limits: {cpu: 50m, memory: 32Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: OnFailure
  containers: [{name: c, image: localhost/skiff/test:1, command: ["true"]}]
"""

STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: fixed, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: localhost/skiff/test:1, command: [sleep, "10000"]}]
"""


def identity():
    """Of each pod: what must not change. (Upstream's kubelet, when it starts, takes the address of a pod that is over from its status,
    and gives a static pod a new start time.)"""
    out = {}
    for pod in lib.get("pods")["items"]:
        statuses = pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
        over, static = pod["status"]["phase"] == "Succeeded", "kubernetes.io/config.mirror" in pod["metadata"].get("annotations", {})
        out[pod["metadata"]["name"]] = (pod["metadata"]["uid"], pod["status"]["phase"], None if over else pod["status"].get("podIP"),
                                        None if static else pod["status"].get("startTime"),
                                        sorted((s["name"], s.get("containerID"), s["restartCount"]) for s in statuses))
    return out


def healthy():
    with contextlib.suppress(OSError):
        return urllib.request.urlopen("http://127.0.0.1:10248/healthz", timeout=1).read() == b"ok"


class ReadyWatch:
    """Every pod that is seen not Ready after it was."""

    def __enter__(self):
        self.flaps = []
        self._process = subprocess.Popen(["kubectl", "get", "--raw", "/api/v1/namespaces/default/pods?watch=true"], stdout=subprocess.PIPE, text=True,
                                         env={**os.environ, "KUBECONFIG": lib.KUBECONFIG})
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def _read(self):
        ready = set()
        for line in self._process.stdout:
            pod = json.loads(line)["object"]
            name = pod["metadata"]["name"]
            conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
            if conditions.get("Ready") == "True":
                ready.add(name)
            elif name in ready and "deletionTimestamp" not in pod["metadata"]:
                self.flaps.append((name, conditions))

    def __exit__(self, *_):
        self._process.kill()
        self._thread.join()
        self._process.stdout.close()


class TakeOverTest(lib.ClusterTest):
    @classmethod
    def setUpClass(cls):
        if not os.access(UPSTREAM, os.X_OK):
            reason = "SKIFF_UPSTREAM_KUBELET does not name upstream's kubelet"
            print(f"[  SKIPPED ] take_over: {reason}")
            raise unittest.SkipTest(reason)
        super().setUpClass()

    def change(self, program):
        """Stops the kubelet that runs and starts `program` with the same arguments."""
        pid, command = lib.pid_of("kubelet-n1"), lib.command_of("kubelet-n1")
        os.kill(pid, signal.SIGTERM)
        lib.wait("the kubelet to end", lambda: not os.path.exists(f"/proc/{pid}"), 30)
        lib.start("kubelet-n1", [program, *command[1:]])
        lib.wait("the kubelet's health", healthy, 60)

    def works(self, name):
        """The kubelet that runs now serves what the other one started, and starts and ends pods of its own."""
        # A kubelet that has just started does not know its pods yet.
        lib.wait("exec", lambda: lib.kubectl("exec", "rich", "-c", "main", "--", "cat", "/etc/one") == "2", 20, 0.5)
        lib.kubectl("run", name, "--image=localhost/skiff/test:1", "--restart=Never", "--command", "--", "sleep", "10000")
        lib.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
        lib.kubectl("delete", "pod", name, "--grace-period=1", timeout=60)

    def test_pods_run_on_under_either_kubelet(self):
        ours = os.path.join(lib.BIN, "kubelet")
        lib.apply(PODS)
        with open(os.path.join(lib.DIR, "n1", "manifests", "fixed.yaml"), "w") as f:
            f.write(STATIC)
        lib.wait("pods", lambda: identity().get("done", [0, ""])[1] == "Succeeded" and "fixed-n1" in identity())
        for name in ("rich", "guaranteed", "fixed-n1"):
            lib.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
        for turn, program in enumerate((UPSTREAM, ours, UPSTREAM, ours)):
            before = identity()
            with ReadyWatch() as watch:
                self.change(program)
                lib.wait("the node to be Ready", lambda: any(c["type"] == "Ready" and c["status"] == "True" for c in lib.get("node", "n1")["status"]["conditions"]))
                self.works(f"turn{turn}")
                # Past a look at everything (housekeeping, the refresh of volumes): nothing is put right that was not wrong.
                threading.Event().wait(20)
            self.assertEqual(identity(), before, program)
            if program == ours:
                self.assertEqual(watch.flaps, [], "upstream's kubelet, when it starts, calls probed containers not ready; ours does not")
        # What one started the other one takes away, whole.
        uid = before["guaranteed"][0]
        lib.kubectl("delete", "pod", "guaranteed", "rich", timeout=60)
        self.assertFalse(os.path.exists(os.path.join(lib.DIR, "n1", "kubelet", "pods", uid)))


if __name__ == "__main__":
    lib.main()
