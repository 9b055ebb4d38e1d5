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

    def test_pods_that_the_api_server_refuses(self):
        volume = {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../x"}]}
        for container, spec, message in (
                ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, {}, 'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
                ({"resources": {"limits": {"cpu": "abc"}}}, {}, "quantities must match the regular expression"),
                ({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}, {}, 'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
                ({"command": "sh"}, {}, "json: cannot unmarshal string into Go struct field Container.spec.containers.command of type []string"),
                ({"image": ""}, {}, "spec.containers[0].image: Required value"),
                ({}, {"containers": []}, "spec.containers: Required value"),
                ({}, {"restartPolicy": "Sometimes"}, 'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'),
                ({}, {"serviceAccountName": "nosuch"}, 'pods "refused" is forbidden: error looking up service account default/nosuch: serviceaccount "nosuch" not found'),
                ({}, {"priorityClassName": "nosuch"}, 'pods "refused" is forbidden: no PriorityClass with name nosuch was found'),
                ({}, {"runtimeClassName": "nosuch"}, 'pods "refused" is forbidden: pod rejected: RuntimeClass "nosuch" not found'),
                (volume, {"volumes": [{"name": "v", "emptyDir": {}}]}, "must not contain '..'"),
                ({}, {"volumes": [{"name": "v", "hostPath": {"path": "a/../b"}}]}, "spec.volumes[0].hostPath.path: Invalid value: \"a/../b\": must not contain '..'"),
        ):
            with self.subTest(message=message):
                self.refused(pod("refused", container, **spec), message)
        self.refused('{"apiVersion": "v1", "kind": "Podd", "metadata": {"name": "a"}}', 'no matches for kind "Podd" in version "v1"')
        self.refused('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "nosuch"}}', 'namespaces "nosuch" not found')
        self.assertEqual([p["metadata"]["name"] for p in lib.get("pods")["items"] if p["metadata"]["name"] in ("refused", "a")], [])

    def test_bodies_that_are_too_large(self):
        with tempfile.NamedTemporaryFile("w") as f:
            for size, message in ((1100000, 'ConfigMap "big" is invalid: []: Too long: may not be more than 1048576 bytes'),
                                  (4000000, "Request entity too large: limit is 3145728")):
                f.truncate(0)
                f.seek(0)
                f.write("x" * size)
                f.flush()
                result = lib.kubectl("create", "configmap", "big", "--from-file", f.name, check=False)
                self.assertEqual((result.returncode, result.stderr), (1, f"error: failed to create configmap: {message}\n"))

    def test_pods_that_fit_on_no_node(self):
        text = "0/1 nodes are available: 1 {}. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        lib.kubectl("create", "-f", "-", input=pod("toobig", {"resources": {"requests": {"cpu": "999"}}}))
        self.event("toobig", "FailedScheduling", text.format("Insufficient cpu"))
        lib.kubectl("create", "-f", "-", input=pod("nowhere", {}, nodeSelector={"x": "y"}))
        self.event("nowhere", "FailedScheduling", text.format("node(s) didn't match Pod's node affinity/selector"))
        self.assertRegex(lib.kubectl("get", "pod", "toobig").splitlines()[1], r"^toobig +0/1 +Pending +0 ")
        lib.kubectl("delete", "pod", "toobig", "nowhere")

    def test_containers_that_end_badly(self):
        lib.kubectl("create", "-f", "-", input=pod("crashes", {"command": ["false"]}))
        self.waiting("crashes", "CrashLoopBackOff")
        self.event("crashes", "BackOff", "Back-off restarting failed container c in pod crashes_default(")
        self.assertRegex(lib.kubectl("get", "pod", "crashes").splitlines()[1], r"^crashes +0/1 +CrashLoopBackOff +\d+ \(\d+s ago\) ")
        hungry = {"resources": {"limits": {"memory": "20Mi"}}, "command": ["sh", "-c", "x=a; while true; do x=$x$x; done"]}
        lib.kubectl("create", "-f", "-", input=pod("hungry", hungry, restartPolicy="Never"))
        lib.wait("OOMKilled", lambda: lib.get("pod", "hungry")["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled", 30)
        lib.kubectl("delete", "pod", "crashes", "hungry")

    def test_images_and_users_that_the_kubelet_refuses(self):
        lib.kubectl("create", "-f", "-", input=pod("upper", {"image": "UPPER:::x"}))
        self.waiting("upper", "InvalidImageName")
        self.event("upper", "InspectFailed", 'Failed to apply default image tag "UPPER:::x": couldn\'t parse image name "UPPER:::x": invalid reference format')
        lib.kubectl("create", "-f", "-", input=pod("never", {"image": "localhost/none:1", "imagePullPolicy": "Never"}))
        self.waiting("never", "ErrImageNeverPull")
        self.event("never", "ErrImageNeverPull", 'Container image "localhost/none:1" is not present with pull policy of Never')
        lib.kubectl("create", "-f", "-", input=pod("root", {}, securityContext={"runAsNonRoot": True}))
        self.waiting("root", "CreateContainerConfigError")
        self.event("root", "Failed", "Error: container has runAsNonRoot and image will run as root")
        lib.kubectl("delete", "pod", "upper", "never", "root")

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
        lib.kubectl("delete", "pod/waits", "pod/mounts", "configmap/late")

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
                    result = lib.run(os.path.join(lib.BIN, argv[0]), *argv[1:], check=False)
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
