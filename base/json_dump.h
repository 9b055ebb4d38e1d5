// nlohmann/json's value as compact text that never throws: bytes that are no UTF-8 (a program's output, a file's name)
// become U+FFFD.
#ifndef SKIFF_BASE_JSON_DUMP_H_
#define SKIFF_BASE_JSON_DUMP_H_

#include <string>

namespace skiff {

template <typename Json>
std::string DumpJson(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace skiff

#endif  // SKIFF_BASE_JSON_DUMP_H_
