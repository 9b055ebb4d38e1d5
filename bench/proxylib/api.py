"""The objects of a measurement in Skiff's API server, by hand: `fill KUBECONFIG SERVICES ENDPOINTS [TARGET]`, `put KUBECONFIG`
(an address a line: the target's only endpoint from now on; prints when the PUT was answered)."""

import base64
import concurrent.futures
import http.client
import json
import re
import ssl
import sys
import tempfile
import time

from proxylib.world import CLUSTER_IP, endpoint_ip, service_ip

SERVICES_PATH = "/api/v1/namespaces/bench/services"
SLICES_PATH = "/apis/discovery.k8s.io/v1/namespaces/bench/endpointslices"


def connect(kubeconfig):
    """TLS settings and a connection as the kubeconfig's user."""
    text = open(kubeconfig).read()
    field = lambda name: base64.b64decode(re.search(name + r': "?([A-Za-z0-9+/=]+)', text)[1])  # noqa: E731
    with tempfile.NamedTemporaryFile() as both:
        both.write(field("client-certificate-data") + field("client-key-data"))
        both.flush()
        context = ssl.create_default_context(cadata=field("certificate-authority-data").decode())
        context.load_cert_chain(both.name)
    return context, http.client.HTTPSConnection("127.0.0.1", 6443, context=context)


def send(connection, method, path, body):
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = answer.read()
    if answer.status not in (200, 201):
        raise OSError(f"{method} {path}: {answer.status} {told[:300]}")


def slice_of(name, addresses, nodes):
    ends = [{"addresses": [a], "conditions": {"ready": True, "serving": True, "terminating": False}, "nodeName": n,
             "targetRef": {"kind": "Pod", "namespace": "bench", "name": f"{name}-{i}"}} for i, (a, n) in enumerate(zip(addresses, nodes))]
    return {"metadata": {"namespace": "bench", "name": name + "-abcde", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": ends}


def target_slice(address):
    return slice_of("target", [address], ["n1"])


def fill(kubeconfig, count, endpoints, target):
    """Makes the objects of a full start in the API server that the kubeconfig names."""
    context, connection = connect(kubeconfig)

    def service(name, ip, **more):
        return {"metadata": {"namespace": "bench", "name": name}, "spec": {
            "clusterIP": ip, "selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **more}}

    def some(first, step):
        connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=context)
        for i in range(first, count, step):
            send(connection, "POST", SERVICES_PATH, service(f"service-{i}", service_ip(i)))
            numbers = range(i * endpoints, (i + 1) * endpoints)
            send(connection, "POST", SLICES_PATH, slice_of(f"service-{i}", map(endpoint_ip, numbers), [f"node-{n % 100}" for n in numbers]))

    for attempt in range(50):
        try:
            send(connection, "POST", "/api/v1/namespaces", {"metadata": {"name": "bench"}})
            break
        except OSError:
            connection.close()
            time.sleep(0.2)
    send(connection, "POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    for address in target:
        send(connection, "POST", SERVICES_PATH, service("target", CLUSTER_IP, type="NodePort"))
        send(connection, "POST", SLICES_PATH, target_slice(address))
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for _ in threads.map(some, range(4), [4] * 4):
            pass  # raises what a thread raised


def put(kubeconfig):
    _, connection = connect(kubeconfig)
    for line in sys.stdin:
        send(connection, "PUT", SLICES_PATH + "/target-abcde", target_slice(line.strip()))
        print(time.monotonic_ns(), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
    else:
        put(sys.argv[2])
