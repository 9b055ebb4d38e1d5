#include "kubelet/runtime/env.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/files.h"
#include "base/log.h"
#include "kubelet/runtime/env_file.h"

namespace skiff::kubelet {
namespace {

std::string VariableName(std::string_view service) {
  return absl::AsciiStrToUpper(absl::StrReplaceAll(service, {{"-", "_"}}));
}

bool HasClusterIp(const core::Service& s) { return !s.spec().clusterip().empty() && s.spec().clusterip() != "None"; }

std::string HostPort(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? absl::StrCat(host, ":", port) : absl::StrCat("[", host, "]:", port);
}

// What may be a name of a variable: printable ASCII without '='.
bool ValidName(std::string_view name) {
  if (name.empty()) return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != '='; });
}

// metadata.labels['key'] -> {"metadata.labels", "key"}
bool SplitSubscript(std::string_view path, std::string_view* field, std::string_view* key) {
  if (!path.ends_with("']")) return false;
  size_t at = path.find("['");
  if (at == std::string_view::npos) return false;
  *field = path.substr(0, at);
  *key = path.substr(at + 2, path.size() - at - 4);
  return !key->empty();
}

// Value in units of the divisor, rounded up.
std::string Divided(const api::Quantity& value, const api::Quantity& divisor, bool milli) {
  int64_t v = milli ? value.MilliValue() : value.Value();
  int64_t d = milli ? divisor.MilliValue() : divisor.Value();
  if (d <= 0) d = milli ? 1000 : 1;
  return absl::StrCat((v + d - 1) / d);
}

class Builder {
 public:
  void Set(const std::string& name, std::string value) {
    auto [it, added] = index_.emplace(name, env_.size());
    if (added) {
      env_.emplace_back(name, std::move(value));
    } else {
      env_[it->second].second = std::move(value);
    }
  }
  const std::string* Find(std::string_view name) const {
    auto it = index_.find(name);
    return it == index_.end() ? nullptr : &env_[it->second].second;
  }
  Env Take() && { return std::move(env_); }

 private:
  Env env_;
  std::map<std::string, size_t, std::less<>> index_;
};

// Keys of a config map or secret in order, with the prefix; unusable names are listed in a message.
template <typename Data>
void AddAll(const Data& data, const std::string& prefix, std::string_view what, const std::string& ns,
            const std::string& name, Builder* out, std::vector<std::string>* invalid) {
  std::map<std::string, std::string> sorted(data.begin(), data.end());
  std::vector<std::string> bad;
  for (auto& [key, value] : sorted) {
    std::string full = prefix + key;
    if (!ValidName(full)) {
      bad.push_back(full);
      continue;
    }
    out->Set(full, value);
  }
  if (!bad.empty() && invalid != nullptr) {
    invalid->push_back(absl::StrCat("Keys [", absl::StrJoin(bad, ", "), "] from the EnvFrom ", what, " ", ns, "/", name,
                                    " were skipped since they are considered invalid environment variable names."));
  }
}

}  // namespace

std::string Expand(std::string_view text, const std::function<const std::string*(std::string_view)>& lookup) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 >= text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    size_t close = text[i + 1] == '(' ? text.find(')', i + 2) : std::string_view::npos;
    if (close == std::string_view::npos) {  // not a reference
      out += '$';
      if (text[i + 1] != '(') out += text[++i];
      continue;
    }
    std::string_view name = text.substr(i + 2, close - i - 2);
    if (const std::string* value = lookup(name)) {
      out += *value;
    } else {
      absl::StrAppend(&out, "$(", name, ")");
    }
    i = close;
  }
  return out;
}

Env ServiceEnv(const std::vector<std::shared_ptr<const core::Service>>& services) {
  Env out;
  for (const auto& service : services) {
    const auto& spec = service->spec();
    if (!HasClusterIp(*service) || spec.ports_size() == 0) continue;
    const std::string name = VariableName(service->metadata().name());
    out.emplace_back(name + "_SERVICE_HOST", spec.clusterip());
    out.emplace_back(name + "_SERVICE_PORT", absl::StrCat(spec.ports(0).port()));
    for (const auto& port : spec.ports()) {
      if (!port.name().empty()) {
        out.emplace_back(absl::StrCat(name, "_SERVICE_PORT_", VariableName(port.name())), absl::StrCat(port.port()));
      }
    }
    for (int i = 0; i < spec.ports_size(); ++i) {
      const auto& port = spec.ports(i);
      std::string upper = port.protocol().empty() ? "TCP" : absl::AsciiStrToUpper(port.protocol());
      std::string lower = absl::AsciiStrToLower(upper);
      std::string url = absl::StrCat(lower, "://", HostPort(spec.clusterip(), port.port()));
      if (i == 0) out.emplace_back(name + "_PORT", url);
      std::string prefix = absl::StrCat(name, "_PORT_", port.port(), "_", upper);
      out.emplace_back(prefix, url);
      out.emplace_back(prefix + "_PROTO", lower);
      out.emplace_back(prefix + "_PORT", absl::StrCat(port.port()));
      out.emplace_back(prefix + "_ADDR", spec.clusterip());
    }
  }
  return out;
}

