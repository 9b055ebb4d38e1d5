"""The ways beside Skiff: straight to the endpoint, and rules as upstream's kube-proxy writes them."""

import subprocess
import time

from proxylib.world import ADDRESS, CLUSTER_IP, NODE_PORT, services, sh


class Direct:
    name = "direct"

    def __init__(self, world, count):
        pass

    def close(self):
        pass


class Nft:
    """A table as upstream writes it: one map element and one chain a service port, `numgen` over a map of endpoints."""
    name = "nftables"

    def __init__(self, world, count):
        self.world = world
        out = ["table ip kube-proxy {", "set cluster-ips { type ipv4_addr; }",
               "map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }",
               "map service-nodeports { type inet_proto . inet_service : verdict; }",
               "chain mark-for-masquerade { meta mark set meta mark or 0x4000; }",
               "chain services { ip daddr . meta l4proto . th dport vmap @service-ips; fib daddr type local meta l4proto . th dport vmap @service-nodeports; }",
               "chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }",
               "chain nat-output { type nat hook output priority -100; policy accept; jump services; }",
               "chain masquerading { meta mark & 0x4000 == 0 return; meta mark set meta mark xor 0x4000; masquerade fully-random; }",
               "chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }"]
        ips, elements = [], []
        for name, ip, endpoints in services(count, ADDRESS["one"]):
            chain = f"service-{name}"
            out.append(self.chain(chain, ip, endpoints))
            ips.append(ip)
            elements.append(f"{ip} . tcp . 80 : goto {chain}")
        out += ["chain external-target { jump mark-for-masquerade; goto service-target; }", "}",
                "add element ip kube-proxy cluster-ips { " + ", ".join(ips) + " }",
                "add element ip kube-proxy service-ips { " + ", ".join(elements) + " }",
                f"add element ip kube-proxy service-nodeports {{ tcp . {NODE_PORT} : goto external-target }}"]
        begin = time.monotonic()
        sh(" ".join(self.world.inside("node", "nft", "-f", "-")), "\n".join(out))
        self.loading = time.monotonic() - begin

    @staticmethod
    def chain(name, ip, endpoints):
        numbered = ", ".join(f"{i} : {e} . 8080" for i, e in enumerate(endpoints))
        return (f"chain {name} {{ ip daddr {ip} tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade; "
                f"meta l4proto tcp dnat ip to numgen random mod {len(endpoints)} map {{ {numbered} }}; }}")

    def change(self, to):
        rules = self.chain("service-target", CLUSTER_IP, [to])
        body = rules[rules.index("{") + 1:rules.rindex("}")]
        text = "flush chain ip kube-proxy service-target\n" + "\n".join(f"add rule ip kube-proxy service-target {rule}" for rule in body.split(";") if rule.strip())
        process = subprocess.Popen(self.world.inside("node", "nft", "-f", "-"), stdin=subprocess.PIPE, text=True)
        return lambda: process.communicate(text)

    def close(self):
        sh(" ".join(self.world.inside("node", "nft", "delete table ip kube-proxy")))


class Iptables:
    """Chains as upstream writes them: KUBE-SERVICES with a rule a service, KUBE-SVC-* and KUBE-SEP-* behind it."""
    name = "iptables"

    def __init__(self, world, count):
        self.world = world
        chains = [":KUBE-SERVICES - [0:0]", ":KUBE-NODEPORTS - [0:0]", ":KUBE-POSTROUTING - [0:0]", ":KUBE-MARK-MASQ - [0:0]", ":KUBE-EXT-TARGET - [0:0]"]
        rules = ["-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000", "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
                 "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000", "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
                 "-A PREROUTING -j KUBE-SERVICES", "-A OUTPUT -j KUBE-SERVICES", "-A POSTROUTING -j KUBE-POSTROUTING",
                 "-A KUBE-EXT-TARGET -j KUBE-MARK-MASQ", "-A KUBE-EXT-TARGET -j KUBE-SVC-target",
                 f"-A KUBE-NODEPORTS -p tcp --dport {NODE_PORT} -j KUBE-EXT-TARGET"]
        for name, ip, endpoints in services(count, ADDRESS["one"]):
            svc = f"KUBE-SVC-{name}"
            chains.append(f":{svc} - [0:0]")
            rules.append(f"-A KUBE-SERVICES -d {ip}/32 -p tcp -m comment --comment \"bench/{name}:http cluster IP\" --dport 80 -j {svc}")
            rules.append(f"-A {svc} ! -s 10.244.0.0/16 -d {ip}/32 -p tcp --dport 80 -j KUBE-MARK-MASQ")
            for i, endpoint in enumerate(endpoints):
                sep = f"KUBE-SEP-{name}-{i}"
                chains.append(f":{sep} - [0:0]")
                left = len(endpoints) - i
                chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
                rules.append(f"-A {svc} {chance}-j {sep}")
                rules.append(f"-A {sep} -s {endpoint}/32 -j KUBE-MARK-MASQ")
                rules.append(f"-A {sep} -p tcp -j DNAT --to-destination {endpoint}:8080")
        rules.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
        begin = time.monotonic()
        sh(" ".join(self.world.inside("node", self.restore())), "\n".join(["*nat", *chains, *rules, "COMMIT", ""]))
        self.loading = time.monotonic() - begin

    @staticmethod
    def restore():
        return "iptables-restore"

    def change(self, to):
        text = "\n".join(["*nat", ":KUBE-SEP-target-0 - [0:0]", f"-A KUBE-SEP-target-0 -s {to}/32 -j KUBE-MARK-MASQ",
                          f"-A KUBE-SEP-target-0 -p tcp -j DNAT --to-destination {to}:8080", "COMMIT", ""])
        process = subprocess.Popen(self.world.inside("node", self.restore(), "--noflush"), stdin=subprocess.PIPE, text=True)
        return lambda: process.communicate(text)

    def close(self):
        sh(" ".join(self.world.inside("node", "iptables", "-t nat -F")))
        sh(" ".join(self.world.inside("node", "iptables", "-t nat -X")))
