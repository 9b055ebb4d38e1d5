// Any bytes as a pod, a definition (recursive) and a document: no crash, and what decodes survives encoding.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/codec.h"
#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/apiextensions_apiserver/pkg/apis/apiextensions/v1/generated.pb.h"

namespace {

template <typename T>
void RoundTrip(std::string_view text) {
  T message, once, twice;
  skiff::api::FieldProblems problems;
  if (!skiff::api::FromJson(text, &message, nullptr, &problems).ok()) return;
  // The first writing may turn an empty alternative ([] for a schema or a list of them) into null, which reads as
  // absent.
  if (!skiff::api::FromJson(skiff::api::ToJson(message), &once).ok()) std::abort();
  if (!skiff::api::FromJson(skiff::api::ToJson(once), &twice).ok()) std::abort();
  if (!skiff::api::Equal(once, twice)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)skiff::api::PeekJson(text);
  RoundTrip<k8s::io::api::core::v1::Pod>(text);
  RoundTrip<k8s::io::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>(text);
  skiff::api::FieldProblems problems;
  if (const auto document = skiff::api::ParseJson(text, &problems); document.ok()) {
    std::string out;
    skiff::api::AppendJson(*document, &out);
    if (!skiff::api::ParseJson(out).ok()) std::abort();
    (void)skiff::api::IndentJson(out);
  }
  return 0;
}
