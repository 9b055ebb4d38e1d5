#include "controlplane/apiserver/custom/schema.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include <re2/re2.h>

#include "absl/strings/str_cat.h"
#include "api/codec.h"
#include "api/text.h"
#include "api/time.h"
#include "controlplane/apiserver/custom/cel.h"

namespace skiff::controlplane {
namespace {

bool Flag(const json& schema, const char* name) {
  const auto it = schema.find(name);
  return it != schema.end() && it->is_boolean() && it->get<bool>();
}

std::string Text(const json& schema, const char* name) {
  const auto it = schema.find(name);
  return it != schema.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// A schema below `name`, or null where there is none (or only true or false).
const json* Sub(const json& schema, const char* name) {
  const auto it = schema.find(name);
  return it != schema.end() && it->is_object() ? &*it : nullptr;
}

const json* Property(const json& schema, const std::string& name) {
  const json* properties = Sub(schema, "properties");
  if (!properties) return nullptr;
  const auto it = properties->find(name);
  return it != properties->end() && it->is_object() ? &*it : nullptr;
}

bool IsMeta(const std::string& key) { return key == "apiVersion" || key == "kind" || key == "metadata"; }

std::string Child(const std::string& path, const std::string& name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}
std::string Index(const std::string& path, size_t index) { return absl::StrCat(path, "[", index, "]"); }

// ---- pruning ----

class Pruner {
 public:
  explicit Pruner(std::vector<std::string>* unknown) : unknown_(unknown) {}

  void Prune(const json* schema, json* value, const std::string& path, bool root) {
    if (schema && Flag(*schema, "x-kubernetes-preserve-unknown-fields")) return Skip(*schema, value, path, root);
    if (value->is_object()) {
      const bool embedded = root || (schema && Flag(*schema, "x-kubernetes-embedded-resource"));
      for (auto it = value->begin(); it != value->end();) {
        if (schema && embedded && IsMeta(it.key())) {
          ++it;
          continue;
        }
        const json* below = schema ? Property(*schema, it.key()) : nullptr;
        const bool any = schema && !below && Allows(*schema);
        if (!below && !any) {
          if (unknown_) unknown_->push_back(Child(path, it.key()));
          it = value->erase(it);
          continue;
        }
        Prune(below ? below : Sub(*schema, "additionalProperties"), &it.value(), Child(path, it.key()), false);
        ++it;
      }
    } else if (value->is_array()) {
      const json* items = schema ? Sub(*schema, "items") : nullptr;
      for (size_t i = 0; i < value->size(); ++i) Prune(items, &(*value)[i], Index(path, i), false);
    }
  }

 private:
  static bool Allows(const json& schema) {
    const auto it = schema.find("additionalProperties");
    return it != schema.end() && (it->is_object() || (it->is_boolean() && it->get<bool>()));
  }
  // Unknown fields are kept here, but what is specified below is looked at.
  void Skip(const json& schema, json* value, const std::string& path, bool root) {
    if (value->is_object()) {
      const bool embedded = root || Flag(schema, "x-kubernetes-embedded-resource");
      for (auto it = value->begin(); it != value->end(); ++it) {
        if (embedded && IsMeta(it.key())) continue;
        const json* below = Property(schema, it.key());
        if (!below) below = Sub(schema, "additionalProperties");
        if (below) Prune(below, &it.value(), Child(path, it.key()), false);
      }
    } else if (value->is_array()) {
      if (const json* items = Sub(schema, "items"))
        for (size_t i = 0; i < value->size(); ++i) Skip(*items, &(*value)[i], Index(path, i), false);
    }
  }

  std::vector<std::string>* unknown_;
};

// ---- validation ----

std::string GoType(const json& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "boolean";
  if (value.is_number_integer()) return "integer";
  if (value.is_number()) return "number";
  return value.is_array() ? "array" : "object";
}

std::string Print(const json& value) {
  if (value.is_string()) return api::GoQuote(value.get<std::string>());
  if (value.is_object() || value.is_array()) {
    std::string text;
    api::AppendJson(value, &text);
    return text;
  }
  return value.dump();
}

void Add(Causes* causes, const char* reason, std::string message, const std::string& path) {
  causes->push_back({reason, std::move(message), path.empty() ? "<nil>" : path});
}

const RE2* Pattern(const std::string& text) {
  static auto* const kept = new std::map<std::string, std::unique_ptr<RE2>>;
  auto& entry = (*kept)[text];
  if (!entry) entry = std::make_unique<RE2>(text, RE2::Quiet);
  return entry.get();
}

// Code points, as upstream counts a string's length.
int64_t RuneCount(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

// The formats that are looked at; others pass, as upstream's unknown ones do.
bool FitsFormat(const std::string& format, const std::string& text) {
  if (format == "date-time") return api::ParseTime(text).ok();
  if (format == "date") return RE2::FullMatch(text, *Pattern("\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])"));
  if (format == "uuid" || format == "uuid3" || format == "uuid4" || format == "uuid5")
    return RE2::FullMatch(text, *Pattern("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"));
  unsigned char buffer[16];
  if (format == "ipv4") return inet_pton(AF_INET, text.c_str(), buffer) == 1;
  if (format == "ipv6") return inet_pton(AF_INET6, text.c_str(), buffer) == 1;
  if (format == "byte")
    return RE2::FullMatch(text, *Pattern("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"));
  return true;
}

class Validator {
 public:
  Validator(std::string prefix, Causes* causes) : prefix_(std::move(prefix)), causes_(causes) {}

  // `path` is as upstream's validator knows it: without the prefix.
  void Validate(const json& schema, const json& value, const std::string& path) {
    if (!Type(schema, value, path)) return;
    Composition(schema, value, path);
    if (value.is_string()) String(schema, value.get_ref<const std::string&>(), path);
    if (value.is_number()) Number(schema, value, path);
    if (value.is_array()) Array(schema, value, path);
    Enum(schema, value, path);
    if (value.is_object()) Object(schema, value, path);
  }

 private:
  std::string At(const std::string& path) const {
    if (prefix_.empty()) return path;
    return path.empty() ? prefix_ : absl::StrCat(prefix_, ".", path);
  }
  // "spec.a in body", as the message names it.
  static std::string In(const std::string& path) { return path + " in body"; }
  void Invalid(const std::string& path, const json& value, std::string detail) {
    Add(causes_, "FieldValueInvalid", absl::StrCat("Invalid value: ", Print(value), ": ", detail), At(path));
  }

  bool Type(const json& schema, const json& value, const std::string& path) {
    const bool int_or_string = Flag(schema, "x-kubernetes-int-or-string");
    const std::string type = int_or_string ? "integer,string" : Text(schema, "type");
    if (type.empty() && !value.is_null()) return true;
    if (value.is_null() && (Flag(schema, "nullable") || type.empty())) return false;
    const bool whole = value.is_number_float() && std::floor(value.get<double>()) == value.get<double>();
    bool fits = false;
    if (int_or_string)
      fits = value.is_string() || value.is_number_integer() || whole;
    else if (type == "integer")
      fits = value.is_number_integer() || whole;
    else if (type == "number")
      fits = value.is_number();
    else
      fits = type == GoType(value);
    if (fits) return true;
    const std::string actual = GoType(value);
    Add(causes_, "FieldValueTypeInvalid",
        absl::StrCat("Invalid value: \"", actual, "\": ", In(path), " must be of type ", type, ": \"", actual, "\""),
        At(path));
    return false;
  }

  bool Passes(const json& schema, const json& value, const std::string& path) {
    Causes found;
    Validator(prefix_, &found).Validate(schema, value, path);
    return found.empty();
  }

  void Composition(const json& schema, const json& value, const std::string& path) {
    const std::string quoted = api::GoQuote(path);
    auto plain = [&](std::string message) {
      Add(causes_, "FieldValueInvalid", absl::StrCat("Invalid value: \"\": ", message), At(path));
    };
    if (const auto it = schema.find("anyOf"); it != schema.end() && it->is_array()) {
      bool any = it->empty();
      for (const json& one : *it) any = any || Passes(one, value, path);
      if (!any) plain(absl::StrCat(quoted, " must validate at least one schema (anyOf)"));
    }
    if (const auto it = schema.find("oneOf"); it != schema.end() && it->is_array() && !it->empty()) {
      int passed = 0;
      for (const json& one : *it) passed += Passes(one, value, path);
      if (passed == 0)
        plain(absl::StrCat(quoted, " must validate one and only one schema (oneOf). Found none valid"));
      else if (passed > 1)
        plain(absl::StrCat(quoted, " must validate one and only one schema (oneOf). Found ", passed,
                           " valid alternatives"));
    }
    if (const auto it = schema.find("allOf"); it != schema.end() && it->is_array()) {
      const size_t before = causes_->size();
      for (const json& one : *it) Validate(one, value, path);
      if (causes_->size() > before) plain(absl::StrCat(quoted, " must validate all the schemas (allOf)"));
    }
    if (const json* no = Sub(schema, "not"); no && Passes(*no, value, path))
      plain(absl::StrCat(quoted, " must not validate the schema (not)"));
  }

  void String(const json& schema, const std::string& text, const std::string& path) {
    if (const auto it = schema.find("maxLength"); it != schema.end() && RuneCount(text) > it->get<int64_t>()) {
      const int64_t limit = it->get<int64_t>();
      Add(causes_, "FieldValueTooLong",
          absl::StrCat("Too long: may not be more than ", limit, limit == 1 ? " byte" : " bytes"), At(path));
    }
    if (const auto it = schema.find("minLength"); it != schema.end() && RuneCount(text) < it->get<int64_t>())
      Invalid(path, text, absl::StrCat(In(path), " should be at least ", it->get<int64_t>(), " chars long"));
    if (const std::string pattern = Text(schema, "pattern"); !pattern.empty()) {
      const RE2* compiled = Pattern(pattern);
      if (!compiled->ok() || !RE2::PartialMatch(text, *compiled))
        Invalid(path, text, absl::StrCat(In(path), " should match '", pattern, "'"));
    }
    if (const std::string format = Text(schema, "format"); !format.empty() && !FitsFormat(format, text))
      Invalid(path, text, absl::StrCat(In(path), " must be of type ", format, ": ", api::GoQuote(text)));
  }

  void Number(const json& schema, const json& value, const std::string& path) {
    const double number = value.get<double>();
    if (const auto it = schema.find("multipleOf"); it != schema.end()) {
      const double factor = it->get<double>();
      if (factor > 0 && std::fabs(std::remainder(number, factor)) > 1e-9)
        Invalid(path, value, absl::StrCat(In(path), " should be a multiple of ", Print(*it)));
    }
    if (const auto it = schema.find("maximum"); it != schema.end()) {
      const bool exclusive = Flag(schema, "exclusiveMaximum");
      if (exclusive ? number >= it->get<double>() : number > it->get<double>())
        Invalid(path, value,
                absl::StrCat(In(path), " should be less than ", exclusive ? "" : "or equal to ", Number(*it)));
    }
    if (const auto it = schema.find("minimum"); it != schema.end()) {
      const bool exclusive = Flag(schema, "exclusiveMinimum");
      if (exclusive ? number <= it->get<double>() : number < it->get<double>())
        Invalid(path, value,
                absl::StrCat(In(path), " should be greater than ", exclusive ? "" : "or equal to ", Number(*it)));
    }
  }
  // 5 and not 5.0: a bound is a float in the schema.
  static std::string Number(const json& value) {
    const double number = value.get<double>();
    if (number == std::floor(number) && std::fabs(number) < 1e15) return absl::StrCat(static_cast<int64_t>(number));
    return value.dump();
  }

  void Array(const json& schema, const json& value, const std::string& path) {
    const auto size = static_cast<int64_t>(value.size());
    if (const json* items = Sub(schema, "items"))
      for (size_t i = 0; i < value.size(); ++i) Validate(*items, value[i], Index(path, i));
    if (const auto it = schema.find("minItems"); it != schema.end() && size < it->get<int64_t>())
      Invalid(path, size, absl::StrCat(In(path), " should have at least ", it->get<int64_t>(), " items"));
    if (const auto it = schema.find("maxItems"); it != schema.end() && size > it->get<int64_t>())
      TooMany(path, size, it->get<int64_t>());
    if (Flag(schema, "uniqueItems"))
      for (size_t i = 0; i < value.size(); ++i)
        if (std::find(value.begin(), value.begin() + static_cast<ptrdiff_t>(i), value[i]) !=
            value.begin() + static_cast<ptrdiff_t>(i))
          return Add(causes_, "FieldValueInvalid",
                     absl::StrCat("Invalid value: \"\": ", In(path), " shouldn't contain duplicates"), At(path));
  }

  void TooMany(const std::string& path, int64_t size, int64_t limit) {
    Add(causes_, "FieldValueTooMany",
        absl::StrCat("Too many: ", size, ": must have at most ", limit, limit == 1 ? " item" : " items"), At(path));
  }

  void Enum(const json& schema, const json& value, const std::string& path) {
    const auto it = schema.find("enum");
    if (it == schema.end() || !it->is_array() || value.is_null()) return;
    std::string values;
    for (const json& one : *it) {
      if (one == value) return;
      absl::StrAppend(&values, values.empty() ? "" : ", ",
                      api::GoQuote(one.is_string() ? one.get<std::string>() : Print(one)));
    }
    Add(causes_, "FieldValueNotSupported",
        absl::StrCat("Unsupported value: ", Print(value), ": supported values: ", values), At(path));
  }

  void Object(const json& schema, const json& value, const std::string& path) {
    const auto size = static_cast<int64_t>(value.size());
    if (const auto it = schema.find("minProperties"); it != schema.end() && size < it->get<int64_t>())
      Invalid(path, size, absl::StrCat(In(path), " should have at least ", it->get<int64_t>(), " properties"));
    if (const auto it = schema.find("maxProperties"); it != schema.end() && size > it->get<int64_t>())
      TooMany(path, size, it->get<int64_t>());
    const json* rest = Sub(schema, "additionalProperties");
    for (auto it = value.begin(); it != value.end(); ++it) {
      const json* below = Property(schema, it.key());
      if (!below) below = rest;
      if (below) Validate(*below, it.value(), Child(path, it.key()));
    }
    if (const auto it = schema.find("required"); it != schema.end() && it->is_array())
      for (const json& name : *it)
        if (!value.contains(name.get<std::string>()))
          Add(causes_, "FieldValueRequired", "Required value", At(Child(path, name.get<std::string>())));
  }

  const std::string prefix_;
  Causes* causes_;
};

// Indexes of what stands in a list a second time.
std::vector<size_t> Repeated(const std::vector<json>& list) {
  std::map<std::string, int> seen;
  std::vector<size_t> out;
  for (size_t i = 0; i < list.size(); ++i)
    if (++seen[list[i].dump()] == 2) out.push_back(i);
  return out;
}

}  // namespace

void PruneCustom(const json& schema, json* document, std::vector<std::string>* unknown) {
  Pruner(unknown).Prune(&schema, document, "", true);
  if (unknown) std::sort(unknown->begin(), unknown->end());
}

void DefaultCustom(const json& schema, json* value) {
  auto refill = [](const json& below, json* at) {
    if (at->is_null() && !Flag(below, "nullable") && below.contains("default")) *at = below["default"];
  };
  if (value->is_object()) {
    if (const json* properties = Sub(schema, "properties"))
      for (auto it = properties->begin(); it != properties->end(); ++it) {
        if (!it->is_object() || !it->contains("default")) continue;
        if (!value->contains(it.key())) (*value)[it.key()] = (*it)["default"];
        refill(*it, &(*value)[it.key()]);
      }
    const json* rest = Sub(schema, "additionalProperties");
    for (auto it = value->begin(); it != value->end(); ++it) {
      const json* below = Property(schema, it.key());
      if (!below) below = rest;
      if (!below) continue;
      refill(*below, &it.value());
      DefaultCustom(*below, &it.value());
    }
  } else if (value->is_array()) {
    const json* items = Sub(schema, "items");
    if (!items) return;
    for (json& item : *value) {
      refill(*items, &item);
      DefaultCustom(*items, &item);
    }
  }
}

void ValidateCustom(const json& schema, const json& document, std::string_view prefix, Causes* causes) {
  Validator(std::string(prefix), causes).Validate(schema, document, "");
}

void ValidateListTypes(const json& schema, const json& value, const std::string& path, Causes* causes) {
  if (value.is_object()) {
    const json* rest = Sub(schema, "additionalProperties");
    for (auto it = value.begin(); it != value.end(); ++it) {
      if (const json* below = Property(schema, it.key()))
        ValidateListTypes(*below, it.value(), Child(path, it.key()), causes);
      else if (rest)
        ValidateListTypes(*rest, it.value(), absl::StrCat(path, "[", it.key(), "]"), causes);
    }
    return;
  }
  if (!value.is_array()) return;
  const std::string type = Text(schema, "x-kubernetes-list-type");
  if (type == "set") {
    const std::vector<json> list(value.begin(), value.end());
    for (size_t i : Repeated(list))
      Add(causes, "FieldValueDuplicate", absl::StrCat("Duplicate value: ", Print(list[i])), Index(path, i));
  } else if (type == "map") {
    std::vector<json> keys;
    for (size_t i = 0; i < value.size(); ++i) {
      if (!value[i].is_object() && !value[i].is_null()) {
        Add(causes, "FieldValueInvalid",
            absl::StrCat("Invalid value: ", Print(value[i]), ": must be an object for an array of list-type map"),
            Index(path, i));
        return;
      }
      json key = json::object();
      const auto names = schema.find("x-kubernetes-list-map-keys");
      if (names != schema.end() && value[i].is_object())
        for (const json& name : *names)
          if (value[i].contains(name.get<std::string>()))
            key[name.get<std::string>()] = value[i][name.get<std::string>()];
      keys.push_back(std::move(key));
    }
    for (size_t i : Repeated(keys))
      Add(causes, "FieldValueDuplicate", absl::StrCat("Duplicate value: ", Print(keys[i])), Index(path, i));
  }
  if (const json* items = Sub(schema, "items"))
    for (size_t i = 0; i < value.size(); ++i) ValidateListTypes(*items, value[i], Index(path, i), causes);
}

bool HasBlockingCause(const Causes& causes) {
  return std::any_of(causes.begin(), causes.end(), [](const api::Cause& cause) {
    return cause.reason == "FieldValueNotSupported" || cause.reason == "FieldValueRequired" ||
           cause.reason == "FieldValueTooLong" || cause.reason == "FieldValueTooMany" ||
           cause.reason == "FieldValueTypeInvalid";
  });
}

void CheckStructural(const json& schema, const std::string& path, bool root, Causes* causes) {
  const std::string type = Text(schema, "type");
  const bool free = Flag(schema, "x-kubernetes-int-or-string") || Flag(schema, "x-kubernetes-preserve-unknown-fields");
  const std::string type_path = path + ".type";
  if (type.empty() && !(free && !root)) {
    Add(causes, "FieldValueRequired",
        root ? "Required value: must not be empty at the root"
             : "Required value: must not be empty for specified object fields",
        type_path);
  } else if (root && type != "object") {
    Add(causes, "FieldValueInvalid",
        absl::StrCat("Invalid value: ", api::GoQuote(type), ": must be object at the root"), type_path);
  } else if (!type.empty() && type != "object" && type != "array" && type != "string" && type != "integer" &&
             type != "number" && type != "boolean") {
    Add(causes, "FieldValueNotSupported",
        absl::StrCat("Unsupported value: ", api::GoQuote(type),
                     ": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\""),
        type_path);
  }
  if (schema.contains("$ref")) Add(causes, "FieldValueForbidden", "Forbidden: $ref is not supported", path + ".$ref");
  if (type == "array" && !Sub(schema, "items"))
    Add(causes, "FieldValueRequired", "Required value: must be specified", path + ".items");
  if (const std::string pattern = Text(schema, "pattern"); !pattern.empty())
    if (const RE2* compiled = Pattern(pattern); !compiled->ok())
      Add(causes, "FieldValueInvalid",
          absl::StrCat("Invalid value: ", api::GoQuote(pattern),
                       ": must be a valid regular expression, but isn't: ", compiled->error()),
          path + ".pattern");
  if (const auto it = schema.find("x-kubernetes-validations"); it != schema.end() && it->is_array()) {
    for (size_t i = 0; i < it->size(); ++i) {
      for (const char* field : {"rule", "messageExpression"}) {
        const std::string text = Text((*it)[i], field);
        if (text.empty()) continue;
        if (auto compiled = CelProgram::Compile(text); !compiled.ok())
          Add(causes, "FieldValueInvalid",
              absl::StrCat("Invalid value: ", api::GoQuote(text),
                           ": compilation failed: ", std::string(compiled.status().message())),
              absl::StrCat(path, ".x-kubernetes-validations[", i, "].", field));
      }
    }
  }
  if (const json* properties = Sub(schema, "properties"))
    for (auto it = properties->begin(); it != properties->end(); ++it) {
      if (root && it.key() == "metadata") continue;  // the server's own schema holds there
      if (it->is_object()) CheckStructural(*it, absl::StrCat(path, ".properties[", it.key(), "]"), false, causes);
    }
  if (const json* items = Sub(schema, "items")) CheckStructural(*items, path + ".items", false, causes);
  if (const json* rest = Sub(schema, "additionalProperties"))
    CheckStructural(*rest, path + ".additionalProperties", false, causes);
}

}  // namespace skiff::controlplane
