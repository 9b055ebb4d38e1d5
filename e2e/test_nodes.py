"""Several nodes as namespaces: pods on different nodes reach each other over VXLAN; each node has its own agents."""

import unittest

import lib


class NodesTest(lib.ClusterTest):
    NODES = 3

    def test_pods_spread_and_reach_each_other(self):
        pods = lib.get("pods", "-l", "app=hello")["items"]
        self.assertEqual(len({p["spec"]["nodeName"] for p in pods}), 3, "one pod on each node")
        for a in pods:
            for b in pods:
                # The first may come before the way between two nodes is there.
                answer = lib.wait("an answer", lambda: lib.kubectl("exec", a["metadata"]["name"], "--", "fetch", "-t", "3",
                                                                   f"http://{b['status']['podIP']}:8080/").strip())
                self.assertEqual(answer, b["metadata"]["name"])

    def test_every_pod_reaches_the_service(self):
        ip = lib.get("service", "hello")["spec"]["clusterIP"]
        for pod in lib.get("pods", "-l", "app=hello")["items"]:
            name = pod["metadata"]["name"]
            seen = set()
            for _ in range(60):
                seen.add(lib.kubectl("exec", name, "--", "fetch", "-t", "3", f"http://{ip}/").strip())
                if len(seen) == 3:
                    break
            self.assertEqual(len(seen), 3, f"from {name} on {pod['spec']['nodeName']}")

    def test_host_ports_answer_on_the_node_and_take_nothing_of_services(self):
        """hostport-destination (CVE-2019-9946): of three addresses with the same port only the node's is the pod's."""
        lib.apply("""
apiVersion: v1
kind: Pod
metadata: {name: hostport, labels: {app: hostport}}
spec:
  nodeName: n2
  terminationGracePeriodSeconds: 1
  containers:
  - name: server
    image: localhost/skiff/test:1
    command: [testserver, -p, "8080"]
    ports:
    - {containerPort: 8080, hostPort: 18080}
    - {name: as-node-port, containerPort: 8080, hostPort: 30099}
    readinessProbe:
      httpGet: {path: /healthz, port: 8080}
      periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {name: same-ports}
spec:
  type: NodePort
  selector: {app: hello}
  ports:
  - {port: 18080, targetPort: 8080, nodePort: 30099}
""")
        lib.kubectl("wait", "pod/hostport", "--for=condition=Ready", "--timeout=60s")
        pod = lib.get("pod", "hostport")
        node, service = pod["status"]["hostIP"], lib.get("service", "same-ports")["spec"]["clusterIP"]

        def ask(url, *prefix):
            return lib.run(*prefix, "curl", "-s", "-m", "3", url, check=False).stdout.strip()

        on_the_node = ("ip", "netns", "exec", lib.NAME + "-n2")
        self.assertEqual(ask(f"http://{node}:18080/"), "hostport", "from another node")
        self.assertEqual(ask(f"http://{node}:18080/", *on_the_node), "hostport", "from the node")
        self.assertEqual(ask("http://127.0.0.1:18080/", *on_the_node), "hostport", "from the node's loopback address")
        hello = [p["metadata"]["name"] for p in lib.get("pods", "-l", "app=hello")["items"]]
        for name in ["hostport"] + hello:
            self.assertEqual(lib.kubectl("exec", name, "--", "fetch", "-t", "3", f"http://{node}:18080/").strip(),
                             "hostport", f"from pod {name}")
        lib.wait("the service to answer", lambda: ask(f"http://{service}:18080/", *on_the_node) in hello)
        for _ in range(5):
            self.assertIn(ask(f"http://{service}:18080/", *on_the_node), hello, "the service's own address")
            self.assertIn(ask(f"http://{node}:30099/"), hello, "a node port is the service's")
        lib.kubectl("delete", "pod/hostport", "service/same-ports")
        refused = lib.run("curl", "-s", "-m", "3", f"http://{node}:18080/", check=False)
        self.assertEqual(refused.returncode, 7, "connection refused")
        tables = lib.run(*on_the_node, "nft", "list", "tables").stdout
        self.assertNotIn("skiff-hostports", tables)

    def test_nodes_have_a_subnet_each(self):
        nodes = lib.get("nodes")["items"]
        self.assertEqual(len({n["spec"]["podCIDR"] for n in nodes}), 3)
        for node in nodes:
            self.assertEqual(node["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-type"], "vxlan")


if __name__ == "__main__":
    lib.main()
