"""Every kubectl on the machine against the cluster: what a person does with a Deployment and its pods."""

import json
import os
import pty
import re
import select
import subprocess
import time
import unittest

import lib

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: {grace}
  containers:
  - name: c
    image: localhost/skiff/test:1
    command: [sh, -c, "{command}"]
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: localhost/skiff/test:1
        command: [testserver, -p, "8080", -d, "0"]
        env: [{{name: VERSION, value: "{version}"}}]
"""


class KubectlTest(lib.ClusterTest):
    def each(self):
        for version, path in lib.kubectls().items():
            with self.subTest(kubectl=version):
                yield "k" + re.sub(r"\D", "", version), lambda *a, path=path, **k: lib.kubectl(*a, binary=path, **k)

    def test_apply_scale_rollout_undo_delete(self):
        for name, kubectl in self.each():
            out = kubectl("apply", "-f", "-", input=DEPLOYMENT.format(name=name, version="1"))
            self.assertEqual(out, f"deployment.apps/{name} created\n")
            self.assertIn("unchanged", kubectl("apply", "-f", "-", input=DEPLOYMENT.format(name=name, version="1")))
            self.assertIn("successfully rolled out", kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s"))
            self.assertEqual(kubectl("scale", f"deployment/{name}", "--replicas=3"), f"deployment.apps/{name} scaled\n")
            kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
            self.assertEqual(len(lib.get("pods", "-l", f"app={name}", "--field-selector", "status.phase=Running")["items"]), 3)
            self.assertIn("configured", kubectl("apply", "-f", "-", input=DEPLOYMENT.format(name=name, version="2")))
            kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
            self.assertIn("REVISION", kubectl("rollout", "history", f"deployment/{name}"))
            self.assertIn("rolled back", kubectl("rollout", "undo", f"deployment/{name}"))
            kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
            env = lib.get("deployment", name)["spec"]["template"]["spec"]["containers"][0]["env"]
            self.assertEqual(env, [{"name": "VERSION", "value": "1"}])
            self.assertIn("deleted", kubectl("delete", "deployment", name, "--timeout=60s"))
            lib.wait("the pods to go", lambda: not lib.get("pods", "-l", f"app={name}")["items"])

    def test_get_in_every_form(self):
        for _, kubectl in self.each():
            wide = kubectl("get", "pods", "-o", "wide").splitlines()
            self.assertEqual(wide[0].split(), ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"])
            self.assertRegex(wide[1], r"^hello-[a-z0-9]+-[a-z0-9]{5}\s+1/1\s+Running\s+\d+.*\s+10\.244\.\d+\.\d+\s+n1\s+<none>\s+<none>$")
            self.assertRegex(kubectl("get", "nodes").splitlines()[1], r"^n1\s+Ready\s+<none>\s+\S+\s+v1\.36\.2$")
            self.assertIn("clusterIP:", kubectl("get", "service", "hello", "-o", "yaml"))
            self.assertEqual(json.loads(kubectl("get", "service", "hello", "-o", "json"))["kind"], "Service")
            self.assertEqual(kubectl("get", "deploy", "hello", "-o", "jsonpath={.status.readyReplicas}"), "3")
            self.assertIn("hello", kubectl("get", "all"))
            self.assertIn("configmaps", kubectl("api-resources"))
            self.assertIn("KIND:", kubectl("explain", "pod.spec.containers"))

    def test_get_watch_sees_changes(self):
        for version, path in lib.kubectls().items():
            name = "seen-k" + re.sub(r"\D", "", version)
            with self.subTest(kubectl=version), subprocess.Popen(
                    [path, "get", "configmaps", "-w", "--output-watch-events"], stdout=subprocess.PIPE) as watch:
                def until(what, seen=b""):
                    end = time.monotonic() + 10
                    while what not in seen and time.monotonic() < end:
                        if select.select([watch.stdout], [], [], 1)[0]:
                            seen += os.read(watch.stdout.fileno(), 65536)
                    return seen
                try:
                    self.assertRegex(until(b"kube-root-ca.crt").decode(), r"^EVENT +NAME +DATA +AGE\nADDED +kube-root-ca.crt +1 ")
                    lib.kubectl("create", "configmap", name, "--from-literal=a=b")
                    lib.kubectl("delete", "configmap", name)
                    self.assertRegex(until(b"DELETED").decode(), rf"ADDED +{name} +1 +0s\nDELETED +{name} +1 +\d+s\n")
                finally:
                    watch.kill()

    def test_describe(self):
        for _, kubectl in self.each():
            pod = lib.get("pods", "-l", "app=hello")["items"][0]["metadata"]["name"]
            text = kubectl("describe", "pod", pod)
            for part in ("Status:           Running", "Controlled By:  ReplicaSet/hello-", "Ready                       True", "Started", "Container started"):
                self.assertIn(part, text)
            self.assertIn("Endpoints:", kubectl("describe", "service", "hello"))
            self.assertIn("Allocated resources:", kubectl("describe", "node", "n1"))
            self.assertIn("NewReplicaSet:", kubectl("describe", "deployment", "hello"))

    def test_logs_follow(self):
        for name, kubectl in self.each():
            kubectl("create", "-f", "-", input=POD.format(name=name, grace=0, command="for i in 1 2 3 4; do echo line $i; sleep 0.5; done"))
            lib.wait("the pod to run", lambda: lib.get("pod", name)["status"]["phase"] in ("Running", "Succeeded"))
            self.assertEqual(kubectl("logs", "-f", name), "line 1\nline 2\nline 3\nline 4\n")
            lib.wait("the container to end", lambda: "terminated" in lib.get("pod", name)["status"]["containerStatuses"][0]["state"] or lib.get("pod", name)["status"]["containerStatuses"][0]["restartCount"])
            self.assertEqual(kubectl("logs", "--tail=1", name, "--previous") if lib.get("pod", name)["status"]["containerStatuses"][0]["restartCount"] else kubectl("logs", "--tail=1", name), "line 4\n")
            kubectl("delete", "pod", name, "--force", "--grace-period=0")

    def test_exec(self):
        pod = lib.get("pods", "-l", "app=hello")["items"][0]["metadata"]["name"]
        for _, kubectl in self.each():
            self.assertEqual(kubectl("exec", pod, "--", "echo", "a", "b"), "a b\n")
            self.assertEqual(kubectl("exec", "-i", pod, "--", "cat", input="through\n"), "through\n")
            failed = kubectl("exec", pod, "--", "sh", "-c", "echo oops >&2; exit 7", check=False)
            self.assertEqual((failed.returncode, failed.stdout), (7, ""))
            self.assertIn("oops\n", failed.stderr)

    def test_exec_with_a_terminal(self):
        pod = lib.get("pods", "-l", "app=hello")["items"][0]["metadata"]["name"]
        for version, path in lib.kubectls().items():
            with self.subTest(kubectl=version):
                pid, fd = pty.fork()
                if pid == 0:
                    os.execvpe(path, [path, "exec", "-it", pod, "--", "sh", "-c", "tty; read x; echo got $x"], {**os.environ, "KUBECONFIG": lib.KUBECONFIG})
                seen, sent, end = b"", False, time.monotonic() + 20
                while time.monotonic() < end:
                    ready, _, _ = select.select([fd], [], [], 1)
                    if ready:
                        try:
                            data = os.read(fd, 4096)
                        except OSError:
                            break
                        if not data:
                            break
                        seen += data
                    if b"/dev/" in seen and not sent:
                        os.write(fd, b"word\n")
                        sent = True
                os.close(fd)
                os.waitpid(pid, 0)
                self.assertIn(b"/dev/pts/", seen)
                self.assertIn(b"got word", seen)

    def test_delete_gracefully_and_by_force(self):
        for name, kubectl in self.each():
            kubectl("create", "-f", "-", input=POD.format(name=name, grace=30, command="trap 'sleep 1; exit 0' TERM; sleep 1000 & wait"))
            kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
            begin = time.monotonic()
            kubectl("delete", "pod", name)
            took = time.monotonic() - begin
            self.assertTrue(0.9 < took < 10, f"a graceful deletion took {took:.1f}s: the container ends a second after SIGTERM")
            kubectl("create", "-f", "-", input=POD.format(name=name, grace=30, command="trap '' TERM; sleep 1000 & wait; wait"))
            kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
            kubectl("delete", "pod", name, "--force", "--grace-period=0")
            lib.wait("the object to be gone", lambda: lib.kubectl("get", "pod", name, check=False).returncode, 5)


if __name__ == "__main__":
    lib.main()
