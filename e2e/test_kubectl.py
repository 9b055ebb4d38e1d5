"""Every kubectl on the machine against the cluster: what a person does with a Deployment and its pods."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
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


def with_kubectls(test, choose):
    """Runs test(self, name, kubectl) with the chosen ones of all, which are sorted by version; `name` is its own, for objects."""
    def run(self):
        every = sorted(lib.kubectls().items(), key=lambda item: [int(n) for n in re.findall(r"\d+", item[0])])
        for version, path in choose(every):
            with self.subTest(kubectl=version):
                test(self, "k" + re.sub(r"\D", "", version), lambda *a, path=path, **k: lib.kubectl(*a, binary=path, **k))
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def with_every_kubectl(test):
    """For what differs from one to the next: how they stream."""
    return with_kubectls(test, lambda every: every)


def with_the_oldest_and_the_newest_kubectl(test):
    return with_kubectls(test, lambda every: every if len(every) < 2 else [every[0], every[-1]])


def hello_pod():
    return lib.get("pods", "-l", "app=hello")["items"][0]["metadata"]["name"]


class KubectlTest(lib.ClusterTest):
    @with_the_oldest_and_the_newest_kubectl
    def test_apply_scale_rollout_undo_delete(self, name, kubectl):
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

    @with_every_kubectl
    def test_get_in_every_form(self, name, kubectl):
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
                seen = ""

                def until(pattern):
                    nonlocal seen
                    end = time.monotonic() + 60
                    while not re.search(pattern, seen) and time.monotonic() < end:
                        if select.select([watch.stdout], [], [], 1)[0]:
                            seen += os.read(watch.stdout.fileno(), 65536).decode()
                    self.assertRegex(seen, pattern)
                try:
                    until(r"^EVENT +NAME +DATA +AGE\nADDED +kube-root-ca.crt +1 +\d+.*\n")
                    lib.kubectl("create", "configmap", name, "--from-literal=a=b")
                    lib.kubectl("delete", "configmap", name)
                    until(rf"ADDED +{name} +1 +\d+s\nDELETED +{name} +1 +\d+s\n")
                finally:
                    watch.kill()

    @with_the_oldest_and_the_newest_kubectl
    def test_describe(self, name, kubectl):
        pod = hello_pod()
        text = kubectl("describe", "pod", pod)
        for part in ("Status:           Running", "Controlled By:  ReplicaSet/hello-", "Ready                       True", "Started", "Container started"):
            self.assertIn(part, text)
        self.assertIn("Endpoints:", kubectl("describe", "service", "hello"))
        self.assertIn("Allocated resources:", kubectl("describe", "node", "n1"))
        self.assertIn("NewReplicaSet:", kubectl("describe", "deployment", "hello"))

    @with_every_kubectl
    def test_logs_follow(self, name, kubectl):
        kubectl("create", "-f", "-", input=POD.format(name=name, grace=0, command="for i in 1 2 3 4; do echo line $i; sleep 0.5; done")
                .replace("spec:", "spec:\n  restartPolicy: Never"))
        lib.wait("the pod to run", lambda: lib.get("pod", name)["status"]["phase"] in ("Running", "Succeeded"))
        self.assertEqual(kubectl("logs", "-f", name), "line 1\nline 2\nline 3\nline 4\n")
        kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=30s")
        self.assertEqual(kubectl("logs", "--tail=1", name), "line 4\n")
        self.assertRegex(kubectl("logs", "--timestamps", name), r"^\d{4}-\d\d-\d\dT\S+Z line 1\n")
        kubectl("delete", "pod", name, "--force", "--grace-period=0")

    @with_every_kubectl
    def test_exec(self, name, kubectl):
        pod = hello_pod()
        self.assertEqual(kubectl("exec", pod, "--", "echo", "a", "b"), "a b\n")
        self.assertEqual(kubectl("exec", "-i", pod, "--", "cat", input="through\n"), "through\n")
        failed = kubectl("exec", pod, "--", "sh", "-c", "echo oops >&2; exit 7", check=False)
        self.assertEqual((failed.returncode, failed.stdout), (7, ""))
        self.assertIn("oops\n", failed.stderr)

    def test_exec_with_a_terminal(self):
        pod = hello_pod()
        for version, path in lib.kubectls().items():
            with self.subTest(kubectl=version):
                pid, fd = pty.fork()
                if pid == 0:
                    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
                    script = """tty; until [ "$(stty size)" = "40 100" ]; do sleep 0.1; done; echo first
                                until [ "$(stty size)" = "50 120" ]; do sleep 0.1; done; echo second; read x; echo got $x"""
                    os.execvpe(path, [path, "exec", "-it", pod, "-c", "server", "--", "sh", "-c", script], {**os.environ, "KUBECONFIG": lib.KUBECONFIG})
                seen, sent, resized, end = b"", False, False, time.monotonic() + 60
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
                    if b"first" in seen and not resized:
                        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
                        resized = True
                    if b"second" in seen and not sent:
                        os.write(fd, b"word\n")
                        sent = True
                os.close(fd)
                os.waitpid(pid, 0)
                self.assertIn(b"/dev/pts/", seen)
                self.assertIn(b"got word", seen)

    @with_the_oldest_and_the_newest_kubectl
    def test_delete_gracefully_and_by_force(self, name, kubectl):
        kubectl("create", "-f", "-", input=POD.format(name=name, grace=600, command="trap 'sleep 1; exit 0' TERM; sleep 1000 & wait"))
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        began = time.monotonic()
        kubectl("delete", "pod", name)  # the container ends a second after SIGTERM; the grace period is not waited for
        self.assertGreater(time.monotonic() - began, 0.9, "killed at once")
        kubectl("create", "-f", "-", input=POD.format(name=name, grace=30, command="trap '' TERM; sleep 1000 & wait; wait"))
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        kubectl("delete", "pod", name, "--force", "--grace-period=0")
        lib.wait("the object to be gone", lambda: lib.kubectl("get", "pod", name, check=False).returncode, 30)

    @with_every_kubectl
    def test_copy_files(self, name, kubectl):
        pod, folder = hello_pod(), os.environ["TMPDIR"]
        here, back = os.path.join(folder, "here-" + name), os.path.join(folder, "back-" + name)
        with open(here, "wb") as f:
            f.write(os.urandom(300000))
        kubectl("cp", here, f"{pod}:/tmp/{name}", "-c", "server")
        kubectl("cp", f"{pod}:/tmp/{name}", back, "-c", "server")
        with open(here, "rb") as f, open(back, "rb") as g:
            self.assertEqual(f.read(), g.read())

    def test_port_forward(self):
        pod = hello_pod()
        for target, answer in ((f"pod/{pod}", pod + r"\n"), ("service/hello", r"hello-.*\n")):
            for version, path in lib.kubectls().items():
                port = "8080" if target.startswith("pod") else "80"
                with self.subTest(kubectl=version, target=target), subprocess.Popen(
                        [path, "port-forward", target, ":" + port], stdout=subprocess.PIPE, text=True) as forward:
                    try:
                        first = forward.stdout.readline()
                        self.assertRegex(first, r"^Forwarding from 127.0.0.1:\d+ -> 8080\n$")
                        local = re.search(r":(\d+) ", first).group(1)
                        for _ in range(3):  # a connection after a connection, over the one session
                            got = lib.run("curl", "-s", "-m", "5", f"http://127.0.0.1:{local}/").stdout
                            self.assertRegex(got, f"^{answer}$")
                    finally:
                        forward.terminate()

    @with_every_kubectl
    def test_run_attached(self, name, kubectl):
        out = kubectl("run", "run-" + name, "-i", "--rm", "--quiet", "--restart=Never", "--image=localhost/skiff/test:1", "--", "sh", "-c",
                      "read x; echo hi; echo got $x", input="word\n")  # what it writes before it is attached to is not seen
        self.assertEqual(out, "hi\ngot word\n")
        self.assertIn("NotFound", kubectl("get", "pod", "run-" + name, check=False).stderr)

    @with_the_oldest_and_the_newest_kubectl
    def test_debug_with_an_ephemeral_container(self, name, kubectl):
        kubectl("create", "-f", "-", input=POD.format(name=name, grace=0, command="sleep 1000"))
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        kubectl("debug", name, "--image=localhost/skiff/test:1", "--target=c", "-c", "d", "--", "sh", "-c", "echo looking; ps")
        lib.wait("the debugger to end", lambda: "terminated" in lib.get("pod", name)["status"]["ephemeralContainerStatuses"][0]["state"])
        out = kubectl("logs", name, "-c", "d")
        self.assertIn("looking\n", out)
        self.assertRegex(out, r"sleep 1000")  # the target's processes are in sight
        self.assertIn("Ephemeral Containers:", kubectl("describe", "pod", name))
        kubectl("delete", "pod", name)

    def test_apply_on_the_server_diff_patch_edit(self):
        text = DEPLOYMENT.format(name="ways", version="1")
        more = text.replace("replicas: 2", "replicas: 3")
        kubectl = lib.kubectl
        self.assertEqual(kubectl("apply", "--server-side", "-f", "-", input=text), "deployment.apps/ways serverside-applied\n")
        kubectl("scale", "deployment/ways", "--replicas=1")
        conflict = kubectl("apply", "--server-side", "-f", "-", input=more, check=False)
        self.assertEqual(conflict.returncode, 1)
        self.assertRegex(conflict.stderr, 'Apply failed with 1 conflict: conflict with ".*" with subresource "scale" using apps/v1: .spec.replicas')
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=more)
        self.assertEqual(lib.get("deployment", "ways")["spec"]["replicas"], 3)
        for args in (), ("--server-side", "--force-conflicts"):
            diff = kubectl("diff", *args, "-f", "-", input=text, check=False)
            self.assertEqual(diff.returncode, 1, diff.stderr)
            self.assertIn("-  replicas: 3\n+  replicas: 2\n", diff.stdout)
        self.assertEqual(lib.get("deployment", "ways")["spec"]["replicas"], 3, "a diff changes nothing")
        self.assertIn("configured (server dry run)", kubectl("apply", "--dry-run=server", "-f", "-", input=text))
        self.assertEqual(lib.get("deployment", "ways")["spec"]["replicas"], 3, "a dry run changes nothing")
        for kind, patch in (("strategic", '{"spec":{"replicas":1}}'), ("merge", '{"spec":{"replicas":2}}'),
                            ("json", '[{"op":"replace","path":"/spec/replicas","value":1}]')):
            self.assertEqual(kubectl("patch", "deployment", "ways", "--type", kind, "-p", patch), "deployment.apps/ways patched\n")
        bad = kubectl("patch", "deployment", "ways", "-p", '{"spec":{"replicas":"x"}}', check=False)
        self.assertEqual(bad.stderr, 'The request is invalid: patch: Invalid value: "map[spec:map[replicas:x]]": unrecognized type: int32\n')
        edited = lib.run("kubectl", "edit", "deployment", "ways", env={"KUBE_EDITOR": "sed -i s/replicas:.1/replicas:\\ 2/"})
        self.assertEqual(edited.stdout, "deployment.apps/ways edited\n")
        kubectl("rollout", "status", "deployment/ways", "--timeout=60s")
        kubectl("rollout", "restart", "deployment/ways")
        kubectl("rollout", "status", "deployment/ways", "--timeout=60s")
        self.assertRegex(kubectl("rollout", "history", "deployment/ways"), r"\n1 +<none>\n2 +<none>\n")
        kubectl("delete", "deployment", "ways")

    def test_create_expose_label_wait(self):
        kubectl = lib.kubectl
        for argv, answer in (
                ("create deployment web --image=localhost/skiff/test:1 --replicas=2 -- testserver -p 8080 -d 0", "deployment.apps/web created"),
                ("expose deployment web --port=80 --target-port=8080", "service/web exposed"),
                ("create service nodeport np --tcp=80:8080", "service/np created"),
                ("create configmap cm --from-literal=a=b", "configmap/cm created"),
                ("create secret generic sec --from-literal=a=b", "secret/sec created"),
                ("wait --for=condition=Available deployment/web --timeout=60s", "deployment.apps/web condition met"),
                ("label deployment web tier=front", "deployment.apps/web labeled"),
                ("annotate deployment web note=x", "deployment.apps/web annotated"),
                ("set env deployment/web A=b", "deployment.apps/web env updated"),
                ("rollout pause deployment/web", "deployment.apps/web paused"),
                ("rollout resume deployment/web", "deployment.apps/web resumed"),
                ("patch configmap cm -p {\"immutable\":true}", "configmap/cm patched"),
                ("auth can-i create pods", "yes"),
        ):
            self.assertEqual(kubectl(*argv.split()), answer + "\n")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertRegex(kubectl("get", "service", "web", "np").splitlines()[1], r"^web +ClusterIP +10\.96\.\d+\.\d+ +<none> +80/TCP +[\dms]+$")
        self.assertRegex(kubectl("get", "secret", "sec").splitlines()[1], r"^sec +Opaque +1 +[\dms]+$")
        self.assertIn("b", kubectl("get", "configmap", "cm", "-o", "jsonpath={.data.a}"))
        self.assertIn("Kubernetes control plane", kubectl("cluster-info"))
        for argv, code, error in (
                ("create configmap cm", 1, 'error: failed to create configmap: configmaps "cm" already exists'),
                ("patch configmap cm -p {\"data\":{\"a\":\"c\"}}", 1, 'The ConfigMap "cm" is invalid: data: Forbidden: field is immutable when `immutable` is set'),
                ("get pod nosuch", 1, 'Error from server (NotFound): pods "nosuch" not found'),
                ("get nosuch", 1, 'error: the server doesn\'t have a resource type "nosuch"'),
                ("get pods --field-selector=spec.bad=1", 1, "field label not supported: spec.bad"),
                ("label deployment web tier=back", 1, "error: 'tier' already has a value (front), and --overwrite is false"),
                ("top nodes", 1, "error: Metrics API not available"),
                ("exec deployment/hello -- /nosuch", 1, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
                ("logs deployment/hello --previous", 1, 'previous terminated container "server" in pod "hello-'),
                ("logs deployment/hello -c nosuch", 1, "container nosuch is not valid for pod hello-"),
                ("auth can-i create pods --as=bob", 1, ""),
        ):
            with self.subTest(argv=argv):
                result = kubectl(*argv.split(), check=False)
                self.assertEqual(result.returncode, code)
                self.assertIn(error, result.stderr)
        kubectl("delete", "deployment/web", "service/web", "service/np", "configmap/cm", "secret/sec")

    def test_a_namespace_goes_with_all_that_is_in_it(self):
        lib.kubectl("create", "namespace", "ends")
        lib.kubectl("create", "-n", "ends", "-f", "-", input=DEPLOYMENT.format(name="inside", version="1"))
        lib.kubectl("create", "-n", "ends", "configmap", "cm")
        lib.kubectl("rollout", "status", "-n", "ends", "deployment/inside", "--timeout=60s")
        self.assertEqual(lib.kubectl("delete", "namespace", "ends", "--timeout=60s"), 'namespace "ends" deleted\n')
        self.assertEqual(lib.get("pods", "-n", "ends")["items"], [])
        refused = lib.kubectl("create", "-n", "ends", "configmap", "cm", check=False)
        self.assertIn('namespaces "ends" not found', refused.stderr)


if __name__ == "__main__":
    lib.main()
