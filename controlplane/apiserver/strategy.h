// What is particular to a kind when it is written: which fields a client may set on which path, what the server fills
// in, how it ends. One class a kind where it differs from the rules that hold for all. Stateless but for what a
// constructor is given; loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_STRATEGY_H_
#define SKIFF_CONTROLPLANE_APISERVER_STRATEGY_H_

#include <optional>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "api/object.h"
#include "api/scheme.h"
#include "controlplane/apiserver/context.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::controlplane {

namespace metav1 = ::k8s::io::apimachinery::pkg::apis::meta::v1;

// Ways in which kinds differ that need no code.
struct KindTraits {
  bool generation = false;           // metadata.generation counts changes of the specification
  bool has_status = false;           // a status subresource: the main path leaves the status alone
  bool create_on_update = false;     // PUT of what does not exist creates it
  bool unconditional_update = true;  // PUT without resourceVersion overwrites
  bool return_deleted = false;       // DELETE answers the object, not a Status
  bool orphan_by_default = false;    // (no kind of a GA version)
  bool garbage_collected = true;     // finalizers of propagation policies apply
  bool json_storage = false;         // stored as JSON, not protobuf
};

class Strategy {
 public:
  explicit Strategy(KindTraits traits) : traits_(traits) {}
  virtual ~Strategy() = default;
  const KindTraits& traits() const { return traits_; }

  // Before validation of a create: drops what a client may not set, fills in what the server decides.
  virtual void PrepareForCreate(Context& context, api::Object* object) const;
  // The same on an update of the main resource, and of its status.
  virtual void PrepareForUpdate(Context& context, api::Object* updated, const api::Object& old) const;
  virtual void PrepareForStatusUpdate(Context& context, api::Object* updated, const api::Object& old) const;
  // On an update of another subresource ("finalize", "scale", "binding", ...): only what it is for changes.
  virtual void PrepareForSubresource(Context& context, std::string_view subresource, api::Object* updated,
                                     const api::Object& old) const;
  // What the API's own validation does not know of. `old` is null on create.
  virtual Status Check(const api::Object&, const api::Object*) const { return absl::OkStatus(); }
  // A deletion begins: the object is marked, or about to go.
  virtual void BeginDelete(Context&, api::Object*) const {}
  // After validation: takes what must be taken exactly once (addresses, ports), or says why it cannot. Whatever comes
  // of the write is told by Settle (`written` false: give back).
  virtual Status Allocate(Context& context, api::Object* object, const api::Object* old) const;
  virtual void Settle(const api::Object& object, const api::Object* old, bool written) const;
  // The object is gone.
  virtual void AfterDelete(const api::Object& object) const;

  // Seconds of grace that a deletion gets, or nothing where the kind knows no grace. `wanted` is the client's wish.
  virtual std::optional<int64_t> GracePeriod(const api::Object& object, std::optional<int64_t> wanted) const;
  // Ready to leave the store during an update, given that a deletion is under way and no finalizer is left.
  virtual bool MayDeleteDuringUpdate(const api::Object& updated, const api::Object& old) const;

  // A selectable field's value; nothing where the kind does not know the field.
  virtual std::optional<std::string> FieldValue(const api::Object& object, std::string_view field) const;
  // Checks a field selector's field: OK or a 400 in upstream's words.
  virtual Status CheckField(const api::Resource& resource, std::string_view field) const;
  // Which fields beyond metadata.name and metadata.namespace there are.
  virtual bool KnowsField(std::string_view) const { return false; }
  virtual bool has_fields() const { return false; }

  // Things worth a Warning header on create (`old` is null) and update.
  virtual void Warn(Context&, const api::Object&, const api::Object*) const {}

 protected:
  const KindTraits traits_;
};

// Helpers over fields by name, for rules that hold for any kind. Missing fields are left alone.
void ClearField(google::protobuf::Message* message, const std::string& field);
void CopyField(const google::protobuf::Message& from, google::protobuf::Message* to, const std::string& field);
// Whether anything but metadata and status differs.
bool SpecificationChanged(const api::Object& a, const api::Object& b);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_STRATEGY_H_
