// Everything of HTTP that reads a stranger's bytes: heads and bodies in pieces of any size, query strings, escapes,
// base64, dates. The first byte says how the rest is cut.
#include <cstdint>
#include <cstdlib>

#include "base/http_parser.h"
#include "base/tls.h"

namespace {

using skiff::http::Parser;

void Parse(std::string_view bytes, size_t step, bool request) {
  const auto parser = request ? Parser::ForRequest(4096) : Parser::ForResponse(4096, false);
  std::string in;
  char out[37];
  while (!parser->done()) {
    size_t used = 0, produced = 0;
    const auto result = parser->head_done() ? parser->PutBody(in, &used, out, &produced) : parser->PutHead(in, &used);
    if (used > in.size() || produced > sizeof out) std::abort();
    in.erase(0, used);
    if (result == Parser::Result::kMalformed || result == Parser::Result::kTooLarge) return;
    if (used > 0 || produced > 0) continue;
    if (parser->head_done() && parser->done()) return;
    if (bytes.empty()) {
      (void)parser->PutEnd();
      return;
    }
    const size_t n = std::min(step, bytes.size());
    in.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t step = size_t{1} + data[0] % 97;
  Parse(text, step, true);
  Parse(text, step, false);
  const auto query = skiff::http::Query::Parse(text);
  if (skiff::http::Query::Parse(query.Encode()).pairs() != query.pairs()) std::abort();
  if (skiff::http::PercentDecode(skiff::http::PercentEncode(text)) != text) std::abort();
  if (const auto decoded = skiff::Base64Decode(text); decoded.ok()) {
    if (*skiff::Base64Decode(skiff::Base64Encode(*decoded)) != *decoded) std::abort();
  }
  (void)skiff::Base64UrlDecode(text);
  return 0;
}
