// Reads and writes of objects of any kind: the rules that hold for all, with each kind's strategy and admission in
// their places. Errors are API errors (api/errors.h) in upstream's words. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_REGISTRY_H_
#define SKIFF_CONTROLPLANE_APISERVER_REGISTRY_H_

#include <functional>
#include <string>

#include "controlplane/apiserver/admission.h"
#include "controlplane/apiserver/context.h"
#include "controlplane/apiserver/kinds.h"
#include "controlplane/storage/store.h"

namespace skiff::controlplane {

struct UpdateRequest {
  std::string ns, name;
  std::string subresource;       // "", "status", "finalize", "ephemeralcontainers", "resize", ...
  bool put = false;              // PUT: creates what does not exist where the kind's traits say so
  bool allow_create = false;     // server-side apply creates what does not exist
  std::string precondition_uid;  // of a PUT body that carries one
  // The object to be, made from the one that is (null: it does not exist). Called again when another write came
  // between.
  std::function<StatusOr<api::Object>(const api::Object* existing)> change;
};

struct UpdateResult {
  api::Object object;
  bool created = false;
};

struct DeleteResult {
  api::Object object;    // as it was last, or is now while it waits for grace or finalizers
  bool deleted = false;  // gone from the store
};

class Registry {
 public:
  Registry(Store& store, const Kinds& kinds, const Admission& admission, Clock& clock)
      : store_(store), kinds_(kinds), admission_(admission), clock_(clock) {}

  Task<StatusOr<api::Object>> Get(const Kind& kind, std::string ns, std::string name);
  // `object` is decoded, defaulted and tracked (managedFields).
  Task<StatusOr<api::Object>> Create(Context& context, const Kind& kind, std::string ns, api::Object object);
  Task<StatusOr<UpdateResult>> Update(Context& context, const Kind& kind, UpdateRequest request);
  Task<StatusOr<DeleteResult>> Delete(Context& context, const Kind& kind, std::string ns, std::string name,
                                      metav1::DeleteOptions options);

  void SetEventTtl(std::chrono::seconds ttl) { event_ttl_ = ttl; }
  Store& store() { return store_; }
  const Kinds& kinds() const { return kinds_; }
  const Admission& admission() const { return admission_; }

 private:
  Task<void> AwaitDefaultAccount(std::string ns, const api::Object& object);
  Task<StatusOr<DeleteResult>> DeleteNamespace(Context& context, const Kind& kind, std::string name,
                                               metav1::DeleteOptions options);
  Status BeforeUpdate(Context& context, const Kind& kind, const UpdateRequest& request, api::Object* updated,
                      const api::Object& existing) const;

  std::chrono::seconds TtlOf(const Kind& kind) const;

  Store& store_;
  const Kinds& kinds_;
  const Admission& admission_;
  Clock& clock_;
  std::chrono::seconds event_ttl_ = std::chrono::hours(1);
};

// What no deletion may ask for: 422.
Status ValidateDeleteOptions(const metav1::DeleteOptions& options);
// The uid and the version that a deletion asks for: 409 when the object has others.
Status CheckPreconditions(const Kind& kind, const metav1::DeleteOptions& options, const metav1::ObjectMeta& meta);
// A 500 without a reason, as upstream's plain errors become.
Status PlainError(std::string_view message);
inline constexpr std::string_view kModifiedMessage =
    "the object has been modified; please apply your changes to the latest version and try again";

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_REGISTRY_H_
