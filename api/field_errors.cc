#include "api/field_errors.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/text.h"

namespace skiff::api {

std::string Path::ToString() const {
  if (parent_ == nullptr) return std::string(name_);
  const std::string parent = parent_->ToString();
  if (key_) return absl::StrCat(parent, "[", name_, "]");
  if (index_ >= 0) return absl::StrCat(parent, "[", index_, "]");
  return parent.empty() ? std::string(name_) : absl::StrCat(parent, ".", name_);
}

void FieldErrors::Add(const Path& path, std::string_view reason, std::string message) {
  causes_.push_back({std::string(reason), std::move(message), path.ToString()});
}

namespace {
std::string With(std::string text, std::string_view detail) {
  return detail.empty() ? text : absl::StrCat(text, ": ", detail);
}
}  // namespace

void FieldErrors::Required(const Path& path, std::string_view detail) {
  Add(path, "FieldValueRequired", With("Required value", detail));
}
void FieldErrors::Invalid(const Path& path, std::string_view value, std::string_view detail) {
  InvalidRaw(path, GoQuote(value), detail);
}
void FieldErrors::Invalid(const Path& path, int64_t value, std::string_view detail) {
  InvalidRaw(path, absl::StrCat(value), detail);
}
void FieldErrors::InvalidRaw(const Path& path, std::string_view printed, std::string_view detail) {
  Add(path, "FieldValueInvalid", With(absl::StrCat("Invalid value: ", printed), detail));
}
void FieldErrors::Duplicate(const Path& path, std::string_view value) { DuplicateRaw(path, GoQuote(value)); }
void FieldErrors::DuplicateRaw(const Path& path, std::string_view printed) {
  Add(path, "FieldValueDuplicate", absl::StrCat("Duplicate value: ", printed));
}
void FieldErrors::NotSupported(const Path& path, std::string_view value, std::vector<std::string_view> supported) {
  NotSupportedRaw(path, GoQuote(value), std::move(supported));
}
void FieldErrors::NotSupportedRaw(const Path& path, std::string_view printed, std::vector<std::string_view> supported) {
  const std::string list =
      absl::StrJoin(supported, ", ", [](std::string* out, std::string_view v) { out->append(GoQuote(v)); });
  Add(path, "FieldValueNotSupported",
      With(absl::StrCat("Unsupported value: ", printed), absl::StrCat("supported values: ", list)));
}
void FieldErrors::Forbidden(const Path& path, std::string_view detail) {
  Add(path, "FieldValueForbidden", With("Forbidden", detail));
}
void FieldErrors::TooLong(const Path& path, int max_bytes) {
  Add(path, "FieldValueTooLong",
      absl::StrCat("Too long: may not be more than ", max_bytes, max_bytes == 1 ? " byte" : " bytes"));
}
void FieldErrors::TooMany(const Path& path, int64_t actual, int64_t max) {
  Add(path, "FieldValueTooMany",
      absl::StrCat("Too many: ", actual, ": must have at most ", max, max == 1 ? " item" : " items"));
}
void FieldErrors::NotFound(const Path& path, std::string_view value) {
  Add(path, "FieldValueNotFound", absl::StrCat("Not found: ", GoQuote(value)));
}
void FieldErrors::Internal(const Path& path, std::string_view detail) {
  Add(path, "InternalError", With("Internal error", detail));
}

Status FieldErrors::ToStatus(std::string_view group, std::string_view kind, std::string_view name) const {
  return causes_.empty() ? absl::OkStatus() : InvalidError(group, kind, name, causes_);
}

}  // namespace skiff::api