std::vector<std::shared_ptr<const core::Service>> VisibleServices(
    const std::vector<std::shared_ptr<const core::Service>>& all, std::string_view ns, bool links) {
  std::map<std::string, std::shared_ptr<const core::Service>> by_name;
  for (const auto& service : all) {
    if (!HasClusterIp(*service)) continue;
    const std::string& name = service->metadata().name();
    if (service->metadata().namespace_() == "default" && name == "kubernetes") {
      by_name.emplace(name, service);
    } else if (links && service->metadata().namespace_() == ns) {
      by_name[name] = service;  // the namespace's own wins
    }
  }
  std::vector<std::shared_ptr<const core::Service>> out;
  for (auto& [name, service] : by_name) out.push_back(std::move(service));
  return out;
}

StatusOr<std::string> FieldValue(const Pod& pod, std::string_view path, const EnvFacts& facts) {
  std::string_view field, key;
  if (SplitSubscript(path, &field, &key)) {
    const auto& map = field == "metadata.labels" ? pod.metadata().labels() : pod.metadata().annotations();
    if (field == "metadata.labels" || field == "metadata.annotations") {
      auto it = map.find(std::string(key));
      return it == map.end() ? "" : it->second;
    }
    return InvalidArgument("fieldPath \"", path, "\" does not support subscript");
  }
  if (path == "metadata.name") return pod.metadata().name();
  if (path == "metadata.namespace") return pod.metadata().namespace_();
  if (path == "metadata.uid") return pod.metadata().uid();
  if (path == "spec.nodeName" || path == "spec.host") return pod.spec().nodename();  // two names of one
  if (path == "spec.serviceAccountName") return pod.spec().serviceaccountname();
  if (path == "status.hostIP") return facts.host_ips.empty() ? "" : facts.host_ips.front();
  if (path == "status.hostIPs") return absl::StrJoin(facts.host_ips, ",");
  if (path == "status.podIP") return facts.pod_ip;
  if (path == "status.podIPs") return absl::StrJoin(facts.pod_ips, ",");
  return InvalidArgument("unsupported fieldPath: ", path);
}

StatusOr<std::string> ResourceFieldValue(const Pod& pod, const core::Container& container,
                                         const core::ResourceFieldSelector& selector, const EnvFacts& facts) {
  const core::Container* of = &container;
  if (!selector.containername().empty()) {
    of = FindContainer(pod, selector.containername());
    if (of == nullptr) return NotFound("container ", selector.containername(), " not found");
  }
  std::string_view resource = selector.resource();
  bool limit = resource.starts_with("limits.");
  if (!limit && !resource.starts_with("requests."))
    return InvalidArgument("unsupported container resource: ", resource);
  std::string name(resource.substr(limit ? 7 : 9));
  if (name != "cpu" && name != "memory" && name != "ephemeral-storage" && !name.starts_with("hugepages-")) {
    return InvalidArgument("unsupported container resource: ", resource);
  }
  const ResourceList& list = limit ? of->resources().limits() : of->resources().requests();
  api::Quantity value = Get(list, name);
  // No limit is what the node has, of what can be overcommitted. Not so for an init container that is asked for by its
  // name: upstream fills in the main ones only.
  const bool fills = !name.starts_with("hugepages-") &&
                     (selector.containername().empty() || !IsInitContainer(pod, selector.containername()));
  if (limit && value.IsZero() && fills) {
    value = Get(facts.allocatable, name);
    if (api::Quantity pod_level = Get(pod.spec().resources().limits(), name); !pod_level.IsZero()) value = pod_level;
  }
  api::Quantity divisor = api::Quantity::Of(selector.divisor());
  return Divided(value, divisor, name == "cpu");
}

namespace {

// A file that a container of the pod may have made: its links are followed as if the volume were all that there is, so
// that none of them leads out.
StatusOr<std::string> ReadInVolume(const Dir& volume, const std::string& path, size_t limit) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;  // a pipe would never open otherwise
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  int fd = -1;
  for (int i = 0; i < 128; ++i) {
    fd = static_cast<int>(syscall(SYS_openat2, volume.fd(), path.c_str(), &how, sizeof how));
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) break;  // EAGAIN: a rename raced with the walk
  }
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("openat2 ", path));
  const Fd file(fd);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return InvalidArgument(path, ": not a regular file");
  return ReadFile(absl::StrCat("/proc/self/fd/", file.get()), limit);
}

