"""A node that runs short, pods that take more than their limits, and what is cleared away: on a kubelet directory of its own size."""

import glob
import json
import os
import pathlib
import subprocess
import time
import unittest

import lib

NODE = os.path.join(lib.DIR, "n1")
SIZE = 192 << 20

CONFIG = """
evictionHard: {{nodefs.available: "25%", nodefs.inodesFree: "5%", memory.available: "1Mi"}}
evictionPressureTransitionPeriod: {transition}
imageGCHighThresholdPercent: {high}
imageGCLowThresholdPercent: {low}
imageMinimumGCAge: 1ns
"""


def configure(transition="5s", high=100, low=99):
    with open(os.path.join(NODE, "kubelet.extra.yaml"), "w") as f:
        f.write(CONFIG.format(transition=transition, high=high, low=low))


def pod(name, command, limits=None, volume=None, **spec):
    container = {"name": "c", "image": "localhost/skiff/test:1", "command": ["sh", "-c", command]}
    if limits:
        container["resources"] = {"limits": limits}
    if volume is not None:
        container["volumeMounts"] = [{"name": "m", "mountPath": "/m"}]
        spec["volumes"] = [{"name": "m", "emptyDir": volume}]
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                       "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}})


def ctr(*argv):
    return lib.run("ctr", "--address", os.path.join(NODE, "containerd.sock"), "--namespace", "k8s.io", *argv).stdout


