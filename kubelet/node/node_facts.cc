#include "kubelet/node/node_facts.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "api/codec.h"
#include "api/time.h"
#include "base/files.h"
#include "base/log.h"
#include "base/program.h"

namespace skiff::kubelet {
namespace {

std::string FirstOf(const std::string& comma_separated) {
  for (std::string_view path : absl::StrSplit(comma_separated, ',', absl::SkipEmpty())) {
    auto text = ReadFile(std::string(path), 4096);
    if (text.ok()) return std::string(absl::StripAsciiWhitespace(*text));
  }
  return "";
}

// "MemTotal:  123 kB" in bytes.
int64_t Meminfo(const std::string& text, std::string_view name) {
  for (std::string_view line : absl::StrSplit(text, '\n')) {
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    std::vector<std::string> fields = absl::StrSplit(line.substr(name.size() + 1), ' ', absl::SkipEmpty());
    int64_t v = 0;
    if (!fields.empty() && absl::SimpleAtoi(fields[0], &v)) return fields.size() > 1 ? v * 1024 : v;
  }
  return 0;
}

// A threshold such as "100Mi" or "10%" of `capacity`, as upstream rounds it (its percentages are 32-bit floats).
int64_t Threshold(const std::string& text, int64_t capacity) {
  std::string_view number = text;
  if (number.ends_with("%")) {
    number.remove_suffix(1);
    float percent = 0;
    if (!absl::SimpleAtof(number, &percent)) return 0;
    return static_cast<int64_t>(static_cast<double>(capacity) * static_cast<double>(percent / 100));
  }
  auto q = api::Quantity::Parse(text);
  return q.ok() ? q->Value() : 0;
}

bool IsHugePages(std::string_view resource) { return resource.starts_with("hugepages-"); }

// A resource of somebody's own domain, such as example.com/dongle.
bool IsExtended(std::string_view resource) {
  return absl::StrContains(resource, '/') && !absl::StrContains(resource, "kubernetes.io/") &&
         !resource.starts_with("requests.");
}

template <typename Predicate>
void EraseIf(ResourceList* list, Predicate drop) {
  for (auto it = list->begin(); it != list->end();) {
    it = drop(it->first) ? list->erase(it) : std::next(it);
  }
}

// What an external cloud provider needs to know and do before anything runs here: it takes the taint away, and chooses
// the node's addresses with the ones that --node-ip names (none of them when it names a family alone).
void AskCloudProvider(const NodeFacts& facts, core::Node* node) {
  auto* taint = node->mutable_spec()->add_taints();
  taint->set_key("node.cloudprovider.kubernetes.io/uninitialized");
  taint->set_value("true");
  taint->set_effect("NoSchedule");
  std::vector<std::string> ips;
  for (const Ip& ip : facts.given_ips) {
    if (!ip.is_unspecified()) ips.push_back(ip.to_string());
  }
  if (!ips.empty()) (*node->mutable_metadata()->mutable_annotations())[kProvidedNodeIp] = absl::StrJoin(ips, ",");
}

std::string EvictionText(const Config& config, const std::string& signal) {
  auto it = config.eviction_hard.find(signal);
  return it == config.eviction_hard.end() ? "" : it->second;
}

StatusOr<api::Quantity> Reserved(const std::map<std::string, std::string>& from, const std::string& field,
                                 const std::string& resource) {
  auto it = from.find(resource);
  if (it == from.end()) return api::Quantity();
  ASSIGN_OR_RETURN(api::Quantity q, api::Quantity::Parse(it->second), field, ": ", resource, ": ", it->second);
  return q;
}

void AddCondition(std::string_view type, bool value, std::string_view reason, std::string message,
                  const core::NodeStatus& before, WallTime now, core::NodeStatus* status) {
  core::NodeCondition c;
  c.set_type(std::string(type));
  c.set_status(value ? "True" : "False");
  c.set_reason(std::string(reason));
  c.set_message(std::move(message));
  *c.mutable_lastheartbeattime() = api::ToTime(now);
  c.mutable_lastheartbeattime()->clear_nanos();
  *c.mutable_lasttransitiontime() = c.lastheartbeattime();
  for (const auto& old : before.conditions()) {
    if (old.type() == type && old.status() == c.status() && old.has_lasttransitiontime()) {
      *c.mutable_lasttransitiontime() = old.lasttransitiontime();
    }
  }
  for (auto& existing : *status->mutable_conditions()) {
    if (existing.type() == type) {
      existing = std::move(c);
      return;
    }
  }
  *status->add_conditions() = std::move(c);
}

}  // namespace

bool HasExternalCloudProvider(const Config& config) { return config.cloud_provider == "external"; }

std::string OsImage() {
  auto text = ReadFile("/etc/os-release", 1 << 16);
  if (!text.ok()) text = ReadFile("/usr/lib/os-release", 1 << 16);
  if (!text.ok()) return "Unknown";
  for (std::string_view line : absl::StrSplit(*text, '\n')) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    line.remove_prefix(12);
    while (!line.empty() && (line.front() == '"' || line.front() == '\'')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == '"' || line.back() == '\'')) line.remove_suffix(1);
    return std::string(line);
  }
  return "Linux";
}

