#include "kubelet/volume/object_cache.h"

#include <random>

#include "api/time.h"
#include "base/log.h"
#include "k8s/io/api/authentication/v1/generated.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"

namespace skiff::kubelet {
namespace {

namespace core = k8s::io::api::core::v1;
namespace authn = k8s::io::api::authentication::v1;

constexpr std::chrono::hours kMaxTokenAge{24};

template <typename Containers>
void AddEnvironment(const Containers& containers, std::set<std::pair<bool, std::string>>* out) {
  for (const auto& c : containers) {
    for (const auto& from : c.envfrom()) {
      if (from.has_configmapref()) out->emplace(false, from.configmapref().localobjectreference().name());
      if (from.has_secretref()) out->emplace(true, from.secretref().localobjectreference().name());
    }
    for (const auto& env : c.env()) {
      if (env.valuefrom().has_configmapkeyref()) {
        out->emplace(false, env.valuefrom().configmapkeyref().localobjectreference().name());
      }
      if (env.valuefrom().has_secretkeyref()) {
        out->emplace(true, env.valuefrom().secretkeyref().localobjectreference().name());
      }
    }
  }
}

bool NeedsRefresh(std::chrono::nanoseconds age, std::chrono::nanoseconds life) {
  static std::minstd_rand random{std::random_device{}()};
  // Spread, so that pods that started together do not ask together.
  const auto jitter = std::chrono::seconds(random() % 10);
  return age > kMaxTokenAge - jitter || age > life - life / 5 - jitter;
}

}  // namespace

std::set<std::pair<bool, std::string>> ReferencesOf(const Pod& pod, bool starting_only) {
  std::set<std::pair<bool, std::string>> out;
  for (const auto& volume : pod.spec().volumes()) {
    if (starting_only) break;
    const auto& source = volume.volumesource();
    if (source.has_configmap()) out.emplace(false, source.configmap().localobjectreference().name());
    if (source.has_secret()) out.emplace(true, source.secret().secretname());
    for (const auto& projection : source.projected().sources()) {
      if (projection.has_configmap()) out.emplace(false, projection.configmap().localobjectreference().name());
      if (projection.has_secret()) out.emplace(true, projection.secret().localobjectreference().name());
    }
  }
  AddEnvironment(pod.spec().initcontainers(), &out);
  AddEnvironment(pod.spec().containers(), &out);
  for (const auto& secret : pod.spec().imagepullsecrets()) out.emplace(true, secret.name());
  return out;
}

ObjectCache::ObjectCache(std::shared_ptr<client::Rest> rest, Clock& clock, ObjectCacheOptions options)
    : rest_(std::move(rest)), clock_(clock), options_(options) {}

template <typename T>
Task<StatusOr<std::shared_ptr<const T>>> ObjectCache::Read(Entries<T>& entries, std::string ns, std::string name,
                                                           std::string_view kind) {
  auto& slot = entries[{ns, name}];
  if (slot == nullptr) slot = std::make_shared<Entry<T>>();
  const std::shared_ptr<Entry<T>> entry = slot;
  CO_ASSIGN_OR_RETURN(auto guard, co_await entry->lock->Lock());
  const SteadyTime now = clock_.Steady();
  if (entry->object != nullptr &&
      (entry->object->immutable() || (entry->read >= entry->fresh_since && now - entry->read < options_.ttl))) {
    co_return entry->object;
  }
  auto got = co_await rest_->template Get<T>(ns, name);
  if (!got.ok()) {
    // The API server says "configmaps", upstream's kubelet "configmap": events carry the latter.
    if (client::IsNotFound(got.status())) {
      entry->object = nullptr;
      co_return absl::NotFoundError(absl::StrCat(kind, " \"", name, "\" not found"));
    }
    if (entry->object != nullptr && (absl::IsUnavailable(got.status()) || absl::IsDeadlineExceeded(got.status()))) {
      VLOG(2, "Going on with what was read before", {"kind", kind}, {"object", absl::StrCat(ns, "/", name)},
           {"err", got.status()});
      co_return entry->object;
    }
    co_return got.status();
  }
  got->mutable_metadata()->clear_managedfields();
  entry->read = now;
  entry->object = std::make_shared<const T>(*std::move(got));
  std::shared_ptr<const T> object = entry->object;
  guard.Reset();
  Trim(entries, std::is_same_v<T, Secret>);
  co_return object;
}

// Drops what is neither fresh, nor immutable and referred to, nor needed to start containers.
template <typename T>
void ObjectCache::Trim(Entries<T>& entries, bool secrets) {
  const SteadyTime now = clock_.Steady();
  for (auto it = entries.begin(); it != entries.end();) {
    const Entry<T>& entry = *it->second;
    bool keep = entry.lock->held() || (entry.object != nullptr && now - entry.read < options_.ttl);
    if (!keep && entry.object != nullptr) {
      const auto count = counts_.find({secrets, it->first.first, it->first.second});
      keep = count != counts_.end() && (entry.object->immutable() || count->second.second > 0);
    }
    it = keep ? std::next(it) : entries.erase(it);
  }
}

void ObjectCache::Count(const References& references, int by) {
  for (const Reference& reference : references.all) counts_[reference].first += by;
  for (const Reference& reference : references.starting) counts_[reference].second += by;
  if (by < 0) std::erase_if(counts_, [](const auto& count) { return count.second == std::pair(0, 0); });
}

Task<StatusOr<std::shared_ptr<const ConfigMap>>> ObjectCache::GetConfigMap(std::string ns, std::string name) {
  return Read<ConfigMap>(config_maps_, std::move(ns), std::move(name), "configmap");
}

Task<StatusOr<std::shared_ptr<const Secret>>> ObjectCache::GetSecret(std::string ns, std::string name) {
  return Read<Secret>(secrets_, std::move(ns), std::move(name), "secret");
}

// The longer of what both clocks say: the steady one stands still while a machine is suspended, the wall clock is set.
std::chrono::nanoseconds ObjectCache::AgeOf(const TokenEntry& entry) const {
  return std::max<std::chrono::nanoseconds>(clock_.Steady() - entry.got, clock_.Now() - entry.got_wall);
}

Task<StatusOr<Token>> ObjectCache::GetToken(TokenRequest request) {
  auto& slot =
      tokens_[{request.pod_uid, request.ns, request.service_account, request.audience, request.expiration_seconds}];
  if (slot == nullptr) slot = std::make_shared<TokenEntry>();
  const std::shared_ptr<TokenEntry> entry = slot;
  CO_ASSIGN_OR_RETURN(auto guard, co_await entry->lock->Lock());
  if (entry->valid && !NeedsRefresh(AgeOf(*entry), entry->life)) co_return entry->token;

  authn::TokenRequest body;
  if (!request.audience.empty()) body.mutable_spec()->add_audiences(request.audience);
  body.mutable_spec()->set_expirationseconds(request.expiration_seconds);
  auto* bound = body.mutable_spec()->mutable_boundobjectref();
  bound->set_kind("Pod");
  bound->set_apiversion("v1");
  bound->set_name(request.pod_name);
  bound->set_uid(request.pod_uid);
  auto answer = co_await rest_->CreateSub<core::ServiceAccount, authn::TokenRequest>(
      request.ns, request.service_account, "token", std::move(body));
  if (!answer.ok()) {
    if (entry->valid && AgeOf(*entry) < entry->life) {
      LOG_WARNING("Could not renew a service account token, the old one stays", {"namespace", request.ns},
                  {"serviceAccount", request.service_account}, {"err", answer.status()});
      co_return entry->token;
    }
    co_return Annotate(answer.status(), "failed to fetch token");
  }
  entry->token.token = answer->status().token();
  entry->token.expires = api::FromTime(answer->status().expirationtimestamp());
  // The server may have shortened the life: what it granted counts, not what was asked.
  const int64_t granted = answer->spec().has_expirationseconds() && answer->spec().expirationseconds() > 0
                              ? answer->spec().expirationseconds()
                              : request.expiration_seconds;
  entry->life = std::chrono::seconds(granted);
  entry->got = clock_.Steady();
  entry->got_wall = clock_.Now();
  entry->valid = true;
  co_return entry->token;
}

Task<StatusOr<std::shared_ptr<const PersistentVolumeClaim>>> ObjectCache::GetClaim(std::string ns, std::string name) {
  CO_ASSIGN_OR_RETURN(auto claim, co_await rest_->Get<PersistentVolumeClaim>(std::move(ns), std::move(name)));
  co_return std::make_shared<const PersistentVolumeClaim>(std::move(claim));
}

Task<StatusOr<std::shared_ptr<const PersistentVolume>>> ObjectCache::GetVolume(std::string name) {
  CO_ASSIGN_OR_RETURN(auto volume, co_await rest_->Get<PersistentVolume>("", std::move(name)));
  co_return std::make_shared<const PersistentVolume>(std::move(volume));
}

void ObjectCache::RegisterPod(const Pod& pod) {
  const std::string& ns = pod.metadata().namespace_();
  References now;
  for (const auto& [secret, name] : ReferencesOf(pod)) now.all.emplace(secret, ns, name);
  for (const auto& [secret, name] : ReferencesOf(pod, true)) now.starting.emplace(secret, ns, name);
  Count(now, 1);
  auto [slot, is_new] = references_.try_emplace(pod.metadata().uid());
  Count(slot->second, -1);
  slot->second = std::move(now);
  if (!is_new) return;
  const SteadyTime time = clock_.Steady();
  for (const auto& [secret, in, name] : slot->second.all) {
    const std::pair key(in, name);
    if (secret) {
      if (auto found = secrets_.find(key); found != secrets_.end()) found->second->fresh_since = time;
    } else {
      if (auto found = config_maps_.find(key); found != config_maps_.end()) found->second->fresh_since = time;
    }
  }
}

void ObjectCache::UnregisterPod(const std::string& uid) {
  if (const auto found = references_.find(uid); found != references_.end()) {
    Count(found->second, -1);
    references_.erase(found);
  }
  auto it = tokens_.lower_bound(TokenKey{uid, "", "", "", INT64_MIN});
  while (it != tokens_.end() && std::get<0>(it->first) == uid) it = tokens_.erase(it);
  Trim(config_maps_, false);
  Trim(secrets_, true);
}

size_t ObjectCache::size() const { return config_maps_.size() + secrets_.size() + tokens_.size(); }

}  // namespace skiff::kubelet
