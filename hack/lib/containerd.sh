# A containerd of one's own: socket, state, configuration. Sourced; an existing containerd is never touched.
# SKIFF_CONTAINERD: a folder whose bin/ goes before the system's programs (containerd, its shim, ctr, runc), as e2e/runtimes makes them.
[[ -z ${SKIFF_CONTAINERD:-} ]] || export PATH=$SKIFF_CONTAINERD/bin:$PATH

# containerd_config DIR [CNI_BIN CNI_CONF]: writes DIR/containerd.toml.
containerd_config() {
  local dir=$1 cni_bin=${2:-$1/cni/bin} cni_conf=${3:-$1/cni/conf}
  # containerd would make the folder for root alone; pods with users of their own look for their file systems below it.
  mkdir -p "$dir/containerd"
  cat >"$dir/containerd.toml" <<EOF
version = 2
root = "$dir/containerd/root"
state = "$dir/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "$dir/containerd.sock"
[ttrpc]
  address = "$dir/containerd.sock.ttrpc"
[debug]
  level = "info"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/skiff/pause:1"
  # A machine that may not lower oom_score_adj (no CAP_SYS_RESOURCE) could start no container otherwise.
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  max_concurrent_downloads = 3
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "$dir/containerd/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$cni_bin"
    conf_dir = "$cni_conf"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$dir/certs.d"
EOF
}

# containerd_wait SOCKET: until it answers.
containerd_wait() {
  local i
  for ((i = 0; i < 1200; i++)); do
    ctr --address "$1" version >/dev/null 2>&1 && return 0
    sleep 0.05
  done
  echo "containerd at $1 did not answer within 60 seconds" >&2
  return 1
}
