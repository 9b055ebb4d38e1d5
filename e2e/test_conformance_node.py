"""Behaviours that sig-node's conformance asks for (docs/conformance.md), each a small check of its own on one cluster. All checks
begin at once, a few at a time; a test waits for its check."""

import base64
import concurrent.futures
import os
import re
import time
import unittest

from lib import DIR, ClusterTest, kubectl, main, run, wait
from pods import AGNHOST, Api, Pods, container, is_ready, restarts

CHECKS, ALONE = {}, {}
AT_ONCE = 8
NAMESPACE = "conformance"


def check(function):
    CHECKS[function.__name__] = function
    return function


def check_alone(function):
    """A check that disturbs others: it begins when they have ended."""
    ALONE[function.__name__] = function
    return function


def equal(got, want):
    assert got == want, f"{got!r} is not {want!r}"


def holds(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} is not in {text!r}"


# --- environment ----------------------------------------------------------------------------------------------------------------

@check
def config_map_environment(t):
    one, two = t.make("configmaps", {"data": {"data-1": "value-1"}}), t.make("configmaps", {"data": {"a": "1", "B_2": "2"}})
    text = t.output("env", env=[{"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": one, "key": "data-1"}}}],
                    envFrom=[{"configMapRef": {"name": two}}, {"prefix": "p_", "configMapRef": {"name": two}},
                             {"prefix": "q.", "configMapRef": {"name": two}}, {"configMapRef": {"name": "absent", "optional": True}}])
    holds(text, "ONE=value-1\n", "a=1\n", "B_2=2\n", "p_a=1\n", "p_B_2=2\n")


@check
def secret_environment(t):
    secret = t.make("secrets", {"data": {"data-1": base64.b64encode(b"value-1").decode()}, "stringData": {"b": "two"}})
    text = t.output("env", env=[{"name": "ONE", "valueFrom": {"secretKeyRef": {"name": secret, "key": "data-1"}}}],
                    envFrom=[{"prefix": "s_", "secretRef": {"name": secret}}, {"secretRef": {"name": secret}}])
    holds(text, "ONE=value-1\n", "s_b=two\n", "b=two\n")


@check
def empty_keys_are_refused(t):
    for plural, value in (("configmaps", "v"), ("secrets", "dg==")):
        status, answer = t.api.request("POST", t.path(plural), {"metadata": {"name": t.name()}, "data": {"": value}})
        equal(status, 422)


@check
def config_map_and_secret_lifecycle(t):
    for plural, value, changed in (("configmaps", "v", "w"), ("secrets", "dg==", "dw==")):
        name = t.make(plural, {"metadata": {"name": t.name(), "labels": {"of": t.prefix}}, "data": {"k": value}})
        t.api.merge(t.path(plural, name), {"metadata": {"labels": {"patched": "yes"}}, "data": {"k": changed}})
        found = t.api.call("GET", f"/api/v1/{plural}?labelSelector=patched%3Dyes,of%3D{t.prefix}")["items"]
        equal([o["data"] for o in found], [{"k": changed}])
        t.api.call("DELETE", t.path(plural) + f"?labelSelector=of%3D{t.prefix}")
        equal(t.api.call("GET", t.path(plural) + f"?labelSelector=of%3D{t.prefix}")["items"], [])


