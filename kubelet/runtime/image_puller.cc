#include "kubelet/runtime/image_puller.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "api/codec.h"
#include "base/flags.h"
#include "base/log.h"
#include "kubelet/runtime/image_name.h"
#include "kubelet/work_metrics.h"

namespace skiff::kubelet {
namespace {

namespace cri_v1 = ::runtime::v1;

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

ImagePuller::ImagePuller(asio::any_io_executor executor, cri::Runtime& runtime, Clock& clock, client::EventSink& events,
                         ObjectSource& objects, ImagePullerOptions options)
    : runtime_(runtime),
      clock_(clock),
      events_(events),
      objects_(objects),
      options_(std::move(options)),
      pulls_(std::make_shared<StartQueue>(std::move(executor), std::max(1, options_.parallel))),
      rate_(options_.qps, options_.burst, clock),
      backoff_(clock, std::chrono::seconds(10), std::chrono::seconds(300)) {
  if (!options_.root_dir.empty()) {
    records_ = std::make_unique<PullRecords>(options_.root_dir, options_.verification, options_.allowlist, clock);
  }
  if (options_.metrics == nullptr) return;
  metrics::Registry& registry = *options_.metrics;
  requests_ = &registry.Counters("kubelet_image_manager_ensure_image_requests_total",
                                 "[ALPHA] Number of ensure-image requests processed by the kubelet.",
                                 {"pull_policy", "present_locally", "pull_required"});
  if (!records_) return;
  checks_ = &registry.Counters("kubelet_imagemanager_image_mustpull_checks_total",
                               "[ALPHA] Counter for how many times kubelet checked whether credentials need to be "
                               "re-verified to access an image",
                               {"result"});
  registry.Collector("kubelet_imagemanager_ondisk_pulledrecords",
                     "[ALPHA] Number of ImagePulledRecords stored on disk.", "gauge",
                     [this](const metrics::Emit& emit) {
                       emit({{}, static_cast<double>(records_->CountPulled())});
                     });
  registry.Collector("kubelet_imagemanager_ondisk_pullintents", "[ALPHA] Number of ImagePullIntents stored on disk.",
                     "gauge", [this](const metrics::Emit& emit) {
                       emit({{}, static_cast<double>(records_->CountIntents())});
                     });
}

Task<void> ImagePuller::Recover() {
  if (!records_ || records_->CountIntents() == 0) co_return;
  auto images = co_await runtime_.ListImages({});
  if (!images.ok()) {
    LOG_ERROR(images.status(), "failed to list images");
    co_return;
  }
  std::map<std::string, std::set<std::string>> present;
  for (const auto& image : images->images()) {
    auto& names = present[image.id()];
    names.insert(image.repo_tags().begin(), image.repo_tags().end());
    names.insert(image.repo_digests().begin(), image.repo_digests().end());
  }
  records_->Recover(present);
}

void ImagePuller::ForgetImage(const std::string& image_ref, WallTime began) {
  if (records_) records_->Forget(image_ref, began);
}

void ImagePuller::ForgetOthers(const std::set<std::string>& names, WallTime began) {
  if (records_) records_->Prune(names, began);
}

void ImagePuller::Count(const std::string& policy, const char* present, const char* required) {
  if (requests_ == nullptr) return;
  std::string name = policy == "IfNotPresent" ? "ifnotpresent" : policy == "Never" ? "never" : "always";
  requests_->With({name, present, required}).Inc();
}

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

Task<std::vector<Credential>> ImagePuller::CredentialsFor(const std::string& image, PodPtr pod,
                                                          const std::vector<std::shared_ptr<const Secret>>& secrets) {
  const std::string repository = RepositoryOf(image);
  Keyring own;
  for (const auto& secret : secrets) {
    std::map<std::string, std::string> data(secret->data().begin(), secret->data().end());
    const CredentialSource source{CredentialSource::kSecret, secret->metadata().uid(), secret->metadata().namespace_(),
                                  secret->metadata().name()};
    if (Status s = AddSecret(&own, secret->type(), data, source); !s.ok()) {
      LOG_ERROR(s, "Cannot use an image pull secret", {"pod", FormatPod(*pod)});
    }
  }
  std::vector<Credential> out = own.Lookup(repository);
  std::vector<Credential> more;
  if (!options_.root_dir.empty()) more = NodeKeyring(options_.root_dir).Lookup(repository);
  out.insert(out.end(), more.begin(), more.end());
  if (options_.plugins != nullptr) {
    Keyring provided;
    co_await options_.plugins->Provide(repository, *pod, &provided);
    more = provided.Lookup(repository);
    out.insert(out.end(), more.begin(), more.end());
  }
  co_return out;
}

Task<bool> ImagePuller::MayUse(const std::string& image, const std::string& image_ref, PodPtr pod,
                               const std::vector<std::shared_ptr<const Secret>>& secrets,
                               std::optional<std::vector<Credential>>* credentials) {
  if (!records_) co_return true;
  if (records_->NeedsCredentials(image, image_ref)) *credentials = co_await CredentialsFor(image, pod, secrets);
  const auto verdict = records_->Check(
      image, image_ref, [&] { return credentials->has_value() ? **credentials : std::vector<Credential>(); });
  const char* name = "error";
  if (verdict == PullRecords::Verdict::kPolicyAllowed) name = "credentialPolicyAllowed";
  if (verdict == PullRecords::Verdict::kRecordFound) name = "credentialRecordFound";
  if (verdict == PullRecords::Verdict::kMustAuthenticate) name = "mustAuthenticate";
  if (checks_ != nullptr) checks_->With({name}).Inc();
  co_return verdict == PullRecords::Verdict::kPolicyAllowed || verdict == PullRecords::Verdict::kRecordFound;
}

namespace {

// What was said longer ago may not hold any more: images are collected.
constexpr std::chrono::seconds kAheadHolds{2};

cri_v1::ImageSpec SpecOf(const Pod& pod, std::string image) {
  cri_v1::ImageSpec spec;
  spec.set_image(std::move(image));
  for (const auto& [key, value] : pod.metadata().annotations()) (*spec.mutable_annotations())[key] = value;
  return spec;
}

}  // namespace

Task<void> ImagePuller::Ask(PodPtr pod, core::Container container, std::shared_ptr<Ahead> out) {
  auto normalized = NormalizeImage(container.image());
  if (!normalized.ok() || container.imagepullpolicy() == "Always") co_return;
  cri_v1::ImageStatusRequest request;
  *request.mutable_image() = SpecOf(*pod, *normalized);
  auto answer = co_await runtime_.ImageStatus(std::move(request));
  if (absl::IsCancelled(answer.status())) co_return;
  out->image = *normalized;
  out->answer = std::move(answer);
  out->at = clock_.Steady();
}

Task<StatusOr<cri_v1::ImageStatusResponse>> ImagePuller::Inspect(cri_v1::ImageSpec spec, std::shared_ptr<Ahead> ahead) {
  if (ahead != nullptr && ahead->answer && ahead->image == spec.image() && clock_.Steady() - ahead->at < kAheadHolds) {
    auto answer = *std::exchange(ahead->answer, std::nullopt);
    // One that was not there may have been pulled for another pod since.
    if (!answer.ok() || !answer->image().id().empty()) co_return answer;
  }
  cri_v1::ImageStatusRequest request;
  *request.mutable_image() = std::move(spec);
  co_return co_await runtime_.ImageStatus(std::move(request));
}

Task<ImagePuller::Result> ImagePuller::Ensure(PodPtr pod, core::Container container, cri_v1::PodSandboxConfig sandbox,
                                              client::ObjectReference about, std::shared_ptr<Ahead> ahead) {
  Result out;
  const std::string& requested = container.image();
  auto fail = [&](std::string_view reason, std::string message) {
    out.reason = std::string(reason);
    out.message = std::move(message);
  };
  const std::string& policy = container.imagepullpolicy();
  auto normalized = NormalizeImage(requested);
  if (!normalized.ok()) {
    std::string message =
        absl::StrCat("Failed to apply default image tag \"", requested, "\": ", normalized.status().message());
    events_.Record(about, client::kWarning, "InspectFailed", message);
    fail("InvalidImageName", std::move(message));
    Count(policy, "unknown", "unknown");
    co_return out;
  }
  // Missing ones are told of even when the image is there.
  auto secrets = co_await PullSecrets(pod);
  cri_v1::ImageSpec spec = SpecOf(*pod, *normalized);

  // Never, and an image that is not there or not this pod's: the two must look the same.
  auto never = [&] {
    std::string message = absl::StrCat("Container image \"", requested, "\" is not present with pull policy of Never");
    events_.Record(about, client::kWarning, "ErrImageNeverPull", message);
    fail("ErrImageNeverPull", std::move(message));
  };
  std::optional<std::vector<Credential>> credentials;
  const char* present = "unknown";
  if (policy != "Always") {
    auto status = co_await Inspect(spec, std::move(ahead));
    if (!status.ok()) {
      std::string message =
          absl::StrCat("Failed to inspect image \"", *normalized, "\": ", GrpcErrorText(status.status()));
      events_.Record(about, client::kWarning, "InspectFailed", message);
      fail("ImageInspectError", std::move(message));
      Count(policy, "unknown", "unknown");
      co_return out;
    }
    const std::string id = status->image().id();
    present = id.empty() ? "false" : "true";
    if (!id.empty() && co_await MayUse(requested, id, pod, secrets, &credentials)) {
      out.image_ref = id;
      out.image = std::move(*status->mutable_image());
      events_.Record(about, client::kNormal, "Pulled",
                     absl::StrCat("Container image \"", requested,
                                  "\" already present on machine and can be accessed by the pod"));
      Count(policy, present, "false");
      co_return out;
    }
    if (policy == "Never") {
      Count(policy, present, id.empty() ? "unknown" : "true");
      never();
      co_return out;
    }
  }
  Count(policy, present, "true");
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
  if (!credentials) credentials = co_await CredentialsFor(*normalized, pod, secrets);
  co_return co_await Pull(pod, requested, std::move(spec), *std::move(credentials), std::move(sandbox),
                          std::move(about));
}

namespace {

PulledWith UsedBy(const Credential* credential) {
  PulledWith out;
  if (credential == nullptr || credential->source.kind == CredentialSource::kNode) {
    out.by_any_pod = true;
  } else if (credential->source.kind == CredentialSource::kSecret) {
    out.secrets.push_back({credential->source.uid, credential->source.ns, credential->source.name, credential->hash});
  } else {
    out.service_accounts.push_back({credential->source.uid, credential->source.ns, credential->source.name, ""});
  }
  return out;
}

// Registries' answers come without a code of their own and are shown plainly.
std::string PullErrorText(const Status& error) {
  return absl::IsUnknown(error) ? std::string(error.message()) : GrpcErrorText(error);
}

}  // namespace

Task<ImagePuller::Result> ImagePuller::Pull(PodPtr pod, const std::string& requested, cri_v1::ImageSpec spec,
                                            std::vector<Credential> credentials, cri_v1::PodSandboxConfig sandbox,
                                            client::ObjectReference about) {
  Result out;
  const std::string key = absl::StrCat(pod->metadata().uid(), "_", requested);
  if (records_) {
    if (Status s = records_->Intend(requested); !s.ok()) {
      out.reason = s.message();
      out.message =
          absl::StrCat("Failed to record image pull intent for container image \"", requested, "\": ", s.message());
      co_return out;
    }
  }
  events_.Record(about, client::kNormal, "Pulling", absl::StrCat("Pulling image \"", requested, "\""));
  const SteadyTime asked = clock_.Steady();
  PullBegan(pod->metadata().uid(), asked);
  // Also where it is cancelled.
  struct Ended {
    const std::string& uid;
    Clock& clock;
    ~Ended() { PullEnded(uid, clock.Steady()); }
  } const ended{pod->metadata().uid(), clock_};
  std::pair<int64_t, std::string> turn(order_++, "");  // first come, first served
  auto slot = co_await pulls_->Acquire(std::move(turn));
  if (!slot.ok()) {
    if (records_) records_->Failed(requested);
    out.reason = "ErrImagePull";
    out.message = slot.status().message();
    co_return out;
  }
  const SteadyTime began = clock_.Steady();
  Status error;
  std::string text;
  const Credential* used = nullptr;
  if (!rate_.TryTake()) {
    error = Unavailable("pull QPS exceeded");
    text = "pull QPS exceeded";
  } else if (credentials.empty()) {
    cri_v1::PullImageRequest request;
    *request.mutable_image() = spec;
    *request.mutable_sandbox_config() = sandbox;
    auto pulled = co_await runtime_.PullImage(std::move(request), {.timeout = std::chrono::nanoseconds(0)});
    error = pulled.status();
    if (pulled.ok()) out.image_ref = pulled->image_ref();
    if (!error.ok()) text = PullErrorText(error);
  } else {
    std::vector<std::string> texts;
    for (const Credential& credential : credentials) {
      cri_v1::PullImageRequest request;
      *request.mutable_image() = spec;
      request.mutable_auth()->set_username(credential.username);
      request.mutable_auth()->set_password(credential.password);
      *request.mutable_sandbox_config() = sandbox;
      auto pulled = co_await runtime_.PullImage(std::move(request), {.timeout = std::chrono::nanoseconds(0)});
      error = pulled.status();
      if (pulled.ok()) {
        out.image_ref = pulled->image_ref();
        used = &credential;
        break;
      }
      if (absl::IsCancelled(error)) break;
      std::string one = PullErrorText(error);
      if (std::find(texts.begin(), texts.end(), one) == texts.end()) texts.push_back(std::move(one));
    }
    text = texts.size() > 1 ? absl::StrCat("[", absl::StrJoin(texts, ", "), "]") : absl::StrJoin(texts, "");
  }
  slot->Release();
  if (!error.ok()) {
    if (records_) records_->Failed(requested);
    if (absl::IsCancelled(error)) {
      out.reason = "ErrImagePull";
      out.message = "image pull was cancelled";
      co_return out;
    }
    events_.Record(about, client::kWarning, "Failed", absl::StrCat("Failed to pull image \"", requested, "\": ", text));
    backoff_.Next(key, clock_.Now());
    out.reason = "ErrImagePull";
    out.message = text;
    absl::string_view plain = error.message();
    if (absl::ConsumePrefix(&plain, "RegistryUnavailable")) {
      out.reason = "RegistryUnavailable";
      out.message = absl::StrCat("image pull failed for ", requested, " because the registry is unavailable", plain);
    } else if (absl::ConsumePrefix(&plain, "SignatureValidationFailed")) {
      out.reason = "SignatureValidationFailed";
      out.message =
          absl::StrCat("image pull failed for ", requested, " because the signature validation failed", plain);
    }
    last_error_[key] = absl::StrCat(out.reason, ": ", out.message);
    co_return out;
  }
  if (records_) records_->Pulled(requested, out.image_ref, UsedBy(used));
  auto ms = [](auto d) { return std::chrono::floor<std::chrono::milliseconds>(d); };
  int64_t size = 0;
  cri_v1::ImageStatusRequest request;
  request.mutable_image()->set_image(out.image_ref);
  if (auto status = co_await runtime_.ImageStatus(std::move(request)); status.ok()) {
    size = static_cast<int64_t>(status->image().size());
    if (!status->image().id().empty()) out.image = std::move(*status->mutable_image());
  }
  const SteadyTime done = clock_.Steady();
  events_.Record(
      about, client::kNormal, "Pulled",
      absl::StrCat("Successfully pulled image \"", requested, "\" in ", FormatDuration(ms(done - began)), " (",
                   FormatDuration(ms(done - asked)), " including waiting). Image size: ", size, " bytes."));
  co_return out;
}

}  // namespace skiff::kubelet
