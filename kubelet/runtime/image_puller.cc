#include "kubelet/runtime/image_puller.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "api/codec.h"
#include "base/flags.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

namespace cri_v1 = ::runtime::v1;

bool IsAlnumLower(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// One path component: lower-case letters and digits, with single separators inside.
bool ValidComponent(std::string_view part) {
  if (part.empty() || !IsAlnumLower(part.front()) || !IsAlnumLower(part.back())) return false;
  return std::all_of(part.begin(), part.end(),
                     [](char c) { return IsAlnumLower(c) || c == '.' || c == '_' || c == '-'; });
}

bool LooksLikeHost(std::string_view part) {
  return part == "localhost" || part.find('.') != std::string_view::npos || part.find(':') != std::string_view::npos ||
         std::any_of(part.begin(), part.end(), absl::ascii_isupper);
}

const char* const kGrpcCodes[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

}  // namespace

std::string GrpcErrorText(const Status& status) {
  size_t code = static_cast<size_t>(status.code());
  return absl::StrCat("rpc error: code = ", code < std::size(kGrpcCodes) ? kGrpcCodes[code] : "Unknown",
                      " desc = ", status.message());
}

StatusOr<std::string> NormalizeImage(const std::string& name) {
  std::string_view rest = name, digest, tag;
  auto bad = [&](std::string_view why) { return InvalidArgument("couldn't parse image name \"", name, "\": ", why); };
  if (rest.empty()) return bad("invalid reference format");
  if (size_t at = rest.find('@'); at != std::string_view::npos) {
    digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (digest.find(':') == std::string_view::npos) return bad("invalid reference format");
  }
  size_t slash = rest.rfind('/');
  size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (tag.empty() || tag.size() > 128 || !std::all_of(tag.begin(), tag.end(), [](char c) {
          return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-';
        })) {
      return bad("invalid reference format");
    }
  }
  std::string_view host, path = rest;
  if (size_t first = rest.find('/'); first != std::string_view::npos && LooksLikeHost(rest.substr(0, first))) {
    host = rest.substr(0, first);
    path = rest.substr(first + 1);
  }
  if (std::any_of(path.begin(), path.end(), absl::ascii_isupper)) {
    std::string shown =
        host.empty() && path.find('/') == std::string_view::npos ? absl::StrCat("library/", path) : std::string(path);
    if (size_t c = shown.find(':'); c != std::string::npos) shown.resize(c);
    return bad(absl::StrCat("invalid reference format: repository name (", shown, ") must be lowercase"));
  }
  for (std::string_view part : absl::StrSplit(path, '/')) {
    if (!ValidComponent(part)) return bad("invalid reference format");
  }
  if (tag.empty() && digest.empty()) return name + ":latest";
  return name;
}

