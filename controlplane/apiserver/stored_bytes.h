// Stored objects as answers without decoding them: what is stored is the protobuf that clients get, but for the
// resourceVersion, which is spliced into the metadata's bytes. Pure.
#ifndef SKIFF_CONTROLPLANE_APISERVER_STORED_BYTES_H_
#define SKIFF_CONTROLPLANE_APISERVER_STORED_BYTES_H_

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "api/selector.h"
#include "controlplane/storage/store.h"

namespace skiff::controlplane {

void AppendVarint(uint64_t value, std::string* out);
size_t VarintSize(uint64_t value);
// A length-delimited field.
void AppendField(int number, std::string_view bytes, std::string* out);

// An object's message with a resourceVersion, in pieces of the stored bytes.
class SplicedObject {
 public:
  // Nothing when the value is not protobuf with the metadata in front (custom resources, foreign writers): decode then.
  static std::optional<SplicedObject> Make(const StoredValue& value, int64_t resource_version);

  size_t size() const;
  void Append(std::string* out) const;
  // The same in its envelope.
  void AppendEnvelope(std::string* out) const;

 private:
  std::string_view type_meta_;  // of the envelope
  std::string_view meta_, rest_;
  std::string version_;  // the encoded field
};

// What selectors look at most, read from the metadata's bytes.
struct StoredIdentity {
  std::string_view name, ns;  // into the stored value
  api::Labels labels;
  // Nothing as with SplicedObject.
  static std::optional<StoredIdentity> Read(const StoredValue& value);
};

// The bytes of one field of the object's message, by the numbers of the fields on the way: {2, 10} is a pod's
// spec.nodeName. Empty where it is not set; nothing as with SplicedObject, or when one of the fields is there twice.
std::optional<std::string_view> StoredField(const StoredValue& value, std::initializer_list<int> numbers);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_STORED_BYTES_H_
