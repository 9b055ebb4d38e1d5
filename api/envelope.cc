#include <limits>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "absl/strings/str_cat.h"
#include "api/codec.h"

namespace skiff::api {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr int kWireBytes = 2;

// Walks a message's length-delimited fields without copying. f(number, bytes) for those, others are skipped.
template <typename F>
bool EachField(std::string_view bytes, F f) {
  if (bytes.size() > std::numeric_limits<int>::max()) return false;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  while (const uint32_t tag = in.ReadTag()) {
    if ((tag & 7) != kWireBytes) {
      if (!WireFormatLite::SkipField(&in, tag)) return false;
      continue;
    }
    uint32_t size;
    if (!in.ReadVarint32(&size)) return false;
    const auto at = static_cast<size_t>(in.CurrentPosition());
    if (size > bytes.size() - at) return false;
    f(static_cast<int>(tag >> 3), bytes.substr(at, size));
    if (!in.Skip(static_cast<int>(size))) return false;
  }
  return in.ConsumedEntireMessage();
}

void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void AppendBytes(int number, std::string_view bytes, std::string* out) {
  out->push_back(static_cast<char>(number << 3 | kWireBytes));
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}

}  // namespace

StatusOr<Envelope> ParseEnvelope(std::string_view bytes) {
  if (bytes.empty()) return InvalidArgument("empty data");
  if (!bytes.starts_with(kProtobufMagic))
    return InvalidArgument("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  Envelope out;
  std::string_view type_meta;
  const bool ok = EachField(bytes.substr(kProtobufMagic.size()), [&](int number, std::string_view value) {
    if (number == 1) type_meta = value;
    if (number == 2) out.raw = value;
    if (number == 3) out.content_encoding = value;
    if (number == 4) out.content_type = value;
  });
  if (!ok) return InvalidArgument("proto: illegal wire format in the envelope");
  std::string_view version;
  if (!EachField(type_meta, [&](int number, std::string_view value) {
        if (number == 1) version = value;
        if (number == 2) out.gvk.kind = std::string(value);
      }))
    return InvalidArgument("proto: illegal wire format in the envelope's typeMeta");
  ASSIGN_OR_RETURN(GroupVersion parsed, GroupVersion::Parse(version));
  out.gvk.group = std::move(parsed.group);
  out.gvk.version = std::move(parsed.version);
  return out;
}

Status FromProtobuf(std::string_view bytes, google::protobuf::Message* out, GroupVersionKind* gvk) {
  ASSIGN_OR_RETURN(Envelope envelope, ParseEnvelope(bytes));
  if (!out->ParseFromArray(envelope.raw.data(), static_cast<int>(envelope.raw.size())))
    return InvalidArgument("proto: cannot parse the bytes as ", envelope.gvk.kind);
  if (gvk != nullptr) *gvk = std::move(envelope.gvk);
  return absl::OkStatus();
}

void AppendProtobuf(const google::protobuf::Message& message, const GroupVersionKind& gvk, std::string* out) {
  const size_t size = message.ByteSizeLong();
  out->reserve(out->size() + size + 64);
  out->append(kProtobufMagic);
  std::string type_meta;
  AppendBytes(1, gvk.group_version().ToString(), &type_meta);
  AppendBytes(2, gvk.kind, &type_meta);
  AppendBytes(1, type_meta, out);
  out->push_back(2 << 3 | kWireBytes);
  AppendVarint(size, out);
  const size_t at = out->size();
  out->resize(at + size);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out->data()) + at);
  AppendBytes(3, "", out);
  AppendBytes(4, "", out);
}

std::string ToProtobuf(const google::protobuf::Message& message, const GroupVersionKind& gvk) {
  std::string out;
  AppendProtobuf(message, gvk, &out);
  return out;
}

}  // namespace skiff::api
