// Registry credentials: docker's configuration in both of its forms, and which of its entries are for an image. Pure
// but for NodeKeyring. Upstream: kubernetes.io/docs/concepts/containers/images (config.json interpretation).
#ifndef SKIFF_KUBELET_RUNTIME_KEYRING_H_
#define SKIFF_KUBELET_RUNTIME_KEYRING_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/status.h"

namespace skiff::kubelet {

// Where credentials come from: what they were pulled with decides who may use an image that is there already.
struct CredentialSource {
  enum Kind { kNode, kSecret, kServiceAccount };
  Kind kind = kNode;
  std::string uid, ns, name;  // of the secret or service account
};

struct Credential {
  std::string username, password, email;
  std::string hash;  // hex SHA-256 of what upstream serialises of it
  CredentialSource source;
};

class Keyring {
 public:
  // One entry: `location` is a host or URL with an optional path; host parts may hold globs.
  void Add(std::string_view location, std::string username, std::string password, std::string email,
           const CredentialSource& source);
  // A whole document. Entries that cannot be read are left out.
  void AddDockerCfg(const nlohmann::json& entries, const CredentialSource& source);
  // All that match, the most specific location first. `repository` as RepositoryOf gives it.
  std::vector<Credential> Lookup(std::string_view repository) const;
  bool empty() const { return entries_.empty(); }

 private:
  std::map<std::string, std::vector<Credential>, std::greater<>> entries_;
};

// Adds what a secret of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg holds under its key. An error
// for data that is no JSON object: upstream then pulls with none of the pod's secrets.
Status AddSecret(Keyring* keyring, std::string_view type, const std::map<std::string, std::string>& data,
                 const CredentialSource& source);

// The node's own: config.json, then .dockercfg, in the first of these directories that has one: `root_dir`, the working
// directory, the home's .docker, /.docker. Read anew at every call, as upstream caches it for minutes only.
Keyring NodeKeyring(const std::string& root_dir);

// Whether a location (or a provider's matchImages entry) is for an image: as many host parts, each matching as a glob,
// the same port, the path a prefix. "*.docker.io" matches "x.docker.io/y".
bool ImageMatches(std::string_view pattern, std::string_view image);

// "busybox:1" -> "docker.io/library/busybox"; tag and digest are dropped.
std::string RepositoryOf(std::string_view image);
// "busybox:1" -> "busybox": the name as it was given.
std::string WithoutTag(std::string_view image);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_KEYRING_H_
