// The strategies of all kinds; each has its file in strategies/.
#ifndef SKIFF_CONTROLPLANE_APISERVER_STRATEGIES_H_
#define SKIFF_CONTROLPLANE_APISERVER_STRATEGIES_H_

#include <memory>

#include "controlplane/apiserver/allocators.h"
#include "controlplane/apiserver/strategy.h"

namespace skiff::controlplane {

// The strategy for a resource: its own, or the general one.
std::unique_ptr<Strategy> MakeStrategy(const api::Resource& resource, KindTraits traits, Allocators* allocators);

std::unique_ptr<Strategy> MakePodStrategy(KindTraits traits);
std::unique_ptr<Strategy> MakeServiceStrategy(KindTraits traits, Allocators* allocators);
std::unique_ptr<Strategy> MakeNamespaceStrategy(KindTraits traits);
std::unique_ptr<Strategy> MakeNodeStrategy(KindTraits traits);
std::unique_ptr<Strategy> MakeWorkloadStrategy(const api::Resource& resource, KindTraits traits);
std::unique_ptr<Strategy> MakeVolumeStrategy(const api::Resource& resource, KindTraits traits);
std::unique_ptr<Strategy> MakeEventStrategy(const api::Resource& resource, KindTraits traits);
std::unique_ptr<Strategy> MakeMiscStrategy(const api::Resource& resource, KindTraits traits);  // null: none of its own

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_STRATEGIES_H_
