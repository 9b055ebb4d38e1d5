"""Pods from their sources to their end: static pods and their mirrors, resizes, restart rules, restarts of the kubelet."""

import os
import subprocess
import threading
import time
import unittest

import lib

WEB = """
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: localhost/skiff/test:1
    command: [testserver, -p, "{port}"]
    readinessProbe: {{httpGet: {{path: /healthz, port: {port}}}, periodSeconds: 1}}
"""


def mirror():
    """The mirror pod of web, or None."""
    result = lib.kubectl("get", "pod", "web-n1", "-o", "json", check=False)
    return lib.json.loads(result.stdout) if result.returncode == 0 else None


def running(name):
    """Names of the containers that the runtime runs for a pod, as the kubelet's /runningpods says."""
    pods = lib.json.loads(lib.kubectl("get", "--raw", "/api/v1/nodes/n1/proxy/runningpods/"))
    return [c["name"] for p in pods["items"] or [] if p["metadata"]["name"] == name for c in p["spec"]["containers"]]


class PodsTest(lib.ClusterTest):
    manifests = os.path.join(lib.DIR, "n1", "manifests")

    def write(self, name, text):
        """As an editor does: a hidden file, then a rename."""
        with open(os.path.join(self.manifests, "." + name), "w") as f:
            f.write(text)
        os.rename(os.path.join(self.manifests, "." + name), os.path.join(self.manifests, name))

    def ready(self):
        pod = mirror()
        status = pod and pod.get("status", {})
        if status and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])):
            return pod
        return None

    def test_a_static_pod_and_its_mirror(self):
        self.write("web.yaml", WEB.format(port=8081))
        first = lib.wait("the mirror pod to be Ready", self.ready, 30)
        meta = first["metadata"]
        annotations = meta["annotations"]
        self.assertEqual(annotations["kubernetes.io/config.source"], "file")
        self.assertEqual(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"])
        self.assertIn("kubernetes.io/config.seen", annotations)
        self.assertEqual([(o["kind"], o["name"], o["uid"], o["controller"]) for o in meta["ownerReferences"]],
                         [("Node", "n1", lib.get("node", "n1")["metadata"]["uid"], True)])
        self.assertNotIn("serviceAccountName", first["spec"])
        container = first["status"]["containerStatuses"][0]["containerID"]

        # Whoever deletes it has it back, and nothing restarts.
        lib.kubectl("delete", "pod", "web-n1", "--wait=false")
        lib.wait("another mirror pod", lambda: (mirror() or first)["metadata"]["uid"] != meta["uid"] and self.ready(), 20)
        self.assertEqual(mirror()["status"]["containerStatuses"][0]["containerID"], container)

        # The kubelet's restart changes nothing either.
        uid = mirror()["metadata"]["uid"]
        lib.kubelet_again()
        lib.wait("the mirror pod to be Ready", self.ready, 20)
        self.assertEqual(mirror()["metadata"]["uid"], uid)
        self.assertEqual(mirror()["status"]["containerStatuses"][0]["containerID"], container)

        # An edit makes another pod; a file that is no manifest leaves it alone.
        self.write("web.yaml", WEB.format(port=8082))
        lib.wait("the edited pod", lambda: (pod := self.ready()) and pod["status"]["containerStatuses"][0]["containerID"] != container, 30)
        self.assertNotEqual(mirror()["metadata"]["annotations"]["kubernetes.io/config.hash"], annotations["kubernetes.io/config.hash"])
        self.assertEqual(running("web-n1"), ["c"])

        # Gone with its file.
        os.unlink(os.path.join(self.manifests, "web.yaml"))
        lib.wait("the mirror pod to go", lambda: mirror() is None, 30)
        lib.wait("its container to go", lambda: running("web-n1") == [], 20)

    def test_static_pod_references(self):
        self.write("bad.yaml", WEB.format(port=8083).replace("name: web,", "name: bad,") + "    envFrom: [{secretRef: {name: s}}]\n")
        log = os.path.join(lib.DIR, "log", "kubelet-n1.log")

        def refused():
            with open(log) as f:
                return "static pods may not reference secrets" in f.read()

        lib.wait("the refusal in the log", refused, 20)
        self.assertEqual(lib.kubectl("get", "pod", "bad-n1", check=False).returncode, 1)
        self.assertEqual(running("bad-n1"), [])
        os.unlink(os.path.join(self.manifests, "bad.yaml"))

    def test_pods_deleted_while_the_kubelet_is_down(self):
        lib.apply("""
apiVersion: v1
kind: Pod
metadata: {name: orphan}
spec:
  nodeName: n1
  containers: [{name: c, image: "localhost/skiff/test:1", command: [sleep, "1000"]}]
""")
        lib.wait("the pod to run", lambda: lib.get("pod", "orphan")["status"]["phase"] == "Running", 30)
        command = lib.command_of("kubelet-n1")
        lib.kill("kubelet-n1")
        lib.kubectl("delete", "pod", "orphan", "--grace-period=0", "--force")
        lib.start_again("kubelet-n1", command)
        lib.wait("its container to be ended", lambda: running("orphan") == [], 60)
        lib.wait("its directory to go", lambda: not any(
            "orphan" in p for p in os.listdir(os.path.join(lib.DIR, "n1", "podlogs"))), 60)

    def status(self, name):
        return lib.get("pod", name)["status"]

    def condition(self, name, kind):
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), None)

    def events(self, name):
        return [(e["reason"], e["message"]) for e in lib.get("events", "--field-selector", f"involvedObject.name={name}")["items"]]

    def test_resize_in_place(self):
        lib.apply("""
apiVersion: v1
kind: Pod
metadata: {name: resized}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: localhost/skiff/test:1
    command: [sleep, "1000"]
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 100m, memory: 32Mi}}
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
""")
        lib.wait("the pod to run", lambda: self.status("resized")["phase"] == "Running", 30)
        before = self.status("resized")["containerStatuses"][0]

        def resize(cpu, memory, refused=None):
            sizes = {"cpu": cpu, "memory": memory}
            body = {"spec": {"containers": [{"name": "c", "resources": {"requests": sizes, "limits": sizes}}]}}
            result = lib.kubectl("patch", "pod", "resized", "--subresource", "resize", "-p", lib.json.dumps(body), check=False)
            if result.returncode != 0 and ("resize" in result.stderr and ("must be one of" in result.stderr or "not find" in result.stderr)):
                self.skipTest("this kubectl or API server knows no resize: " + result.stderr)
            if refused:
                return self.assertIn(refused, result.stderr)
            self.assertEqual(result.returncode, 0, result.stderr)

        resize("200m", "32Mi")
        lib.wait("the new CPU limit in the status",
                 lambda: self.status("resized")["containerStatuses"][0]["resources"]["limits"]["cpu"] == "200m", 20)
        now = self.status("resized")["containerStatuses"][0]
        self.assertEqual(now["containerID"], before["containerID"])
        self.assertEqual(now["allocatedResources"]["cpu"], "200m")
        quota = lib.kubectl("exec", "resized", "--", "cat", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", check=False)
        if quota.returncode == 0:
            self.assertEqual(quota.stdout.strip(), "20000")
        lib.wait("the end of the resize to be told", lambda: any(r == "ResizeCompleted" for r, _ in self.events("resized")), 20)
        self.assertTrue(any(r == "ResizeStarted" and '"generation":2' in m for r, m in self.events("resized")), self.events("resized"))

        # Memory asks for a restart, by this pod's policy.
        resize("200m", "48Mi")
        lib.wait("the container to be made anew", lambda: self.status("resized")["containerStatuses"][0]["restartCount"] == 1
                 and self.status("resized")["containerStatuses"][0]["resources"]["limits"]["memory"] == "48Mi", 30)
        lib.wait("its end to be told", lambda: ("Killing", "Container c resize requires restart") in self.events("resized"), 20)

        # What the node has, but others hold in part, waits, also over a restart of the kubelet; what it does not have is refused.
        resize("1000", "48Mi", refused="node didn't have enough allocatable resources: cpu, requested: 1000000, allocatable: ")
        lib.apply("""
apiVersion: v1
kind: Pod
metadata: {name: holder}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: localhost/skiff/test:1
    command: [sleep, "1000"]
    resources: {requests: {cpu: 100m}}
""")
        lib.wait("the holder to run", lambda: self.status("holder")["phase"] == "Running", 30)
        cpus = int(lib.get("node", "n1")["status"]["allocatable"]["cpu"])
        resize(str(cpus), "48Mi")
        pending = lib.wait("the resize to be deferred", lambda: self.condition("resized", "PodResizePending"), 20)
        self.assertEqual((pending["reason"], pending["status"]), ("Deferred", "True"))
        self.assertIn(f"Node didn't have enough resource: cpu, requested: {cpus * 1000}", pending["message"])
        self.assertEqual(self.status("resized")["containerStatuses"][0]["allocatedResources"]["cpu"], "200m")
        container = self.status("resized")["containerStatuses"][0]["containerID"]
        lib.kubelet_again()
        resize("150m", "48Mi")
        lib.wait("the smaller size", lambda: self.condition("resized", "PodResizePending") is None
                 and self.status("resized")["containerStatuses"][0]["resources"]["limits"]["cpu"] == "150m", 30)
        self.assertEqual(self.status("resized")["containerStatuses"][0]["containerID"], container)
        lib.kubectl("delete", "pod", "resized", "holder")

    def test_a_rule_restarts_all_containers(self):
        lib.apply("""
apiVersion: v1
kind: Pod
metadata: {name: together}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: a
    image: localhost/skiff/test:1
    command: [sh, -c, "if [ -e /v/done ]; then sleep 1000; fi; sleep 2; touch /v/done; exit 42"]
    volumeMounts: [{name: v, mountPath: /v}]
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]
  - name: b
    image: localhost/skiff/test:1
    command: [sleep, "1000"]
""")
        lib.wait("the pod to run", lambda: self.status("together")["phase"] == "Running", 30)
        if "restartPolicyRules" not in lib.get("pod", "together")["spec"]["containers"][0]:
            self.skipTest("this API server knows no restart rules")
        lib.wait("both containers to run again", lambda: [
            ("running" in c["state"], c["restartCount"]) for c in self.status("together")["containerStatuses"]] == [(True, 1)] * 2, 40)
        self.assertEqual(self.condition("together", "AllContainersRestarting")["status"], "False")
        lib.kubectl("delete", "pod", "together")

    def test_api_outage(self):
        """security.md: pods and restarts go on without the API server; afterwards the status is delivered."""
        lib.apply("""
apiVersion: v1
kind: ConfigMap
metadata: {name: crashing}
data: {CODE: "3"}
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "localhost/skiff/test:1", command: [sh, -c, "sleep 12; exit $CODE"], envFrom: [{configMapRef: {name: crashing}}]}
  - {name: d, image: "localhost/skiff/test:1", command: [sleep, "1000"]}
""")
        lib.wait("the pod to run", lambda: self.status("crashing")["phase"] == "Running", 30)
        steady = self.status("crashing")["containerStatuses"][1]["containerID"]
        command = lib.command_of("controlplane")
        lib.kill("controlplane")
        log = os.path.join(lib.DIR, "n1", "podlogs")
        folder = next(os.path.join(log, f, "c") for f in os.listdir(log) if "_crashing_" in f)
        lib.wait("a restart without the API server", lambda: os.path.exists(os.path.join(folder, "1.log")), 30)
        lib.start_again("controlplane", command)
        lib.wait("the restart to be told", lambda: self.status("crashing")["containerStatuses"][0]["restartCount"] >= 1, 90)
        now = self.status("crashing")["containerStatuses"]
        self.assertEqual(now[0]["lastState"]["terminated"]["exitCode"], 3)
        self.assertEqual((now[1]["containerID"], now[1]["restartCount"]), (steady, 0))
        lib.kubectl("delete", "pod/crashing", "configmap/crashing")

    def test_no_flap(self):
        """security.md: restarting the kubelet with Ready pods: none is ever seen not Ready."""
        count = 20
        lib.apply("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: %d
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: localhost/skiff/test:1
        command: [testserver, -p, "8080"]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
""" % count)
        lib.wait("all to be Ready", lambda: lib.get("deployment", "many")["status"].get("readyReplicas") == count, 90)
        lib.wait_for_age(11, lib.get("pods", "-l", "app=many")["items"])  # containers of the last ten seconds before a start count as new, as upstream has it
        seen = []
        watch = subprocess.Popen(["kubectl", "get", "pods", "-l", "app=many", "-w", "--output-watch-events", "-o", "json"],
                                 stdout=subprocess.PIPE, text=True, env={**os.environ, "KUBECONFIG": lib.KUBECONFIG})

        def read():
            decoder, text = lib.json.JSONDecoder(), ""
            for line in watch.stdout:
                text += line
                try:
                    event, end = decoder.raw_decode(text.lstrip())
                except ValueError:
                    continue
                text = text.lstrip()[end:]
                pod = event["object"]
                if not all(c["status"] == "True" for c in pod["status"]["conditions"] if c["type"] in ("Ready", "ContainersReady")):
                    seen.append((pod["metadata"]["name"], pod["status"]))

        def probed():
            lines = lib.kubectl("get", "--raw", "/api/v1/nodes/n1/proxy/metrics/probes").splitlines()
            return sum('pod="many-' in line and 'probe_type="Readiness",result="successful"} ' in line for line in lines) == count

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(2):
                lib.kubelet_again()
                lib.wait("every pod to have been probed again", probed)
            time.sleep(2)  # what was told last is still on its way
        finally:
            watch.terminate()
            reader.join()
            watch.wait()
            watch.stdout.close()
        self.assertEqual(seen, [])
        self.assertTrue(all(p["status"]["containerStatuses"][0]["restartCount"] == 0 for p in lib.get("pods", "-l", "app=many")["items"]))
        lib.kubectl("delete", "deployment", "many")


if __name__ == "__main__":
    lib.main()
