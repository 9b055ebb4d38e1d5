"""Newer container runtimes (e2e/runtimes fetches them): containerd 1.7 and 2.1 on a node each, where the ones that Debian 12 has lack
events, RuntimeConfig, user namespaces, image volumes, recursive read-only mounts and strict supplemental groups."""

import json
import os
import re
import signal
import subprocess
import time
import unittest

import lib
import pods
from pods import container, is_ready

NAMESPACE = "runtimes"


def metrics():
    """{name and labels: value} of the kubelet's /metrics."""
    text = lib.kubectl("get", "--raw", "/api/v1/nodes/n1/proxy/metrics")
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}


def node():
    return lib.get("node", "n1")


def ready_condition():
    return next(c for c in node()["status"]["conditions"] if c["type"] == "Ready")


class Runtime:
    """One runtime's checks, on one cluster, in order of their names."""

    SUITE, VERSION, NODES = "", "", 1
    CGROUP_DRIVER = "cgroupfs"  # configured; where the runtime names its own, another one, which must not count

    @classmethod
    def setUpClass(cls):
        folder = os.path.join(lib.ROOT, "build/runtimes", cls.SUITE)
        if not os.path.exists(os.path.join(folder, "version")):
            reason = f"no containerd of {cls.SUITE} in build/runtimes (e2e/runtimes fetches it)"
            print(f"[  SKIPPED ] runtimes.{cls.SUITE}: {reason}")
            raise unittest.SkipTest(reason)
        os.environ.update(SKIFF_CONTAINERD=folder, SKIFF_CGROUP_DRIVER=cls.CGROUP_DRIVER)
        super().setUpClass()
        cls.api = pods.Api()
        cls.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        cls.t = pods.Pods(cls.api, NAMESPACE, "r")
        cls.begin, cls.lists = time.monotonic(), metrics()["kubelet_pleg_relist_duration_seconds_count"]

    def test_1_node(self):
        status = node()["status"]
        self.assertTrue(status["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://" + self.VERSION), status["nodeInfo"])
        self.assertEqual(ready_condition()["status"], "True")
        config = json.loads(lib.kubectl("get", "--raw", "/api/v1/nodes/n1/proxy/configz"))["kubeletconfig"]
        self.assertEqual(config["cgroupDriver"], "cgroupfs")
        self.assertEqual('kubelet_cri_losing_support{version="1.37.0"}' in metrics(), self.CGROUP_DRIVER == "cgroupfs")

    def test_2_streams_and_logs(self):
        name = lib.get("pods", "-l", "app=hello")["items"][0]["metadata"]["name"]
        self.assertEqual(lib.kubectl("exec", "-i", name, "--", "sh", "-c", "cat; echo done", input="hello\n"), "hello\ndone\n")
        failed = lib.kubectl("exec", name, "--", "sh", "-c", "exit 3", check=False)
        self.assertEqual(failed.returncode, 3, failed.stderr)
        one = self.t.pod(container("echo one; echo two >&2; sleep 600"))
        self.t.ready(one)
        lib.wait("its log", lambda: sorted(self.t.log(one).splitlines()) == ["one", "two"], 30)
        forward = subprocess.Popen(["kubectl", "port-forward", f"pod/{name}", ":8080"], stdout=subprocess.PIPE, text=True)
        try:
            port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())[1]
            self.assertEqual(lib.run("curl", "-s", "-m", "5", f"http://127.0.0.1:{port}/").stdout.strip(), name)
        finally:
            forward.send_signal(signal.SIGTERM)
            forward.wait(10)
            forward.stdout.close()

    def test_3_kill_for_lack_of_memory(self):
        name = self.t.pod(container("sleep 1; head -c 100000000 /dev/zero | tail -n 1", resources={"limits": {"memory": "24Mi"}}))
        state = self.t.phase(name, "Failed")["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual((state["reason"], state["exitCode"]), ("OOMKilled", 137))

    def test_4_events(self):
        before = metrics()
        self.assertEqual(before["kubelet_evented_pleg_connection_success_count"], 1)
        told = before["kubelet_evented_pleg_connection_latency_seconds_count"]
        began = time.monotonic()
        name = self.t.pod(container(None), restartPolicy="Always")
        self.t.ready(name)
        print(f"\n{self.SUITE}: a pod is Ready after {time.monotonic() - began:.2f} s (asked every 0.3 s)")
        # Ended by something else than the kubelet, which only the runtime can tell.
        lib.kubectl("-n", NAMESPACE, "exec", name, "--", "kill", "1", check=False)
        self.t.until(name, "started again", lambda p: pods.restarts(p) == 1 and is_ready(p))
        self.assertGreaterEqual(metrics()["kubelet_evented_pleg_connection_latency_seconds_count"] - told, 6)

    def test_8_listing_is_an_audit(self):
        time.sleep(max(0, 20 - (time.monotonic() - self.begin)))
        lists, seconds = metrics()["kubelet_pleg_relist_duration_seconds_count"] - self.lists, time.monotonic() - self.begin
        print(f"\n{self.SUITE}: everything was listed {lists:.0f} times in {seconds:.0f} s")
        self.assertLess(lists, seconds / 2, "once a second without events")
        self.assertEqual(metrics()["kubelet_evented_pleg_connection_error_count"], 0)
        with open(os.path.join(lib.DIR, "log/kubelet-n1.log")) as log:
            self.assertEqual([line for line in log if "has not told of a change" in line], [])

    def kill_and_start_runtime(self):
        lib.kill_and_start("containerd-n1")

    def test_9_runtime_kill(self):
        """Reliability row runtime-kill, and the stream of events is made again."""
        before = [(p["metadata"]["uid"], p["status"]["containerStatuses"][0]["containerID"]) for p in lib.get("pods", "-l", "app=hello")["items"]]
        self.kill_and_start_runtime()
        lib.wait("the events to be followed again", lambda: metrics()["kubelet_evented_pleg_connection_success_count"] >= 2)
        lib.wait("the node to be Ready", lambda: ready_condition()["status"] == "True")
        told = metrics()["kubelet_evented_pleg_connection_latency_seconds_count"]
        self.t.phase(self.t.pod(container("true")), "Succeeded")
        self.assertGreater(metrics()["kubelet_evented_pleg_connection_latency_seconds_count"], told)
        now = lib.get("pods", "-l", "app=hello")["items"]
        self.assertEqual(sorted(before), sorted((p["metadata"]["uid"], p["status"]["containerStatuses"][0]["containerID"]) for p in now))
        self.assertEqual([pods.restarts(p, "server") for p in now], [0, 0, 0])


class Containerd17(Runtime, lib.ClusterTest):
    SUITE, VERSION = "trixie", "1.7."

    def kill_and_start_runtime(self):
        """Away for so long that the node says so: what comes after is waited for in earnest."""
        command = lib.command_of("containerd-n1")
        lib.kill("containerd-n1")
        lib.wait("the node not to be Ready", lambda: ready_condition()["status"] == "False", 90)
        lib.start_again("containerd-n1", command)


class Containerd21(Runtime, lib.ClusterTest):
    SUITE, VERSION, CGROUP_DRIVER = "forky", "2.1.", "systemd"

    def test_5_users_of_their_own(self):
        name = self.t.pod(container("cat /proc/self/uid_map; id -u; touch /v/f; stat -c %u /v/f; grep -c /proc/kcore /proc/mounts; sleep 600",
                                    volumeMounts=[{"name": "v", "mountPath": "/v"}], securityContext={"procMount": "Unmasked"}),
                          hostUsers=False, volumes=[{"name": "v", "emptyDir": {}}])
        self.t.ready(name)
        mapping, user, owner, masked = lib.wait("its log", lambda: len(self.t.log(name).splitlines()) == 4 and self.t.log(name).splitlines(), 30)
        inside, outside, length = map(int, mapping.split())
        self.assertEqual((inside, length, user, owner), (0, 65536, "0", "0"))
        self.assertGreaterEqual(outside, 65536)
        self.assertEqual(masked, "0", "procMount: Unmasked hides nothing")
        uid = self.t.get(name)["metadata"]["uid"]
        self.assertEqual(os.stat(os.path.join(lib.DIR, "n1/kubelet/pods", uid, "volumes/kubernetes.io~empty-dir/v/f")).st_uid, 0,
                         "the volume is mounted with mapped ids")
        self.assertTrue(all(h["features"]["userNamespaces"] for h in node()["status"]["runtimeHandlers"]))

    def test_5_image_volume(self):
        name = self.t.pod(container("head -n 1 /v/etc/group; touch /v/x || echo read-only; sleep 600",
                                    volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                          volumes=[{"name": "v", "image": {"reference": pods.TEST_IMAGE, "pullPolicy": "Never"}}])
        self.t.ready(name)
        lib.wait("its log", lambda: "read-only" in self.t.log(name), 30)
        self.assertIn("root:x:0:\n", self.t.log(name))

    def test_5_recursive_read_only(self):
        self.assertTrue(all(h["features"]["recursiveReadOnlyMounts"] for h in node()["status"]["runtimeHandlers"]))
        outer = os.path.join(lib.DIR, "outer")
        os.makedirs(outer + "/inner")
        lib.run("mount", "-t", "tmpfs", "tmpfs", outer + "/inner")
        try:
            mounts = [{"name": "v", "mountPath": f"/{how}", "readOnly": True, "recursiveReadOnly": how} for how in ("Enabled", "IfPossible", "Disabled")]
            name = self.t.pod(container("for how in Enabled IfPossible Disabled; do touch /$how/inner/$how && echo $how; done; sleep 600",
                                        volumeMounts=mounts), volumes=[{"name": "v", "hostPath": {"path": outer}}])
            pod = self.t.ready(name)
            shown = {m["mountPath"]: m.get("recursiveReadOnly") for m in pod["status"]["containerStatuses"][0]["volumeMounts"]}
            self.assertEqual({m: shown[m] for m in ("/Enabled", "/IfPossible", "/Disabled")},
                             {"/Enabled": "Enabled", "/IfPossible": "Enabled", "/Disabled": "Disabled"})
            lib.wait("its log", lambda: "Disabled\n" in self.t.log(name), 30)
            self.assertEqual(os.listdir(outer + "/inner"), ["Disabled"])
            self.t.delete(name)
            self.t.gone(name)
        finally:
            lib.run("umount", "-l", outer + "/inner")

    def test_5_supplemental_groups(self):
        self.assertTrue(node()["status"]["features"]["supplementalGroupsPolicy"])
        groups = {}
        for policy in ("Merge", "Strict"):
            name = self.t.pod(container("id -G; sleep 600"), securityContext={"runAsUser": 65534, "runAsGroup": 3000, "supplementalGroups": [4000],
                                                                              "supplementalGroupsPolicy": policy})
            user = self.t.ready(name)["status"]["containerStatuses"][0]["user"]["linux"]
            groups[policy] = (set(lib.wait("its log", lambda: self.t.log(name), 30).split()), user["uid"], set(user["supplementalGroups"]))
        self.assertEqual(groups["Strict"], ({"3000", "4000"}, 65534, {3000, 4000}))
        self.assertEqual(groups["Merge"], ({"3000", "4000", "50000"}, 65534, {3000, 4000, 50000}))


if __name__ == "__main__":
    lib.main()
