#include "cadvisor/parse.h"

#include "base/go_text.h"

namespace skiff::cadvisor {

Status Malformed(std::string_view file, std::string_view value) {
  return InvalidArgument(file, ": malformed: ", GoQuote(value.substr(0, 80)));
}

}  // namespace skiff::cadvisor
