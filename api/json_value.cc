// JSON documents: text to document, document to text.
#include <charconv>
#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/json_place.h"
#include "api/json_text.h"

namespace skiff::api {
namespace {

using internal::Cursor;
using internal::kMaxProblems;
using internal::PathOf;
using internal::Place;

json Build(Cursor* cursor, const Place* place, FieldProblems* problems) {
  switch (cursor->Peek()) {
    case '{': {
      json out = json::object();
      for (bool more = cursor->Enter(); more; more = cursor->Next()) {
        std::string key = cursor->Key();
        const Place here{place, key, -1, false};
        json value = Build(cursor, &here, problems);
        const auto [it, fresh] = out.emplace(key, nullptr);
        if (!fresh && problems != nullptr && problems->size() < kMaxProblems)
          problems->push_back(absl::StrCat("duplicate field \"", PathOf(&here), "\""));
        *it = std::move(value);
      }
      return out;
    }
    case '[': {
      json out = json::array();
      Place here{place, {}, 0, false};
      for (bool more = cursor->Enter(); more; more = cursor->Next(), ++here.index)
        out.push_back(Build(cursor, &here, problems));
      return out;
    }
    case '"': return cursor->String();
    case 't':
    case 'f': return cursor->Bool();
    case 'n': return cursor->Raw(), nullptr;
    default: {
      const std::string_view text = cursor->Number();
      if (text.find_first_of(".eE") == std::string_view::npos) {
        int64_t number;
        const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (err == std::errc()) return number;
      }
      double number = 0;
      if (!absl::SimpleAtod(text, &number)) return nullptr;
      return number;
    }
  }
}

void Indent(const std::string_view compact, int spaces, std::string* out) {
  int depth = 0;
  bool in_string = false;
  const auto line = [&] {
    out->push_back('\n');
    out->append(static_cast<size_t>(depth * spaces), ' ');
  };
  for (size_t i = 0; i < compact.size(); ++i) {
    const char c = compact[i];
    if (in_string) {
      out->push_back(c);
      if (c == '\\')
        out->push_back(compact[++i]);
      else if (c == '"')
        in_string = false;
      continue;
    }
    switch (c) {
      case '"':
        in_string = true;
        out->push_back(c);
        break;
      case '{':
      case '[':
        out->push_back(c);
        if (i + 1 < compact.size() && (compact[i + 1] == '}' || compact[i + 1] == ']')) {
          out->push_back(compact[++i]);
          break;
        }
        ++depth;
        line();
        break;
      case '}':
      case ']':
        --depth;
        line();
        out->push_back(c);
        break;
      case ',':
        out->push_back(c);
        line();
        break;
      case ':': out->append(": "); break;
      default: out->push_back(c);
    }
  }
}

}  // namespace

StatusOr<GroupVersionKind> PeekJson(std::string_view text) {
  const auto fail = [](const auto&... why) {
    return InvalidArgument("couldn't get version/kind; json parse error: ", why...);
  };
  if (Status valid = internal::ValidateJson(text); !valid.ok()) return fail(valid.message());
  Cursor cursor(text);
  GroupVersionKind out;
  constexpr std::string_view kGoStruct =
      "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
  if (cursor.Peek() == 'n') return out;
  if (cursor.Peek() != '{')
    return fail("json: cannot unmarshal ", cursor.TypeName(), " into Go value of type ", kGoStruct);
  for (bool more = cursor.Enter(); more; more = cursor.Next()) {
    const std::string key = cursor.Key();
    if ((key != "kind" && key != "apiVersion") || cursor.Peek() == 'n') {
      cursor.Raw();
      continue;
    }
    if (cursor.Peek() != '"')
      return fail("json: cannot unmarshal ", cursor.TypeName(), " into Go struct field .", key, " of type string");
    const std::string value = cursor.String();
    if (key == "kind") {
      out.kind = value;
      continue;
    }
    ASSIGN_OR_RETURN(GroupVersion parsed, GroupVersion::Parse(value));
    out.group = std::move(parsed.group);
    out.version = std::move(parsed.version);
  }
  return out;
}

StatusOr<json> ParseJson(std::string_view text, FieldProblems* problems) {
  RETURN_IF_ERROR(internal::ValidateJson(text));
  Cursor cursor(text);
  return Build(&cursor, nullptr, problems);
}

void AppendJson(const json& value, std::string* out) {
  switch (value.type()) {
    case json::value_t::object: {
      out->push_back('{');
      bool first = true;
      for (const auto& [key, member] : value.items()) {
        if (!first) out->push_back(',');
        first = false;
        AppendJsonString(key, out);
        out->push_back(':');
        AppendJson(member, out);
      }
      out->push_back('}');
      return;
    }
    case json::value_t::array: {
      out->push_back('[');
      bool first = true;
      for (const json& item : value) {
        if (!first) out->push_back(',');
        first = false;
        AppendJson(item, out);
      }
      out->push_back(']');
      return;
    }
    case json::value_t::string: return AppendJsonString(value.get_ref<const std::string&>(), out);
    case json::value_t::boolean: out->append(value.get<bool>() ? "true" : "false"); return;
    case json::value_t::number_integer: absl::StrAppend(out, value.get<int64_t>()); return;
    case json::value_t::number_unsigned: absl::StrAppend(out, value.get<uint64_t>()); return;
    case json::value_t::number_float: out->append(internal::FormatDouble(value.get<double>())); return;
    default: out->append("null");
  }
}

std::string IndentJson(std::string_view compact, int spaces) {
  std::string out;
  out.reserve(compact.size() + compact.size() / 2);
  Indent(compact, spaces, &out);
  return out;
}

}  // namespace skiff::api
