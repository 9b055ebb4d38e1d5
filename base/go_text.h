// Text forms that Go's standard library gives to values, needed wherever our output must equal upstream's byte for
// byte. Pure functions, thread-safe.
#ifndef SKIFF_BASE_GO_TEXT_H_
#define SKIFF_BASE_GO_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace skiff {

// strconv.Quote: double quotes, Go escapes; invalid UTF-8 becomes \xNN.
std::string GoQuote(std::string_view text);
void AppendGoQuote(std::string* out, std::string_view text);

// strconv.FormatFloat(value, 'g', -1, 64): the shortest digits that round-trip; an exponent (two digits at least) when
// the decimal exponent is below -4 or above 5 ("1e+06"). Infinities are "+Inf" and "-Inf", not-a-number "NaN".
std::string GoFloat(double value);
void AppendGoFloat(std::string* out, double value);

// strconv.ParseInt(text, 0, bits) and its error words: strconv.ParseInt: parsing "a": invalid syntax.
StatusOr<int64_t> GoParseInt(std::string_view text, int bits = 64);
// strconv.ParseBool.
StatusOr<bool> GoParseBool(std::string_view text);
// strconv.ParseFloat(text, 64), decimal forms and inf/nan.
StatusOr<double> GoParseFloat(std::string_view text);

// A JSON string literal with quotes; invalid UTF-8 becomes U+FFFD.
void AppendJsonString(std::string* out, std::string_view text);

}  // namespace skiff

#endif  // SKIFF_BASE_GO_TEXT_H_
