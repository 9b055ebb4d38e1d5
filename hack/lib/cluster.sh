# A Skiff cluster on one machine: names, places and processes. Sourced by hack/up and hack/down.
#
# Environment: SKIFF_NAME (default skiff) names links, namespaces and cgroups, SKIFF_DIR (default /var/lib/$SKIFF_NAME)
# holds all state, SKIFF_BIN the programs, so that several clusters can live on one machine.

NAME=${SKIFF_NAME:-skiff}
DIR=${SKIFF_DIR:-/var/lib/$NAME}
BIN=${SKIFF_BIN:-$PWD/build/release/bin}
NODE_NET=${SKIFF_NODE_NET:-10.250.0}        # the nodes' bridge, a /24
POD_CIDR=${SKIFF_POD_CIDR:-10.244.0.0/16}
SERVICE_CIDR=${SKIFF_SERVICE_CIDR:-10.96.0.0/16}
API_PORT=${SKIFF_API_PORT:-6443}
API=https://$NODE_NET.1:$API_PORT
BRIDGE=${NAME}0
export KUBECONFIG=$DIR/admin.kubeconfig

# --- processes: $DIR/run/NAME.pid holds "pid starttime", so that a recycled pid is never taken for ours -----------------

start_time() { awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null; }

# alive NAME: prints the pid of a process that we started and that still runs.
alive() {
  local pid start
  [[ -r $DIR/run/$1.pid ]] || return 1
  read -r pid start <"$DIR/run/$1.pid" || return 1
  [[ -n $start && $(start_time "$pid") == "$start" ]] || return 1
  echo "$pid"
}

# spawn NAME COMMAND...: in the background with a log file, unless it runs already.
spawn() {
  local name=$1 pid
  shift
  alive "$name" >/dev/null && return 0
  setsid "$@" >>"$DIR/log/$name.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$DIR/run/$name.pid"
}

# stop NAME [SECONDS]: SIGTERM, then SIGKILL.
stop() {
  local pid i
  if pid=$(alive "$1"); then
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < ${2:-5} * 20; i++)); do
      alive "$1" >/dev/null || break
      sleep 0.05
    done
    alive "$1" >/dev/null && kill -KILL "$pid" 2>/dev/null
  fi
  rm -f "$DIR/run/$1.pid"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; then the log of $WATCH_LOG is shown on failure.
wait_for() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then
      echo "timed out after ${seconds}s waiting for $what" >&2
      [[ -n ${WATCH_LOG:-} ]] && tail -n 15 "$DIR/log/$WATCH_LOG.log" >&2
      return 1
    fi
    sleep 0.1
  done
}

# --- kernel settings that a kubelet makes for the whole machine -------------------------------------------------------

keep_kernel_settings() {
  local name
  [[ -e $DIR/sysctl ]] && return 0
  for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    echo "$name $(cat "/proc/sys/$name")"
  done >"$DIR/sysctl.new" && mv "$DIR/sysctl.new" "$DIR/sysctl"
}

restore_kernel_settings() {
  local name value
  [[ -e $DIR/sysctl ]] || return 0
  while read -r name value; do
    [[ $(cat "/proc/sys/$name") == "$value" ]] || echo "$value" >"/proc/sys/$name"
  done <"$DIR/sysctl"
}

# --- cgroups ------------------------------------------------------------------------------------------------------

cgroup_hierarchies() { findmnt -rn -t cgroup -o TARGET; }
cgroup2_mount() { findmnt -rn -t cgroup2 -o TARGET | head -1; }

# node_cgroups NODE: a cgroup of the node's own in every hierarchy; kubelets put their pods below it.
node_cgroups() {
  local mount path file
  for mount in $(cgroup_hierarchies) $(cgroup2_mount); do
    path=$mount/$NAME/$1
    mkdir -p "$path"
    # A v1 cpuset starts empty, and takes no process until it has processors and memory.
    for file in cpuset.cpus cpuset.mems; do
      [[ -e $path/$file && -e $mount/$file && -z $(<"$path/$file") ]] || continue
      [[ -n $(<"$mount/$NAME/$file") ]] || cat "$mount/$file" >"$mount/$NAME/$file"
      cat "$mount/$file" >"$path/$file"
    done
    # On v2 controllers are handed down from level to level.
    if [[ -s $mount/cgroup.controllers ]]; then
      for file in "$mount" "$mount/$NAME"; do
        sed 's/\(^\| \)/\1+/g' "$mount/cgroup.controllers" >"$file/cgroup.subtree_control" 2>/dev/null || true
      done
    fi
  done
}

