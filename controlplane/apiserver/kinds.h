// Every resource that the server serves: its row in the scheme, its message type, its strategy and where it is stored.
// Made once at start; constant afterwards.
#ifndef SKIFF_CONTROLPLANE_APISERVER_KINDS_H_
#define SKIFF_CONTROLPLANE_APISERVER_KINDS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/apiserver/strategy.h"
#include "controlplane/storage/store.h"

namespace skiff::controlplane {

struct CustomType;

struct Kind {
  Kind();
  ~Kind();
  const api::Resource* resource = nullptr;
  const api::TypeOps* type = nullptr;  // null for custom resources, which have `custom`
  std::unique_ptr<const CustomType> custom;
  std::unique_ptr<Strategy> strategy;
  std::vector<api::Subresource> subresources;
  std::string prefix;  // "/registry/pods/"; "" for what is not stored
  // The type that is stored, where it is another version's (events.k8s.io is stored as core's).
  const api::TypeOps* storage_type = nullptr;

  bool stored() const { return !prefix.empty(); }
  std::string Key(std::string_view ns, std::string_view name) const;
  std::string Prefix(std::string_view ns) const;  // of a namespace's objects, or of all for ""
  api::About About(std::string_view name = "") const { return {resource->group, resource->plural, name}; }
  const api::Subresource* FindSubresource(std::string_view name) const;
  std::string ListKind() const;
  api::GroupVersionKind gvk() const { return resource->gvk(); }

  // An object as it is stored, with its resourceVersion set. Error: what does not parse, naming the key.
  StatusOr<api::Object> Decode(const StoredEntry& entry) const { return Decode(entry.key, *entry.value); }
  StatusOr<api::Object> Decode(std::string_view key, const StoredValue& value) const;
  // As upstream stores it, without resourceVersion.
  StatusOr<std::string> Encode(const api::Object& object) const;
};

struct Allocators;

class Kinds {
 public:
  explicit Kinds(Allocators* allocators);
  const Kind* Find(std::string_view group, std::string_view version, std::string_view plural) const;
  // The preferred (first) version of a group's kind.
  const Kind* FindByKind(std::string_view group, std::string_view kind) const;
  const Kind& Core(std::string_view plural) const { return *Find("", "v1", plural); }
  // The built-in kinds.
  const std::vector<std::unique_ptr<Kind>>& all() const { return all_; }

  // Kinds that definitions of custom resources made. They come and go: who keeps one shares it.
  std::shared_ptr<const Kind> FindCustom(std::string_view group, std::string_view version,
                                         std::string_view plural) const;
  std::vector<std::shared_ptr<const Kind>> CustomOf(const std::string& definition) const;
  // In order of group, version and definition.
  std::vector<std::shared_ptr<const Kind>> custom() const;
  // Every kind, the built-in ones first.
  void ForEach(const std::function<void(const Kind&)>& visit) const;
  // Takes the place of what the definition made before; clients that watch that are told to come again.
  void SetCustom(const std::string& definition, std::vector<std::shared_ptr<const Kind>> kinds);

 private:
  std::vector<std::unique_ptr<Kind>> all_;
  std::map<std::string, std::vector<std::shared_ptr<const Kind>>> custom_;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_KINDS_H_
