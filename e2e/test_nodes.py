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
                answer = lib.kubectl("exec", a["metadata"]["name"], "--", "fetch", "-t", "3",
                                     f"http://{b['status']['podIP']}:8080/")
                self.assertEqual(answer.strip(), b["metadata"]["name"])

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

    def test_nodes_have_a_subnet_each(self):
        nodes = lib.get("nodes")["items"]
        self.assertEqual(len({n["spec"]["podCIDR"] for n in nodes}), 3)
        for node in nodes:
            self.assertEqual(node["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-type"], "vxlan")


if __name__ == "__main__":
    lib.main()
