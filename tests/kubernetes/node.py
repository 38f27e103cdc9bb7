"""A node that runs pods: containerd, kubelet, kube-proxy, and the add-ons that a cluster is expected to have.

Used by ``lease`` on a started cluster. Containers, pods' networks, Services, DNS and volumes are real; NetworkPolicies are enforced
by a small filter of our own (``control_plane/policy.go``), since no published CNI with policies can be had as a Go module.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import docker

from tests.kubernetes import images
from tests.kubernetes.cluster import CLUSTER_DNS, NODE, PODS, Cluster

__all__ = ["Node"]

_CNI = "/usr/lib/cni"
_KUBELET = "/var/lib/kubelet"
_VERSION_2 = Path("/sys/fs/cgroup")
_POD_RANGE = "10.244.0.0/24"
_ADDONS = Path(__file__).with_name("addons.yaml")
_STARTED_SECONDS = 120
# What the node says it has. What pods ask for is the scheduler's arithmetic: several stories fit on a small machine, and share it.
_PROCESSORS = 16
_SYSTEM = "/sys/devices/system"
_CONTAINERD = """
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{binaries}"
conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


class Node:
    """The only one of a cluster; ends with it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._directory = cluster.directory / "node"
        self._namespaces = cluster.namespaces
        # Sockets are in the namespaces' own /run and /var/lib: their paths have at most 107 characters.
        self._socket = "/run/containerd/paictl-test.sock"

    def start(self) -> None:
        """Have a ready node with DNS and a default StorageClass. Raises RuntimeError with the logs' ends."""
        self._directory.mkdir(parents=True)
        self._namespaces.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        self._make_groups()
        self._networks()
        self._serve_containers()
        self._serve_pods()
        self._serve_services()
        self.cluster.serve("policy", [str(self.cluster.credentials("policy"))])
        volumes = self._directory / "volumes"
        self.cluster.serve("volumes", [str(self.cluster.credentials("volumes")), str(volumes)])
        self._add()

    def load(self, archive: Path) -> None:
        """Have the images of a file that ``docker save`` or ``images.archive`` wrote."""
        self._namespaces.run([*self._ctr(), "images", "import", "--no-unpack", str(archive)])

    def load_from(self, engine: docker.APIClient, *references: str) -> None:
        """Have images of a Docker engine, under the names that they have there."""
        with tempfile.NamedTemporaryFile(dir=self._directory, suffix=".tar") as archive:
            for reference in references:
                archive.seek(0)
                archive.truncate()
                archive.writelines(engine.get_image(reference))
                archive.flush()
                self.load(Path(archive.name))

    def images(self) -> list[str]:
        """The names of those that it has."""
        return self._namespaces.run([*self._ctr(), "images", "list", "--quiet"]).stdout.split()

    def _ctr(self) -> list[str]:
        return ["ctr", f"--address={self._socket}", "--namespace=k8s.io"]

    def _make_groups(self) -> None:
        """kubelet makes control groups below one that must be there."""
        group = self._namespaces.group
        mounted = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        for root in (fields[1] for fields in mounted if fields[2] in {"cgroup", "cgroup2"}):
            made = Path(root, group)
            made.mkdir(exist_ok=True)
            if Path(root) == _VERSION_2:
                # There a group has the controllers that the one above it hands down.
                handed = " ".join(f"+{one}" for one in Path(root, "cgroup.controllers").read_text("ascii").split())
                for above in (Path(root), made):
                    (above / "cgroup.subtree_control").write_text(handed, encoding="ascii")
            for name in ("cpuset.cpus", "cpuset.mems"):
                inherited = Path(root, name)
                if inherited.exists() and (made / name).exists():
                    (made / name).write_text(inherited.read_text(encoding="ascii"), encoding="ascii")

    def _networks(self) -> None:
        # Each pod's packets go through the node's filter, also those to its neighbours: no bridge.
        network = {
            "type": "ptp",
            "ipMasq": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": _POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": str(self._directory / "addresses"),
            },
        }
        plugins = [network, {"type": "portmap", "capabilities": {"portMappings": True}}]
        folder = self._directory / "networks"
        folder.mkdir()
        written = {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}
        (folder / "10-pods.conflist").write_text(json.dumps(written), encoding="utf-8")

    def _serve_containers(self) -> None:
        path = self._directory / "containerd.toml"
        settings = {
            "root": str(self._directory / "containerd"),
            "state": "/run/containerd/state",
            "socket": self._socket,
            "pause": images.PAUSE,
            "binaries": _CNI,
            "networks": str(self._directory / "networks"),
        }
        path.write_text(_CONTAINERD.format(**settings), encoding="utf-8")
        self._namespaces.start("containerd", ["containerd", "--config", str(path), "--log-level=warn"])
        serves = [*self._ctr(), "version"]
        self._namespaces.wait(lambda: self._namespaces.run(serves, check=False).returncode == 0, "containerd's answer")
        self.load(images.archive())

    def _pretend_processors(self) -> None:
        """kubelet counts folders, and uses the processors that say where they are. Pods have a /sys of their own."""
        shown, real = self._directory / "system", os.sched_getaffinity(0)
        (shown / "node").mkdir(parents=True)
        for number in sorted({*real, *range(_PROCESSORS)}):
            folder = shown / "cpu" / f"cpu{number}" / "topology"
            folder.mkdir(parents=True)
            if number in real:
                (folder / "core_id").write_text(f"{number}\n", encoding="ascii")
                (folder / "physical_package_id").write_text("0\n", encoding="ascii")
        for name in ("cpu", "node"):
            self._namespaces.run(["mount", "--bind", str(shown / name), f"{_SYSTEM}/{name}"])

    def _serve_pods(self) -> None:
        self._pretend_processors()
        (self._directory / "resolv.conf").touch()
        (self._directory / "kubelet").mkdir()
        self._namespaces.run(["mount", "--bind", str(self._directory / "kubelet"), _KUBELET])
        settings: dict[str, Any] = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._namespaces.address,
            "authentication": {"x509": {"clientCAFile": str(self.cluster.key("ca.crt"))}},
            "tlsCertFile": str(self.cluster.key("kubelet.crt")),
            "tlsPrivateKeyFile": str(self.cluster.key("kubelet.key")),
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._namespaces.group}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            # What only the root of the machine may do, such as settings of the kernel, is left alone.
            "featureGates": {"KubeletInUserNamespace": True},
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self._directory / "resolv.conf"),
            "podLogsDir": str(self._directory / "logs"),
            "volumePluginDir": str(self._directory / "plugins"),
            # A full disk of this machine is not what is tried.
            "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
        }
        path = self._directory / "kubelet.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        flags = [
            f"--config={path}",
            f"--kubeconfig={self.cluster.credentials('kubelet')}",
            f"--root-dir={_KUBELET}",
            f"--hostname-override={NODE}",
            f"--node-ip={self._namespaces.address}",
        ]
        self.cluster.serve("kubelet", flags)

    def _serve_services(self) -> None:
        settings = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(self.cluster.credentials("kube-proxy"))},
            "clusterCIDR": PODS,
            "hostnameOverride": NODE,
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        path = self._directory / "kube-proxy.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        self.cluster.serve("kube-proxy", [f"--config={path}"])

    def _add(self) -> None:
        text = _ADDONS.read_text(encoding="utf-8")
        for name, value in (("SERVERS", str(self.cluster.program)), ("TINY", images.TINY), ("DNS", CLUSTER_DNS)):
            text = text.replace(f"${name}", value)
        self.cluster.access.kubectl("apply", "--server-side", "--filename=-", given=text)
        self._namespaces.wait(self._complete, "a ready node with DNS", _STARTED_SECONDS)

    def _complete(self) -> bool:
        deployment = self.cluster.access.get("deployment", "coredns", "--namespace=kube-system")
        return bool(deployment["status"].get("readyReplicas"))