// A variable out of a file in a volume of the pod.
StatusOr<std::string> FileValue(const Pod& pod, const core::FileKeySelector& selector, const EnvFacts& facts) {
  constexpr size_t kLongestFile = 1 << 20;
  const std::string& volume = selector.volumename();
  bool known = false;
  for (const auto& v : pod.spec().volumes()) known = known || (v.name() == volume && v.volumesource().has_emptydir());
  auto dir = known ? Dir::Open(JoinPath(facts.empty_dirs, volume)) : StatusOr<Dir>(absl::NotFoundError(""));
  if (!dir.ok()) return NotFound("cannot find the volume \"", volume, "\" referenced by FileKeyRef");
  auto text = ReadInVolume(*dir, selector.path(), kLongestFile);
  auto value = text.ok() ? ValueFromEnvFile(*text, selector.key()) : StatusOr<std::string>(text.status());
  if (!value.ok()) {
    LOG_ERROR(value.status(), "Failed to parse env file", {"pod", PodKey(pod)});
    return InvalidArgument("couldn't parse env file");
  }
  if (value->empty() && !selector.optional()) {
    return NotFound("environment variable key \"", selector.key(), "\" not found in file \"",
                    JoinPath(JoinPath(facts.empty_dirs, volume), selector.path()), "\"");
  }
  return value;
}

}  // namespace

Task<StatusOr<Env>> MakeEnv(const Pod& pod, const core::Container& container, const EnvFacts& facts,
                            const std::vector<std::shared_ptr<const core::Service>>& services, ObjectSource& objects,
                            std::vector<std::string>* invalid_keys) {
  const std::string& ns = pod.metadata().namespace_();
  Builder out;
  for (const auto& from : container.envfrom()) {
    if (from.has_configmapref()) {
      const auto& ref = from.configmapref();
      auto object = co_await objects.GetConfigMap(ns, ref.localobjectreference().name());
      if (absl::IsNotFound(object.status()) && ref.optional()) continue;
      if (!object.ok()) co_return object.status();
      AddAll((*object)->data(), from.prefix(), "configMap", ns, ref.localobjectreference().name(), &out, invalid_keys);
    } else if (from.has_secretref()) {
      const auto& ref = from.secretref();
      auto object = co_await objects.GetSecret(ns, ref.localobjectreference().name());
      if (absl::IsNotFound(object.status()) && ref.optional()) continue;
      if (!object.ok()) co_return object.status();
      AddAll((*object)->data(), from.prefix(), "secret", ns, ref.localobjectreference().name(), &out, invalid_keys);
    }
  }
  Env service_env = ServiceEnv(
      VisibleServices(services, ns, !pod.spec().has_enableservicelinks() || pod.spec().enableservicelinks()));
  std::map<std::string, const std::string*, std::less<>> service_index;
  for (const auto& [name, value] : service_env) service_index.emplace(name, &value);
  auto lookup = [&](std::string_view name) -> const std::string* {
    if (const std::string* found = out.Find(name)) return found;
    auto it = service_index.find(name);
    return it == service_index.end() ? nullptr : it->second;
  };
  for (const auto& var : container.env()) {
    if (!var.value().empty() || !var.has_valuefrom()) {
      out.Set(var.name(), Expand(var.value(), lookup));
      continue;
    }
    const auto& from = var.valuefrom();
    if (from.has_fieldref()) {
      CO_ASSIGN_OR_RETURN(std::string value, FieldValue(pod, from.fieldref().fieldpath(), facts));
      out.Set(var.name(), std::move(value));
    } else if (from.has_resourcefieldref()) {
      CO_ASSIGN_OR_RETURN(std::string value, ResourceFieldValue(pod, container, from.resourcefieldref(), facts));
      out.Set(var.name(), std::move(value));
    } else if (from.has_configmapkeyref()) {
      const auto& ref = from.configmapkeyref();
      const std::string& name = ref.localobjectreference().name();
      auto object = co_await objects.GetConfigMap(ns, name);
      if (absl::IsNotFound(object.status()) && ref.optional()) continue;
      if (!object.ok()) co_return object.status();
      auto it = (*object)->data().find(ref.key());
      if (it == (*object)->data().end()) {
        if (ref.optional()) continue;
        co_return NotFound("couldn't find key ", ref.key(), " in ConfigMap ", ns, "/", name);
      }
      out.Set(var.name(), it->second);
    } else if (from.has_secretkeyref()) {
      const auto& ref = from.secretkeyref();
      const std::string& name = ref.localobjectreference().name();
      auto object = co_await objects.GetSecret(ns, name);
      if (absl::IsNotFound(object.status()) && ref.optional()) continue;
      if (!object.ok()) co_return object.status();
      auto it = (*object)->data().find(ref.key());
      if (it == (*object)->data().end()) {
        if (ref.optional()) continue;
        co_return NotFound("couldn't find key ", ref.key(), " in Secret ", ns, "/", name);
      }
      out.Set(var.name(), it->second);
    } else if (from.has_filekeyref()) {
      CO_ASSIGN_OR_RETURN(std::string value, FileValue(pod, from.filekeyref(), facts));
      if (value.empty() && from.filekeyref().optional()) continue;
      out.Set(var.name(), std::move(value));
    } else {
      out.Set(var.name(), "");
    }
  }
  for (const auto& [name, value] : service_env) {
    if (out.Find(name) == nullptr) out.Set(name, value);
  }
  co_return std::move(out).Take();
}

}  // namespace skiff::kubelet