StatusOr<NodeFacts> ReadNodeFacts(const Config& config) {
  NodeFacts f;
  utsname u{};
  if (::uname(&u) != 0) return ErrnoStatus(errno, "uname");
  f.hostname = config.hostname_override.empty()
                   ? absl::AsciiStrToLower(absl::StripAsciiWhitespace(u.nodename))
                   : absl::AsciiStrToLower(absl::StripAsciiWhitespace(config.hostname_override));
  if (f.hostname.empty()) return InvalidArgument("empty hostname is invalid");
  f.name = f.hostname;
  f.kernel_version = u.release;
  std::string_view machine = u.machine;
  f.architecture = machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : std::string(machine);
  f.machine_id = FirstOf(config.machine_id_files);
  f.system_uuid = absl::AsciiStrToLower(FirstOf("/sys/class/dmi/id/product_uuid"));
  if (f.system_uuid.empty()) f.system_uuid = f.machine_id;
  f.boot_id = FirstOf(config.boot_id_file);
  f.os_image = OsImage();
  f.cpus = static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  ASSIGN_OR_RETURN(std::string meminfo, ReadFile("/proc/meminfo", 1 << 16));
  f.memory = Meminfo(meminfo, "MemTotal");
  f.swap = Meminfo(meminfo, "SwapTotal");
  if (f.memory <= 0) return Internal("/proc/meminfo: no MemTotal");
  if (auto sizes = ListDir("/sys/kernel/mm/hugepages"); sizes.ok()) {
    for (const std::string& size : *sizes) {  // hugepages-2048kB
      std::string_view number = size;
      int64_t kb = 0, count = 0;
      if (!number.starts_with("hugepages-") || !number.ends_with("kB")) continue;
      number.remove_prefix(10);
      number.remove_suffix(2);
      if (!absl::SimpleAtoi(number, &kb)) continue;
      (void)absl::SimpleAtoi(FirstOf(absl::StrCat("/sys/kernel/mm/hugepages/", size, "/nr_hugepages")), &count);
      f.huge_pages[api::Quantity::Bytes(kb * 1024).ToString()] = kb * 1024 * count;
    }
  }
  struct statvfs disk {};
  if (::statvfs(config.root_dir.c_str(), &disk) == 0) {
    f.disk_capacity = static_cast<int64_t>(disk.f_blocks) * static_cast<int64_t>(disk.f_frsize);
  }
  std::vector<std::string> ignored;
  ASSIGN_OR_RETURN(f.given_ips, ParseNodeIp(config.node_ip, &ignored));
  if (!ignored.empty()) {
    LOG_WARNING("Could not parse some node IP(s), ignoring them", {"IPs", absl::StrJoin(ignored, ",")});
  }
  return f;
}

