// Deletion: preconditions, grace, finalizers of propagation policies, and the namespace's two steps.
#include "api/field_errors.h"
#include "api/time.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/registry.h"
#include "k8s/io/api/core/v1/namespace.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

constexpr char kOrphan[] = "orphan";
constexpr char kForeground[] = "foregroundDeletion";

bool HasFinalizer(const metav1::ObjectMeta& meta, std::string_view name) {
  for (const std::string& finalizer : meta.finalizers())
    if (finalizer == name) return true;
  return false;
}

// Adds or removes the finalizers that a propagation policy stands for. True if anything changed.
bool SetPolicyFinalizers(const KindTraits& traits, const metav1::DeleteOptions& options, metav1::ObjectMeta* meta) {
  if (!traits.garbage_collected) return false;
  bool orphan = HasFinalizer(*meta, kOrphan), foreground = HasFinalizer(*meta, kForeground);
  const bool had_orphan = orphan, had_foreground = foreground;
  if (options.has_orphandependents()) {
    orphan = options.orphandependents();
    if (orphan) foreground = false;
  } else if (options.has_propagationpolicy()) {
    orphan = options.propagationpolicy() == "Orphan";
    foreground = options.propagationpolicy() == "Foreground";
  }
  if (orphan == had_orphan && foreground == had_foreground) return false;
  google::protobuf::RepeatedPtrField<std::string> kept;
  for (const std::string& finalizer : meta->finalizers())
    if (finalizer != kOrphan && finalizer != kForeground) *kept.Add() = finalizer;
  if (orphan) *kept.Add() = kOrphan;
  if (foreground) *kept.Add() = kForeground;
  meta->mutable_finalizers()->Swap(&kept);
  return true;
}

enum class Grace { kNone, kStarted, kPending };

// Marks the object for a graceful deletion, or shortens one that runs. `*seconds`: the grace that holds.
Grace BeginGrace(const Kind& kind, const Context& context, const metav1::DeleteOptions& options, api::Object* object,
                 int64_t* seconds) {
  metav1::ObjectMeta& meta = *object->mutable_meta();
  std::optional<int64_t> wanted;
  if (options.has_graceperiodseconds()) wanted = options.graceperiodseconds();
  if (meta.has_deletiontimestamp()) {
    if (!meta.has_deletiongraceperiodseconds()) return Grace::kNone;
    if (!wanted || *wanted >= meta.deletiongraceperiodseconds()) return Grace::kPending;
    const int64_t begun = meta.deletiontimestamp().seconds() - meta.deletiongraceperiodseconds();
    const metav1::Time now = api::ToTime(context.now);
    *seconds = *wanted;
    if (begun + *wanted < now.seconds()) {
      // All of it has passed. One that is not zero stays a graceful deletion, which its agent completes.
      *meta.mutable_deletiontimestamp() = now;
      if (*wanted != 0) *seconds = 1;
    } else {
      meta.mutable_deletiontimestamp()->set_seconds(begun + *wanted);
    }
    meta.set_deletiongraceperiodseconds(*seconds);
    return Grace::kStarted;
  }
  const auto period = kind.strategy->GracePeriod(*object, wanted);
  if (!period) return Grace::kNone;
  *seconds = *period < 0 ? 1 : *period;
  *meta.mutable_deletiontimestamp() = api::ToTime(context.now + std::chrono::seconds(*seconds));
  meta.set_deletiongraceperiodseconds(*seconds);
  if (meta.generation() > 0) meta.set_generation(meta.generation() + 1);
  return Grace::kStarted;
}

Status Failed(const Status& status) {
  return absl::IsCancelled(status) ? status : api::InternalError(std::string(status.message()));
}

}  // namespace

Status ValidateDeleteOptions(const metav1::DeleteOptions& options) {
  api::FieldErrors errors;
  const api::Path path("propagationPolicy");
  if (options.has_orphandependents() && options.has_propagationpolicy()) {
    errors.InvalidRaw(path, absl::StrCat("\"", options.propagationpolicy(), "\""),
                      "orphanDependents and deletionPropagation cannot be both set");
  }
  if (options.has_propagationpolicy() && options.propagationpolicy() != "Foreground" &&
      options.propagationpolicy() != "Background" && options.propagationpolicy() != "Orphan")
    errors.NotSupported(path, options.propagationpolicy(), {"Foreground", "Background", "Orphan", "nil"});
  ValidateDryRun({options.dryrun().begin(), options.dryrun().end()}, &errors);
  return errors.ToStatus("meta.k8s.io", "DeleteOptions", "");
}

// The conflict names the kind where others name the resource, as upstream does here.
Status CheckPreconditions(const Kind& kind, const metav1::DeleteOptions& options, const metav1::ObjectMeta& meta) {
  const api::About about{kind.resource->group, kind.resource->kind, meta.name()};
  const auto& preconditions = options.preconditions();
  if (preconditions.has_uid() && preconditions.uid() != meta.uid())
    return api::ConflictError(about, absl::StrCat("the UID in the precondition (", preconditions.uid(),
                                                  ") does not match the UID in record (", meta.uid(),
                                                  "). The object might have been deleted and then recreated"));
  if (preconditions.has_resourceversion() && preconditions.resourceversion() != meta.resourceversion())
    return api::ConflictError(about,
                              absl::StrCat("the ResourceVersion in the precondition (", preconditions.resourceversion(),
                                           ") does not match the ResourceVersion in record (", meta.resourceversion(),
                                           "). The object might have been modified"));
  return absl::OkStatus();
}