# remove_cgroups: of all nodes; fails while one is left, since the last processes may still be on their way out.
remove_cgroups() {
  local mount left=0
  for mount in $(cgroup_hierarchies) $(cgroup2_mount); do
    find "$mount/$NAME"/n[1-9] -depth -type d -exec rmdir {} + 2>/dev/null
    compgen -G "$mount/$NAME/n[1-9]" >/dev/null && left=1
    rmdir "$mount/$NAME" 2>/dev/null
  done
  return "$left"
}

# --- nodes ----------------------------------------------------------------------------------------------------------
# n1 is the machine itself; the others are a network and a mount namespace each, held by a keeper process.

node_ip() { echo "$NODE_NET.${1#n}"; }

# in_node NODE COMMAND...: as a process of that node (namespaces; the node's cgroup v2, where the proxy's hooks are).
in_node() {
  local node=$1 keeper
  shift
  local cgroup
  cgroup=$(cgroup2_mount)/$NAME/$node/system
  mkdir -p "$cgroup"
  if [[ $node == n1 ]]; then
    sh -c 'echo 0 >"$0/cgroup.procs"; exec "$@"' "$cgroup" "$@"
  else
    keeper=$(alive "keeper-$node") || { echo "node $node is not running" >&2; return 1; }
    sh -c 'echo 0 >"$0/cgroup.procs"; exec "$@"' "$cgroup" nsenter -t "$keeper" -m -n -- "$@"
  fi
}

# node_spawn NODE NAME COMMAND...
node_spawn() {
  local node=$1 name=$2 keeper=
  shift 2
  local cgroup
  cgroup=$(cgroup2_mount)/$NAME/$node/system
  mkdir -p "$cgroup"
  local enter=()
  [[ $node == n1 ]] || { keeper=$(alive "keeper-$node") && enter=(nsenter -t "$keeper" -m -n --); }
  spawn "$name-$node" sh -c 'echo 0 >"$0/cgroup.procs"; exec "$@"' "$cgroup" "${enter[@]}" "$@"
}

node_network() {
  local node=$1 n=${1#n}
  if [[ $node == n1 ]]; then
    if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
      ip link add "$BRIDGE" type bridge
      ip addr add "$NODE_NET.1/24" dev "$BRIDGE"
      ip link set "$BRIDGE" up
    fi
    return
  fi
  alive "keeper-$node" >/dev/null && return
  ip netns add "$NAME-$node" 2>/dev/null || true
  ip link del "${NAME}v$n" 2>/dev/null || true
  ip link add "${NAME}v$n" type veth peer name eth0 netns "$NAME-$node"
  ip link set "${NAME}v$n" master "$BRIDGE" up
  ip -n "$NAME-$node" link set lo up
  ip -n "$NAME-$node" addr add "$(node_ip "$node")/24" dev eth0
  ip -n "$NAME-$node" link set eth0 up
  ip -n "$NAME-$node" route add default via "$NODE_NET.1"
  mkdir -p "$DIR/$node/varlog"
  # Only pods' logs and CNI state are of the node; the rest of the file tree is the machine's.
  spawn "keeper-$node" nsenter --net="/run/netns/$NAME-$node" unshare --mount --propagation private sh -c \
    'mkdir -p /var/log/pods /var/log/containers "$0/varlog/pods" "$0/varlog/containers" &&
     mount --bind "$0/varlog/pods" /var/log/pods && mount --bind "$0/varlog/containers" /var/log/containers &&
     : >"$0/ready" && exec sleep infinity' "$DIR/$node"
  WATCH_LOG=keeper-$node wait_for 60 "the namespaces of node $node" test -e "$DIR/$node/ready"
}
