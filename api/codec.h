// JSON, YAML and protobuf forms of API messages. The custom options of skiff/api/options.proto say how each field looks
// in JSON; per-message plans are built on first use and kept. JSON is read and written as upstream's serializers do
// (case-sensitive names, canonical quantities, null for empty values that are always written); protobuf is
// application/vnd.kubernetes.protobuf: "k8s\0" and a runtime.Unknown.
//
// Errors: kInvalidArgument with upstream's words, the part after "cannot be handled as a Pod: ".
// Limits: JSON and YAML nest at most kMaxDepth; YAML aliases may not grow the document past kMaxYamlExpansion times.
// Thread-safe (plans are built under a lock).
#ifndef SKIFF_API_CODEC_H_
#define SKIFF_API_CODEC_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>
#include <nlohmann/json.hpp>

#include "api/group_version.h"
#include "base/status.h"

namespace skiff::api {

using nlohmann::json;

inline constexpr int kMaxDepth = 250;  // a schema nested deeper than this is no Kubernetes object
inline constexpr size_t kMaxYamlExpansion = 100;

// What strict field validation found, in document order: `unknown field "spec.foo"`, `duplicate field "metadata.name"`.
using FieldProblems = std::vector<std::string>;

// "strict decoding error: a, b".
Status StrictDecodingError(const FieldProblems& problems);

// ---- JSON ----

// Just apiVersion and kind, without building a document. Either may be empty. Error as upstream's for JSON that does
// not parse: "couldn't get version/kind; json parse error: ...".
StatusOr<GroupVersionKind> PeekJson(std::string_view text);

// Reads text into `out` (cleared first). `gvk`, where given, receives apiVersion and kind as they stand in the text (""
// if absent). Unknown and duplicate fields are skipped (the last duplicate wins), and listed in `problems` if given.
Status FromJson(std::string_view text, google::protobuf::Message* out, GroupVersionKind* gvk = nullptr,
                FieldProblems* problems = nullptr);
// The same from a document; the text-only findings (duplicates) cannot occur.
Status FromJsonValue(const json& value, google::protobuf::Message* out, FieldProblems* problems = nullptr);

// Compact JSON, keys in upstream's order: kind, apiVersion (when gvk is given), then the message's fields. No newline.
void AppendJson(const google::protobuf::Message& message, const GroupVersionKind* gvk, std::string* out);
std::string ToJson(const google::protobuf::Message& message, const GroupVersionKind* gvk = nullptr);
// The same as a document (for patches and selectors over arbitrary fields).
json ToJsonValue(const google::protobuf::Message& message, const GroupVersionKind* gvk = nullptr);

// Any text -> document with bounded depth; the error is Go's ("unexpected end of JSON input",
// "invalid character 'x' looking for beginning of value"). Duplicate keys go to `problems` (`duplicate field "a.b"`).
StatusOr<json> ParseJson(std::string_view text, FieldProblems* problems = nullptr);
// Compact text of a document, escaped as Go's encoder does (<, >, & as \u003c ..., U+2028/9).
void AppendJson(const json& value, std::string* out);
// A quoted, escaped JSON string.
void AppendJsonString(std::string_view value, std::string* out);
// Re-indents compact JSON (two spaces), as ?pretty=true and kubectl's raw output look.
std::string IndentJson(std::string_view compact, int spaces = 2);

// ---- YAML ----

// One YAML document as JSON text (tags of YAML 1.1 as upstream reads them: yes/no/on/off are booleans only where plain
// true/false; numbers and null as in YAML's core schema). Error: "yaml: line N: ...". Duplicate keys: an entry in
// `problems` ("yaml: unmarshal errors:\n  line 5: key \"a\" already set in map") where given; the last wins.
StatusOr<std::string> YamlToJson(std::string_view yaml, FieldProblems* problems = nullptr);
// Sorted keys, two spaces, strings quoted where they would read as something else, ends in a newline.
std::string JsonToYaml(const json& value);
std::string ToYaml(const google::protobuf::Message& message, const GroupVersionKind* gvk = nullptr);

// ---- protobuf ----

struct Envelope {
  GroupVersionKind gvk;
  std::string_view raw;  // into the input
  std::string_view content_encoding, content_type;
};
inline constexpr std::string_view kProtobufMagic{"k8s\0", 4};

// Error: "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]" and the like.
StatusOr<Envelope> ParseEnvelope(std::string_view bytes);
// Parses the envelope and its content into `out`; gvk as it stands in the envelope.
Status FromProtobuf(std::string_view bytes, google::protobuf::Message* out, GroupVersionKind* gvk = nullptr);
void AppendProtobuf(const google::protobuf::Message& message, const GroupVersionKind& gvk, std::string* out);
std::string ToProtobuf(const google::protobuf::Message& message, const GroupVersionKind& gvk);

// Unsets fields that hold what unset means (upstream writes zero values on the wire), at every level, and sorts
// nothing. After it, equal objects have equal presence. Messages decoded from JSON are normal already.
void Normalize(google::protobuf::Message* message);
// Equal as API objects: as Normalize would make them, in map order independent comparison.
bool Equal(const google::protobuf::Message& a, const google::protobuf::Message& b);

// ---- media types ----

inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kYamlType = "application/yaml";
inline constexpr std::string_view kProtobufType = "application/vnd.kubernetes.protobuf";

}  // namespace skiff::api

#endif  // SKIFF_API_CODEC_H_
