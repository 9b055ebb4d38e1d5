#include "controlplane/apiserver/registry.h"

#include <random>

#include "api/annotations.h"
#include "api/field_errors.h"
#include "api/time.h"
#include "api/validation.h"
#include "base/tls.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

constexpr int kGenerateNameAttempts = 8;
// Ten looks for a namespace's default account, 100 to 200 ms apart.
constexpr int kAccountLooks = 10;
constexpr std::chrono::milliseconds kAccountWait{100};

uint64_t Random() {
  static std::mt19937_64 random{std::random_device{}()};
  return random();
}

Status StorageError(const Status& status) {
  if (absl::IsCancelled(status)) return status;
  return api::InternalError(std::string(status.message()));
}

// Written: the stored object with its new resourceVersion.
api::Object WithVersion(api::Object object, const ValuePtr& value) {
  object.mutable_meta()->set_resourceversion(absl::StrCat(value->mod_revision));
  return object;
}

}  // namespace

std::chrono::seconds Registry::TtlOf(const Kind& kind) const {
  return kind.resource->plural == "events" ? event_ttl_ : std::chrono::seconds(0);
}

Status PlainError(std::string_view message) {
  api::StatusMessage status;
  status.set_status("Failure");
  status.set_message(std::string(message));
  status.set_code(500);
  return api::FromStatusMessage(std::move(status));
}

std::string GenerateName(std::string_view prefix) {
  static constexpr char kLetters[] = "bcdfghjklmnpqrstvwxz2456789";
  std::string name(prefix.substr(0, 58));
  for (int i = 0; i < 5; ++i) name.push_back(kLetters[Random() % (sizeof(kLetters) - 1)]);
  return name;
}

Task<StatusOr<api::Object>> Registry::Get(const Kind& kind, std::string ns, std::string name) {
  auto entry = co_await store_.Get(kind.Key(ns, name));
  if (absl::IsNotFound(entry.status())) co_return api::NotFoundError(kind.About(name));
  if (!entry.ok()) co_return StorageError(entry.status());
  auto object = kind.Decode(*entry);
  if (!object.ok()) co_return api::InternalError(std::string(object.status().message()));
  co_return std::move(object);
}

// A namespace gets its account "default" from a controller, a moment after it is made. Pods that come with the
// namespace wait for it, as long as upstream's admission does.
Task<void> Registry::AwaitDefaultAccount(std::string ns, const api::Object& object) {
  constexpr char kDefault[] = "default";
  const core::Pod* pod = object.As<core::Pod>();
  if (!pod || pod->metadata().annotations().contains(api::kMirrorAnnotation)) co_return;
  const std::string& account = pod->spec().serviceaccountname();
  if (!account.empty() && account != kDefault) co_return;
  const auto space = admission_.Find<core::Namespace>("namespaces", "", ns);
  if (!space || space->metadata().has_deletiontimestamp()) co_return;  // refused for that
  const std::string key = kinds_.Core("serviceaccounts").Key(ns, kDefault);
  const std::chrono::milliseconds wait = kAccountWait + std::chrono::milliseconds(Random() % kAccountWait.count());
  for (int look = 1; look < kAccountLooks && !store_.Peek(key); ++look)
    if (!(co_await clock_.Sleep(wait)).ok()) co_return;
}