@check
def downward_api_environment(t):
    def field(path):
        return {"fieldRef": {"fieldPath": path}}

    def resource(name, divisor="1"):
        return {"resourceFieldRef": {"resource": name, "divisor": divisor}}

    env = {"NAME": field("metadata.name"), "NAMESPACE": field("metadata.namespace"), "UID": field("metadata.uid"), "IP": field("status.podIP"),
           "HOST": field("status.hostIP"), "HOSTS": field("status.hostIPs"), "NODE": field("spec.nodeName"), "LABEL": field("metadata.labels['l']"),
           "CPU": resource("limits.cpu", "1m"), "MEMORY": resource("limits.memory"), "CPU_R": resource("requests.cpu", "1m"),
           "MEMORY_R": resource("requests.memory", "1Mi")}
    text = t.output("env", labels={"l": "x"}, env=[{"name": k, "valueFrom": v} for k, v in env.items()],
                    resources={"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}})
    pod = t.get(re.search("^NAME=(.*)$", text, re.M)[1])
    holds(text, f"NAMESPACE={NAMESPACE}\n", f"UID={pod['metadata']['uid']}\n", "NODE=n1\n", "LABEL=x\n", "CPU=1250\n", "MEMORY=67108864\n",
          "CPU_R=250\n", "MEMORY_R=32\n", f"HOST={pod['status']['hostIP']}\n", f"HOSTS={pod['status']['hostIP']}\n")
    assert re.search(r"^IP=10\.244\.\d+\.\d+$", text, re.M), text


@check
def downward_api_defaults_to_what_the_node_offers(t):
    text = t.output("env", env=[{"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}])
    node = t.api.call("GET", "/api/v1/nodes/n1")["status"]["allocatable"]
    holds(text, f"CPU={node['cpu']}\n", f"MEMORY={int(node['memory'][:-2]) * 1024}\n")


@check
def expansion(t):
    name = t.pod({"name": "c", "image": container()["image"], "command": ["printf", "%s|", "$(A)", "$(B)"], "args": ["$$(A)", "$(NOPE)", "$$", "x$(A)"],
                  "env": [{"name": "A", "value": "a"}, {"name": "B", "value": "$(A)-b-$(LATER)"}, {"name": "LATER", "value": "x"}]})
    t.phase(name, "Succeeded", "Failed")
    equal(t.log(name), "a|a-b-$(LATER)|$(A)|$(NOPE)|$|xa|")


@check
def service_environment(t):
    server = t.pod(container(None), restartPolicy="Always")
    t.ready(server)
    service = t.make("services", {"spec": {"selector": {"check": t.prefix}, "ports": [{"port": 8765, "targetPort": 8080}]}})
    address = t.api.call("GET", t.path("services", service))["spec"]["clusterIP"]
    prefix = service.upper().replace("-", "_")
    # The kubelet hears of services by a watch.
    text = wait("the service in the environment", lambda: (text := t.output("env")) and f"{prefix}_SERVICE_HOST=" in text and text)
    holds(text, f"{prefix}_SERVICE_HOST={address}\n", f"{prefix}_SERVICE_PORT=8765\n", f"{prefix}_PORT=tcp://{address}:8765\n",
          f"{prefix}_PORT_8765_TCP_PROTO=tcp\n", f"{prefix}_PORT_8765_TCP_ADDR={address}\n")


# --- containers -----------------------------------------------------------------------------------------------------------------

@check
def command_and_arguments(t):
    image = AGNHOST  # entry point /bin/agnhost, command "pause"
    cases = [(None, None, "agnhost pause"), (None, ["netexec", "--http-port=1234"], "agnhost netexec --http-port=1234"),
             (["sleep"], ["1000"], "sleep 1000"), (["sleep", "1001"], None, "sleep 1001")]
    names = [t.pod({"name": "c", "image": image, **({"command": c} if c else {}), **({"args": a} if a else {})}) for c, a, _ in cases]
    for name, (_, _, want) in zip(names, cases):
        t.phase(name, "Running")
        got = kubectl("-n", NAMESPACE, "exec", name, "--", "cat", "/proc/1/cmdline").replace("\0", " ").strip()
        equal(got.removeprefix("/bin/"), want)


@check
def termination_messages(t):
    def message(script, **fields):
        spec = {k: fields.pop(k) for k in ("securityContext",) if k in fields}
        name = t.pod({**container(script, **fields), **spec})
        pod = t.phase(name, "Succeeded", "Failed")
        return pod["status"]["containerStatuses"][0]["state"]["terminated"].get("message", "")

    equal(message("echo -n DONE >/dev/termination-log"), "DONE")
    equal(message("echo -n DONE >/dev/custom", terminationMessagePath="/dev/custom", securityContext={"runAsUser": 10000}), "DONE")
    equal(message("echo -n DONE; exit 1", terminationMessagePolicy="FallbackToLogsOnError"), "DONE")
    equal(message("echo -n DONE", terminationMessagePolicy="FallbackToLogsOnError"), "")
    equal(message("echo -n OK >/dev/termination-log; echo no", terminationMessagePolicy="FallbackToLogsOnError"), "OK")


@check
def restart_policies(t):
    always = t.pod(container("exit 1"), restartPolicy="Always")
    once = t.pod(container("test -e /v/x || { touch /v/x; exit 1; }", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                 volumes=[{"name": "v", "emptyDir": {}}], restartPolicy="OnFailure")
    never = t.pod(container("exit 1"))
    t.until(always, "restarted", lambda p: restarts(p) >= 2 and p["status"]["phase"] == "Running")
    equal(restarts(t.phase(once, "Succeeded")), 1)
    pod = t.phase(never, "Failed")
    equal(pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Error")


@check
def output_is_logged_and_a_failed_pod_can_be_deleted(t):
    equal(t.output("echo 'Hello World'"), "Hello World\n")
    name = t.pod(container("/bin/false"), restartPolicy="Always")
    t.until(name, "failed once", lambda p: restarts(p) >= 1)
    t.delete(name)
    t.gone(name)


@check
def read_only_root(t):
    holds(t.output("echo x >/file || echo refused", securityContext={"readOnlyRootFilesystem": True}), "refused")
    equal(t.output("echo x >/file && cat /file", securityContext={"readOnlyRootFilesystem": False}), "x\n")


@check
def hosts_files(t):
    text = t.output("cat /etc/hosts", hostAliases=[{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}])
    holds(text, "# Kubernetes-managed hosts file.", "123.45.67.89\tfoo\tbar", "# Entries added by HostAliases.")
    text = t.output("cat /etc/hosts", volumes=[{"name": "h", "hostPath": {"path": "/etc/hosts", "type": "File"}}],
                    volumeMounts=[{"name": "h", "mountPath": "/etc/hosts"}])
    assert "Kubernetes-managed" not in text, text
    text = t.output("cat /etc/hosts", hostNetwork=True)
    assert "# Kubernetes-managed hosts file.\n" not in text, text


@check
def init_containers(t):
    inits = [container("echo 1 >>/v/order", "one"), container("echo 2 >>/v/order", "two")]
    for c in inits:
        c["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    volumes, mount = [{"name": "v", "emptyDir": {}}], [{"name": "v", "mountPath": "/v"}]
    equal(t.output("cat /v/order", volumes=volumes, volumeMounts=mount, initContainers=inits), "1\n2\n")
    running = t.pod(container("sleep 1000", volumeMounts=mount), volumes=volumes, initContainers=inits, restartPolicy="Always")
    failed = t.pod(container("true"), initContainers=[container("false", "one"), container("true", "two")])
    looping = t.pod(container("true"), initContainers=[container("false", "one"), container("true", "two")], restartPolicy="Always")
    t.ready(running)
    pod = t.phase(failed, "Failed")
    equal([list(s["state"])[0] for s in pod["status"]["initContainerStatuses"]], ["terminated", "waiting"])
    pod = t.until(looping, "restarting its first init container", lambda p: any(s["restartCount"] >= 2 for s in p["status"].get("initContainerStatuses", [])))
    equal(pod["status"]["phase"], "Pending")
    equal(pod["status"]["initContainerStatuses"][1]["state"], {"waiting": {"reason": "PodInitializing"}})


@check
def ephemeral_containers(t):
    name = t.pod(container("sleep 1000"))
    t.phase(name, "Running")
    path = t.path("pods", name) + "/ephemeralcontainers"
    for i, script in enumerate(("echo polo; sleep 1000", "echo again; sleep 1000")):
        t.api.call("PATCH", path, {"spec": {"ephemeralContainers": [{**container(script, f"debugger-{i}")}]}}, "application/strategic-merge-patch+json")
    t.until(name, "debugged", lambda p: sum("running" in s["state"] for s in p["status"].get("ephemeralContainerStatuses", [])) == 2)
    wait("their logs", lambda: [t.log(name, "debugger-0"), t.log(name, "debugger-1")] == ["polo\n", "again\n"])
    equal(len(t.api.call("GET", path)["spec"]["ephemeralContainers"]), 2)
    # As `kubectl debug --profile=sysadmin` makes one, in a pod that is not privileged.
    privileged = container("grep CapEff /proc/self/status; sleep 1000", "debugger-2", securityContext={"privileged": True})
    t.api.call("PATCH", path, {"spec": {"ephemeralContainers": [privileged]}}, "application/strategic-merge-patch+json")
    t.until(name, "debugged", lambda p: sum("running" in s["state"] for s in p["status"].get("ephemeralContainerStatuses", [])) == 3)
    log = wait("its log", lambda: t.log(name, "debugger-2"))
    equal(int(log.split()[1], 16) & 1 << 21, 1 << 21)  # CAP_SYS_ADMIN


# --- hooks and probes -----------------------------------------------------------------------------------------------------------

@check
def hooks(t):
    handler = t.pod({"name": "c", "image": AGNHOST, "args": ["netexec"]}, restartPolicy="Always")
    ip = t.ready(handler)["status"]["podIP"]

    def touch(name):
        return f"fetch -t 5 'http://{ip}:8080/shell?cmd=touch%20/tmp/{name}'"

    def get(name):
        return {"httpGet": {"host": ip, "port": 8080, "path": f"/shell?cmd=touch%20/tmp/{name}"}}

    exec_pod = t.pod(container("trap 'exit 0' TERM; while :; do sleep 0.1; done", lifecycle={
        "postStart": {"exec": {"command": ["sh", "-c", touch("post-exec")]}}, "preStop": {"exec": {"command": ["sh", "-c", touch("pre-exec")]}}}))
    http_pod = t.pod(container("sleep 1000", lifecycle={"postStart": get("post-http"), "preStop": get("pre-http")}))
    sleep_pod = t.pod(container("trap 'exit 0' TERM; while :; do sleep 0.1; done", lifecycle={"preStop": {"sleep": {"seconds": 3}}}))
    for name in (exec_pod, http_pod, sleep_pod):
        t.ready(name)
    begin = time.monotonic()
    for name in (exec_pod, http_pod, sleep_pod):
        t.delete(name, 10)
    for name in (sleep_pod, exec_pod, http_pod):
        t.gone(name)
    assert time.monotonic() - begin >= 3, "the preStop sleep was not waited for"
    seen = kubectl("-n", NAMESPACE, "exec", handler, "--", "ls", "/tmp").split()
    equal(sorted(seen), ["post-exec", "post-http", "pre-exec", "pre-http"])


@check
def probes_that_succeed_restart_nothing(t):
    good = [{"exec": {"command": ["true"]}}, {"httpGet": {"path": "/healthz", "port": 8080}}, {"tcpSocket": {"port": 8080}}]
    often = {"periodSeconds": 1, "timeoutSeconds": 10}
    names = [t.pod(container(None, livenessProbe={**probe, **often}, readinessProbe={**probe, **often}), restartPolicy="Always") for probe in good]
    names.append(t.pod({"name": "c", "image": AGNHOST, "args": ["grpc-health-checking"],
                        "livenessProbe": {"grpc": {"port": 5000}, "initialDelaySeconds": 1, **often}}, restartPolicy="Always"))
    for name in names:
        t.ready(name)
    time.sleep(10)
    equal([restarts(t.get(name)) for name in names], [0] * len(names))


@check
def liveness_probes_that_fail_restart(t):
    fail = {"periodSeconds": 1, "failureThreshold": 1}
    names = [t.pod(container("sleep 1000", livenessProbe={"exec": {"command": ["false"]}, **fail}), restartPolicy="Always"),
             t.pod(container(None, livenessProbe={"httpGet": {"path": "/nosuch", "port": 8080}, **fail}), restartPolicy="Always"),
             t.pod(container("sleep 1000", livenessProbe={"tcpSocket": {"port": 1234}, **fail}), restartPolicy="Always"),
             t.pod({"name": "c", "image": AGNHOST, "args": ["grpc-health-checking"],
                    "livenessProbe": {"grpc": {"port": 1234}, **fail}}, restartPolicy="Always")]
    for name in names:
        t.until(name, "restarted", lambda p: restarts(p) >= 1)


@check
def liveness_restarts_count_up(t):
    name = t.pod(container("sleep 1000", livenessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}), restartPolicy="Always")
    last = 0
    end = time.monotonic() + 90
    while last < 3 and time.monotonic() < end:
        now = restarts(t.get(name))
        assert now >= last, f"{now} after {last} restarts"
        last = now
        time.sleep(0.3)
    equal(last, 3)


@check
def readiness_probes(t):
    begin = time.monotonic()
    late = t.pod(container(None, readinessProbe={"httpGet": {"path": "/", "port": 8080}, "initialDelaySeconds": 6, "periodSeconds": 1}), restartPolicy="Always")
    never = t.pod(container("sleep 1000", readinessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1}), restartPolicy="Always")
    pod = t.ready(late)
    assert time.monotonic() - begin >= 6, "ready before the initial delay"
    equal(restarts(pod), 0)
    pod = t.phase(never, "Running")
    time.sleep(4)
    assert not is_ready(t.get(never)) and restarts(pod) == 0


# --- pods -----------------------------------------------------------------------------------------------------------------------

@check
def generations(t):
    name = t.pod(container("sleep 1000"), restartPolicy="Always")
    pod = t.phase(name, "Running")
    equal(pod["metadata"]["generation"], 1)
    path = t.path("pods", name)
    t.api.merge(path, {"metadata": {"labels": {"other": "x"}}})
    equal(t.get(name)["metadata"]["generation"], 1)
    t.api.merge(path, {"spec": {"activeDeadlineSeconds": 5000}})
    for deadline in range(4900, 4600, -1):  # many updates, none lost
        answer = t.api.merge(path, {"spec": {"activeDeadlineSeconds": deadline}})
    equal(answer["metadata"]["generation"], 302)
    t.until(name, "observed at generation 302", lambda p: p["status"].get("observedGeneration") == 302)
    t.api.merge(path, {"metadata": {"finalizers": ["example.com/hold"]}})
    t.delete(name, 5)
    pod = t.until(name, "observed while it is deleted", lambda p: p["status"].get("observedGeneration") == 303)
    equal(pod["metadata"]["generation"], 303)
    t.api.merge(path, {"metadata": {"finalizers": None}})
    t.gone(name)


@check
def quality_of_service(t):
    def qos(resources):
        return t.get(t.pod(container("sleep 1000", resources=resources)))["status"]["qosClass"]

    equal(qos({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}}), "Guaranteed")
    equal(qos({"requests": {"cpu": "10m"}}), "Burstable")
    equal(qos({}), "BestEffort")


@check
def active_deadline(t):
    name = t.pod(container("sleep 1000"), restartPolicy="Always")
    t.phase(name, "Running")
    t.api.merge(t.path("pods", name), {"spec": {"activeDeadlineSeconds": 3}})
    pod = t.phase(name, "Failed", seconds=30)
    equal(pod["status"]["reason"], "DeadlineExceeded")


@check
def pod_lifecycle_and_collection(t):
    names = [t.pod(container("sleep 1000"), labels={"set": t.prefix}, restartPolicy="Always") for _ in range(3)]
    for name in names:
        pod = t.ready(name)
        assert pod["status"]["hostIP"] and pod["status"]["podIP"] and pod["status"]["startTime"]
    t.api.merge(t.path("pods", names[0]), {"metadata": {"labels": {"time": "value"}}})
    equal(len(t.api.call("GET", f"/api/v1/pods?labelSelector=time%3Dvalue,set%3D{t.prefix}")["items"]), 1)
    condition = {"status": {"conditions": [{"type": "example.com/x", "status": "True", "message": "set by a test"}]}}
    t.api.call("PATCH", t.path("pods", names[0]) + "/status", condition, "application/strategic-merge-patch+json")
    time.sleep(1.5)
    assert any(c["type"] == "example.com/x" for c in t.get(names[0])["status"]["conditions"]), "another's condition was lost"
    t.api.call("DELETE", t.path("pods") + f"?labelSelector=set%3D{t.prefix}", {"gracePeriodSeconds": 1})
    for name in names:
        t.gone(name)


@check
def exec_in_a_pod(t):
    name = t.pod(container("sleep 1000"))
    t.phase(name, "Running")
    equal(kubectl("-n", NAMESPACE, "exec", name, "--", "echo", "remote execution test"), "remote execution test\n")
    result = run("kubectl", "-n", NAMESPACE, "exec", name, "--", "sh", "-c", "exit 7", check=False)
    equal(result.returncode, 7)


@check
def logs_over_web_sockets(t):
    name = t.pod(container("echo container is alive; sleep 1000"))
    t.phase(name, "Running")
    t.until(name, "logging", lambda _: t.log(name))
    for protocol, text in (("binary.k8s.io", "container is alive\n"), ("", "container is alive\n"),
                           ("base64.binary.k8s.io", base64.b64encode(b"container is alive\n").decode())):
        equal(t.api.messages(t.path("pods", name) + "/log?container=c", protocol), ["", text])


# --- resize -----------------------------------------------------------------------------------------------------------------------

def resources(cpu=None, memory=None, cpu_limit=None, memory_limit=None):
    """Quantities as the API spells them; limits are the requests unless they are given."""
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    limits = {k: v for k, v in (("cpu", cpu if cpu_limit is None else cpu_limit), ("memory", memory if memory_limit is None else memory_limit)) if v}
    return {k: v for k, v in (("requests", requests), ("limits", limits)) if v}


def milli(text):
    return int(text[:-1]) if text.endswith("m") else int(text) * 1000


def is_resized(pod, want):
    """The status tells of these resources and of no resize under way."""
    got = {c["name"]: c.get("resources") or {} for c in pod["status"].get("containerStatuses", [])}
    conditions = {c["type"] for c in pod["status"].get("conditions", [])}
    return got == want and not conditions & {"PodResizePending", "PodResizeInProgress"} and \
        pod["status"].get("observedGeneration") == pod["metadata"]["generation"]


def enforced(t, name, want):
    """What the kernel has, as seen inside; on cgroup v1 as on v2."""
    for c, has in want.items():
        limits, requests = has.get("limits", {}), has.get("requests", {})
        read = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/memory/memory.limit_in_bytes"
        quota, shares, memory = kubectl("-n", NAMESPACE, "exec", name, "-c", c, "--", "sh", "-c", read).split()
        equal((c, "quota", int(quota)), (c, "quota", max(milli(limits["cpu"]) * 100, 1000) if "cpu" in limits else -1))
        equal((c, "shares", int(shares)), (c, "shares", max(milli(requests.get("cpu", "0")) * 1024 // 1000, 2)))
        if "memory" in limits:
            equal((c, "memory", int(memory)), (c, "memory", int(limits["memory"][:-2]) * 1024 * 1024))


def resized(t, before, after, replace=False):
    name = t.pod(*(container("sleep 1000", name=c, resources=r, resizePolicy=[{"resourceName": "cpu", "restartPolicy": "NotRequired"},
                                                                              {"resourceName": "memory", "restartPolicy": "NotRequired"}])
                   for c, r in before.items()), restartPolicy="Always")
    pod = t.until(name, "running with its resources", lambda p: is_ready(p) and is_resized(p, before))
    started = {c["name"]: c["containerID"] for c in pod["status"]["containerStatuses"]}
    if replace:
        for c in pod["spec"]["containers"]:
            c["resources"] = after[c["name"]]
        t.api.call("PUT", t.path("pods", name) + "/resize", pod)
    else:
        patch = {"spec": {"containers": [{"name": c, "resources": r} for c, r in after.items()]}}
        t.api.call("PATCH", t.path("pods", name) + "/resize", patch, "application/strategic-merge-patch+json")
    pod = t.until(name, "resized", lambda p: is_resized(p, after))
    equal({c["name"]: c["resources"] for c in pod["spec"]["containers"]}, after)
    equal({c["name"]: (c["containerID"], c["restartCount"]) for c in pod["status"]["containerStatuses"]}, {c: (i, 0) for c, i in started.items()})
    equal({c["name"]: c.get("allocatedResources") for c in pod["status"]["containerStatuses"]}, {c: r.get("requests") for c, r in after.items()})
    enforced(t, name, after)
    return name


@check
def resize_guaranteed_up(t):
    resized(t, {"c1": resources("20m", "40Mi"), "c2": resources("20m", "40Mi"), "c3": resources("20m", "40Mi")},
            {"c1": resources("25m", "50Mi"), "c2": resources("25m", "50Mi"), "c3": resources("15m", "35Mi")})


@check
def resize_guaranteed_down(t):
    resized(t, {"c1": resources("20m", "40Mi"), "c2": resources("30m", "60Mi"), "c3": resources("30m", "60Mi")},
            {"c1": resources("25m", "50Mi"), "c2": resources("20m", "40Mi"), "c3": resources("20m", "40Mi")})


@check
def resize_guaranteed_various(t):
    resized(t, {"c1": resources("20m", "40Mi"), "c2": resources("30m", "40Mi"), "c3": resources("20m", "40Mi")},
            {"c1": resources("30m", "40Mi"), "c2": resources("20m", "50Mi"), "c3": resources("30m", "50Mi")})


@check
def resize_burstable_various(t):
    resized(t, {"c1": resources("20m", "40Mi", "50m", "80Mi"), "c2": resources("20m", "40Mi", "50m", "80Mi"), "c3": resources("20m", "40Mi", "", ""),
                "c4": resources("20m", "40Mi", "50m", ""), "c5": resources("20m", "", "", ""), "c6": {}},
            {"c1": resources("30m", "40Mi", "60m", "80Mi"), "c2": resources("15m", "50Mi", "40m", "90Mi"), "c3": resources("20m", "40Mi", "50m", "80Mi"),
             "c4": resources("30m", "40Mi", "50m", "90Mi"), "c5": resources("20m", "40Mi", "", ""), "c6": resources("10m", "40Mi", "20m", "80Mi")})


@check
def resize_to_the_equivalent(t):
    resized(t, {"c1": resources("2m", "", "10m", "")}, {"c1": resources("1m", "", "5m", "")})


@check
def resize_by_replacing(t):
    name = resized(t, {"c1": resources("20m", "40Mi")}, {"c1": resources("30m", "50Mi")}, replace=True)
    equal(t.api.call("GET", t.path("pods", name) + "/resize"), t.get(name))


@check
def runtime_classes(t):
    def new(handler, **fields):
        name = t.name()
        t.api.call("POST", "/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": name}, "handler": handler, **fields})
        return name

    status, answer = t.api.request("POST", t.path("pods"), {"metadata": {"name": t.name()}, "spec": {
        "containers": [container("true")], "runtimeClassName": "no-such-class"}})
    equal(status, 403)
    gone = new("runc")
    t.api.call("DELETE", f"/apis/node.k8s.io/v1/runtimeclasses/{gone}")
    status, _ = t.api.request("POST", t.path("pods"), {"metadata": {"name": t.name()}, "spec": {
        "containers": [container("true")], "runtimeClassName": gone}})
    equal(status, 403)
    works = new("runc", overhead={"podFixed": {"cpu": "10m", "memory": "1Mi"}})
    equal(t.output("echo fine", runtimeClassName=works), "fine\n")
    found = t.api.call("GET", t.path("pods") + f"?labelSelector=check%3D{t.prefix}")["items"]
    equal([p["spec"].get("overhead") for p in found if p["spec"]["runtimeClassName"] == works][0], {"cpu": "10m", "memory": "1Mi"})
    unknown = t.pod(container("true"), runtimeClassName=new("nosuchhandler"))
    end = time.monotonic() + 30
    while not any(e["reason"] == "FailedCreatePodSandBox" for e in t.events(unknown)):
        assert time.monotonic() < end, "no FailedCreatePodSandBox"
        time.sleep(0.5)


# --- security -------------------------------------------------------------------------------------------------------------------

@check
def users_and_groups(t):
    equal(t.output("id -u", securityContext={"runAsUser": 65534}), "65534\n")
    equal(t.output("id -u; id -g", securityContext={"runAsUser": 1001, "runAsGroup": 2002}), "1001\n2002\n")
    equal(t.output("id -u; id -g; id -G", securityContext_pod={"runAsUser": 1001, "runAsGroup": 2002, "supplementalGroups": [3003]}),
          "1001\n2002\n2002 3003\n")


@check
def privileges(t):
    holds(t.output("ip link add d0 type dummy || echo refused", securityContext={"privileged": False}), "refused")
    assert "refused" not in t.output("ip link set lo mtu 60000 || echo refused", securityContext={"privileged": True})
    holds(t.output("grep NoNewPrivs /proc/self/status", securityContext={"allowPrivilegeEscalation": False}), "NoNewPrivs:\t1")
    holds(t.output("grep NoNewPrivs /proc/self/status", securityContext={"allowPrivilegeEscalation": True}), "NoNewPrivs:\t0")
    image = {"image": "localhost/skiff/nonewprivs:1", "name": "c"}
    for allowed, uid in ((False, 1000), (True, 0)):
        name = t.pod({**image, "securityContext": {"runAsUser": 1000, "allowPrivilegeEscalation": allowed}})
        t.phase(name, "Succeeded")
        equal(t.log(name), f"Effective uid: {uid}\n")


@check
def sysctls(t):
    equal(t.output("cat /proc/sys/kernel/shm_rmid_forced", securityContext_pod={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}), "1\n")
    status, _ = t.api.request("POST", t.path("pods"), {"metadata": {"name": t.name()}, "spec": {
        "containers": [container("true")], "securityContext": {"sysctls": [{"name": "foo-", "value": "bar"}]}}})
    equal(status, 422)
    name = t.pod(container("true"), securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "10000000000"}]})
    equal(t.phase(name, "Failed")["status"]["reason"], "SysctlForbidden")


# --- subPathExpr ----------------------------------------------------------------------------------------------------------------

@check
def sub_path_expansion(t):
    volumes = [{"name": "v", "emptyDir": {}}]
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "PLACE", "valueFrom": {"fieldRef": {
        "fieldPath": "metadata.annotations['place']"}}}]
    text = t.output("echo x >/sub/file; cat /all/$POD/file", volumes=volumes, env=env, volumeMounts=[
        {"name": "v", "mountPath": "/sub", "subPathExpr": "$(POD)"}, {"name": "v", "mountPath": "/all"}])
    equal(text, "x\n")

    def stuck(place):
        return t.pod(container("cat /sub/../sub/x; sleep 1000", env=env, volumeMounts=[{"name": "v", "mountPath": "/sub", "subPathExpr": "$(PLACE)"}]),
                     volumes=volumes, annotations={"place": place}, restartPolicy="Always")

    for place in ("/absolute", "..", "`pwd`/.."):
        t.until(stuck(place), "refused", lambda p: any(
            (c["state"].get("waiting") or {}).get("reason") == "CreateContainerConfigError" for c in p["status"].get("containerStatuses", [])))
    name = stuck("../bad")
    t.until(name, "refused", lambda p: (p["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting") or {}).get("reason")
            == "CreateContainerConfigError")
    t.api.merge(t.path("pods", name), {"metadata": {"annotations": {"place": "good"}}})
    t.ready(name)


# --- other objects --------------------------------------------------------------------------------------------------------------

@check
def leases(t):
    group = "/apis/coordination.k8s.io/v1"
    lease = t.api.call("GET", f"{group}/namespaces/kube-node-lease/leases/n1")
    equal(lease["spec"]["holderIdentity"], "n1")
    name = t.make("leases", {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 30}}, group)
    t.api.merge(t.path("leases", name, group), {"spec": {"holderIdentity": "b"}})
    equal(t.api.call("GET", t.path("leases", name, group))["spec"]["holderIdentity"], "b")
    t.api.call("DELETE", t.path("leases", name, group))


