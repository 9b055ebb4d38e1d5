// Every pod runs as a service account, and gets its token, the cluster's CA and its namespace as a volume.
#include "api/annotations.h"
#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/admission/pod_references.h"
#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

constexpr char kMountPath[] = "/var/run/secrets/kubernetes.io/serviceaccount";
// An hour, and 7 seconds by which upstream recognises tokens that it asked for itself.
constexpr int64_t kTokenSeconds = 3607;

bool WantsToken(const core::Pod& pod, const core::ServiceAccount& account) {
  if (pod.spec().has_automountserviceaccounttoken()) return pod.spec().automountserviceaccounttoken();
  if (account.has_automountserviceaccounttoken()) return account.automountserviceaccounttoken();
  return true;
}

void FillVolume(const std::string& name, core::Volume* volume) {
  volume->set_name(name);
  auto* projected = volume->mutable_volumesource()->mutable_projected();
  projected->set_defaultmode(0644);
  auto* token = projected->add_sources()->mutable_serviceaccounttoken();
  token->set_path("token");
  token->set_expirationseconds(kTokenSeconds);
  auto* ca = projected->add_sources()->mutable_configmap();
  ca->mutable_localobjectreference()->set_name("kube-root-ca.crt");
  auto* item = ca->add_items();
  item->set_key("ca.crt");
  item->set_path("ca.crt");
  auto* ns = projected->add_sources()->mutable_downwardapi()->add_items();
  ns->set_path("namespace");
  ns->mutable_fieldref()->set_apiversion("v1");
  ns->mutable_fieldref()->set_fieldpath("metadata.namespace");
}

}  // namespace

Status ServiceAccountAdmission(const Admission& admission, const Attributes& attributes) {
  if (attributes.operation != Operation::kCreate || !attributes.object || !attributes.subresource.empty())
    return absl::OkStatus();
  core::Pod* pod = attributes.object->As<core::Pod>();
  if (!pod) return absl::OkStatus();
  const api::About about = attributes.kind.About(attributes.name);
  core::PodSpec& spec = *pod->mutable_spec();
  if (pod->metadata().annotations().contains(api::kMirrorAnnotation)) {
    if (!spec.serviceaccountname().empty())
      return api::ForbiddenError(about, "a mirror pod may not reference service accounts");
    if (RefersToSecrets(spec)) return api::ForbiddenError(about, "a mirror pod may not reference secrets");
    for (const core::Volume& volume : spec.volumes())
      for (const auto& part : volume.volumesource().projected().sources())
        if (part.has_serviceaccounttoken())
          return api::ForbiddenError(about, "a mirror pod may not use ServiceAccountToken volume projections");
    return absl::OkStatus();
  }
  if (spec.serviceaccountname().empty()) spec.set_serviceaccountname("default");
  spec.set_serviceaccount(spec.serviceaccountname());
  auto account = admission.Find<core::ServiceAccount>("serviceaccounts", attributes.ns, spec.serviceaccountname());
  if (!account)
    return api::ForbiddenError(about, absl::StrCat("error looking up service account ", std::string(attributes.ns), "/",
                                                   spec.serviceaccountname(), ": serviceaccount \"",
                                                   spec.serviceaccountname(), "\" not found"));
  if (spec.imagepullsecrets_size() == 0)
    for (const auto& secret : account->imagepullsecrets()) *spec.add_imagepullsecrets() = secret;
  if (!WantsToken(*pod, *account)) return absl::OkStatus();

  // A token volume that is there already is used.
  std::string volume;
  for (const core::Volume& have : spec.volumes())
    if (have.name().starts_with("kube-api-access-")) volume = have.name();
  const bool had_volume = !volume.empty();
  if (!had_volume) volume = GenerateName("kube-api-access-");
  bool needed = false;
  auto mount = [&](core::Container& container) {
    for (const core::VolumeMount& have : container.volumemounts())
      if (have.mountpath() == kMountPath) return;
    needed = true;
    core::VolumeMount* added = container.add_volumemounts();
    added->set_name(volume);
    added->set_readonly(true);
    added->set_mountpath(kMountPath);
  };
  for (core::Container& container : *spec.mutable_initcontainers()) mount(container);
  for (core::Container& container : *spec.mutable_containers()) mount(container);
  if (!had_volume && needed) FillVolume(volume, spec.add_volumes());
  return absl::OkStatus();
}

}  // namespace skiff::controlplane