Task<StatusOr<DeleteResult>> Registry::Delete(Context& context, const Kind& kind, std::string ns, std::string name,
                                              metav1::DeleteOptions options) {
  if (Status status = ValidateDeleteOptions(options); !status.ok()) co_return status;
  const bool is_namespace = kind.resource->group.empty() && kind.resource->plural == "namespaces";
  const std::string key = kind.Key(ns, name);
  while (true) {
    auto entry = co_await store_.Get(key);
    if (absl::IsNotFound(entry.status())) co_return api::NotFoundError(kind.About(name));
    if (!entry.ok()) co_return Failed(entry.status());
    auto existing = kind.Decode(*entry);
    if (!existing.ok()) co_return api::InternalError(std::string(existing.status().message()));
    const Attributes attributes{kind, Operation::kDelete, "", ns, name, nullptr, &*existing};
    if (Status status = admission_.Validate(context, attributes); !status.ok()) co_return status;
    if (Status status = CheckPreconditions(kind, options, existing->meta()); !status.ok()) co_return status;
    if (is_namespace && existing->As<core::Namespace>()->spec().finalizers_size() > 0)
      co_return co_await DeleteNamespace(context, kind, std::move(name), std::move(options));

    api::Object object = existing->Clone();
    int64_t grace = 0;
    const Grace graceful = BeginGrace(kind, context, options, &object, &grace);
    if (graceful == Grace::kPending) co_return DeleteResult{*std::move(existing), false};
    const bool policy_changed = SetPolicyFinalizers(kind.strategy->traits(), options, object.mutable_meta());
    if (!existing->meta().has_deletiontimestamp()) kind.strategy->BeginDelete(context, &object);
    const bool waits = object.meta().finalizers_size() > 0;
    if (graceful == Grace::kNone && waits) {
      metav1::ObjectMeta& meta = *object.mutable_meta();
      if (!meta.has_deletiontimestamp()) {
        if (meta.generation() > 0) meta.set_generation(meta.generation() + 1);
        *meta.mutable_deletiontimestamp() = api::ToTime(context.now);
      }
      meta.set_deletiongraceperiodseconds(0);
    }
    ValuePtr current = entry->value;
    if (graceful == Grace::kStarted || waits || policy_changed) {
      if (context.dry_run) co_return DeleteResult{std::move(object), !waits && grace == 0};
      if (!api::Equal(object, *existing)) {
        auto data = kind.Encode(object);
        if (!data.ok()) co_return api::InternalError(std::string(data.status().message()));
        auto written = co_await store_.Update(key, *std::move(data), current->mod_revision);
        if (absl::IsAborted(written.status()) || absl::IsNotFound(written.status())) continue;
        if (!written.ok()) co_return Failed(written.status());
        current = *written;
        object.mutable_meta()->set_resourceversion(absl::StrCat(current->mod_revision));
      }
      if (waits || (graceful == Grace::kStarted && grace > 0)) co_return DeleteResult{std::move(object), false};
    }
    if (context.dry_run) co_return DeleteResult{std::move(object), true};
    auto revision = co_await store_.Delete(key, current->mod_revision);
    if (absl::IsAborted(revision.status())) continue;
    if (absl::IsNotFound(revision.status())) {
      if (graceful == Grace::kStarted) co_return DeleteResult{std::move(object), true};  // the kubelet was faster
      co_return api::NotFoundError(kind.About(name));
    }
    if (!revision.ok()) co_return Failed(revision.status());
    kind.strategy->AfterDelete(object);
    if (graceful == Grace::kNone) object.mutable_meta()->set_resourceversion(absl::StrCat(*revision));
    co_return DeleteResult{std::move(object), true};
  }
}

// A namespace with content finalizers is only marked; its controller empties it and takes the finalizer off.
Task<StatusOr<DeleteResult>> Registry::DeleteNamespace(Context& context, const Kind& kind, std::string name,
                                                       metav1::DeleteOptions options) {
  const std::string key = kind.Key("", name);
  while (true) {
    auto entry = co_await store_.Get(key);
    if (absl::IsNotFound(entry.status())) co_return api::NotFoundError(kind.About(name));
    if (!entry.ok()) co_return Failed(entry.status());
    auto existing = kind.Decode(*entry);
    if (!existing.ok()) co_return api::InternalError(std::string(existing.status().message()));
    api::Object object = existing->Clone();
    core::Namespace& ns = *object.As<core::Namespace>();
    if (!ns.metadata().has_deletiontimestamp())
      *ns.mutable_metadata()->mutable_deletiontimestamp() = api::ToTime(context.now);
    ns.mutable_status()->set_phase("Terminating");
    SetPolicyFinalizers(kind.strategy->traits(), options, object.mutable_meta());
    if (context.dry_run || api::Equal(object, *existing)) co_return DeleteResult{std::move(object), false};
    auto data = kind.Encode(object);
    if (!data.ok()) co_return api::InternalError(std::string(data.status().message()));
    auto written = co_await store_.Update(key, *std::move(data), entry->value->mod_revision);
    if (absl::IsAborted(written.status()) || absl::IsNotFound(written.status())) continue;
    if (!written.ok()) co_return Failed(written.status());
    object.mutable_meta()->set_resourceversion(absl::StrCat((*written)->mod_revision));
    co_return DeleteResult{std::move(object), false};
  }
}

}  // namespace skiff::controlplane
