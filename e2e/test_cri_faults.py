"""Between kubelet and containerd calls fail, lose their answers, come twice or late (cri_fault_proxy), and the kubelet is killed:
afterwards every pod is as it should be, what ran before was left alone, and nothing is left of what is gone."""

import glob
import os
import random
import subprocess
import time

import lib
from pods import Api, Pods, container, is_ready

SEED = int(os.environ.get("SKIFF_FAULT_SEED", "1"))
SECONDS = int(os.environ.get("SKIFF_FAULT_SECONDS", "60"))
NAMESPACE = "faults"


class CriFaultsTest(lib.ClusterTest):
    node = os.path.join(lib.DIR, "n1")
    switch = os.path.join(lib.DIR, "n1", "faults")  # faults while this file is there
    runtime = os.path.join(lib.DIR, "n1", "containerd.sock")

    @classmethod
    def setUpClass(cls):
        os.makedirs(cls.node, exist_ok=True)
        os.makedirs(os.path.join(lib.DIR, "log"), exist_ok=True)
        os.environ["SKIFF_CRI_SOCKET"] = os.path.join(cls.node, "faults.sock")
        cls.log = open(os.path.join(lib.DIR, "log", "cri_fault_proxy.log"), "w")
        cls.proxy = subprocess.Popen([os.path.join(lib.BIN, "cri_fault_proxy"), "--listen", os.environ["SKIFF_CRI_SOCKET"], "--runtime",
                                      cls.runtime, "--faults-while", cls.switch, "--seed", str(SEED)], stdout=cls.log, stderr=cls.log)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.proxy.terminate()
        cls.proxy.wait()
        cls.log.close()
        del os.environ["SKIFF_CRI_SOCKET"]

    def faults(self, on):
        if on:
            open(self.switch, "w").close()
        else:
            os.unlink(self.switch)

    def in_runtime(self):
        """What containerd has, past the proxy: {pod: [sandbox states]}, {pod/container: [states]}."""
        sandboxes, containers, names = {}, {}, {}
        for line in lib.run(os.path.join(lib.BIN, "skiff-cri"), "--endpoint", "unix://" + self.runtime, "list").stdout.splitlines():
            words = line.split()
            if line.startswith(" "):  # ID NAME in SANDBOX attempt N STATE
                containers.setdefault(f"{names.get(words[3], '?')}/{words[1]}", []).append(words[6])
            else:  # ID NAMESPACE/NAME attempt N STATE
                names[words[0]] = words[1]
                sandboxes.setdefault(words[1], []).append(words[4])
        return sandboxes, containers

    def left(self):
        """What pods hold on the node, beside the machine's snapshot."""
        cgroups = [path for mount in ("/sys/fs/cgroup/*", "/sys/fs/cgroup")
                   for path in glob.glob(f"{mount}/{lib.NAME}/n1/kubepods/**/pod*", recursive=True)]
        return {"directories": sorted(os.listdir(os.path.join(self.node, "kubelet", "pods"))),
                "logs": sorted(os.listdir(os.path.join(self.node, "podlogs"))),
                "addresses": sorted(os.path.basename(p) for p in glob.glob(os.path.join(self.node, "cni", "state", "**", "10.*"), recursive=True)),
                "pod cgroups": sorted(cgroups),
                "sandboxes": sorted(self.in_runtime()[0]),
                **{kind: found for kind, found in lib.snapshot().items() if kind not in ("routes", "files")}}

    def make(self, pods, rng):
        sleeper = container("sleep 1000", env=[{"name": "X", "value": "1"}])
        shape = rng.randrange(4)
        if shape == 0:
            return pods.pod(sleeper, restartPolicy="Always", volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}])
        if shape == 1:
            return pods.pod(sleeper, container("sleep 1000", name="d"), restartPolicy="Always",
                            initContainers=[container("true", name="i"), container("sleep 1000", name="s", restartPolicy="Always")])
        if shape == 2:
            return pods.pod(container("sleep 3"), restartPolicy="OnFailure", initContainers=[container("true", name="i")])
        return pods.pod(sleeper, restartPolicy="Always", volumes=[{"name": "t", "projected": {"sources": [
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}])

    def test_everything_converges_and_nothing_leaks(self):
        api = Api()
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        lib.wait("its service account", lambda: api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default")[0] == 200)
        pods, rng = Pods(api, NAMESPACE, "f"), random.Random(SEED)
        warm = self.make(pods, rng)
        pods.until(warm, "done or ready", lambda p: is_ready(p) or p["status"].get("phase") == "Succeeded")
        pods.delete(warm)
        pods.gone(warm)
        hello = sorted((p["metadata"]["uid"], p["status"]["containerStatuses"][0]["containerID"]) for p in lib.get("pods", "-l", "app=hello")["items"])
        before = lib.wait("the warm-up to be gone", lambda: (lambda now: len(now["sandboxes"]) == 3 and len(now["directories"]) == 3 and now)(self.left()))

        alive, made, kills = [], 0, 0
        self.faults(True)
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                if len(alive) < 10 and rng.random() < 0.6:
                    alive.append(self.make(pods, rng))
                    made += 1
                elif alive and rng.random() < 0.5:
                    pods.delete(alive.pop(rng.randrange(len(alive))), rng.choice([0, 1, 3]))
                if kills < SECONDS // 25 and time.monotonic() > end - SECONDS + 20 * (kills + 1):
                    kills += 1
                    lib.kill_and_start("kubelet-n1")
                time.sleep(rng.random())
        finally:
            self.faults(False)
        print(f"seed {SEED}: {made} pods made, {len(alive)} of them still wanted, the kubelet killed {kills} times")
        self.log.flush()
        with open(self.log.name) as f:
            faults = len(f.readlines())
        self.assertGreater(faults, 20)
        print(f"{faults} calls had a fault")

        for name in alive:
            pod = pods.until(name, "as wanted", lambda p: p["status"].get("phase") == "Succeeded" if p["spec"]["restartPolicy"] == "OnFailure" else is_ready(p), 180)
            if pod["spec"]["restartPolicy"] == "Always":
                for status in pod["status"].get("initContainerStatuses", []) + pod["status"]["containerStatuses"]:
                    self.assertEqual(status["restartCount"], 0, f"{name}/{status['name']} never ended: {status}")
        lib.wait("the deleted ones to be gone", lambda: {p["metadata"]["name"] for p in api.call("GET", pods.path("pods"))["items"]} == set(alive), 120)

        def agrees():
            sandboxes, containers = self.in_runtime()
            for pod in api.call("GET", pods.path("pods"))["items"]:
                name, over = f"{NAMESPACE}/{pod['metadata']['name']}", pod["status"]["phase"] == "Succeeded"
                if sandboxes.get(name, []).count("SANDBOX_READY") != (0 if over else 1):
                    raise AssertionError(f"{name}: {sandboxes.get(name)}")
                for status in pod["status"].get("initContainerStatuses", []) + pod["status"]["containerStatuses"]:
                    states = containers.get(f"{name}/{status['name']}", [])
                    if states.count("CONTAINER_RUNNING") != int("running" in status["state"]):
                        raise AssertionError(f"{name}/{status['name']}: {states}, {status['state']}")
            return True

        self.settled("API and runtime agree", agrees, 60)
        self.assertEqual(sorted((p["metadata"]["uid"], p["status"]["containerStatuses"][0]["containerID"]) for p in lib.get("pods", "-l", "app=hello")["items"]),
                         hello, "what ran before was left alone")
        for name in alive:
            pods.delete(name)
        for name in alive:
            pods.gone(name, 120)

        def same():
            now = self.left()
            self.assertEqual(now, before)
            return True

        self.settled("nothing is left", same, 90)

    def settled(self, what, check, seconds):
        """As lib.wait, but says what differed."""
        end = time.monotonic() + seconds
        while True:
            try:
                return check()
            except AssertionError as e:
                if time.monotonic() > end:
                    raise AssertionError(f"not after {seconds} s: {what}: {e}") from e
            time.sleep(1)


if __name__ == "__main__":
    lib.main()