StatusOr<NodeResources> ComputeNodeResources(const Config& config, const NodeFacts& f) {
  NodeResources out;
  int64_t pods = config.max_pods;
  if (config.pods_per_core > 0) pods = std::min(pods, config.pods_per_core * f.cpus);
  auto& c = out.capacity;
  c["cpu"] = api::Quantity(f.cpus).ToProto();
  c["memory"] = api::Quantity::Bytes(f.memory).ToProto();
  c["pods"] = api::Quantity(pods).ToProto();
  if (config.local_storage_capacity_isolation) {
    c["ephemeral-storage"] = api::Quantity::Bytes(f.disk_capacity).ToProto();
  }
  for (const auto& [size, bytes] : f.huge_pages) {
    c["hugepages-" + size] = bytes == 0 ? api::Quantity().ToProto() : api::Quantity::Bytes(bytes).ToProto();
  }
  for (const auto& [name, quantity] : c) {
    api::Quantity left = api::Quantity::Of(quantity);
    ASSIGN_OR_RETURN(api::Quantity system, Reserved(config.system_reserved, "systemReserved", name));
    ASSIGN_OR_RETURN(api::Quantity kube, Reserved(config.kube_reserved, "kubeReserved", name));
    left -= system;
    left -= kube;
    if (name == "memory") {
      left -= api::Quantity::Bytes(Threshold(EvictionText(config, "memory.available"), f.memory));
      // What huge pages take is not there for anything else.
      for (const auto& [size, bytes] : f.huge_pages) left -= api::Quantity::Bytes(bytes);
    } else if (name == "ephemeral-storage") {
      // A number of bytes here, as upstream computes it.
      left = api::Quantity(left.Value() - Threshold(EvictionText(config, "nodefs.available"), f.disk_capacity));
    }
    if (left.Sign() < 0) left = api::Quantity();
    out.allocatable[name] = left.ToProto();
  }
  return out;
}

Status ValidateReservations(const Config& config, const NodeResources& resources) {
  std::vector<std::string> problems;
  for (const auto& [name, quantity] : resources.capacity) {
    const api::Quantity capacity = api::Quantity::Of(quantity);
    ASSIGN_OR_RETURN(api::Quantity reserved, Reserved(config.system_reserved, "systemReserved", name));
    ASSIGN_OR_RETURN(api::Quantity kube, Reserved(config.kube_reserved, "kubeReserved", name));
    reserved += kube;
    const char* signal = name == "memory" ? "memory.available" : name == "ephemeral-storage" ? "nodefs.available" : "";
    reserved += api::Quantity::Bytes(Threshold(EvictionText(config, signal), capacity.Value()));
    if (reserved <= capacity) continue;
    problems.push_back(absl::StrCat("Resource \"", name, "\" has a reservation of ", reserved.ToString(),
                                    " but capacity of ", capacity.ToString(), ". Expected capacity >= reservation."));
  }
  if (problems.empty()) return absl::OkStatus();
  std::sort(problems.begin(), problems.end());
  return InvalidArgument("invalid Node Allocatable configuration. ", absl::StrJoin(problems, " "));
}

core::Node MakeNode(const Config& config, const NodeFacts& f, const NodeResources& resources) {
  core::Node node;
  node.mutable_metadata()->set_name(f.name);
  auto& labels = *node.mutable_metadata()->mutable_labels();
  labels["kubernetes.io/hostname"] = f.hostname;
  labels["kubernetes.io/os"] = labels["beta.kubernetes.io/os"] = "linux";
  labels["kubernetes.io/arch"] = labels["beta.kubernetes.io/arch"] = f.architecture;
  for (const auto& [key, value] : config.node_labels) labels[key] = value;
  if (config.enable_controller_attach_detach) {
    (*node.mutable_metadata()->mutable_annotations())["volumes.kubernetes.io/controller-managed-attach-detach"] =
        "true";
  }
  if (!config.provider_id.empty()) node.mutable_spec()->set_providerid(config.provider_id);
  if (!config.register_with_taints_json.empty()) {
    auto taints = nlohmann::json::parse(config.register_with_taints_json, nullptr, false);
    if (taints.is_array()) {
      for (const auto& taint : taints) {
        core::Taint t;
        if (api::FromJson(taint.dump(), &t).ok()) *node.mutable_spec()->add_taints() = std::move(t);
      }
    }
  }
  if (HasExternalCloudProvider(config)) AskCloudProvider(f, &node);
  auto* status = node.mutable_status();
  SetResources(resources, status);
  auto address = [&](const char* type, const std::string& value) {
    auto* a = status->add_addresses();
    a->set_type(type);
    a->set_address(value);
  };
  // An address that was only guessed could be one that the provider does not know.
  const bool wait = HasExternalCloudProvider(config) && f.given_ips.empty();
  if (!wait) {
    for (const std::string& ip : f.ips) address("InternalIP", ip);
  }
  if (wait || !f.ips.empty()) address("Hostname", f.hostname);
  status->mutable_daemonendpoints()->mutable_kubeletendpoint()->set_port(static_cast<int32_t>(config.port));
  auto* info = status->mutable_nodeinfo();
  info->set_machineid(f.machine_id);
  info->set_systemuuid(f.system_uuid);
  info->set_bootid(f.boot_id);
  info->set_kernelversion(f.kernel_version);
  info->set_osimage(f.os_image);
  info->set_containerruntimeversion(absl::StrCat(f.runtime_name, "://", f.runtime_version));
  info->set_kubeletversion(kKubernetesVersion);
  info->set_kubeproxyversion("");
  info->set_operatingsystem("linux");
  info->set_architecture(f.architecture);
  if (f.swap > 0) info->mutable_swap()->set_capacity(f.swap);
  return node;
}

