#include "kubelet/runtime/image_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/go_text.h"
#include "base/utf8.h"

namespace skiff::kubelet {
namespace {

constexpr size_t kLongestPath = 255, kLongestTag = 128, kShortestDigest = 32, kIdentifier = 64;
constexpr std::string_view kHub = "docker.io";

bool IsLowerAlnum(char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); }
bool IsLowerHex(char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); }

template <typename Is>
bool All(std::string_view text, Is is) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is);
}

// Takes what `is` holds for off the front; how much that was.
template <typename Is>
size_t Take(std::string_view* text, Is is) {
  const auto end = static_cast<size_t>(std::find_if_not(text->begin(), text->end(), is) - text->begin());
  text->remove_prefix(end);
  return end;
}

// Letters and digits with single dots, one or two underscores or any number of dashes between them.
bool IsPathComponent(std::string_view part) {
  while (Take(&part, IsLowerAlnum) > 0) {
    if (part.empty()) return true;
    const char separator = part.front();
    const size_t n = Take(&part, [separator](char c) { return c == separator; });
    if (separator == '-' || (separator == '_' && n <= 2) || (separator == '.' && n == 1)) continue;
    return false;
  }
  return false;
}

bool IsPath(std::string_view path) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  return std::all_of(parts.begin(), parts.end(), [](std::string_view part) { return IsPathComponent(part); });
}

bool IsHost(std::string_view host) {
  std::string_view port;
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == std::string_view::npos) return false;
    port = host.substr(end + 1);
    if (!All(host.substr(1, end - 1), [](char c) { return absl::ascii_isxdigit(c) || c == ':'; })) return false;
  } else {
    const size_t colon = std::min(host.find(':'), host.size());
    port = host.substr(colon);
    for (std::string_view label : absl::StrSplit(host.substr(0, colon), '.')) {
      if (!All(label, [](char c) { return absl::ascii_isalnum(c) || c == '-'; })) return false;
      if (label.front() == '-' || label.back() == '-') return false;
    }
  }
  return port.empty() || (port.front() == ':' && All(port.substr(1), absl::ascii_isdigit));
}

bool IsTag(std::string_view tag) {
  const auto word = [](char c) { return absl::ascii_isalnum(c) || c == '_'; };
  return tag.size() <= kLongestTag && All(tag, [&](char c) { return word(c) || c == '.' || c == '-'; }) &&
         word(tag.front());
}

struct Digest {
  std::string_view algorithm, encoded;
};

bool IsDigest(const Digest& digest) {
  if (digest.encoded.size() < kShortestDigest || !All(digest.encoded, absl::ascii_isxdigit)) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(digest.algorithm, absl::ByAnyChar("-_+."));
  return std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
    return All(part, absl::ascii_isalnum) && absl::ascii_isalpha(part.front());
  });
}

// What is wrong with a digest of the right form, or "".
std::string_view DigestProblem(const Digest& digest) {
  const size_t size = digest.algorithm == "sha256"   ? 64
                      : digest.algorithm == "sha384" ? 96
                      : digest.algorithm == "sha512" ? 128
                                                     : 0;
  if (size == 0) {
    return std::any_of(digest.algorithm.begin(), digest.algorithm.end(), absl::ascii_isupper)
               ? "invalid checksum digest format"
               : "unsupported digest algorithm";
  }
  if (digest.encoded.size() != size) return "invalid checksum digest length";
  return All(digest.encoded, IsLowerHex) ? "" : "invalid checksum digest format";
}

// The parts of a name, before anything is known of their validity.
struct Parts {
  explicit Parts(const std::string& image) {
    const size_t slash = image.find('/');
    const std::string_view first = std::string_view(image).substr(0, slash);
    if (slash != std::string::npos && LooksLikeHost(first)) {
      host = first == "index.docker.io" ? kHub : first;
      rest = image.substr(slash + 1);
    } else {
      host = kHub;
      rest = image;
    }
    if (host == kHub && !absl::StrContains(rest, '/')) rest.insert(0, "library/");
    std::string_view left = rest;
    if (const size_t at = left.find('@'); at != std::string_view::npos) {
      has_digest = true;
      const std::string_view all = left.substr(at + 1);
      const size_t colon = std::min(all.find(':'), all.size());
      digest = {all.substr(0, colon), all.substr(std::min(colon + 1, all.size()))};
      left = left.substr(0, at);
    }
    if (const size_t colon = left.find(':'); colon != std::string_view::npos) {
      has_tag = true;
      tag = left.substr(colon + 1);
      left = left.substr(0, colon);
    }
    path = left;
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  static bool LooksLikeHost(std::string_view part) {
    return part == "localhost" || part.find_first_of(".:") != std::string_view::npos || !IsLower(part);
  }
  // As Go sees it: bytes that are no UTF-8 change when they are lowered.
  static bool IsLower(std::string_view part) {
    return std::none_of(part.begin(), part.end(), absl::ascii_isupper) && IsUtf8(part);
  }
  // A first part that is no host is let through where it could begin a path: "my_registry.io/app".
  bool Valid() const {
    return (IsHost(host) || IsPathComponent(host)) && IsPath(path) && (!has_tag || IsTag(tag)) &&
           (!has_digest || IsDigest(digest));
  }

  std::string_view host;
  std::string rest;  // all behind the host; the views below are of it
  std::string_view path, tag;
  Digest digest;
  bool has_tag = false, has_digest = false;
};

}  // namespace

StatusOr<std::string> NormalizeImage(const std::string& image) {
  const auto bad = [&](const auto&... why) {
    return InvalidArgument("couldn't parse image name ", GoQuote(image), ": ", why...);
  };
  if (image.size() == kIdentifier && All(image, IsLowerHex)) {
    return bad("invalid repository name (", image, "), cannot specify 64-byte hexadecimal strings");
  }
  const Parts parts(image);
  if (const std::string name = parts.rest.substr(0, parts.rest.find(':')); !Parts::IsLower(name)) {
    return bad("invalid reference format: repository name (", name, ") must be lowercase");
  }
  if (!parts.Valid()) {
    return Parts(absl::AsciiStrToLower(image)).Valid() ? bad("repository name must be lowercase")
                                                       : bad("invalid reference format");
  }
  const size_t length = parts.path.size() + (IsHost(parts.host) ? 0 : parts.host.size() + 1);
  if (length > kLongestPath) return bad("repository name must not be more than ", kLongestPath, " characters");
  if (parts.has_digest) {
    if (const std::string_view problem = DigestProblem(parts.digest); !problem.empty()) return bad(problem);
  }
  return parts.has_tag || parts.has_digest ? image : absl::StrCat(image, ":latest");
}

}  // namespace skiff::kubelet
