"""Things are killed while pods run and requests flow: nothing restarts, nothing breaks, nothing acknowledged is lost."""

import http.client
import json
import os
import signal
import threading
import time
import unittest

import lib

SLOW = """
spec:
  template:
    spec:
      containers:
      - name: server
        env: [{{name: VERSION, value: "{version}"}}]
"""


def hello():
    """(uid, container id, restarts) of every hello pod."""
    return sorted((p["metadata"]["uid"], p["status"]["containerStatuses"][0]["containerID"], p["status"]["containerStatuses"][0]["restartCount"])
                  for p in lib.get("pods", "-l", "app=hello")["items"])


class Held:
    """A connection through the Service that must stay: the server writes a line a second on it."""

    def __init__(self, ip):
        self.connection = http.client.HTTPConnection(ip, 80, timeout=30)
        self.connection.request("GET", "/hold")
        self.answer = self.connection.getresponse()

    def lines(self, n):
        """Waits for n lines written from now on."""
        begin = time.time()
        while n > 0:
            line = self.answer.fp.readline()
            assert line, "the connection was dropped"
            n -= int(line.split()[1]) > begin


class FaultsTest(lib.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A replica that is to end serves on for longer: a busy machine may be slow to send no more to it.
        path = "/spec/template/spec/containers/0/command/-"
        lib.kubectl("patch", "deployment", "hello", "--type=json", "-p", json.dumps([{"op": "add", "path": path, "value": word} for word in ("-d", "8")]))
        lib.kubectl("rollout", "status", "deployment/hello", "--timeout=90s")

    def setUp(self):
        self.ip = lib.get("service", "hello")["spec"]["clusterIP"]
        lib.wait("three ready replicas", lambda: lib.get("deployment", "hello")["status"].get("readyReplicas") == 3)
        lib.wait("no others", lambda: len(lib.get("pods", "-l", "app=hello")["items"]) == 3)

    def ready(self):
        return next(c for c in lib.get("node", "n1")["status"]["conditions"] if c["type"] == "Ready")

    def node_ready(self):
        return self.ready()["status"]

    def killed(self, process, meanwhile=lambda: None):
        before = hello()
        held = Held(self.ip)
        with lib.Load(self.ip, 80) as load:
            held.lines(1)
            command = lib.command_of(process)
            old = lib.kill(process)
            held.lines(2)
            meanwhile()
            lib.start_again(process, command)
            self.assertNotEqual(lib.pid_of(process), old)
            held.lines(2)
            # The cluster still converges: a new pod runs and answers.
            lib.wait("the node to be Ready", lambda: self.node_ready() == "True", 90)
            lib.kubectl("scale", "deployment/hello", "--replicas=4")
            lib.wait("the fourth replica", lambda: lib.get("deployment", "hello")["status"].get("readyReplicas") == 4)
            names = [p["metadata"]["name"] for p in lib.get("pods", "-l", "app=hello")["items"]]
            lib.wait("each of them to answer", lambda: all(name in load.answers for name in names))
            lib.kubectl("scale", "deployment/hello", "--replicas=3")
            lib.wait("three replicas again", lambda: len(lib.get("pods", "-l", "app=hello")["items"]) == 3)
        self.assertEqual(load.failures, [], f"{len(load.failures)} of {load.requests} requests failed")
        self.assertGreater(load.requests, 50)
        survivors = hello()
        self.assertGreaterEqual(len(set(before) & set(survivors)), 2, f"containers restarted: {before} {survivors}")
        self.assertTrue(all(restarts == 0 for _, _, restarts in survivors))

    def test_agent_kill_kubelet(self):
        """Reliability row agent-kill: no container restarts, no connection drops, what was asked for comes."""
        self.killed("kubelet-n1")

    def test_agent_kill_proxy(self):
        self.killed("proxy-n1")

    def test_agent_kill_cni(self):
        self.killed("cni-n1")

    def test_control_plane_killed(self):
        self.killed("controlplane")

    def test_control_plane_killed_in_mid_write_loses_nothing_acknowledged(self):
        acknowledged, stop = [], threading.Event()

        def write(worker):
            n = 0
            while not stop.is_set():
                name = f"w{worker}-{n}"
                if lib.kubectl("create", "configmap", name, "--from-literal=n=" + str(n), check=False).returncode == 0:
                    acknowledged.append(name)
                n += 1

        threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        for _ in range(2):
            before = len(acknowledged)
            lib.wait("the writes to go on", lambda: len(acknowledged) >= before + 10)
            lib.kill_and_start("controlplane")
        stop.set()
        for t in threads:
            t.join()
        names = {c["metadata"]["name"] for c in lib.get("configmaps")["items"]}
        self.assertGreater(len(acknowledged), 10)
        self.assertEqual(set(acknowledged) - names, set(), "acknowledged and gone")

    def test_rolling_update_under_load_loses_no_request(self):
        with lib.Load(self.ip, 80, threads=3, rate=90) as load:
            for version in ("2", "3"):
                lib.kubectl("patch", "deployment", "hello", "-p", SLOW.format(version=version))
                lib.kubectl("rollout", "status", "deployment/hello", "--timeout=90s")
        self.assertEqual(load.failures, [], f"{len(load.failures)} of {load.requests} requests failed")
        self.assertGreater(load.requests, 100)
        self.assertGreaterEqual(len(load.answers), 6, "old and new replicas answered")

    def test_runtime_kill(self):
        """Reliability row runtime-kill: pods run on and answer, the node says why it is not Ready, and recovers by itself."""
        before = hello()

        def down():
            lib.wait("the node to be not Ready", lambda: self.ready()["status"] == "False", 60)
            self.assertEqual(self.ready()["reason"], "KubeletNotReady")
            self.assertIn("container runtime is down", self.ready()["message"])

        self.killed("containerd-n1", down)
        self.assertEqual(self.node_ready(), "True")
        # What ran before is still in the runtime's hands.
        uid = (set(before) & set(hello())).pop()[0]
        name = next(p["metadata"]["name"] for p in lib.get("pods", "-l", "app=hello")["items"] if p["metadata"]["uid"] == uid)
        self.assertEqual(lib.kubectl("exec", name, "--", "fetch", "-t", "2", "http://127.0.0.1:8080/", timeout=20).strip(), name)

    def test_kubelet_silent_for_a_while(self):
        before = hello()
        held = Held(self.ip)
        held.lines(1)
        kubelet = lib.pid_of("kubelet-n1")
        os.kill(kubelet, signal.SIGSTOP)
        try:
            lib.wait("the node to be Unknown", lambda: self.node_ready() == "Unknown", 90, 0.5)
            lib.wait("its pods not to be ready", lambda: not lib.get("deployment", "hello")["status"].get("readyReplicas"), 20)
        finally:
            os.kill(kubelet, signal.SIGCONT)
        lib.wait("the node to be Ready", lambda: self.node_ready() == "True", 30)
        lib.wait("its pods to be ready again", lambda: lib.get("deployment", "hello")["status"].get("readyReplicas") == 3, 30)
        self.assertEqual(hello(), before)
        held.lines(2)


if __name__ == "__main__":
    lib.main()
