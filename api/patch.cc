#include "api/patch.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "api/errors.h"
#include "api/text.h"

namespace skiff::api {
namespace {

// What upstream answers when a well-formed patch does not fit the object: no word about why.
Status Rejected() {
  StatusMessage out;
  out.set_status("Failure");
  out.set_code(422);
  out.set_reason("Invalid");
  out.set_message("the server rejected our request due to an error in our request");
  out.mutable_details();
  return FromStatusMessage(std::move(out));
}

Status Undecodable(std::string_view why) { return BadRequestError(absl::StrCat("error decoding patch: ", why)); }

// A JSON pointer (RFC 6901) as its steps.
bool Steps(const json& pointer, std::vector<std::string>* out) {
  if (!pointer.is_string()) return false;
  const std::string& text = pointer.get_ref<const std::string&>();
  if (text.empty()) return true;
  if (text[0] != '/') return false;
  for (const std::string_view step : absl::StrSplit(text.substr(1), '/'))
    out->push_back(absl::StrReplaceAll(absl::StrReplaceAll(step, {{"~1", "/"}}), {{"~0", "~"}}));
  return true;
}

bool Index(const std::string& step, size_t limit, size_t* out) {
  int64_t value;
  if (!absl::SimpleAtoi(step, &value)) return false;
  if (value < 0) value += static_cast<int64_t>(limit);  // upstream counts negative ones from the end
  if (value < 0 || static_cast<size_t>(value) >= limit) return false;
  *out = static_cast<size_t>(value);
  return true;
}

json* Find(json* at, const std::vector<std::string>& steps, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (at->is_object()) {
      const auto it = at->find(steps[i]);
      if (it == at->end()) return nullptr;
      at = &*it;
    } else if (at->is_array()) {
      size_t index;
      if (!Index(steps[i], at->size(), &index)) return nullptr;
      at = &(*at)[index];
    } else {
      return nullptr;
    }
  }
  return at;
}

bool Add(json* root, const std::vector<std::string>& steps, json value) {
  if (steps.empty()) return *root = std::move(value), true;
  json* parent = Find(root, steps, steps.size() - 1);
  if (parent == nullptr) return false;
  if (parent->is_object()) return (*parent)[steps.back()] = std::move(value), true;
  if (!parent->is_array()) return false;
  if (steps.back() == "-") return parent->push_back(std::move(value)), true;
  size_t index;
  if (!Index(steps.back(), parent->size() + 1, &index)) return false;
  parent->insert(parent->begin() + static_cast<std::ptrdiff_t>(index), std::move(value));
  return true;
}

bool Remove(json* root, const std::vector<std::string>& steps) {
  if (steps.empty()) return false;
  json* parent = Find(root, steps, steps.size() - 1);
  if (parent == nullptr) return false;
  if (parent->is_object()) return parent->erase(steps.back()) == 1;
  if (!parent->is_array()) return false;
  size_t index;
  if (!Index(steps.back(), parent->size(), &index)) return false;
  parent->erase(index);
  return true;
}

bool ApplyOne(json* root, const json& operation) {
  const auto op = operation.find("op"), path = operation.find("path");
  std::vector<std::string> steps, from;
  if (op == operation.end() || !op->is_string() || path == operation.end() || !Steps(*path, &steps)) return false;
  const std::string& name = op->get_ref<const std::string&>();
  if (name == "copy" || name == "move") {
    const auto source = operation.find("from");
    if (source == operation.end() || !Steps(*source, &from)) return false;
    const json* found = Find(root, from, from.size());
    if (found == nullptr) return false;
    json value = *found;
    if (name == "move" && !Remove(root, from)) return false;
    return Add(root, steps, std::move(value));
  }
  if (name == "remove") return Remove(root, steps);
  const auto value = operation.find("value");
  if (name == "test") {
    const json* found = Find(root, steps, steps.size());
    const json wanted = value == operation.end() ? json() : *value;
    return found == nullptr ? wanted.is_null() : *found == wanted;
  }
  if (name == "add") return Add(root, steps, value == operation.end() ? json() : *value);
  if (name == "replace") {
    json* found = Find(root, steps, steps.size());
    if (found == nullptr) return false;
    *found = value == operation.end() ? json() : *value;
    return true;
  }
  return false;
}

void Merge(json* target, const json& patch) {
  if (!patch.is_object()) {
    *target = patch;
    return;
  }
  if (!target->is_object()) *target = json::object();
  for (const auto& [key, value] : patch.items()) {
    if (value.is_null())
      target->erase(key);
    else
      Merge(&(*target)[key], value);
  }
}

// A strategic merge patch's result is converted as a tree, not decoded as text: the same fault in other words.
std::string ConversionError(std::string_view message) {
  constexpr std::string_view kFound = "json: cannot unmarshal ", kWanted = " of type ";
  const size_t at = message.rfind(kWanted);
  if (!message.starts_with(kFound) || at == std::string_view::npos) return std::string(message);
  std::string_view found = message.substr(kFound.size());
  found = found.substr(0, found.find(' '));
  const std::string_view wanted = message.substr(at + kWanted.size());
  const std::string_view kind = found == "object"   ? "map"
                                : found == "array"  ? "slice"
                                : found == "number" ? "int64"
                                                    : found;
  if (wanted.starts_with("[]")) return absl::StrCat("cannot restore slice from ", kind);
  if (wanted.starts_with("map[")) return absl::StrCat("cannot restore map from ", kind);
  if (wanted.find('.') != std::string_view::npos) return absl::StrCat("cannot restore struct from: ", kind);
  // Go converts a number into a string of one character, and says no to that.
  if (found == "number" && wanted == "string") return "cannot convert int64 to string";
  return absl::StrCat("unrecognized type: ", wanted);
}

// 422 with no kind and no name, as upstream's patch handler makes it. `shown`: the patched document; of a strategic
// merge patch, the patch as Go prints it.
Status PatchedInvalid(const json& shown, bool strategic, std::string_view why) {
  std::string text;
  if (strategic) {
    text = GoPrint(shown);
  } else {
    AppendJson(shown, &text);
  }
  return InvalidError("", "", "",
                      {{"FieldValueInvalid", absl::StrCat("Invalid value: ", GoQuote(text), ": ", why), "patch"}});
}

}  // namespace

