"""Many pods on a whole kubelet, whose runtime is one in memory (fake_cri), so that a pod costs little."""

import glob
import json
import os
import threading
import time

import lib
from pods import Api, KeptApi

CYCLES = int(os.environ.get("SKIFF_SOAK_CYCLES", "2000"))
AT_ONCE = 50
ADDRESS = "10.250.0.1"
IMAGE = "localhost/soak:1"
NAMESPACE = "soak"
# What the second half of these pods may add, with 1,000 of them: a kept pod would be some 4 KiB each. The heap gets as large as what goes on at
# once needs, which it comes to sooner or later (in runs of 2,000 the second half added 70 to 1,800 KiB), and stays there: 10,000 pods long it went up
# and down by 700. What is smaller than a pod is for kubelet/pod/soak_test.cc, which counts bytes in use.
MOST_KIB = 3072


class ManyPodsTest(lib.unittest.TestCase):
    node = os.path.join(lib.DIR, "n1")

    @classmethod
    def setUpClass(cls):
        lib.run("bash", "-c", '. hack/lib/cluster.sh; mkdir -p "$DIR"/{run,log} "$DIR/n1"; keep_kernel_settings; node_network n1; node_cgroups n1')
        pki = os.path.join(lib.DIR, "pki")
        lib.start("controlplane", [os.path.join(lib.BIN, "skiff-controlplane"), "all", "--data-dir", os.path.join(lib.DIR, "controlplane"), "--cert-dir", pki,
                                   "--bind-address", ADDRESS, "--advertise-address", ADDRESS, "--write-kubeconfig", lib.DIR, "--event-ttl", "30s"])
        lib.wait("the API server", lambda: os.path.exists(lib.KUBECONFIG) and Api().request("GET", "/readyz")[0] == 200, 30)
        runtime, kubeconfig, config = (os.path.join(cls.node, name) for name in ("fake_cri.sock", "kubelet.kubeconfig", "kubelet.yaml"))
        lib.run(os.path.join(lib.BIN, "skiff-controlplane"), "kubeconfig", "--cert-dir", pki, "--server", f"https://{ADDRESS}:6443",
                "--user", "system:node:n1", "--group", "system:nodes", "--out", kubeconfig)
        lib.start("fake_cri", [os.path.join(lib.BIN, "fake_cri"), "--listen", runtime, "--image", IMAGE])
        with open(config, "w") as f:
            # Rates are raised: what is measured is what stays, not how long it takes.
            json.dump({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupRoot": f"/{lib.NAME}/n1",
                       "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": pki + "/ca.crt"}},
                       "containerRuntimeEndpoint": "unix://" + runtime, "failCgroupV1": False, "failSwapOn": False, "resolvConf": "",
                       "podLogsDir": os.path.join(cls.node, "podlogs"), "kubeAPIQPS": 1000, "kubeAPIBurst": 1000,
                       "eventRecordQPS": 1000, "eventBurst": 1000}, f)
        lib.start("kubelet-n1", [os.path.join(lib.BIN, "kubelet"), "--config", config, "--kubeconfig", kubeconfig, "--root-dir", os.path.join(cls.node, "kubelet"),
                                 "--cert-dir", os.path.join(cls.node, "kubelet", "pki"), "--hostname-override", "n1", "--node-ip", ADDRESS])
        cls.api = KeptApi()
        cls.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        cls.api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", {"metadata": {"name": "map"}, "data": {"key": "value"}})
        lib.wait("its service account", lambda: cls.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default")[0] == 200)
        lib.wait("the node", lambda: any(c["type"] == "Ready" and c["status"] == "True" for c in cls.api.call("GET", "/api/v1/nodes/n1")["status"]["conditions"]))

    @classmethod
    def tearDownClass(cls):
        cls.api.connection.close()
        lib.down()

    def pods(self):
        return self.api.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]

    def cycle(self, numbers):
        """So many pods at once, from their making to their end."""
        for i in numbers:
            volumes = [{"name": "v", "configMap": {"name": "map"}} if i % 3 == 0 else {"name": "v", "emptyDir": {"medium": "Memory" if i % 3 == 1 else ""}}]
            containers = [{"name": name, "image": IMAGE, "volumeMounts": [{"name": "v", "mountPath": "/v"}]} for name in ("a", "b")]
            self.api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", {
                "metadata": {"name": f"p{i}"}, "spec": {"nodeName": "n1", "containers": containers, "volumes": volumes, "terminationGracePeriodSeconds": 1}})
        lib.wait("all to be Ready", lambda: all(any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))
                                                for p in self.pods()), 60, 0.2)
        self.api.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods")
        lib.wait("all to be gone", lambda: not self.pods(), 60, 0.2)

    def figures(self):
        pid = lib.pid_of("kubelet-n1")
        with open(f"/proc/{pid}/smaps_rollup") as f:
            dirty = next(int(line.split()[1]) for line in f if line.startswith("Private_Dirty:"))
        return {"private dirty KiB": dirty, "open files": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task"))}

    def left(self):
        """What is on the node of pods: directories, logs, mounts, cgroups."""
        with open("/proc/self/mountinfo") as f:
            mounts = [line.split()[4] for line in f if "/pods/" in line and self.node in line]
        return (os.listdir(os.path.join(self.node, "kubelet", "pods")) + os.listdir(os.path.join(self.node, "podlogs")) + mounts +
                [path for mount in ("/sys/fs/cgroup/*", "/sys/fs/cgroup") for path in glob.glob(f"{mount}/{lib.NAME}/n1/kubepods/**/pod*", recursive=True)])

    def test_soak(self):
        """Reliability row soak: pods come, become Ready and go, and nothing of them stays: not in the kubelet's memory, its open files or
        threads, not in its directories, not in the cgroups. SKIFF_SOAK_CYCLES says how many (2,000)."""
        command = lib.command_of("kubelet-n1")
        lib.kill("kubelet-n1")  # other tests' pods leave their high-water mark
        lib.start("kubelet-n1", command)
        rows, recent = {}, []
        marks = [CYCLES // 10, CYCLES // 5, CYCLES // 2, CYCLES * 3 // 4, CYCLES]
        begin = time.monotonic()
        for first in range(0, CYCLES, AT_ONCE):
            self.cycle(range(first, first + AT_ONCE))
            # What scrapers ask for keeps figures of cgroups and pods as well.
            for path in ("metrics", "metrics/resource", "metrics/cadvisor", "metrics/probes", "stats/summary", "pods"):
                self.api.call("GET", f"/api/v1/nodes/n1/proxy/{path}")
            # The least of some: work that happens to be under way is not what stays.
            recent = recent[-4:] + [self.figures()]
            while marks and first + AT_ONCE >= marks[0]:
                rows[marks.pop(0)] = {name: min(f[name] for f in recent) for name in recent[0]}
                print(first + AT_ONCE, rows[max(rows)], f"{time.monotonic() - begin:.0f} s", flush=True)
        early = rows[CYCLES // 2]
        # A connection or a timer of what was under way just now goes with it.
        lib.wait(f"no more open files than before: {rows}", lambda: self.figures()["open files"] <= early["open files"], 120, 1)
        lib.wait(f"no more memory than before: {rows}", lambda: self.figures()["private dirty KiB"] <= early["private dirty KiB"] + MOST_KIB, 90, 1)
        # Threads come with what blocks longer than usual, and go some seconds after it.
        lib.wait("threads to be as few as before", lambda: self.figures()["threads"] <= early["threads"], 70, 1)
        lib.wait("nothing of them to be left", lambda: not self.left(), 70, 1)

    def ready(self):
        return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", [])) for p in self.pods())

    def test_no_flap(self):
        """Reliability row no-flap: the kubelet is killed and started again with 100 Ready pods, and none is ever seen not Ready."""
        count = 100
        for i in range(count):
            self.api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", {"metadata": {"name": f"r{i}"}, "spec": {
                "nodeName": "n1", "terminationGracePeriodSeconds": 1, "containers": [
                    {"name": "c", "image": IMAGE, "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 2}}]}})
        lib.wait("all to be Ready", lambda: self.ready() == count, 60, 0.2)
        lib.wait_for_age(11, self.pods())  # containers of the last ten seconds before a start count as new, as upstream has it
        watcher = KeptApi()
        watcher.connection.timeout = 900  # nothing is to be told all the while
        version = self.api.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["metadata"]["resourceVersion"]
        watcher.connection.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods?watch=true&resourceVersion={version}")
        stream = watcher.connection.getresponse()
        seen, flaps, over = [], [], threading.Event()

        def read():
            for line in iter(stream.readline, b""):
                if over.is_set():
                    return
                event = json.loads(line)
                if event["type"] == "BOOKMARK":
                    continue
                seen.append(event)
                bad = [c for c in event["object"]["status"]["conditions"] if c["type"] in ("Ready", "ContainersReady") and c["status"] != "True"]
                if bad or event["type"] == "DELETED":
                    flaps.append((event["type"], event["object"]["metadata"]["name"], bad))

        reader = threading.Thread(target=read)
        reader.start()
        lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"
        for _ in range(3):
            command, before = lib.command_of("kubelet-n1"), self.api.call("GET", lease)["spec"]["renewTime"]
            lib.kill("kubelet-n1")
            lib.start("kubelet-n1", command)
            lib.wait("the kubelet to go on", lambda: self.api.call("GET", lease)["spec"]["renewTime"] != before, 40, 0.5)
            lib.wait("every pod to have been probed again", lambda: self.api.call(
                "GET", "/api/v1/nodes/n1/proxy/metrics/probes").count('probe_type="Readiness",result="successful"} ') == count, 40, 0.5)
        self.assertEqual(flaps, [])
        # The watch did watch.
        self.api.merge(f"/api/v1/namespaces/{NAMESPACE}/pods/r0", {"metadata": {"labels": {"last": "one"}}})
        lib.wait("the watch to tell", lambda: any(e["object"]["metadata"].get("labels") for e in seen), 10)
        over.set()
        self.assertEqual(self.ready(), count)
        self.assertTrue(all(p["status"]["containerStatuses"][0]["restartCount"] == 0 for p in self.pods()))
        self.api.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods")
        lib.wait("all to be gone", lambda: not self.pods(), 60, 0.2)
        reader.join(10)
        watcher.connection.close()


if __name__ == "__main__":
    lib.main()
