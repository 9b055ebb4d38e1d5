#include "controlplane/apiserver/stored_bytes.h"

#include "api/codec.h"

namespace skiff::controlplane {
namespace {

constexpr int kResourceVersionField = 6;  // of ObjectMeta

// ObjectMeta's.
constexpr int kNameField = 1, kNamespaceField = 3, kLabelsField = 11;

bool TakeVarint(std::string_view* from, uint64_t* value) {
  *value = 0;
  for (size_t at = 0; at < from->size() && at < 10; ++at) {
    const auto byte = static_cast<unsigned char>((*from)[at]);
    *value |= static_cast<uint64_t>(byte & 0x7f) << (7 * at);
    if (byte & 0x80) continue;
    from->remove_prefix(at + 1);
    return true;
  }
  return false;
}

bool TakeBytes(std::string_view* from, std::string_view* bytes) {
  uint64_t length = 0;
  if (!TakeVarint(from, &length) || length > from->size()) return false;
  *bytes = from->substr(0, length);
  from->remove_prefix(length);
  return true;
}

// Takes a length-delimited field with this tag off the front.
bool TakeField(std::string_view* from, int number, std::string_view* bytes) {
  if (from->empty() || static_cast<unsigned char>(from->front()) != (number << 3 | 2)) return false;
  from->remove_prefix(1);
  return TakeBytes(from, bytes);
}

// Takes any field; `bytes` only of a length-delimited one.
bool TakeAnyField(std::string_view* from, int* number, std::string_view* bytes) {
  uint64_t tag = 0;
  if (!TakeVarint(from, &tag)) return false;
  *number = static_cast<int>(tag >> 3);
  *bytes = {};
  if ((tag & 7) == 2) return TakeBytes(from, bytes);
  if ((tag & 7) == 0) return TakeVarint(from, &tag);
  return false;  // ObjectMeta, PodSpec and PodStatus have no others
}

}  // namespace

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

void AppendField(int number, std::string_view bytes, std::string* out) {
  AppendVarint(static_cast<uint64_t>(number) << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}

std::optional<SplicedObject> SplicedObject::Make(const StoredValue& value, int64_t resource_version) {
  std::string_view data = value.data;
  if (!data.starts_with(api::kProtobufMagic)) return std::nullopt;
  data.remove_prefix(api::kProtobufMagic.size());
  SplicedObject out;
  std::string_view raw;
  if (!TakeField(&data, 1, &out.type_meta_) || !TakeField(&data, 2, &raw) || !TakeField(&raw, 1, &out.meta_))
    return std::nullopt;
  out.rest_ = raw;
  AppendField(kResourceVersionField, absl::StrCat(resource_version), &out.version_);
  return out;
}

size_t SplicedObject::size() const {
  const size_t meta = meta_.size() + version_.size();
  return 1 + VarintSize(meta) + meta + rest_.size();
}

void SplicedObject::Append(std::string* out) const {
  out->push_back(1 << 3 | 2);
  AppendVarint(meta_.size() + version_.size(), out);
  out->append(meta_);
  out->append(version_);
  out->append(rest_);
}

void SplicedObject::AppendEnvelope(std::string* out) const {
  out->append(api::kProtobufMagic);
  AppendField(1, type_meta_, out);
  out->push_back(2 << 3 | 2);
  AppendVarint(size(), out);
  Append(out);
  AppendField(3, "", out);
  AppendField(4, "", out);
}

std::optional<StoredIdentity> StoredIdentity::Read(const StoredValue& value) {
  std::string_view data = value.data;
  if (!data.starts_with(api::kProtobufMagic)) return std::nullopt;
  data.remove_prefix(api::kProtobufMagic.size());
  std::string_view type_meta, raw, meta, field;
  if (!TakeField(&data, 1, &type_meta) || !TakeField(&data, 2, &raw) || !TakeField(&raw, 1, &meta)) return std::nullopt;
  StoredIdentity out;
  for (int number = 0; !meta.empty();) {
    if (!TakeAnyField(&meta, &number, &field)) return std::nullopt;
    if (number == kNameField) out.name = field;
    if (number == kNamespaceField) out.ns = field;
    if (number != kLabelsField) continue;
    std::string_view key, text, part;
    for (int half = 0; !field.empty();) {
      if (!TakeAnyField(&field, &half, &part)) return std::nullopt;
      if (half == 1) key = part;
      if (half == 2) text = part;
    }
    out.labels[std::string(key)] = std::string(text);
  }
  return out;
}

std::optional<std::string_view> StoredField(const StoredValue& value, std::initializer_list<int> numbers) {
  std::string_view data = value.data;
  if (!data.starts_with(api::kProtobufMagic)) return std::nullopt;
  data.remove_prefix(api::kProtobufMagic.size());
  std::string_view type_meta, message;
  if (!TakeField(&data, 1, &type_meta) || !TakeField(&data, 2, &message)) return std::nullopt;
  for (const int wanted : numbers) {
    std::optional<std::string_view> found;
    std::string_view field;
    for (int number = 0; !message.empty();) {
      if (!TakeAnyField(&message, &number, &field)) return std::nullopt;
      if (number != wanted) continue;
      if (found) return std::nullopt;
      found = field;
    }
    message = found.value_or(std::string_view());
  }
  return message;
}

}  // namespace skiff::controlplane
