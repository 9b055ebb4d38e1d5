// Admission: what upstream's default admission plugins do to a write, each in its file in admission/. They look at the
// store as it is now and never wait (but see Registry::AwaitDefaultAccount). Follows
// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/ .
#ifndef SKIFF_CONTROLPLANE_APISERVER_ADMISSION_H_
#define SKIFF_CONTROLPLANE_APISERVER_ADMISSION_H_

#include <string_view>

#include "controlplane/apiserver/kinds.h"
#include "controlplane/storage/store.h"

namespace k8s::io::api::core::v1 {
class Pod;
}

namespace skiff::controlplane {

class Authorizer;

enum class Operation { kCreate, kUpdate, kDelete };

struct Attributes {
  const Kind& kind;
  Operation operation;
  std::string_view subresource;
  std::string_view ns, name;
  api::Object* object = nullptr;     // null for a deletion
  const api::Object* old = nullptr;  // null for a creation
};

class Admission {
 public:
  Admission(const Store& store, const Kinds& kinds) : store_(store), kinds_(kinds) {}

  // Changes the object, or refuses (403 and the like in upstream's words). In upstream's order.
  Status Mutate(Context& context, const Attributes& attributes) const;
  // After validation; only refuses.
  Status Validate(Context& context, const Attributes& attributes) const;

  // The stored object now; nothing when it does not exist or does not decode.
  template <typename T>
  std::shared_ptr<const T> Find(std::string_view plural, std::string_view ns, std::string_view name,
                                std::string_view group = "", std::string_view version = "v1") const {
    const Kind* kind = kinds_.Find(group, version, plural);
    if (!kind) return nullptr;
    const std::string key = kind->Key(ns, name);
    ValuePtr value = store_.Peek(key);
    if (!value) return nullptr;
    auto object = kind->Decode(key, *value);
    if (!object.ok()) return nullptr;
    auto held = std::make_shared<api::Object>(*std::move(object));
    const T* typed = held->template As<T>();
    return typed ? std::shared_ptr<const T>(held, typed) : nullptr;
  }
  const Store& store() const { return store_; }
  const Kinds& kinds() const { return kinds_; }

  // For rules about who may grant what. Without one (internal use), nobody is asked.
  void SetAuthorizer(const Authorizer* authorizer) { authorizer_ = authorizer; }
  const Authorizer* authorizer() const { return authorizer_; }
  // NodeRestriction is off unless asked for, as upstream's.
  void SetNodeRestriction(bool on) { node_restriction_ = on; }

 private:
  const Store& store_;
  const Kinds& kinds_;
  const Authorizer* authorizer_ = nullptr;
  bool node_restriction_ = false;
};

// The plugins.
Status NamespaceLifecycle(const Admission& admission, const Context& context, const Attributes& attributes);
Status ServiceAccountAdmission(const Admission& admission, const Attributes& attributes);
Status PriorityAdmission(const Admission& admission, const Attributes& attributes);
Status DefaultTolerations(const Attributes& attributes);
Status TaintNewNodes(const Attributes& attributes);
Status RuntimeClassAdmission(const Admission& admission, const Attributes& attributes);
Status RbacEscalation(const Admission& admission, const Context& context, const Attributes& attributes);
Status NodeRestriction(const Admission& admission, const Context& context, const Attributes& attributes);
Status ResourceQuota(const Admission& admission, const Attributes& attributes);
Status LimitRangerDefaults(const Admission& admission, const Attributes& attributes);
Status LimitRanger(const Admission& admission, const Attributes& attributes);
Status PodResize(const Admission& admission, const Attributes& attributes);
Status PodTopologyLabels(const Admission& admission, const Attributes& attributes);
// The same for a pod that is bound to `node`.
void AddTopologyLabels(const Admission& admission, std::string_view node, ::k8s::io::api::core::v1::Pod* pod);

// `prefix` and five random letters and digits that upstream uses in generated names.
std::string GenerateName(std::string_view prefix);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_ADMISSION_H_
