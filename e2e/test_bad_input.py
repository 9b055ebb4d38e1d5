"""Bad input: each a clear error or event in upstream's words, nothing left behind."""

import os
import tempfile
import unittest

import lib


def pod(name, container, **spec):
    import json
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                       "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "localhost/skiff/test:1", **container}], **spec}})


class BadInputTest(lib.ClusterTest):
    def refused(self, text, *messages):
        result = lib.kubectl("create", "-f", "-", input=text, check=False)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        for message in messages:
            self.assertIn(message, result.stderr)

    def event(self, name, reason, message):
        lib.wait(f"event {reason} of {name}", lambda: [e for e in lib.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
                                                     if e["reason"] == reason and message in e["message"]], 40)

    def waiting(self, name, reason):
        lib.wait(f"{name} waiting with {reason}", lambda: lib.get("pod", name)["status"]["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == reason, 40)

    def test_malformed_documents(self):
        self.refused("{", "error")
        self.refused("kind: Pod\n  x: [", "error")
        raw = lib.run("kubectl", "create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", "-", input='{"metadata": {"name": "x"', check=False)
        self.assertIn("unexpected end of JSON input", raw.stderr)

    def test_unknown_fields_names_and_ports(self):
        self.refused(pod("a", {"imge": "x"}), 'strict decoding error: unknown field "spec.containers[0].imge"')
        self.refused(pod("Bad_Name", {}), 'The Pod "Bad_Name" is invalid', "metadata.name: Invalid value", "lowercase RFC 1123 subdomain")
        self.refused(pod("a", {"ports": [{"containerPort": 70000}]}), "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive")
        self.assertEqual(lib.kubectl("get", "pods", "a", check=False).returncode, 1)

    def test_missing_image(self):
        lib.kubectl("create", "-f", "-", input=pod("noimage", {"image": "127.0.0.1:1/no/such:1"}))
        self.event("noimage", "Failed", "Failed to pull image \"127.0.0.1:1/no/such:1\"")
        self.event("noimage", "BackOff", "Back-off pulling image \"127.0.0.1:1/no/such:1\"")
        self.waiting("noimage", "ImagePullBackOff")
        lib.kubectl("delete", "pod", "noimage")

    def test_command_that_does_not_exist(self):
        lib.kubectl("create", "-f", "-", input=pod("nocommand", {"command": ["/nosuch"]}))
        self.event("nocommand", "Failed", "exec: \"/nosuch\": stat /nosuch: no such file or directory")
        lib.wait("StartError", lambda: lib.get("pod", "nocommand")["status"]["containerStatuses"][0].get("lastState", {}).get("terminated", {}).get("reason") == "StartError"
                 or lib.get("pod", "nocommand")["status"]["containerStatuses"][0]["state"].get("terminated", {}).get("reason") == "StartError", 40)
        lib.kubectl("delete", "pod", "nocommand")

    def test_config_map_that_appears_later(self):
        env = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}], "command": ["sh", "-c", "echo $A; sleep 1000"]}
        lib.kubectl("create", "-f", "-", input=pod("waits", env))
        self.waiting("waits", "CreateContainerConfigError")
        self.event("waits", "Failed", 'configmap "late" not found')
        lib.kubectl("create", "-f", "-", input=pod("mounts", {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, volumes=[{"name": "v", "configMap": {"name": "late"}}]))
        self.event("mounts", "FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "late" not found')
        lib.kubectl("create", "configmap", "late", "--from-literal=a=now")
        lib.kubectl("wait", "--for=condition=Ready", "pod/waits", "pod/mounts", "--timeout=120s")
        self.assertEqual(lib.kubectl("logs", "waits"), "now\n")
        self.assertEqual(lib.kubectl("exec", "mounts", "--", "cat", "/v/a"), "now")
        lib.kubectl("delete", "pod", "waits", "mounts")

    def test_programs_refuse_bad_flags_and_files(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
            config.write("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: many\n")
            config.flush()
            cases = [
                (["kubelet", "--frob"], "unknown flag: --frob"),
                (["kubelet", "--config", "/nosuch"], "/nosuch"),
                (["kubelet", "--config", config.name], "maxPods"),
                (["kube-proxy", "--frob"], "unknown flag: --frob"),
                (["kube-proxy", "--config", "/nosuch"], "/nosuch"),
                (["skiff-cni-agent", "--vni", "0"], "--vni: must be from 1 to 16777215, not 0"),
                (["skiff-controlplane", "all", "--frob"], "unknown flag: --frob"),
            ]
            for argv, message in cases:
                with self.subTest(argv=argv):
                    result = lib.run(os.path.join(lib.BIN, argv[0]), *argv[1:], check=False, timeout=10)
                    self.assertNotEqual(result.returncode, 0)
                    self.assertIn(message, result.stderr)

    def test_cni_request_with_a_bad_netns(self):
        result = lib.run(os.path.join(lib.BIN, "skiff-cni"), check=False, input='{"cniVersion":"1.0.0","name":"n","ranges":["10.1.0.0/24"],"stateDir":"%s"}' % os.environ["TMPDIR"],
                         env={"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": "/nosuch", "CNI_IFNAME": "eth0"})
        self.assertEqual(result.returncode, 1)
        self.assertIn('"msg":"failed to open netns \\"/nosuch\\": No such file or directory"', result.stdout)
        self.assertEqual([f for f in os.listdir(os.environ["TMPDIR"] + "/n") if f[0].isdigit()], [])


if __name__ == "__main__":
    lib.main()