Task<StatusOr<api::Object>> Registry::Create(Context& context, const Kind& kind, std::string ns, api::Object object) {
  if (kind.custom && kind.custom->terminating)
    co_return api::MethodNotSupportedError({kind.resource->group, kind.resource->plural, ""},
                                           "create not allowed while custom resource definition is terminating");
  if (!object.meta().resourceversion().empty())
    co_return PlainError("resourceVersion should not be set on objects to be created");
  co_await AwaitDefaultAccount(ns, object);
  const bool generated = object.meta().name().empty() && !object.meta().generatename().empty();
  const std::string base = object.meta().generatename();
  // A refusal before the name is made up names the prefix.
  const Attributes attributes{kind,   Operation::kCreate, "", ns, generated ? base : object.meta().name(), &object,
                              nullptr};
  if (Status status = admission_.Mutate(context, attributes); !status.ok()) co_return status;

  metav1::ObjectMeta& meta = *object.mutable_meta();
  if (kind.resource->namespaced) meta.set_namespace_(ns);
  if (!kind.resource->namespaced) meta.clear_namespace_();
  meta.clear_deletiontimestamp();
  meta.clear_deletiongraceperiodseconds();
  meta.clear_selflink();
  meta.set_uid(RandomUuid());
  *meta.mutable_creationtimestamp() = api::ToTime(context.now);

  for (int attempt = 1;; ++attempt) {
    if (generated) object.mutable_meta()->set_name(GenerateName(base));
    api::Object candidate = object.Clone();
    kind.strategy->PrepareForCreate(context, &candidate);
    Status valid = kind.custom ? kind.custom->ValidateCreate(candidate) : api::ValidateCreate(candidate);
    if (valid.ok()) valid = kind.strategy->Check(candidate, nullptr);
    if (!valid.ok()) co_return valid;
    const Attributes final_attributes{kind, Operation::kCreate, "", ns, candidate.meta().name(), &candidate, nullptr};
    if (Status status = admission_.Validate(context, final_attributes); !status.ok()) co_return status;
    kind.strategy->Warn(context, candidate, nullptr);
    if (Status status = kind.strategy->Allocate(context, &candidate, nullptr); !status.ok()) co_return status;
    const std::string key = kind.Key(ns, candidate.meta().name());
    if (context.dry_run) {
      if (store_.Peek(key)) co_return api::AlreadyExistsError(kind.About(candidate.meta().name()));
      co_return std::move(candidate);
    }
    auto data = kind.Encode(candidate);
    if (!data.ok()) co_return api::InternalError(std::string(data.status().message()));
    auto value = co_await store_.Create(key, *std::move(data), TtlOf(kind));
    kind.strategy->Settle(candidate, nullptr, value.ok());
    if (absl::IsAlreadyExists(value.status())) {
      if (generated && attempt < kGenerateNameAttempts) continue;
      co_return api::AlreadyExistsError(kind.About(candidate.meta().name()));
    }
    if (!value.ok()) co_return StorageError(value.status());
    co_return WithVersion(std::move(candidate), *value);
  }
}

Status Registry::BeforeUpdate(Context& context, const Kind& kind, const UpdateRequest& request, api::Object* updated,
                              const api::Object& existing) const {
  metav1::ObjectMeta& meta = *updated->mutable_meta();
  const metav1::ObjectMeta& old = existing.meta();
  if (kind.resource->namespaced) meta.set_namespace_(old.namespace_());
  if (!kind.resource->namespaced) meta.clear_namespace_();
  meta.clear_selflink();
  if (old.has_generation())
    meta.set_generation(old.generation());
  else
    meta.clear_generation();
  // Left out means unchanged; a deletion that began cannot be taken back or moved.
  if (meta.uid().empty()) meta.set_uid(old.uid());
  if (!meta.has_creationtimestamp() || api::IsZero(meta.creationtimestamp()))
    *meta.mutable_creationtimestamp() = old.creationtimestamp();
  if (old.has_deletiontimestamp()) {
    *meta.mutable_deletiontimestamp() = old.deletiontimestamp();
  } else if (meta.has_deletiontimestamp()) {
    meta.clear_deletiontimestamp();
  }
  if (old.has_deletiongraceperiodseconds() && !meta.has_deletiongraceperiodseconds())
    meta.set_deletiongraceperiodseconds(old.deletiongraceperiodseconds());
  if (!old.has_deletiontimestamp()) meta.clear_deletiongraceperiodseconds();

  if (request.subresource.empty())
    kind.strategy->PrepareForUpdate(context, updated, existing);
  else
    kind.strategy->PrepareForSubresource(context, request.subresource, updated, existing);
  const std::string_view validated = request.subresource == "finalize" || request.subresource == "scale" ||
                                             request.subresource == "binding" || request.subresource == "approval"
                                         ? std::string_view()
                                         : std::string_view(request.subresource);
  if (request.subresource == "binding") return absl::OkStatus();
  if (kind.custom) return kind.custom->ValidateUpdate(*updated, existing, validated);
  RETURN_IF_ERROR(api::ValidateUpdate(*updated, existing, validated));
  return request.subresource.empty() ? kind.strategy->Check(*updated, &existing) : absl::OkStatus();
}

