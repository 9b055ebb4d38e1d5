// Text as Go prints it.
#ifndef SKIFF_API_TEXT_H_
#define SKIFF_API_TEXT_H_

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace skiff::api {

// %q: double quotes, with escapes for control characters, quotes and backslashes; other UTF-8 as it stands.
std::string GoQuote(std::string_view value);
// %v: map[a:1 b:[x y]], <nil>.
std::string GoPrint(const nlohmann::json& value);

}  // namespace skiff::api

#endif  // SKIFF_API_TEXT_H_
