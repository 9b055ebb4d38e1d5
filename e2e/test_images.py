"""Images from a real registry with passwords: pull secrets in both forms, of pods and of service accounts, credential provider
plugins, who may use an image that is there already, what is said when a pull fails."""

import base64
import contextlib
import crypt
import glob
import json
import os
import signal
import subprocess
import unittest
import urllib.request

import lib

REGISTRY = "127.0.0.1:5000"
N1 = os.path.join(lib.DIR, "n1")


def ctr(*argv, check=True):
    return lib.run("ctr", "--address", os.path.join(N1, "containerd.sock"), "--namespace", "k8s.io", "images", *argv, check=check)


def auth(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def pod(name, image, secrets=(), policy="IfNotPresent", account="default"):
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "serviceAccountName": account, "imagePullSecrets": [{"name": s} for s in secrets],
        "containers": [{"name": "c", "image": image, "imagePullPolicy": policy}]}})


def state(name):
    return lib.get("pod", name)["status"]["containerStatuses"][0]["state"]


def events(name):
    return [(e["reason"], e["message"]) for e in lib.get("events", "--field-selector", f"involvedObject.name={name}")["items"]]


FLAGS = []


def restart_kubelet(*flags):
    """Starts the kubelet anew with further flags."""
    pid = lib.pid_of("kubelet-n1")
    if not FLAGS:  # as hack/up started it
        with open(f"/proc/{pid}/cmdline") as f:
            FLAGS.extend(f.read().split("\0")[:-1])
        os.kill(pid, signal.SIGTERM)
    argv = FLAGS
    lib.wait("the kubelet's end", lambda: not os.path.exists(f"/proc/{pid}"), 20)
    with open(os.path.join(lib.DIR, "log/kubelet-n1.log"), "ab") as log:
        child = subprocess.Popen([*argv, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with open(f"/proc/{child.pid}/stat") as f:
        started = f.read().rsplit(") ", 1)[1].split()[19]
    with open(os.path.join(lib.DIR, "run/kubelet-n1.pid"), "w") as f:
        f.write(f"{child.pid} {started}\n")
    return child


class ImagesTest(lib.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        d = os.path.join(lib.DIR, "registry")
        os.makedirs(d)
        with open(d + "/htpasswd", "w") as f:
            for user in ("alice", "bob"):
                f.write(f"{user}:{crypt.crypt(user + '-pw', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
        with open(d + "/config.yml", "w") as f:
            f.write(f"""version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {d}/data}}}}
http: {{addr: "{REGISTRY}"}}
auth: {{htpasswd: {{realm: skiff, path: {d}/htpasswd}}}}
""")
        with open(d + "/log", "wb") as log:
            cls.registry = subprocess.Popen(["docker-registry", "serve", d + "/config.yml"], stdout=log, stderr=log)

        def answers():
            with contextlib.suppress(urllib.error.HTTPError, OSError):
                urllib.request.urlopen(f"http://{REGISTRY}/v2/")
            return subprocess.run(["curl", "-s", "-o", "/dev/null", "-u", "alice:alice-pw", "-f", f"http://{REGISTRY}/v2/"]).returncode == 0

        lib.wait("the registry", answers, 20)
        for name in ("a", "b", "c", "d", "e", "f"):
            image = f"{REGISTRY}/team/{name}:1"
            ctr("tag", "localhost/skiff/pause:1", image)
            ctr("push", "--plain-http", "--user", "alice:alice-pw", image)
            ctr("rm", image)
        config = {"auths": {REGISTRY: auth("alice", "alice-pw")}}
        for name, kind, key, value in (("json", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", config),
                                       ("cfg", "kubernetes.io/dockercfg", ".dockercfg", {f"http://{REGISTRY}/team": auth("bob", "bob-pw")}),
                                       ("wrong", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", {"auths": {REGISTRY: auth("alice", "hunter2")}}),
                                       ("elsewhere", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", {"auths": {"other.example": auth("alice", "alice-pw")}})):
            lib.apply(json.dumps({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name},
                                  "data": {key: base64.b64encode(json.dumps(value).encode()).decode()}}))

    @classmethod
    def tearDownClass(cls):
        cls.registry.terminate()
        cls.registry.wait()
        super().tearDownClass()

    def start(self, name, image, **kwargs):
        lib.apply(pod(name, image, **kwargs))
        self.addCleanup(lib.kubectl, "delete", "pod", name, "--grace-period=0", "--force", "--wait=false", check=False)

    def runs(self, name, image, **kwargs):
        self.start(name, image, **kwargs)
        lib.wait(f"{name} to run", lambda: "running" in state(name), 40)

    def waits(self, name, *reasons):
        def waiting():
            now = state(name).get("waiting", {})
            return now.get("reason") in reasons and now

        return lib.wait(f"{name} to wait with {reasons}", waiting, 40)

    def told(self, name, reason, message):
        """Waits for an event that begins so; returns all of that object."""
        def found():
            seen = events(name)
            return any(r == reason and m.startswith(message) for r, m in seen) and seen

        return lib.wait(f"{reason} of {name}: {message}", found, 30)

    def test_without_credentials(self):
        image = f"{REGISTRY}/team/a:1"
        self.start("bare", image)
        self.waits("bare", "ErrImagePull", "ImagePullBackOff")
        message = self.waits("bare", "ImagePullBackOff")["message"]
        self.assertTrue(message.startswith(f'Back-off pulling image "{image}": ErrImagePull: '), message)
        for reason, begin in (("Pulling", f'Pulling image "{image}"'), ("Failed", "Error: ErrImagePull"), ("Failed", f'Failed to pull image "{image}": '),
                              ("BackOff", "")):
            self.told("bare", reason, begin)

    def test_both_forms_of_secrets_and_whose_image_it_is_then(self):
        image = f"{REGISTRY}/team/b:1"
        self.runs("with-json", image, secrets=["json"])
        self.told("with-json", "Pulled", f'Successfully pulled image "{image}" in ')
        # There now, but for those only who may pull it.
        self.start("never", image, policy="Never")
        self.assertEqual(self.waits("never", "ErrImageNeverPull")["message"], f'Container image "{image}" is not present with pull policy of Never')
        self.start("stranger", image)
        self.waits("stranger", "ErrImagePull", "ImagePullBackOff")
        self.runs("never-json", image, secrets=["json"], policy="Never")
        self.runs("with-cfg", image, secrets=["elsewhere", "cfg"])
        self.runs("never-cfg", image, secrets=["cfg"], policy="Never")
        records = []
        for path in glob.glob(os.path.join(N1, "kubelet/image_manager/pulled/sha256-*")):
            with open(path) as f:
                records.append(json.load(f))
        mine = [r["credentialMapping"][f"{REGISTRY}/team/b"] for r in records if f"{REGISTRY}/team/b" in r.get("credentialMapping", {})]
        self.assertEqual(len(mine), 1)
        self.assertEqual(sorted(s["name"] for s in mine[0]["kubernetesSecrets"]), ["cfg", "json"])
        self.assertEqual(glob.glob(os.path.join(N1, "kubelet/image_manager/pulling/sha256-*")), [])

    def test_images_that_were_there_before_are_for_all(self):
        # Another image than what is pulled here: records are by the image's id, whatever its name.
        self.runs("preloaded", "localhost/skiff/test:1", policy="Never")
        self.told("preloaded", "Pulled", 'Container image "localhost/skiff/test:1" already present on machine and can be accessed by the pod')

    def test_wrong_and_missing_secrets(self):
        self.start("wrong", f"{REGISTRY}/team/c:1", secrets=["wrong", "nosuch"])
        self.waits("wrong", "ImagePullBackOff")
        self.told("wrong", "Failed", "Failed to pull image ")
        seen = self.told("wrong", "FailedToRetrieveImagePullSecret",
                         "Unable to retrieve some image pull secrets (nosuch); attempting to pull the image may not succeed.")
        with open(os.path.join(lib.DIR, "log/kubelet-n1.log")) as f:
            log = f.read()
        for text in (json.dumps(seen), log):  # security row secrets-in-logs
            for secret in ("hunter2", auth("alice", "hunter2")["auth"]):
                self.assertNotIn(secret, text)

    def test_secrets_of_service_accounts(self):
        lib.apply(json.dumps({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"}, "imagePullSecrets": [{"name": "json"}]}))
        self.runs("account", f"{REGISTRY}/team/d:1", account="puller")

    def test_bad_names(self):
        self.start("bad", "Not/A/Name:1")
        self.assertIn("couldn't parse image name", self.waits("bad", "InvalidImageName")["message"])

    def test_z_provider_plugins(self):  # the last: it starts the kubelet anew
        d = os.path.join(lib.DIR, "plugins")
        os.makedirs(d + "/bin")
        answer = {"kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "cacheKeyType": "Registry",
                  "cacheDuration": "1h", "auth": {REGISTRY: {"username": "bob", "password": "bob-pw"}}}
        with open(d + "/bin/give", "w") as f:
            f.write(f"#!/bin/sh\ncat >>{d}/asked\ncat <<'EOF'\n{json.dumps(answer)}\nEOF\n")
        os.chmod(d + "/bin/give", 0o755)
        with open(d + "/config.yaml", "w") as f:
            json.dump({"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [
                {"name": "give", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": [REGISTRY], "defaultCacheDuration": "0s"}]}, f)
        child = restart_kubelet(f"--image-credential-provider-config={d}/config.yaml", f"--image-credential-provider-bin-dir={d}/bin")
        self.runs("provided", f"{REGISTRY}/team/e:1")
        self.runs("provided-too", f"{REGISTRY}/team/f:1")
        with open(d + "/asked") as f:
            asked = [json.loads(line) for line in f]
        self.assertEqual([a["image"] for a in asked], [f"{REGISTRY}/team/e"])  # kept for the registry
        # The node's credentials: any pod's.
        self.runs("provided-never", f"{REGISTRY}/team/e:1", policy="Never")
        os.remove(d + "/bin/give")
        child.terminate()
        child.wait()
        failed = restart_kubelet(f"--image-credential-provider-config={d}/config.yaml", f"--image-credential-provider-bin-dir={d}/bin")
        self.assertNotEqual(failed.wait(20), 0)
        with open(os.path.join(lib.DIR, "log/kubelet-n1.log")) as f:
            self.assertIn(f"plugin binary executable {d}/bin/give did not exist", f.read())


if __name__ == "__main__":
    lib.main()