@check
def pod_templates(t):
    body = {"metadata": {"labels": {"of": t.prefix}}, "template": {"spec": {"containers": [container("true")]}}}
    name = t.make("podtemplates", body)
    t.api.merge(t.path("podtemplates", name), {"metadata": {"labels": {"patched": "yes"}}})
    got = t.api.call("GET", t.path("podtemplates", name))
    got["metadata"]["annotations"] = {"replaced": "yes"}
    equal(t.api.call("PUT", t.path("podtemplates", name), got)["metadata"]["annotations"], {"replaced": "yes"})
    t.api.call("DELETE", t.path("podtemplates") + f"?labelSelector=of%3D{t.prefix}")
    equal(t.api.call("GET", t.path("podtemplates") + f"?labelSelector=of%3D{t.prefix}")["items"], [])


@check
def node_objects(t):
    name = t.name()
    t.api.call("POST", "/api/v1/nodes", {"metadata": {"name": name}, "spec": {"unschedulable": True}})
    t.api.merge(f"/api/v1/nodes/{name}", {"metadata": {"labels": {"patched": "yes"}}})
    t.api.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"nodeInfo": {"kubeletVersion": "v0"}}}, "application/merge-patch+json")
    got = t.api.call("GET", f"/api/v1/nodes/{name}")
    equal((got["metadata"]["labels"]["patched"], got["status"]["nodeInfo"]["kubeletVersion"]), ("yes", "v0"))
    t.api.call("DELETE", f"/api/v1/nodes/{name}")


