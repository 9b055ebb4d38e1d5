// What a request's line and headers are read into: path and query, selectors, continue tokens, Accept, service account
// tokens.
#include <cstddef>
#include <cstdint>
#include <string>

#include "controlplane/apiserver/allocators.h"
#include "controlplane/apiserver/kinds.h"
#include "controlplane/apiserver/list_options.h"
#include "controlplane/apiserver/negotiation.h"
#include "controlplane/apiserver/request_info.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff;
  using namespace skiff::controlplane;
  static Allocators allocators{*AddressAllocator::Make("10.96.0.0/16"), PortAllocator(30000, 32767)};
  static const Kinds kinds(&allocators);
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t question = text.find('?');
  const std::string path = text.substr(0, question);
  const http::Query query = http::Query::Parse(
      question == std::string::npos ? std::string_view() : std::string_view(text).substr(question + 1));
  (void)RequestInfo::Parse("GET", path, query);
  (void)ListQuery::Parse(query, kinds.Core("pods"), false).ok();
  (void)ListQuery::Parse(query, kinds.Core("events"), true).ok();
  auto token = ContinueToken::Decode(text);
  if (token.ok()) (void)ContinueToken::Decode(token->Encode()).ok();
  (void)Negotiate({{"Accept", text}}, query, false).ok();
  return 0;
}