Task<StatusOr<UpdateResult>> Registry::Update(Context& context, const Kind& kind, UpdateRequest request) {
  const std::string key = kind.Key(request.ns, request.name);
  while (true) {
    ValuePtr value;
    auto entry = co_await store_.Get(key);
    if (entry.ok()) {
      value = entry->value;
    } else if (!absl::IsNotFound(entry.status())) {
      co_return StorageError(entry.status());
    }
    if (!value) {
      const bool may_create = request.allow_create ||
                              (request.put && kind.strategy->traits().create_on_update && request.subresource.empty());
      if (!may_create) co_return api::NotFoundError(kind.About(request.name));
      auto object = request.change(nullptr);
      if (!object.ok()) co_return object.status();
      if (!request.precondition_uid.empty())
        co_return api::ConflictError(
            kind.About(request.name),
            absl::StrCat("StorageError: invalid object, Code: 4, Key: ", key,
                         ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ",
                         request.precondition_uid, ", UID in object meta: "));
      if (!object->meta().resourceversion().empty() && object->meta().resourceversion() != "0") {
        if (request.allow_create) co_return api::ConflictError(kind.About(request.name), kModifiedMessage);
        object->mutable_meta()->clear_resourceversion();
      }
      object->mutable_meta()->clear_resourceversion();
      auto created = co_await Create(context, kind, request.ns, *std::move(object));
      if (!created.ok()) {
        if (api::ReasonOf(created.status()) == "AlreadyExists") continue;
        co_return created.status();
      }
      co_return UpdateResult{*std::move(created), true};
    }

    auto existing = kind.Decode(key, *value);
    if (!existing.ok()) co_return api::InternalError(std::string(existing.status().message()));
    if (!request.precondition_uid.empty() && request.precondition_uid != existing->meta().uid())
      co_return api::ConflictError(
          kind.About(request.name),
          absl::StrCat("StorageError: invalid object, Code: 4, Key: ", key,
                       ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ",
                       request.precondition_uid, ", UID in object meta: ", existing->meta().uid()));
    auto object = request.change(&*existing);
    if (!object.ok()) co_return object.status();

    const std::string& version = object->meta().resourceversion();
    if (version.empty() || version == "0") {
      if (!kind.strategy->traits().unconditional_update) {
        api::FieldErrors errors;
        const api::Path path("metadata");
        errors.InvalidRaw(path.Child("resourceVersion"), "0", "must be specified for an update");
        co_return errors.ToStatus(kind.resource->group, kind.resource->kind, request.name);
      }
      object->mutable_meta()->set_resourceversion(existing->meta().resourceversion());
    } else if (version != existing->meta().resourceversion()) {
      co_return api::ConflictError(kind.About(request.name), kModifiedMessage);
    }
    const Attributes attributes{kind,         Operation::kUpdate, request.subresource, request.ns,
                                request.name, &*object,           &*existing};
    if (Status status = admission_.Mutate(context, attributes); !status.ok()) co_return status;
    if (Status status = BeforeUpdate(context, kind, request, &*object, *existing); !status.ok()) co_return status;
    if (Status status = admission_.Validate(context, attributes); !status.ok()) co_return status;
    if (request.subresource.empty()) kind.strategy->Warn(context, *object, &*existing);

    // The last finalizer is gone: the update completes the deletion.
    if (existing->meta().has_deletiontimestamp() && object->meta().finalizers_size() == 0 &&
        kind.strategy->MayDeleteDuringUpdate(*object, *existing)) {
      if (context.dry_run) co_return UpdateResult{*std::move(object), false};
      auto revision = co_await store_.Delete(key, value->mod_revision);
      if (absl::IsAborted(revision.status())) continue;
      if (!revision.ok() && !absl::IsNotFound(revision.status())) co_return StorageError(revision.status());
      kind.strategy->AfterDelete(*existing);
      co_return UpdateResult{*std::move(object), false};
    }
    if (api::Equal(*object, *existing)) co_return UpdateResult{*std::move(existing), false};

    const bool main = request.subresource.empty();
    if (main)
      if (Status status = kind.strategy->Allocate(context, &*object, &*existing); !status.ok()) co_return status;
    if (context.dry_run) co_return UpdateResult{*std::move(object), false};
    auto data = kind.Encode(*object);
    if (!data.ok()) co_return api::InternalError(std::string(data.status().message()));
    auto written = co_await store_.Update(key, *std::move(data), value->mod_revision, TtlOf(kind));
    if (main) kind.strategy->Settle(*object, &*existing, written.ok());
    if (absl::IsAborted(written.status()) || absl::IsNotFound(written.status())) continue;
    if (!written.ok()) co_return StorageError(written.status());
    co_return UpdateResult{WithVersion(*std::move(object), *written), false};
  }
}

}  // namespace skiff::controlplane
