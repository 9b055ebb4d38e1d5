#include "controlplane/apiserver/stored_bytes.h"

#include "api/codec.h"

namespace skiff::controlplane {
namespace {

constexpr int kResourceVersionField = 6;  // of ObjectMeta

// Takes a length-delimited field with this tag off the front.
bool TakeField(std::string_view* from, int number, std::string_view* bytes) {
  if (from->empty() || static_cast<unsigned char>(from->front()) != (number << 3 | 2)) return false;
  size_t at = 1;
  uint64_t length = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    if (at >= from->size()) return false;
    const auto byte = static_cast<unsigned char>((*from)[at++]);
    length |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) {
      if (length > from->size() - at) return false;
      *bytes = from->substr(at, length);
      from->remove_prefix(at + length);
      return true;
    }
  }
  return false;
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

}  // namespace skiff::controlplane
