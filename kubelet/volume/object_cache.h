// ObjectSource on an API server: reads are shared by all that ask at once and kept for a short time, so that a burst of
// pods of one namespace costs one request an object; immutable objects are kept while a pod refers to them, and so is
// what containers are started with (environment, pull secrets): without an API server they are started again with what
// was read last. Nothing is kept beyond that: volumes are refreshed once a minute, and what lies in them is not held in
// memory meanwhile.
#ifndef SKIFF_KUBELET_VOLUME_OBJECT_CACHE_H_
#define SKIFF_KUBELET_VOLUME_OBJECT_CACHE_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>

#include "base/async_lock.h"
#include "base/clock.h"
#include "client/rest.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

struct ObjectCacheOptions {
  std::chrono::nanoseconds ttl = std::chrono::seconds(10);
};

class ObjectCache final : public ObjectSource {
 public:
  ObjectCache(std::shared_ptr<client::Rest> rest, Clock& clock, ObjectCacheOptions options = {});

  Task<StatusOr<std::shared_ptr<const ConfigMap>>> GetConfigMap(std::string ns, std::string name) override;
  Task<StatusOr<std::shared_ptr<const Secret>>> GetSecret(std::string ns, std::string name) override;
  Task<StatusOr<Token>> GetToken(TokenRequest request) override;
  Task<StatusOr<std::shared_ptr<const PersistentVolumeClaim>>> GetClaim(std::string ns, std::string name) override;
  Task<StatusOr<std::shared_ptr<const PersistentVolume>>> GetVolume(std::string name) override;
  void RegisterPod(const Pod& pod) override;
  void UnregisterPod(const std::string& uid) override;

  size_t size() const;  // objects held now

 private:
  template <typename T>
  struct Entry {
    std::shared_ptr<AsyncLock> lock = std::make_shared<AsyncLock>();
    std::shared_ptr<const T> object;
    SteadyTime read{};         // when the read began
    SteadyTime fresh_since{};  // a pod came that has not seen the object: older reads do not do
  };
  template <typename T>
  using Entries = std::map<std::pair<std::string, std::string>, std::shared_ptr<Entry<T>>>;
  template <typename T>
  Task<StatusOr<std::shared_ptr<const T>>> Read(Entries<T>& entries, std::string ns, std::string name,
                                                std::string_view kind);
  template <typename T>
  void Trim(Entries<T>& entries, bool secrets);

  using TokenKey = std::tuple<std::string, std::string, std::string, std::string, int64_t>;  // uid, ns, sa, audience, s
  struct TokenEntry {
    std::shared_ptr<AsyncLock> lock = std::make_shared<AsyncLock>();
    Token token;
    bool valid = false;
    std::chrono::nanoseconds life{};
    SteadyTime got{};
    WallTime got_wall{};
  };

  std::chrono::nanoseconds AgeOf(const TokenEntry& entry) const;

  std::shared_ptr<client::Rest> rest_;
  Clock& clock_;
  ObjectCacheOptions options_;
  Entries<ConfigMap> config_maps_;
  Entries<Secret> secrets_;
  std::map<TokenKey, std::shared_ptr<TokenEntry>> tokens_;
  using Reference = std::tuple<bool, std::string, std::string>;  // is secret, namespace, name
  struct References {
    std::set<Reference> all, starting;
  };
  std::map<std::string, References> references_;  // of pods, by uid
  // How many pods have it in each of the two: asked for every object at every read.
  std::map<Reference, std::pair<int, int>> counts_;
  void Count(const References& references, int by);
};

// The config maps and secrets that a pod's spec names: (is secret, name). In environment and pull secrets only, or in
// volumes too.
std::set<std::pair<bool, std::string>> ReferencesOf(const Pod& pod, bool starting_only = false);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_VOLUME_OBJECT_CACHE_H_