void SetResources(const NodeResources& resources, core::NodeStatus* status) {
  auto& capacity = *status->mutable_capacity();
  auto& allocatable = *status->mutable_allocatable();
  auto stale = [&](const std::string& name) { return IsHugePages(name) && !resources.capacity.contains(name); };
  EraseIf(&capacity, stale);
  for (const auto& [name, quantity] : resources.capacity) capacity[name] = quantity;
  EraseIf(&allocatable,
          [&](const std::string& name) { return stale(name) || (IsExtended(name) && !capacity.contains(name)); });
  for (const auto& [name, quantity] : capacity) {
    const auto own = resources.allocatable.find(name);
    allocatable[name] = own == resources.allocatable.end() ? quantity : own->second;
  }
}

void SetImages(const ::runtime::v1::ListImagesResponse& images, int64_t most, core::NodeStatus* status) {
  constexpr int kNames = 5;
  std::vector<const ::runtime::v1::Image*> sorted;
  for (const auto& image : images.images()) sorted.push_back(&image);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](auto* a, auto* b) { return a->size() != b->size() ? a->size() > b->size() : a->id() > b->id(); });
  if (most >= 0 && sorted.size() > static_cast<size_t>(most)) sorted.resize(static_cast<size_t>(most));
  status->clear_images();
  for (const auto* image : sorted) {
    auto* out = status->add_images();
    for (const auto& name : image->repo_digests()) {
      if (out->names_size() < kNames) out->add_names(name);
    }
    for (const auto& name : image->repo_tags()) {
      if (out->names_size() < kNames) out->add_names(name);
    }
    out->set_sizebytes(static_cast<int64_t>(image->size()));
  }
}

void SetRuntimeFeatures(const ::runtime::v1::StatusResponse& answer, core::NodeStatus* status) {
  status->clear_runtimehandlers();
  std::vector<const ::runtime::v1::RuntimeHandler*> handlers;
  for (const auto& handler : answer.runtime_handlers()) handlers.push_back(&handler);
  std::sort(handlers.begin(), handlers.end(), [](auto* a, auto* b) { return a->name() < b->name(); });
  for (const auto* handler : handlers) {
    auto* out = status->add_runtimehandlers();
    out->set_name(handler->name());
    out->mutable_features()->set_recursivereadonlymounts(handler->features().recursive_read_only_mounts());
    out->mutable_features()->set_usernamespaces(handler->features().user_namespaces());
  }
  // Beta features that the scheduler and the API server may count on here.
  status->clear_declaredfeatures();
  for (const char* feature : {"ExtendWebSocketsToKubelet", "InPlacePodLevelResourcesVerticalScaling",
                              "InPlacePodVerticalScalingInitContainers", "RestartAllContainersOnContainerExits"}) {
    status->add_declaredfeatures(feature);
  }
  if (answer.has_features()) {
    status->mutable_features()->set_supplementalgroupspolicy(answer.features().supplemental_groups_policy());
  }
}

void SetConditions(const NodeHealth& h, const core::NodeStatus& before, WallTime now, core::NodeStatus* status) {
  *status->mutable_conditions() = before.conditions();
  AddCondition(
      "MemoryPressure", h.memory_pressure,
      h.memory_pressure ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
      h.memory_pressure ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available",
      before, now, status);
  AddCondition("DiskPressure", h.disk_pressure, h.disk_pressure ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
               h.disk_pressure ? "kubelet has disk pressure" : "kubelet has no disk pressure", before, now, status);
  AddCondition("PIDPressure", h.pid_pressure, h.pid_pressure ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
               h.pid_pressure ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available",
               before, now, status);
  AddCondition("Ready", h.not_ready.empty(), h.not_ready.empty() ? "KubeletReady" : "KubeletNotReady",
               h.not_ready.empty() ? "kubelet is posting ready status" : h.not_ready, before, now, status);
}

}  // namespace skiff::kubelet
