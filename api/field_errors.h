// Errors of validation, each at a field path, in upstream's words; collected, then made one 422 answer.
#ifndef SKIFF_API_FIELD_ERRORS_H_
#define SKIFF_API_FIELD_ERRORS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/errors.h"
#include "base/status.h"

namespace skiff::api {

// A path such as spec.containers[0].ports[1].name or metadata.labels[a/b]. Cheap to extend: a child refers to its
// parent, which must outlive it (paths live on the stack of the validating functions).
class Path {
 public:
  explicit Path(std::string_view name) : name_(name) {}
  Path Child(std::string_view name) const { return Path(this, name, -1, false); }
  Path Index(int index) const { return Path(this, {}, index, false); }
  Path Key(std::string_view key) const { return Path(this, key, -1, true); }
  std::string ToString() const;

 private:
  Path(const Path* parent, std::string_view name, int index, bool key)
      : parent_(parent), name_(name), index_(index), key_(key) {}
  const Path* parent_ = nullptr;
  std::string_view name_;
  int index_ = -1;
  bool key_ = false;
};

class FieldErrors {
 public:
  void Required(const Path& path, std::string_view detail = {});
  // The value as upstream prints it: strings quoted, numbers and booleans bare, objects as JSON.
  void Invalid(const Path& path, std::string_view value, std::string_view detail);
  void Invalid(const Path& path, const char* value, std::string_view detail) {
    Invalid(path, std::string_view(value), detail);
  }
  void Invalid(const Path& path, int64_t value, std::string_view detail);
  void InvalidRaw(const Path& path, std::string_view printed, std::string_view detail);  // already printed
  void Duplicate(const Path& path, std::string_view value);
  void DuplicateRaw(const Path& path, std::string_view printed);
  void NotSupported(const Path& path, std::string_view value, std::vector<std::string_view> supported);
  void NotSupportedRaw(const Path& path, std::string_view printed, std::vector<std::string_view> supported);
  void Forbidden(const Path& path, std::string_view detail);
  void TooLong(const Path& path, int max_bytes);
  void TooMany(const Path& path, int64_t actual, int64_t max);
  void NotFound(const Path& path, std::string_view value);
  void Internal(const Path& path, std::string_view detail);

  bool ok() const { return causes_.empty(); }
  const std::vector<Cause>& causes() const { return causes_; }
  // 422 `Pod "x" is invalid: ...`, or OK when nothing was found.
  Status ToStatus(std::string_view group, std::string_view kind, std::string_view name) const;

 private:
  void Add(const Path& path, std::string_view reason, std::string message);
  std::vector<Cause> causes_;
};

}  // namespace skiff::api

#endif  // SKIFF_API_FIELD_ERRORS_H_
