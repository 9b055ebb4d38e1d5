// Internal to api: JSON text. Validate is a whole-text check with Go's error words; a Cursor then walks text that is
// known to be valid. Depth is bounded by kMaxDepth.
#ifndef SKIFF_API_JSON_TEXT_H_
#define SKIFF_API_JSON_TEXT_H_

#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff::api::internal {

// "unexpected end of JSON input", "invalid character 'x' looking for beginning of value", "exceeded max depth".
Status ValidateJson(std::string_view text);

// Position in valid JSON. Reading functions take the value at the position and step over it.
class Cursor {
 public:
  explicit Cursor(std::string_view valid) : p_(valid.data()), end_(valid.data() + valid.size()) { Space(); }

  // '{', '[', '"', 't', 'f', 'n', '0' (any number).
  char Peek() const {
    const char c = *p_;
    return (c == '-' || (c >= '0' && c <= '9')) ? '0' : c;
  }
  // Go's word for what stands here: object, array, string, number, bool, null.
  std::string_view TypeName() const;

  // The value's text; also for stepping over it.
  std::string_view Raw();
  std::string String();
  std::string_view Number() { return Raw(); }
  bool Bool() { return Raw() == "true"; }

  // for (bool more = c.Enter(); more; more = c.Next()) { key = c.Key(); value }   both for objects and arrays (no Key)
  bool Enter();
  bool Next();
  std::string Key();

 private:
  void Space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
  }
  void SkipString();
  const char* p_;
  const char* end_;
};

// Go's text for a float64.
std::string FormatDouble(double value);
std::string EncodeBase64(std::string_view bytes);
// Go's words: "illegal base64 data at input byte N".
StatusOr<std::string> DecodeBase64(std::string_view text);

}  // namespace skiff::api::internal

#endif  // SKIFF_API_JSON_TEXT_H_
