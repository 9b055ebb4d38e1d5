// Credential provider plugins: programs beside the kubelet that say what registries take (exec protocol of
// credentialprovider.kubelet.k8s.io/v1, v1beta1, v1alpha1), chosen by the image's name, their answers kept as long as
// they allow. Loop only. Upstream: kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider.
#ifndef SKIFF_KUBELET_RUNTIME_CREDENTIAL_PLUGINS_H_
#define SKIFF_KUBELET_RUNTIME_CREDENTIAL_PLUGINS_H_

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async.h"
#include "base/async_lock.h"
#include "base/clock.h"
#include "base/subprocess.h"
#include "kubelet/runtime/keyring.h"
#include "kubelet/volume/object_source.h"

namespace skiff::kubelet {

struct CredentialProviderSpec {
  std::string name, api_version;
  std::vector<std::string> match_images, args;
  std::vector<std::pair<std::string, std::string>> env;
  std::chrono::nanoseconds cache{0};
  // tokenAttributes, where given: the plugin gets a token of the pod's service account.
  struct TokenAttributes {
    std::string audience;
    bool require_service_account = false, cache_by_token = false;
    std::vector<std::string> required_annotations, optional_annotations;
  };
  std::optional<TokenAttributes> token;
};

// The file, or all .json, .yaml and .yml files of the directory in name order. Errors name the file and the field in
// upstream's words.
StatusOr<std::vector<CredentialProviderSpec>> ReadCredentialProviders(const std::string& path);

// What a plugin wrote to its standard output (CredentialProviderResponse). Errors never show it.
struct CredentialAnswer {
  enum class CacheBy { kImage, kRegistry, kGlobal };
  std::vector<std::array<std::string, 3>> auth;  // location, user, password
  CacheBy cache_by = CacheBy::kImage;
  std::optional<std::chrono::nanoseconds> keep;  // nullopt: as long as the configuration says
};
StatusOr<CredentialAnswer> ParseCredentialAnswer(std::string_view text, std::string_view api_version);

struct ServiceAccountFacts {
  std::string uid;
  std::map<std::string, std::string> annotations;
};

class CredentialPlugins {
 public:
  using GetServiceAccount = std::function<Task<StatusOr<ServiceAccountFacts>>(std::string ns, std::string name)>;

  // Checks that every provider's program is there: an error ends the kubelet, as upstream.
  static StatusOr<std::unique_ptr<CredentialPlugins>> Make(const std::string& config_path, std::string bin_dir,
                                                           ObjectSource& objects, GetServiceAccount get_service_account,
                                                           Clock& clock);

  // Adds what the providers for the image say. A provider that fails is logged and says nothing. Calls for the same
  // image and account share one run of a program. `image` is the repository (RepositoryOf). The pod must outlive the
  // call.
  Task<void> Provide(const std::string& image, const Pod& pod, Keyring* keyring);

 private:
  using Auth = std::vector<std::array<std::string, 3>>;  // location, user, password
  using Key = std::vector<std::string>;                  // provider, what the answer is for, account
  struct Entry {
    Auth auth;
    SteadyTime expires;
  };
  // A run of a program and those who wait for its end: they take turns, and the first that is not cancelled meanwhile
  // leaves its answer for the others.
  struct Flight : AsyncLock {
    std::optional<StatusOr<Auth>> answer;
  };
  CredentialPlugins(std::vector<CredentialProviderSpec> providers, std::string bin_dir, ObjectSource& objects,
                    GetServiceAccount get_service_account, Clock& clock)
      : providers_(std::move(providers)),
        bin_dir_(std::move(bin_dir)),
        objects_(objects),
        get_service_account_(std::move(get_service_account)),
        clock_(clock) {}

  struct Account {
    CredentialSource source;
    std::string token, cache_key;
    std::map<std::string, std::string> annotations;
  };
  // nullopt: this provider has nothing for such a pod.
  Task<StatusOr<std::optional<Account>>> AccountFor(const CredentialProviderSpec& provider, const Pod& pod);
  Task<StatusOr<Auth>> Ask(const CredentialProviderSpec& provider, const std::string& image, const Account& account);
  Task<StatusOr<Auth>> Execute(const CredentialProviderSpec& provider, const std::string& image,
                               const Account& account);

  std::vector<CredentialProviderSpec> providers_;
  std::string bin_dir_;
  ObjectSource& objects_;
  GetServiceAccount get_service_account_;
  Clock& clock_;
  std::map<Key, Entry> cache_;
  std::map<Key, std::weak_ptr<Flight>> flights_;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_CREDENTIAL_PLUGINS_H_
