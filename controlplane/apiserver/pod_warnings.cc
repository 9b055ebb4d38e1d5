#include "controlplane/apiserver/pod_warnings.h"

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "api/quantity.h"
#include "api/text.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace metav1 = ::k8s::io::apimachinery::pkg::apis::meta::v1;

const std::map<std::string, std::string>& DeprecatedLabels() {
  static const auto* const labels = new std::map<std::string, std::string>{
      {"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
      {"failure-domain.beta.kubernetes.io/region",
       "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
      {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
      {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
      {"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
  };
  return *labels;
}

struct PortAt {
  std::string at, host_ip;
  int32_t host_port;
};

class Warner {
 public:
  Warner(const metav1::ObjectMeta& meta, const core::PodSpec& spec, const std::string& prefix)
      : meta_(meta), spec_(spec), spec_path_(prefix + "spec"), meta_path_(prefix + "metadata") {}

  std::vector<std::string> Run() {
    Labels();
    Volumes();
    HostAliasesAndSecrets();
    if (!spec_.securitycontext().has_seccompprofile() &&
        meta_.annotations().contains("seccomp.security.alpha.kubernetes.io/pod"))
      Say(absl::StrCat(meta_path_, ".annotations[seccomp.security.alpha.kubernetes.io/pod]"),
          "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    for (int i = 0; i < spec_.initcontainers_size(); ++i)
      Container(spec_.initcontainers(i), absl::StrCat(spec_path_, ".initContainers[", i, "]"));
    for (int i = 0; i < spec_.containers_size(); ++i)
      Container(spec_.containers(i), absl::StrCat(spec_path_, ".containers[", i, "]"));
    Ports();
    if (spec_.has_terminationgraceperiodseconds() && spec_.terminationgraceperiodseconds() < 0)
      Say(absl::StrCat(spec_path_, ".terminationGracePeriodSeconds"),
          "must be >= 0; negative values are invalid and will be treated as 1");
    Affinity();
    return std::move(out_);
  }

 private:
  void Say(const std::string& path, std::string_view what) {
    out_.push_back(absl::StrCat(path, ": ", std::string(what)));
  }

  void Term(const core::NodeSelectorTerm& term, const std::string& path) {
    for (int i = 0; i < term.matchexpressions_size(); ++i) {
      const auto& expression = term.matchexpressions(i);
      if (const auto it = DeprecatedLabels().find(expression.key()); it != DeprecatedLabels().end())
        Say(absl::StrCat(path, ".matchExpressions[", i, "].key"), absl::StrCat(expression.key(), " is ", it->second));
    }
  }

  void Labels() {
    for (const auto& [label, message] : DeprecatedLabels())
      if (spec_.nodeselector().contains(label)) Say(absl::StrCat(spec_path_, ".nodeSelector[", label, "]"), message);
    const auto& affinity = spec_.affinity().nodeaffinity();
    const std::string path = spec_path_ + ".affinity.nodeAffinity.";
    const auto& required = affinity.requiredduringschedulingignoredduringexecution().nodeselectorterms();
    for (int i = 0; i < required.size(); ++i)
      Term(required[i],
           absl::StrCat(path, "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[", i, "]"));
    const auto& preferred = affinity.preferredduringschedulingignoredduringexecution();
    for (int i = 0; i < preferred.size(); ++i)
      Term(preferred[i].preference(),
           absl::StrCat(path, "preferredDuringSchedulingIgnoredDuringExecution[", i, "].preference"));
    for (int i = 0; i < spec_.topologyspreadconstraints_size(); ++i) {
      const auto& constraint = spec_.topologyspreadconstraints(i);
      const std::string at = absl::StrCat(spec_path_, ".topologySpreadConstraints[", i, "].");
      if (const auto it = DeprecatedLabels().find(constraint.topologykey()); it != DeprecatedLabels().end())
        Say(at + "topologyKey", absl::StrCat(constraint.topologykey(), " is ", it->second));
      if (!constraint.has_labelselector()) Say(at + "labelSelector", "a null labelSelector results in matching no pod");
    }
  }

  void Volumes() {
    for (int i = 0; i < spec_.volumes_size(); ++i) {
      const auto& source = spec_.volumes(i).volumesource();
      const std::string at = absl::StrCat(spec_path_, ".volumes[", i, "].");
      if (source.has_photonpersistentdisk())
        Say(at + "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+");
      if (source.has_gitrepo()) Say(at + "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+");
      if (source.has_scaleio()) Say(at + "scaleIO", "deprecated in v1.16, non-functional in v1.22+");
      if (source.has_flocker()) Say(at + "flocker", "deprecated in v1.22, non-functional in v1.25+");
      if (source.has_storageos()) Say(at + "storageOS", "deprecated in v1.22, non-functional in v1.25+");
      if (source.has_quobyte()) Say(at + "quobyte", "deprecated in v1.22, non-functional in v1.25+");
      if (source.has_glusterfs()) Say(at + "glusterfs", "deprecated in v1.25, non-functional in v1.26+");
      if (source.has_cephfs()) Say(at + "cephfs", "deprecated in v1.28, non-functional in v1.31+");
      if (source.has_rbd()) Say(at + "rbd", "deprecated in v1.28, non-functional in v1.31+");
    }
  }

  void HostAliasesAndSecrets() {
    std::set<std::string> seen;
    for (int i = 0; i < spec_.hostaliases_size(); ++i)
      if (!seen.insert(spec_.hostaliases(i).ip()).second)
        Say(absl::StrCat(spec_path_, ".hostAliases[", i, "].ip"),
            absl::StrCat("duplicate ip ", api::GoQuote(spec_.hostaliases(i).ip())));
    seen.clear();
    for (int i = 0; i < spec_.imagepullsecrets_size(); ++i)
      if (!seen.insert(spec_.imagepullsecrets(i).name()).second)
        Say(absl::StrCat(spec_path_, ".imagePullSecrets[", i, "].name"),
            absl::StrCat("duplicate name ", api::GoQuote(spec_.imagepullsecrets(i).name())));
    for (int i = 0; i < spec_.imagepullsecrets_size(); ++i)
      if (spec_.imagepullsecrets(i).name().empty())
        Say(absl::StrCat(spec_path_, ".imagePullSecrets[", i, "].name"), "invalid empty name \"\"");
    Fractions(spec_.overhead(), spec_path_ + ".overhead");
  }

  template <typename Resources>
  void Fractions(const Resources& resources, const std::string& path) {
    for (const char* name : {"memory", "ephemeral-storage"}) {
      const auto it = resources.find(name);
      if (it == resources.end()) continue;
      auto quantity = api::Quantity::Parse(it->second.string());
      if (quantity.ok() && quantity->MilliValue() % 1000 != 0)
        Say(absl::StrCat(path, "[", name, "]"),
            absl::StrCat("fractional byte value ", api::GoQuote(it->second.string()),
                         " is invalid, must be an integer"));
    }
  }

  void Container(const core::Container& container, const std::string& at) {
    if (!container.securitycontext().has_seccompprofile()) {
      const std::string key = "container.seccomp.security.alpha.kubernetes.io/" + container.name();
      if (meta_.annotations().contains(key))
        Say(absl::StrCat(meta_path_, ".annotations[", key, "]"),
            "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    }
    // Upstream asks for memory first, limits before requests.
    for (const char* name : {"memory", "ephemeral-storage"}) {
      google::protobuf::Map<std::string, k8s::io::apimachinery::pkg::api::resource::Quantity> one;
      for (const bool limits : {true, false}) {
        const auto& resources = limits ? container.resources().limits() : container.resources().requests();
        const auto it = resources.find(name);
        if (it == resources.end()) continue;
        one.clear();
        one[name] = it->second;
        Fractions(one, absl::StrCat(at, ".resources.", limits ? "limits" : "requests"));
      }
    }
    std::set<std::string> names;
    for (int i = 0; i < container.env_size(); ++i) {
      const core::EnvVar& variable = container.env(i);
      if (names.insert(variable.name()).second) continue;
      const std::string reference = absl::StrCat("$(", variable.name(), ")");
      if (variable.has_valuefrom() || variable.value() == reference || !absl::StrContains(variable.value(), reference))
        Say(absl::StrCat(at, ".env[", i, "]"),
            absl::StrCat("hides previous definition of ", api::GoQuote(variable.name()),
                         ", which may be dropped when using apply"));
    }
  }

  template <typename Visit>
  void EachPort(Visit visit) {
    for (int c = 0; c < spec_.initcontainers_size(); ++c)
      for (int p = 0; p < spec_.initcontainers(c).ports_size(); ++p)
        visit(spec_.initcontainers(c).ports(p), absl::StrCat(spec_path_, ".initContainers[", c, "].ports[", p, "]"));
    for (int c = 0; c < spec_.containers_size(); ++c)
      for (int p = 0; p < spec_.containers(c).ports_size(); ++p)
        visit(spec_.containers(c).ports(p), absl::StrCat(spec_path_, ".containers[", c, "].ports[", p, "]"));
  }

  void Ports() {
    std::map<std::string, std::vector<PortAt>> all;
    EachPort([&](const core::ContainerPort& port, const std::string& at) {
      auto& others = all[absl::StrCat(port.containerport(), "/", port.protocol())];
      for (const PortAt& other : others) {
        const bool one_ip = port.hostip().empty() != other.host_ip.empty();
        if (port.hostip() == other.host_ip && port.hostport() == other.host_port)
          Say(at, absl::StrCat("duplicate port definition with ", other.at));
        else if (port.hostport() == 0 || other.host_port == 0)
          Say(at, absl::StrCat("overlapping port definition with ", other.at));
        else if (port.hostport() == other.host_port && one_ip)
          Say(at, absl::StrCat("dangerously ambiguous port definition with ", other.at));
      }
      others.push_back({at, port.hostip(), port.hostport()});
    });
    std::map<std::string, std::string> names;
    EachPort([&](const core::ContainerPort& port, const std::string& at) {
      if (port.name().empty()) return;
      const auto [other, first] = names.emplace(port.name(), at);
      if (!first)
        Say(at, absl::StrCat("duplicate port name ", api::GoQuote(port.name()), " with ", other->second,
                             ", services and probes that select ports by name will use ", other->second));
    });
  }

  void Affinity() {
    constexpr char kNull[] = "a null labelSelector results in matching no pod";
    auto terms = [&](const auto& affinity, const char* name) {
      const std::string path = absl::StrCat(spec_path_, ".affinity.", name, ".");
      const auto& required = affinity.requiredduringschedulingignoredduringexecution();
      for (int i = 0; i < required.size(); ++i)
        if (!required[i].has_labelselector())
          Say(absl::StrCat(path, "requiredDuringSchedulingIgnoredDuringExecution[", i, "].labelSelector"), kNull);
      const auto& preferred = affinity.preferredduringschedulingignoredduringexecution();
      for (int i = 0; i < preferred.size(); ++i)
        if (!preferred[i].podaffinityterm().has_labelselector())
          Say(absl::StrCat(path, "preferredDuringSchedulingIgnoredDuringExecution[", i,
                           "].podAffinityTerm.labelSelector"),
              kNull);
    };
    terms(spec_.affinity().podaffinity(), "podAffinity");
    terms(spec_.affinity().podantiaffinity(), "podAntiAffinity");
  }

  const metav1::ObjectMeta& meta_;
  const core::PodSpec& spec_;
  const std::string spec_path_, meta_path_;
  std::vector<std::string> out_;
};

}  // namespace

std::vector<std::string> PodWarnings(const metav1::ObjectMeta& meta, const core::PodSpec& spec,
                                     const std::string& prefix) {
  return Warner(meta, spec, prefix).Run();
}

}  // namespace skiff::controlplane