std::vector<cri_v1::AuthConfig> CredentialsFor(const std::string& image,
                                               const std::vector<std::shared_ptr<const Secret>>& secrets) {
  std::string_view registry = image;
  size_t slash = registry.find('/');
  bool has_host = slash != std::string_view::npos && LooksLikeHost(registry.substr(0, slash));
  std::string target = has_host ? std::string(image)
                                : absl::StrCat("docker.io/", slash == std::string_view::npos ? "library/" : "", image);
  std::vector<std::pair<size_t, cri_v1::AuthConfig>> found;  // by length of what matched
  for (const auto& secret : secrets) {
    const auto& data = secret->data();
    auto it = data.find(".dockerconfigjson");
    bool nested = it != data.end();
    if (!nested) it = data.find(".dockercfg");
    if (it == data.end()) continue;
    auto parsed = api::ParseJson(it->second);
    if (!parsed.ok() || !parsed->is_object()) continue;
    const nlohmann::json auths = nested ? parsed->value("auths", nlohmann::json::object()) : *parsed;
    if (!auths.is_object()) continue;
    for (const auto& [key, entry] : auths.items()) {
      if (!entry.is_object()) continue;
      absl::string_view server = key;
      if (!absl::ConsumePrefix(&server, "https://")) absl::ConsumePrefix(&server, "http://");
      for (const char* suffix : {"/v1/", "/v2/", "/v1", "/v2", "/"}) absl::ConsumeSuffix(&server, suffix);
      if (server == "index.docker.io") server = "docker.io";
      if (!target.starts_with(server)) continue;
      if (target.size() > server.size() && target[server.size()] != '/' && target[server.size()] != ':') continue;
      cri_v1::AuthConfig auth;
      auto text = [&](const char* name) {
        auto field = entry.find(name);
        return field != entry.end() && field->is_string() ? field->get<std::string>() : std::string();
      };
      auth.set_username(text("username"));
      auth.set_password(text("password"));
      if (std::string both, encoded = text("auth"); !encoded.empty() && absl::Base64Unescape(encoded, &both)) {
        size_t colon = both.find(':');
        if (colon != std::string::npos) {
          auth.set_username(both.substr(0, colon));
          auth.set_password(both.substr(colon + 1));
        }
      }
      auth.set_identity_token(text("identitytoken"));
      auth.set_registry_token(text("registrytoken"));
      found.emplace_back(server.size(), std::move(auth));
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<cri_v1::AuthConfig> out;
  for (auto& [length, auth] : found) out.push_back(std::move(auth));
  return out;
}

ImagePuller::ImagePuller(asio::any_io_executor executor, cri::Runtime& runtime, Clock& clock, client::EventSink& events,
                         ObjectSource& objects, int parallel)
    : runtime_(runtime),
      clock_(clock),
      events_(events),
      objects_(objects),
      pulls_(std::make_shared<StartQueue>(std::move(executor), std::max(1, parallel))),
      backoff_(clock, std::chrono::seconds(10), std::chrono::seconds(300)) {}

void ImagePuller::ForgetPod(const std::string& uid) {
  std::string prefix = uid + "_";
  backoff_.Forget(prefix);
  for (auto it = last_error_.lower_bound(prefix); it != last_error_.end() && it->first.starts_with(prefix);) {
    it = last_error_.erase(it);
  }
}

Task<std::vector<std::shared_ptr<const Secret>>> ImagePuller::PullSecrets(PodPtr pod) {
  std::vector<std::shared_ptr<const Secret>> out;
  std::vector<std::string> missing;
  for (const auto& ref : pod->spec().imagepullsecrets()) {
    if (ref.name().empty()) continue;
    auto secret = co_await objects_.GetSecret(pod->metadata().namespace_(), ref.name());
    if (secret.ok()) {
      out.push_back(*secret);
    } else {
      missing.push_back(ref.name());
    }
  }
  if (!missing.empty()) {
    std::sort(missing.begin(), missing.end());
    std::string names;
    for (const auto& name : missing) absl::StrAppend(&names, names.empty() ? "" : ", ", name);
    events_.Record(*pod, client::kWarning, "FailedToRetrieveImagePullSecret",
                   absl::StrCat("Unable to retrieve some image pull secrets (", names,
                                "); attempting to pull the image may not succeed."));
  }
  co_return out;
}

Task<ImagePuller::Result> ImagePuller::Ensure(PodPtr pod, core::Container container, cri_v1::PodSandboxConfig sandbox,
                                              client::ObjectReference about) {
  Result out;
  const std::string& requested = container.image();
  auto fail = [&](std::string_view reason, std::string message) {
    out.reason = std::string(reason);
    out.message = std::move(message);
  };
  auto normalized = NormalizeImage(requested);
  if (!normalized.ok()) {
    std::string message =
        absl::StrCat("Failed to apply default image tag \"", requested, "\": ", normalized.status().message());
    events_.Record(about, client::kWarning, "InspectFailed", message);
    fail("InvalidImageName", std::move(message));
    co_return out;
  }
  // Missing ones are told of even when the image is there.
  auto secrets = co_await PullSecrets(pod);
  const std::string& policy = container.imagepullpolicy();
  cri_v1::ImageSpec spec;
  spec.set_image(*normalized);
  for (const auto& [key, value] : pod->metadata().annotations()) (*spec.mutable_annotations())[key] = value;

  if (policy != "Always") {
    cri_v1::ImageStatusRequest request;
    *request.mutable_image() = spec;
    auto status = co_await runtime_.ImageStatus(std::move(request));
    if (!status.ok()) {
      std::string message =
          absl::StrCat("Failed to inspect image \"", *normalized, "\": ", GrpcErrorText(status.status()));
      events_.Record(about, client::kWarning, "InspectFailed", message);
      fail("ImageInspectError", std::move(message));
      co_return out;
    }
    if (!status->image().id().empty()) {
      out.image_ref = status->image().id();
      events_.Record(about, client::kNormal, "Pulled",
                     absl::StrCat("Container image \"", requested,
                                  "\" already present on machine and can be accessed by the pod"));
      co_return out;
    }
    if (policy == "Never") {
      std::string message =
          absl::StrCat("Container image \"", requested, "\" is not present with pull policy of Never");
      events_.Record(about, client::kWarning, "ErrImageNeverPull", message);
      fail("ErrImageNeverPull", std::move(message));
      co_return out;
    }
  }

  const std::string key = absl::StrCat(pod->metadata().uid(), "_", requested);
  if (auto left = backoff_.LeftSinceUpdate(key); left.count() > 0) {
    std::string message = absl::StrCat("Back-off pulling image \"", requested, "\"");
    events_.Record(about, client::kNormal, "BackOff", message);
    if (auto it = last_error_.find(key); it != last_error_.end()) absl::StrAppend(&message, ": ", it->second);
    fail("ImagePullBackOff", std::move(message));
    out.retry_after = left;
    co_return out;
  }
  last_error_.erase(key);
  auto credentials = CredentialsFor(*normalized, secrets);
  if (credentials.empty()) credentials.emplace_back();
  events_.Record(about, client::kNormal, "Pulling", absl::StrCat("Pulling image \"", requested, "\""));
  const SteadyTime asked = clock_.Steady();
  std::pair<int64_t, std::string> turn(order_++, "");  // first come, first served
  auto slot = co_await pulls_->Acquire(std::move(turn));
  if (!slot.ok()) {
    fail("ErrImagePull", std::string(slot.status().message()));
    co_return out;
  }
  const SteadyTime began = clock_.Steady();
  Status error;
  for (const auto& auth : credentials) {
    cri_v1::PullImageRequest request;
    *request.mutable_image() = spec;
    if (!auth.username().empty() || !auth.identity_token().empty() || !auth.registry_token().empty()) {
      *request.mutable_auth() = auth;
    }
    *request.mutable_sandbox_config() = sandbox;
    auto pulled = co_await runtime_.PullImage(std::move(request), {.timeout = std::chrono::nanoseconds(0)});
    error = pulled.status();
    if (pulled.ok()) {
      out.image_ref = pulled->image_ref();
      break;
    }
    if (absl::IsCancelled(error)) break;
  }
  slot->Release();
  if (!error.ok()) {
    if (absl::IsCancelled(error)) {
      fail("ErrImagePull", "image pull was cancelled");
      co_return out;
    }
    // Registries' answers come without a code of their own and are shown plainly.
    std::string text = absl::IsUnknown(error) ? std::string(error.message()) : GrpcErrorText(error);
    events_.Record(about, client::kWarning, "Failed", absl::StrCat("Failed to pull image \"", requested, "\": ", text));
    backoff_.Next(key, clock_.Now());
    std::string_view reason = "ErrImagePull";
    std::string message = text;
    absl::string_view plain = error.message();
    if (absl::ConsumePrefix(&plain, "RegistryUnavailable")) {
      reason = "RegistryUnavailable";
      message = absl::StrCat("image pull failed for ", requested, " because the registry is unavailable", plain);
    } else if (absl::ConsumePrefix(&plain, "SignatureValidationFailed")) {
      reason = "SignatureValidationFailed";
      message = absl::StrCat("image pull failed for ", requested, " because the signature validation failed", plain);
    }
    last_error_[key] = absl::StrCat(reason, ": ", message);
    fail(reason, std::move(message));
    co_return out;
  }
  auto ms = [](auto d) { return std::chrono::floor<std::chrono::milliseconds>(d); };
  int64_t size = 0;
  cri_v1::ImageStatusRequest request;
  request.mutable_image()->set_image(out.image_ref);
  if (auto status = co_await runtime_.ImageStatus(std::move(request)); status.ok()) {
    size = static_cast<int64_t>(status->image().size());
  }
  const SteadyTime done = clock_.Steady();
  events_.Record(
      about, client::kNormal, "Pulled",
      absl::StrCat("Successfully pulled image \"", requested, "\" in ", FormatDuration(ms(done - began)), " (",
                   FormatDuration(ms(done - asked)), " including waiting). Image size: ", size, " bytes."));
  co_return out;
}

}  // namespace skiff::kubelet