class EvictionTest(lib.ClusterTest):
    @classmethod
    def setUpClass(cls):
        os.makedirs(os.path.join(NODE, "kubelet"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", os.path.join(NODE, "kubelet")], check=True)
        configure()
        super().setUpClass()

    def create(self, name, *args, **kwargs):
        lib.kubectl("create", "-f", "-", input=pod(name, *args, **kwargs))
        self.addCleanup(lib.kubectl, "delete", "pod", name, "--ignore-not-found", "--wait=false")

    def evicted(self, name, message, seconds=90):
        """Waits for the end of an evicted pod; returns its status."""
        status = lib.wait(f"{name} to be evicted", lambda: (s := lib.get("pod", name)["status"])["phase"] == "Failed" and s, seconds)
        self.assertEqual((status["reason"], status["message"]), ("Evicted", message))
        event = lib.wait("the event", lambda: [e for e in self.events(name) if e["reason"] == "Evicted"], 30)[0]
        self.assertEqual((event["type"], event["message"]), ("Warning", message))
        return status

    def events(self, name):
        return lib.get("events", "--field-selector", f"involvedObject.name={name}")["items"]

    def condition(self, name):
        return next(c for c in lib.get("node", "n1")["status"]["conditions"] if c["type"] == name)

    def kubelet_again(self):
        lib.kubectl("delete", "pods", "--field-selector", "status.phase=Failed")
        lib.kubelet_again(lambda process, command: lib.restart())  # which writes its configuration

    def test_a_node_that_starts(self):
        """The events of a start as recorded (kubelet/12-node), the CSINode, and what is said of a reboot."""
        def events():
            return [(e["type"], e["reason"], e.get("message")) for e in self.events("n1") if e["source"].get("component") == "kubelet"]
        wanted = [("Normal", "Starting", "Starting kubelet."),
                  ("Normal", "NodeHasSufficientMemory", "Node n1 status is now: NodeHasSufficientMemory"),
                  ("Normal", "NodeHasNoDiskPressure", "Node n1 status is now: NodeHasNoDiskPressure"),
                  ("Normal", "NodeHasSufficientPID", "Node n1 status is now: NodeHasSufficientPID"),
                  ("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods"),
                  ("Normal", "NodeReady", "Node n1 status is now: NodeReady")]
        end = time.monotonic() + 30
        while set(wanted) - set(events()) and time.monotonic() < end:
            time.sleep(0.5)
        self.assertEqual([w for w in wanted if w not in events()], [])
        csi = lib.get("csinode", "n1")
        self.assertEqual(csi["metadata"]["ownerReferences"][0]["uid"], lib.get("node", "n1")["metadata"]["uid"])
        self.assertIn("kubernetes.io/gce-pd", csi["metadata"]["annotations"]["storage.alpha.kubernetes.io/migrated-plugins"])
        boot = lib.get("node", "n1")["status"]["nodeInfo"]["bootID"]
        lib.kubectl("patch", "node", "n1", "--subresource=status", "--type=merge", "-p", '{"status":{"nodeInfo":{"bootID":"another"}}}')
        lib.wait("the reboot to be told", lambda: ("Warning", "Rebooted", f"Node n1 has been rebooted, boot id: {boot}") in events(), 30)

    def test_claims_of_local_volumes(self):
        directory = os.path.join(NODE, "disk")
        os.makedirs(directory, exist_ok=True)
        pathlib.Path(directory, "there").write_text("before")
        volumes = [{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                    "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", **source,
                             "claimRef": {"namespace": "default", "name": name}}}
                   for name, source in (("local", {"local": {"path": directory}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
                       {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}}}),
                                        ("host", {"hostPath": {"path": directory}}))]
        claims = [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                   "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}}
                  for name in ("local", "host", "unbound")]
        for thing in volumes + claims:
            lib.kubectl("create", "-f", "-", input=json.dumps(thing))
        # Binding is the controller's work; what it would write is written here.
        for claim in ("local", "host"):
            uid = lib.get("pvc", claim)["metadata"]["uid"]
            lib.kubectl("patch", "pv", claim, "--type=merge", "-p", json.dumps({"spec": {"claimRef": {"uid": uid}}}))
            lib.kubectl("patch", "pvc", claim, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Bound"}}')
        spec = json.loads(pod("claims", "cat /l/there /h/there && echo && echo new > /l/new && sleep 1000", nodeName="n1"))
        spec["spec"]["containers"][0]["volumeMounts"] = [{"name": "l", "mountPath": "/l"}, {"name": "h", "mountPath": "/h", "readOnly": True}]
        spec["spec"]["volumes"] = [{"name": "l", "persistentVolumeClaim": {"claimName": "local"}}, {"name": "h", "persistentVolumeClaim": {"claimName": "host"}}]
        lib.kubectl("create", "-f", "-", input=json.dumps(spec))
        lib.wait("the pod to run", lambda: lib.get("pod", "claims")["status"]["phase"] == "Running", 30)
        lib.wait("its output", lambda: lib.kubectl("logs", "claims") == "beforebefore\n", 20)
        spec["metadata"]["name"] = "waits"
        spec["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "unbound"
        lib.kubectl("create", "-f", "-", input=json.dumps(spec))
        message = ("Unable to attach or mount volumes: unmounted volumes=[l], unattached volumes=[], failed to process volumes=[l]: "
                   "error processing PVC default/unbound: PVC is not bound")
        lib.wait("the event", lambda: ("FailedMount", message) in [(e["reason"], e.get("message")) for e in self.events("waits")], 30)
        lib.kubectl("delete", "pod", "claims", "waits")
        lib.wait("the pods to go", lambda: not {p["metadata"]["name"] for p in lib.get("pods")["items"]} & {"claims", "waits"}, 40)
        # Nothing below a mount is ever removed.
        self.assertEqual(sorted(os.listdir(directory)), ["new", "there"])
        lib.kubectl("delete", "pvc", "--all", "--wait=false")
        lib.kubectl("delete", "pv", "--all", "--wait=false")

    def test_etc_hosts_disk_and_other_local_storage(self):
        """security.md: etc-hosts-disk. What a pod writes to its /etc/hosts counts, as do its layer, logs and volumes."""
        self.create("hosts", "dd if=/dev/zero of=/etc/hosts bs=1M count=5; sleep 1000", {"ephemeral-storage": "1Mi"})
        self.create("layer", "dd if=/dev/zero of=/f bs=1M count=5; sleep 1000", {"ephemeral-storage": "1Mi"})
        self.create("volume", "dd if=/dev/zero of=/m/f bs=1M count=5; sleep 1000", volume={"sizeLimit": "1Mi"})
        self.create("within", "dd if=/dev/zero of=/m/f bs=1M count=2; sleep 1000", {"ephemeral-storage": "20Mi"}, volume={"sizeLimit": "9Mi"})
        status = self.evicted("layer", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ")
        state = status["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual((state["reason"], state["exitCode"]), ("Error", 137))
        self.assertNotIn("DisruptionTarget", [c["type"] for c in status["conditions"]])
        self.evicted("hosts", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ")
        self.evicted("volume", 'Usage of EmptyDir volume "m" exceeds the limit "1Mi". ')
        self.assertEqual(lib.get("pod", "within")["status"]["phase"], "Running")

    def test_disk_full(self):
        """security.md: disk-full. A full disk is reported, evicts who filled it, and nobody loses a state file."""
        before = {p: pathlib.Path(p).read_bytes() for p in glob.glob(os.path.join(NODE, "kubelet", "**", "*"), recursive=True)
                  if os.path.isfile(p) and "/volumes/" not in p and "/pods/" not in p}
        self.create("modest", "sleep 1000", volume={})
        self.create("glutton", "dd if=/dev/zero of=/m/f bs=1M; sleep 1000", volume={})
        lib.wait("disk pressure", lambda: self.condition("DiskPressure")["status"] == "True", 40)
        refused = self.condition("DiskPressure")
        self.assertEqual((refused["reason"], refused["message"]), ("KubeletHasDiskPressure", "kubelet has disk pressure"))
        status = lib.wait("the eviction", lambda: (s := lib.get("pod", "glutton")["status"])["phase"] == "Failed" and s, 60)
        self.assertEqual(status["reason"], "Evicted")
        self.assertRegex(status["message"], r"^The node was low on resource: ephemeral-storage\. Threshold quantity: \d+\w*, available: \d+\w*\. Container c was using \d+Ki, request is 0, has larger consumption of ephemeral-storage\. $")
        event = lib.wait("its event", lambda: [e for e in self.events("glutton") if e["reason"] == "Evicted"], 30)[0]
        self.assertEqual((event["metadata"]["annotations"]["starved_resource"], event["metadata"]["annotations"]["offending_containers"]),
                         ("ephemeral-storage", "c"))
        target = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
        self.assertEqual((target["status"], target["reason"], target["message"]), ("True", "TerminationByKubelet", status["message"]))
        lib.wait("the node's events", lambda: {"NodeHasDiskPressure", "EvictionThresholdMet"} <= {e["reason"] for e in self.events("n1")}, 20)
        self.assertIn("Attempting to reclaim ephemeral-storage", [e.get("message") for e in self.events("n1")])
        lib.wait("the pressure to be over", lambda: self.condition("DiskPressure")["status"] == "False", 60)
        self.assertEqual(lib.get("pod", "modest")["status"]["phase"], "Running")
        self.assertEqual(self.condition("Ready")["status"], "True")
        for path, text in before.items():
            if path.endswith("_pods_state"):  # these name the pods that came
                json.loads(pathlib.Path(path).read_bytes())
            elif os.path.exists(path):
                self.assertEqual(pathlib.Path(path).read_bytes(), text, path)
        self.assertFalse(os.path.exists(os.path.join(NODE, "kubelet", "pods", lib.get("pod", "glutton")["metadata"]["uid"], "volumes", "kubernetes.io~empty-dir", "m")))

    def test_pods_are_refused_under_pressure(self):
        filler = os.path.join(NODE, "kubelet", "filler")
        with open(filler, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, SIZE * 4 // 5)
        self.addCleanup(lambda: os.path.exists(filler) and os.unlink(filler))
        lib.wait("disk pressure", lambda: self.condition("DiskPressure")["status"] == "True", 40)
        self.create("late", "sleep 1000", nodeName="n1")
        status = lib.wait("the refusal", lambda: (s := lib.get("pod", "late")["status"])["phase"] == "Failed" and s, 60)
        self.assertEqual((status["reason"], status["message"]), ("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. "))
        os.unlink(filler)
        lib.wait("the pressure to be over", lambda: self.condition("DiskPressure")["status"] == "False", 60)

    def test_zz_garbage(self):
        """Dead containers, their logs, and images that nobody uses."""
        ctr("images", "tag", "localhost/skiff/test:1", "localhost/skiff/unused:1")
        self.create("restarts", "sleep 0.2")
        lib.wait("restarts", lambda: lib.get("pod", "restarts")["status"]["containerStatuses"][0]["restartCount"] >= 2, 120)
        uid = lib.get("pod", "restarts")["metadata"]["uid"]
        logs = os.path.join(NODE, "podlogs", f"default_restarts_{uid}", "c")
        os.makedirs(os.path.join(NODE, "podlogs", "default_nobody_0000-1", "c"))
        os.makedirs(os.path.join(NODE, "kubelet", "pods", "0000-2", "volumes", "kubernetes.io~empty-dir", "v"))
        # Whatever the disk's state, it is above this: all unused images go.
        configure(high=1, low=0)
        self.kubelet_again()
        lib.wait("old logs to go", lambda: len(glob.glob(logs + "/*.log")) <= 2, 90)
        lib.wait("a stranger's log directory to go", lambda: not os.path.exists(os.path.join(NODE, "podlogs", "default_nobody_0000-1")), 30)
        lib.wait("an orphan's volumes to go", lambda: not os.path.exists(os.path.join(NODE, "kubelet", "pods", "0000-2")), 60)
        left = ctr("images", "ls", "-q")
        self.assertIn("localhost/skiff/pause:1", left)   # containerd 1.6 does not pin it
        self.assertIn("localhost/skiff/test:1", left)    # in use
        self.create("after", "sleep 1000")
        lib.wait("a pod on what is left", lambda: lib.get("pod", "after")["status"]["phase"] == "Running", 30)

    def test_zz_garbage_without_an_api_server(self):
        """A kubelet that starts while its API server is away frees the disk all the same, and leaves what is of pods that it has not heard of."""
        unused = "localhost/skiff/pause65535:1"
        configure(high=1, low=0)
        self.kubelet_again()
        self.create("stays", "sleep 1000", volume={}, nodeName="n1")
        lib.wait("the pod to run", lambda: lib.get("pod", "stays")["status"]["phase"] == "Running", 60)
        before = lib.get("pod", "stays")
        uid, container = before["metadata"]["uid"], before["status"]["containerStatuses"][0]["containerID"]
        volume = os.path.join(NODE, "kubelet", "pods", uid, "volumes", "kubernetes.io~empty-dir", "m")
        stranger = os.path.join(NODE, "podlogs", "default_nobody_0000-3")
        command, controlplane = lib.command_of("kubelet-n1"), lib.command_of("controlplane")
        lib.kill("controlplane")
        lib.kill("kubelet-n1")
        try:
            os.makedirs(os.path.join(stranger, "c"))
            ctr("images", "import", os.path.join(lib.ROOT, "build", "images", "pause65535.tar"))
            self.assertIn(unused, ctr("images", "ls", "-q"))
            lib.start("kubelet-n1", command)
            lib.wait("the unused image to go", lambda: unused not in ctr("images", "ls", "-q"), 60)
            time.sleep(5)
            self.assertIn(container.removeprefix("containerd://"), ctr("tasks", "ls", "-q"))
            self.assertTrue(os.path.isdir(volume))
            self.assertTrue(os.path.isdir(stranger), "who it is of is not known yet")
        finally:
            lib.start_again("controlplane", controlplane)
        lib.wait("the stranger's log directory to go", lambda: not os.path.exists(stranger), 120)
        lib.wait("the node to be Ready", lambda: self.condition("Ready")["status"] == "True", 30)
        status = lib.get("pod", "stays")["status"]
        self.assertEqual((status["phase"], status["containerStatuses"][0]["containerID"], status["containerStatuses"][0]["restartCount"]), ("Running", container, 0))
        self.assertTrue(os.path.isdir(volume))


if __name__ == "__main__":
    lib.main()