@check
def resource_kinds_of_drivers(t):
    group = "/apis/resource.k8s.io/v1"
    t.api.call("POST", group + "/deviceclasses", {"metadata": {"name": t.prefix}, "spec": {}})
    t.api.merge(f"{group}/deviceclasses/{t.prefix}", {"metadata": {"labels": {"patched": "yes"}}})
    t.api.call("DELETE", f"{group}/deviceclasses/{t.prefix}")
    request = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
    claim = t.make("resourceclaims", {"spec": request}, group)
    t.api.call("GET", t.path("resourceclaims", claim, group))
    t.api.call("DELETE", t.path("resourceclaims", claim, group))
    template = t.make("resourceclaimtemplates", {"spec": {"spec": request}}, group)
    t.api.call("DELETE", t.path("resourceclaimtemplates", template, group))
    t.api.call("POST", group + "/resourceslices", {"metadata": {"name": t.prefix}, "spec": {
        "driver": "d.example.com", "nodeName": "n1", "pool": {"name": "p", "resourceSliceCount": 1, "generation": 1}}})
    t.api.call("DELETE", f"{group}/resourceslices/{t.prefix}")


# --- evictions by taints ----------------------------------------------------------------------------------------------------------

EVICT = {"key": "kubernetes.io/e2e-evict-taint-key", "value": "evictTaintVal", "effect": "NoExecute"}


