// The definitions of custom resources as the server lives by them: follows the store, serves what is established,
// accepts names, and empties what is deleted. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CUSTOM_RESOURCES_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CUSTOM_RESOURCES_H_

#include <set>
#include <string>

#include "controlplane/apiserver/kinds.h"
#include "controlplane/apiserver/registry.h"

namespace skiff::controlplane {

class CustomResources {
 public:
  CustomResources(asio::any_io_executor executor, Store& store, Kinds& kinds, Registry& registry, Clock& clock);
  // Takes in what is stored and follows what is written from here on.
  void Start();
  // Accepts names, establishes and cleans up, until cancelled.
  Task<void> Run();

 private:
  void Take(const std::string& key, const ValuePtr& value);
  Task<Status> Sync(std::string name);
  Task<Status> AcceptNames(std::string name);
  Task<Status> Empty(std::string name);

  Store& store_;
  Kinds& kinds_;
  Registry& registry_;
  Clock& clock_;
  const Kind& definitions_;
  std::set<std::string> pending_;  // names of definitions to look at
  Wakeup wake_;
};

inline constexpr char kCleanupFinalizer[] = "customresourcecleanup.apiextensions.k8s.io";

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CUSTOM_RESOURCES_H_
