#include "proxy/data_path.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include "base/log.h"
#include "bpf/objects.h"
#include "bpf/skeletons.h"
#include "proxy/packet_path.h"

namespace skiff::proxy {

namespace {

std::string LinksDir(const std::string& dir) { return JoinPath(dir, "links"); }

// Everything below is pinned objects: files and directories of a bpffs.
Status RemoveTree(const std::string& dir) {
  auto names = ListDir(dir);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  RETURN_IF_ERROR(names);
  for (const std::string& name : *names) {
    std::string path = JoinPath(dir, name);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("remove ", path));
  }
  if (rmdir(dir.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("remove ", dir));
  return absl::OkStatus();
}

// Maps that mean the same as in the layout before this one (SKIFF_LAYOUT_VERSION - 1), to be gone over whenever that is
// raised: an upgrade goes on with them, so that connections keep their endpoints and sockets their peers.
constexpr const char* kKept[] = {"frontends", "slots",     "backends",  "affinity",      "flows",    "pod_addresses",
                                 "tcp_peers", "udp_peers", "udp_flows", "source_ranges", "fragments"};

// Pins them for this version too, before the programs are loaded. Programs that run meanwhile share them.
Status KeepMaps(const std::string& dir) {
  std::string before = JoinPath(dir, absl::StrCat("maps-v", SKIFF_LAYOUT_VERSION - 1));
  for (const char* name : kKept) {
    std::string to = JoinPath(MapsDirOf(dir), name);
    if (Exists(to)) continue;
    auto map = bpf::OpenPinned(JoinPath(before, name));
    if (absl::IsNotFound(map.status())) continue;
    RETURN_IF_ERROR(map.status());
    if (bpf_obj_pin(map->get(), to.c_str()) != 0) return ErrnoStatus(errno, absl::StrCat("pin ", to));
    LOG_INFO("A map of the version before is kept", {"map", name});
  }
  return absl::OkStatus();
}

}  // namespace

std::string MapsDirOf(const std::string& dir) { return JoinPath(dir, absl::StrCat("maps-v", SKIFF_LAYOUT_VERSION)); }

struct DataPath::Objects {
  bpf::Programs socket;
};

DataPath::DataPath(DataPathOptions options) : options_(std::move(options)) {}
DataPath::~DataPath() = default;

StatusOr<std::unique_ptr<DataPath>> DataPath::Load(DataPathOptions options) {
  std::unique_ptr<DataPath> out(new DataPath(std::move(options)));
  DataPathOptions& o = out->options_;
  if (o.cgroup.empty()) {
    ASSIGN_OR_RETURN(o.cgroup, bpf::FindCgroup2());
  }
  out->cgroup_fd_ = Fd(open(o.cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out->cgroup_fd_.valid()) return ErrnoStatus(errno, absl::StrCat("open cgroup ", o.cgroup));
  RETURN_IF_ERROR(bpf::EnsureBpffs(o.dir));
  RETURN_IF_ERROR(MakeDirs(MapsDirOf(o.dir), 0700));
  RETURN_IF_ERROR(MakeDirs(LinksDir(o.dir), 0700));

  RETURN_IF_ERROR(KeepMaps(o.dir));
  out->objects_ = std::make_unique<Objects>();
  ASSIGN_OR_RETURN(out->objects_->socket, bpf::Programs::Load(bpf::ProgramSet::kSocket, MapsDirOf(o.dir)));
  ASSIGN_OR_RETURN(out->maps_, KernelBpfMaps::Open(MapsDirOf(o.dir)));
  ASSIGN_OR_RETURN(uint64_t cookie, bpf::NetnsCookie());
  // The rest stays as an earlier run had it until Configure.
  ASSIGN_OR_RETURN(skiff_settings settings, out->maps_->ReadSettings());
  settings.host_netns_cookie = cookie;
  RETURN_IF_ERROR(out->maps_->PutSettings(settings));
  out->LoadIterator();
  return out;
}

void DataPath::LoadIterator() {
  auto load = [&]() -> Status {
    ASSIGN_OR_RETURN(bpf::Programs programs,
                     bpf::Programs::Load(bpf::ProgramSet::kUdpSockets, MapsDirOf(options_.dir)));
    ASSIGN_OR_RETURN(Fd map, bpf::OpenPinned(JoinPath(MapsDirOf(options_.dir), "udp_peers")));
    std::string pin = JoinPath(LinksDir(options_.dir), "stale_udp");
    RETURN_IF_ERROR(programs.AttachIterator("stale_udp", map.get(), pin));
    stale_udp_pin_ = std::move(pin);
    return absl::OkStatus();
  };
  if (Status status = load(); !status.ok()) {
    LOG_ERROR(status,
              "The kernel lacks iterators over socket storage (Linux 5.9): connected UDP sockets stay with removed "
              "endpoints");
  }
  malloc_trim(0);  // the kernel's type information was read for this: several MiB
}

Status DataPath::Attach() {
  if (objects_ == nullptr) return FailedPrecondition("already attached");
  RETURN_IF_ERROR(objects_->socket.AttachCgroup(cgroup_fd_.get(), LinksDir(options_.dir)));
  objects_.reset();
  malloc_trim(0);
  return RemoveOtherVersions();
}

Status DataPath::Configure(skiff_settings settings) {
  ASSIGN_OR_RETURN(skiff_settings had, maps_->ReadSettings());
  settings.host_netns_cookie = had.host_netns_cookie;
  if (std::memcmp(&had, &settings, sizeof(had)) == 0) return absl::OkStatus();
  return maps_->PutSettings(settings);
}

std::string DataPath::maps_dir() const { return MapsDirOf(options_.dir); }

Status DataPath::RemoveOtherVersions() {
  ASSIGN_OR_RETURN(auto names, ListDir(options_.dir));
  for (const std::string& name : names) {
    std::string path = JoinPath(options_.dir, name);
    if (name.starts_with("maps-v") && path != MapsDirOf(options_.dir)) RETURN_IF_ERROR(RemoveTree(path));
  }
  return absl::OkStatus();
}

Status RemoveDataPath(const DataPathOptions& options) {
  RETURN_IF_ERROR(PacketPath::Remove());
  auto names = ListDir(options.dir);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  RETURN_IF_ERROR(names);
  // Links first: programs are detached before the maps that they read are gone.
  RETURN_IF_ERROR(RemoveTree(LinksDir(options.dir)));
  for (const std::string& name : *names) {
    if (name.starts_with("maps-v")) RETURN_IF_ERROR(RemoveTree(JoinPath(options.dir, name)));
  }
  return bpf::RemoveBpffsDir(options.dir);
}

}  // namespace skiff::proxy
