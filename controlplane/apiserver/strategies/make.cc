#include "controlplane/apiserver/strategies.h"

namespace skiff::controlplane {

std::unique_ptr<Strategy> MakeStrategy(const api::Resource& resource, KindTraits traits, Allocators* allocators) {
  if (resource.group.empty()) {
    if (resource.plural == "pods") return MakePodStrategy(traits);
    if (resource.plural == "services") return MakeServiceStrategy(traits, allocators);
    if (resource.plural == "namespaces") return MakeNamespaceStrategy(traits);
    if (resource.plural == "nodes") return MakeNodeStrategy(traits);
    if (resource.plural == "persistentvolumes" || resource.plural == "persistentvolumeclaims")
      return MakeVolumeStrategy(resource, traits);
  }
  if (resource.plural == "events") return MakeEventStrategy(resource, traits);
  if (resource.group == "apps" || resource.group == "batch" || resource.plural == "replicationcontrollers")
    return MakeWorkloadStrategy(resource, traits);
  if (auto misc = MakeMiscStrategy(resource, traits)) return misc;
  return std::make_unique<Strategy>(traits);
}

}  // namespace skiff::controlplane
