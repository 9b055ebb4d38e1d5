// Request bodies in every form, of every kind: what decodes is validated, shown as a table's row, stored and read back
// as the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "api/validation.h"
#include "controlplane/apiserver/allocators.h"
#include "controlplane/apiserver/body.h"
#include "controlplane/apiserver/kinds.h"
#include "controlplane/apiserver/stored_bytes.h"
#include "controlplane/apiserver/table.h"

namespace {

using namespace skiff;                // NOLINT
using namespace skiff::controlplane;  // NOLINT

void Use(const Kind& kind, api::Object object, Context& context) {
  kind.strategy->PrepareForCreate(context, &object);
  (void)api::ValidateCreate(object).ok();
  (void)kind.strategy->Check(object, nullptr).ok();
  (void)api::ValidateUpdate(object, object).ok();
  const Output output;
  std::string row;
  TableWriter(kind, output, "Metadata", context.now).Row(object, &row);
  if (!api::ParseJson(row).ok()) std::abort();
  if (!kind.stored()) return;
  StoredValue value;
  const auto bytes = kind.Encode(object);
  if (!bytes.ok()) {
    // Another version may be what is stored, which annotations that do not parse cannot be turned into.
    if (kind.storage_type) return;
    std::abort();
  }
  value.data = *bytes;
  const auto again = kind.Decode("/key", value);
  if (!again.ok()) std::abort();
  if (const auto spliced = SplicedObject::Make(value, 7)) {
    std::string envelope;
    spliced->AppendEnvelope(&envelope);
    auto message = kind.type->New();
    if (!kind.storage_type && !api::FromProtobuf(envelope, message.get()).ok()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Allocators allocators{*AddressAllocator::Make("10.96.0.0/16"), PortAllocator(30000, 32767)};
  static const Kinds kinds(&allocators);
  const std::string body(reinterpret_cast<const char*>(data), size);
  const bool protobuf = body.starts_with("k8s");
  http::Request request;
  request.headers = {{"Content-Type", protobuf                ? "application/vnd.kubernetes.protobuf"
                                      : body.starts_with('{') ? "application/json"
                                                              : "application/yaml"}};
  // The kind is what the body says it is.
  const Kind* kind = nullptr;
  if (protobuf) {
    if (const auto envelope = api::ParseEnvelope(body); envelope.ok())
      kind = kinds.FindByKind(envelope->gvk.group, envelope->gvk.kind);
  } else if (const auto json = api::YamlToJson(body); json.ok()) {
    if (const auto gvk = api::PeekJson(*json); gvk.ok()) kind = kinds.FindByKind(gvk->group, gvk->kind);
  }
  if (kind == nullptr || kind->type == nullptr) kind = &kinds.Core("pods");
  for (const auto validation : {FieldValidation::kStrict, FieldValidation::kWarn}) {
    Context context;
    context.now = WallTime(std::chrono::seconds(1700000000));
    auto object = DecodeBody(request, body, *kind, validation, &context);
    if (object.ok() && object->mutable_meta() != nullptr) Use(*kind, *std::move(object), context);
  }
  return 0;
}