StatusOr<json> ApplyJsonPatch(json document, const json& patch) {
  if (!patch.is_array()) {
    const std::string_view type = patch.is_object()   ? "object"
                                  : patch.is_string() ? "string"
                                  : patch.is_number() ? "number"
                                                      : "bool";
    if (patch.is_null()) return document;
    return Undecodable(absl::StrCat("json: cannot unmarshal ", type, " into Go value of type []handlers.jsonPatchOp"));
  }
  if (patch.size() > static_cast<size_t>(kMaxJsonPatchOperations))
    return RequestTooLargeError(absl::StrCat("The allowed maximum operations in a JSON patch is ",
                                             kMaxJsonPatchOperations, ", got ", patch.size()));
  for (const json& operation : patch)
    if (!operation.is_object() || !ApplyOne(&document, operation)) return Rejected();
  return document;
}

json ApplyMergePatch(json document, const json& patch) {
  Merge(&document, patch);
  return document;
}

json CreateMergePatch(const json& from, const json& to) {
  json out = json::object();
  if (!from.is_object() || !to.is_object()) return to;
  for (const auto& [key, value] : from.items())
    if (!to.contains(key)) out[key] = nullptr;
  for (const auto& [key, value] : to.items()) {
    const auto old = from.find(key);
    if (old == from.end()) {
      out[key] = value;
    } else if (*old != value) {
      out[key] = old->is_object() && value.is_object() ? CreateMergePatch(*old, value) : value;
    }
  }
  return out;
}

StatusOr<Object> PatchObject(const Object& current, std::string_view content_type, std::string_view body,
                             FieldProblems* problems, bool strict) {
  FieldProblems found;
  StatusOr<json> patch = ParseJson(body, &found);
  if (!patch.ok()) return Undecodable(patch.status().message());
  json document = current.ToJsonValue();
  if (content_type == kJsonPatchType) {
    ASSIGN_OR_RETURN(document, ApplyJsonPatch(std::move(document), *patch));
  } else if (content_type == kMergePatchType) {
    document = ApplyMergePatch(std::move(document), *patch);
  } else if (content_type == kStrategicMergePatchType) {
    if (current.is_custom())
      return UnsupportedMediaTypeError(
          "the body of the request was in an unknown format - accepted media types include: "
          "application/json-patch+json, "
          "application/merge-patch+json, application/apply-patch+yaml");
    ASSIGN_OR_RETURN(document,
                     ApplyStrategicMergePatch(std::move(document), *patch, current.message()->GetDescriptor()));
  } else {
    return UnsupportedMediaTypeError(absl::StrCat(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"));
  }
  Object out = current.Clone();
  const bool strategic = content_type == kStrategicMergePatchType;
  const json& shown = strategic ? *patch : document;
  if (Status read = out.AssignJson(document, &found); !read.ok()) {
    return PatchedInvalid(shown, strategic, strategic ? ConversionError(read.message()) : std::string(read.message()));
  }
  if (strict && !found.empty()) return PatchedInvalid(shown, strategic, StrictDecodingError(found).message());
  if (problems != nullptr) problems->insert(problems->end(), found.begin(), found.end());
  return out;
}

}  // namespace skiff::api
