# Debian and Ubuntu build Abseil with a string_view class of its own (ABSL_OPTION_USE_STD_STRING_VIEW 0), which does not
# convert to or from std::string_view. That option is part of the ABI, so it cannot be turned here; but the conversions
# are mere inline constructors. This writes copies of the three headers concerned with these added, into a directory
# that is searched before the system's. Nothing to do where Abseil uses std::string_view itself.
find_path(SKIFF_ABSL_INCLUDE absl/base/options.h REQUIRED)
file(STRINGS ${SKIFF_ABSL_INCLUDE}/absl/base/options.h own_string_view REGEX "define ABSL_OPTION_USE_STD_STRING_VIEW 0")
if(own_string_view)
  function(skiff_patch_absl header marker addition)
    file(READ ${SKIFF_ABSL_INCLUDE}/absl/strings/${header} text)
    string(FIND "${text}" "${marker}" at)
    if(at EQUAL -1)
      message(FATAL_ERROR "absl/strings/${header} has no \"${marker}\": teach cmake/SkiffAbseilStringView.cmake this version")
    endif()
    string(REPLACE "${marker}" "${addition}\n  ${marker}" text "${text}")
    string(REGEX REPLACE "(#define ABSL_STRINGS_[A-Z_]*H_\n)" "\\1\n#include <string_view>\n" text "${text}")
    # Written only when different, so that a new configure does not rebuild everything.
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/compat/absl/strings/${header} CONTENT "${text}")
  endfunction()
  skiff_patch_absl(string_view.h "constexpr string_view() noexcept"
    "constexpr string_view(std::string_view s) noexcept : ptr_(s.data()), length_(s.size()) {}
  constexpr operator std::string_view() const noexcept { return std::string_view(ptr_, length_); }")
  skiff_patch_absl(str_cat.h "AlphaNum(absl::string_view pc)" "AlphaNum(std::string_view pc) : piece_(pc) {}")
  skiff_patch_absl(internal/str_split_internal.h "ConvertibleToStringView(absl::string_view s)"
    "ConvertibleToStringView(std::string_view s) : value_(s) {}")
  include_directories(BEFORE SYSTEM ${CMAKE_BINARY_DIR}/compat)
endif()