def tolerating(t, seconds):
    return t.pod(container("sleep 1000"), terminationGracePeriodSeconds=5, tolerations=[{**EVICT, "operator": "Equal", "tolerationSeconds": seconds}])


def set_taints(t, *taints):
    t.api.merge("/api/v1/nodes/n1", {"spec": {"taints": list(taints)}})


@check_alone
def taints_evict_when_the_toleration_ends(t):
    short, long = tolerating(t, 3), tolerating(t, 8)
    for name in (short, long):
        t.phase(name, "Running")

    def leaving():
        pods = t.api.call("GET", t.path("pods") + f"?labelSelector=check%3D{t.prefix}")["items"]
        return {p["metadata"]["name"] for p in pods if "deletionTimestamp" in p["metadata"]}

    begin = time.monotonic()
    set_taints(t, EVICT)
    try:
        equal(wait("the first eviction", leaving), {short})
        assert time.monotonic() - begin >= 3, "evicted before its time"
        wait("the other eviction", lambda: long in leaving())
        assert time.monotonic() - begin >= 8, "evicted before its time"
        t.gone(short)
        t.gone(long)
    finally:
        set_taints(t)


@check_alone
def a_taint_that_is_taken_away_evicts_nobody(t):
    name = tolerating(t, 6)
    uid = t.phase(name, "Running")["metadata"]["uid"]
    set_taints(t, EVICT)
    time.sleep(2)
    set_taints(t)
    time.sleep(7)
    pod = t.get(name)
    equal((pod["metadata"]["uid"], pod["metadata"].get("deletionTimestamp"), pod["status"]["phase"]), (uid, None, "Running"))


class ConformanceTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run("hack/images", "--import", os.path.join(DIR, "n1/containerd.sock"), "--all")
        api = Api()
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        wait("the service account", lambda: api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default")[0] == 200)
        cls.pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        cls.results = {name: cls.pool.submit(function, pods_of(name)) for name, function in CHECKS.items()}

    @classmethod
    def tearDownClass(cls):
        cls.pool.shutdown(cancel_futures=True)
        super().tearDownClass()


def pods_of(name):
    return Pods(Api(), NAMESPACE, name.replace("_", "-")[:40].strip("-"))


def test_of(name):
    def test(self):
        if name in ALONE:
            concurrent.futures.wait(self.results.values())
            ALONE[name](pods_of(name))
        else:
            self.results[name].result()
    return test


for _name in (*CHECKS, *ALONE):
    setattr(ConformanceTest, "test_" + _name, test_of(_name))


if __name__ == "__main__":
    main()
