// Config maps and secrets.
#include "api/validation_parts.h"
#include "k8s/io/api/core/v1/config.pb.h"

namespace skiff::api::internal {
namespace {

namespace core = k8s::io::api::core::v1;

constexpr int kMaxSize = 1024 * 1024;
constexpr char kImmutable[] = "field is immutable when `immutable` is set";

template <typename M>
bool SameMap(const M& a, const M& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a) {
    const auto it = b.find(key);
    if (it == b.end() || it->second != value) return false;
  }
  return true;
}

void ValidateConfigMap(const core::ConfigMap& map, const core::ConfigMap* old, FieldErrors* errors) {
  const Path data("data"), binary("binaryData");
  if (old != nullptr && old->immutable()) {
    if (!map.immutable()) errors->Forbidden(Path("immutable"), kImmutable);
    if (!SameMap(map.data(), old->data())) errors->Forbidden(data, kImmutable);
    if (!SameMap(map.binarydata(), old->binarydata())) errors->Forbidden(binary, kImmutable);
  }
  size_t total = 0;
  for (const std::string& key : SortedKeys(map.data())) {
    InvalidAll(data.Key(key), key, IsConfigMapKey(key), errors);
    if (map.binarydata().contains(key)) errors->Invalid(data.Key(key), key, "duplicate of key present in binaryData");
    total += map.data().at(key).size();
  }
  for (const std::string& key : SortedKeys(map.binarydata())) {
    InvalidAll(binary.Key(key), key, IsConfigMapKey(key), errors);
    total += map.binarydata().at(key).size();
  }
  if (total > kMaxSize) errors->TooLong(Path("[]"), kMaxSize);
}

void ValidateSecret(const core::Secret& secret, const core::Secret* old, FieldErrors* errors) {
  const Path data("data");
  if (old != nullptr) {
    if (secret.type() != old->type()) errors->Invalid(Path("type"), secret.type(), "field is immutable");
    if (old->immutable()) {
      if (!secret.immutable()) errors->Forbidden(Path("immutable"), kImmutable);
      if (!SameMap(secret.data(), old->data())) errors->Forbidden(data, kImmutable);
    }
  }
  size_t total = 0;
  for (const std::string& key : SortedKeys(secret.data())) {
    InvalidAll(data.Key(key), key, IsConfigMapKey(key), errors);
    total += secret.data().at(key).size();
  }
  if (total > kMaxSize) errors->TooLong(data, kMaxSize);
  const auto require = [&](const char* key) {
    if (!secret.data().contains(key)) errors->Required(data.Key(key));
  };
  const std::string& type = secret.type();
  if (type == "kubernetes.io/service-account-token") {
    constexpr char kName[] = "kubernetes.io/service-account.name";
    const auto it = secret.metadata().annotations().find(kName);
    const Path metadata("metadata");
    const Path annotations = metadata.Child("annotations");
    if (it == secret.metadata().annotations().end() || it->second.empty()) errors->Required(annotations.Key(kName));
  } else if (type == "kubernetes.io/dockercfg") {
    require(".dockercfg");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    require(".dockerconfigjson");
  } else if (type == "kubernetes.io/basic-auth") {
    if (!secret.data().contains("username") && !secret.data().contains("password")) {
      require("username");
      require("password");
    }
  } else if (type == "kubernetes.io/ssh-auth") {
    const auto it = secret.data().find("ssh-privatekey");
    if (it == secret.data().end() || it->second.empty()) errors->Required(data.Key("ssh-privatekey"));
  } else if (type == "kubernetes.io/tls") {
    require("tls.crt");
    require("tls.key");
  }
}

}  // namespace

bool ValidateConfigKinds(const Object& object, const Object* old, FieldErrors* errors) {
  if (const auto* map = object.As<core::ConfigMap>())
    return ValidateConfigMap(*map, old ? old->As<core::ConfigMap>() : nullptr, errors), true;
  if (const auto* secret = object.As<core::Secret>())
    return ValidateSecret(*secret, old ? old->As<core::Secret>() : nullptr, errors), true;
  return false;
}

}  // namespace skiff::api::internal
