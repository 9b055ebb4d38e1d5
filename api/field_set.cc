#include "api/field_set.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "api/codec.h"

namespace skiff::api::internal {
namespace {

using nlohmann::json;
using Kind = FieldSchema::Kind;

void FromValue(const json& value, FieldSet* out) {
  for (const auto& [key, child] : value.items()) {
    if (key == ".") {
      out->self = true;
      continue;
    }
    FieldSet& node = out->children[key];
    if (!child.is_object() || child.empty())
      node.self = true;
    else
      FromValue(child, &node);
  }
}

void Write(const FieldSet& set, bool root, std::string* out) {
  out->push_back('{');
  bool first = true;
  if (set.self && !root && !set.children.empty()) {
    out->append("\".\":{}");
    first = false;
  }
  for (const auto& [key, child] : set.children) {
    if (!first) out->push_back(',');
    first = false;
    AppendJsonString(key, out);
    out->push_back(':');
    Write(child, false, out);
  }
  out->push_back('}');
}

std::string Show(const std::string& element) {
  const std::string_view rest = std::string_view(element).substr(2);
  switch (element[0]) {
    case 'f': return absl::StrCat(".", rest);
    case 'v': return absl::StrCat("[=", rest, "]");
    case 'i': return absl::StrCat("[", rest, "]");
    default: break;
  }
  std::string out = "[";
  const StatusOr<json> key = ParseJson(rest);
  if (key.ok() && key->is_object()) {
    bool first = true;
    for (const auto& [name, value] : key->items()) {
      if (!first) out += ",";
      first = false;
      absl::StrAppend(&out, name, "=");
      AppendJson(value, &out);
    }
  }
  return out + "]";
}

const json* Member(const json* object, const std::string& key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto it = object->find(key);
  return it == object->end() ? nullptr : &*it;
}

bool EmptyOrNull(const json* value) { return value == nullptr || value->is_null() || value->empty(); }

class Comparer {
 public:
  explicit Comparer(Comparison* out) : out_(*out) {}

  void Compare(const FieldSchema& unresolved, const json* a, const json* b) {
    const FieldSchema schema = unresolved.For(a, b);
    const bool list = schema.kind() == Kind::kList;
    const bool object = schema.kind() == Kind::kStruct || schema.kind() == Kind::kMap;
    const auto fits = [&](const json* v) {
      return v == nullptr || v->is_null() || (list ? v->is_array() : v->is_object());
    };
    if (!(list || object) || schema.atomic() || !fits(a) || !fits(b) || (EmptyOrNull(a) && EmptyOrNull(b)))
      return Leaf(a, b);
    if (object) {
      std::set<std::string> keys;
      for (const json* side : {a, b})
        if (side != nullptr && side->is_object())
          for (const auto& [key, value] : side->items()) keys.insert(key);
      for (const std::string& key : keys) {
        path_.push_back("f:" + key);
        Compare(schema.Child(key), Member(a, key), Member(b, key));
        path_.pop_back();
      }
    } else {
      Lists(schema, a, b);
    }
    if (a == nullptr)
      out_.added.Insert(path_);
    else if (b == nullptr)
      out_.removed.Insert(path_);
  }

 private:
  void Leaf(const json* a, const json* b) {
    if (a == nullptr)
      out_.added.Insert(path_);
    else if (b == nullptr)
      out_.removed.Insert(path_);
    else if (*a != *b)
      out_.modified.Insert(path_);
  }

  void Lists(const FieldSchema& schema, const json* a, const json* b) {
    std::map<std::string, std::pair<std::vector<const json*>, std::vector<const json*>>> items;
    for (const bool left : {true, false}) {
      const json* side = left ? a : b;
      if (side == nullptr || !side->is_array()) continue;
      for (const json& item : *side) {
        const StatusOr<std::string> element = schema.ElementOf(item);
        if (element.ok()) (left ? items[*element].first : items[*element].second).push_back(&item);
      }
    }
    const FieldSchema item_schema = schema.Item();
    for (const auto& [element, sides] : items) {
      const auto& [before, after] = sides;
      path_.push_back(element);
      if (before.size() <= 1 && after.size() <= 1) {
        Compare(item_schema, before.empty() ? nullptr : before[0], after.empty() ? nullptr : after[0]);
      } else if (before.size() >= 2 && after.size() >= 2) {
        // Duplicates are owned as one.
        const bool same = std::equal(before.begin(), before.end(), after.begin(), after.end(),
                                     [](const json* x, const json* y) { return *x == *y; });
        if (!same) out_.modified.Insert(path_);
      } else if (before.size() >= 2) {
        if (!after.empty()) Compare(item_schema, nullptr, after[0]);
        out_.removed.Insert(path_);
      } else {
        if (!before.empty()) Compare(item_schema, before[0], nullptr);
        out_.added.Insert(path_);
      }
      path_.pop_back();
    }
  }

  Comparison& out_;
  FieldPath path_;
};

Status Collect(const FieldSchema& unresolved, const json& value, FieldPath* path, FieldSet* out) {
  const FieldSchema schema = unresolved.For(nullptr, &value);
  switch (schema.kind()) {
    case Kind::kStruct:
    case Kind::kMap:
      if (schema.atomic()) return out->Insert(*path), absl::OkStatus();
      if (!value.is_object()) return absl::OkStatus();
      for (const auto& [key, child] : value.items()) {
        path->push_back("f:" + key);
        RETURN_IF_ERROR(Collect(schema.Child(key), child, path, out));
        if (child.is_null() || (child.is_object() && child.empty()) || !schema.HasField(key)) out->Insert(*path);
        path->pop_back();
      }
      return absl::OkStatus();
    case Kind::kList: {
      if (schema.atomic()) return out->Insert(*path), absl::OkStatus();
      if (!value.is_array()) return absl::OkStatus();
      const FieldSchema item_schema = schema.Item();
      for (const json& item : value) {
        ASSIGN_OR_RETURN(std::string element, schema.ElementOf(item));
        path->push_back(std::move(element));
        RETURN_IF_ERROR(Collect(item_schema, item, path, out));
        out->Insert(*path);
        path->pop_back();
      }
      return absl::OkStatus();
    }
    default: return out->Insert(*path), absl::OkStatus();
  }
}

json Merge(const FieldSchema& unresolved, const json* value, const json* over) {
  if (over == nullptr) return value == nullptr ? json() : *value;
  const FieldSchema schema = unresolved.For(value, over);
  const bool list = schema.kind() == Kind::kList;
  const bool object = schema.kind() == Kind::kStruct || schema.kind() == Kind::kMap;
  if (!(list || object) || schema.atomic() || (EmptyOrNull(value) && EmptyOrNull(over))) return *over;
  if (object) {
    if (!over->is_object() && !over->is_null()) return *over;
    json out = value != nullptr && value->is_object() ? *value : json::object();
    if (over->is_object())
      for (const auto& [key, child] : over->items()) out[key] = Merge(schema.Child(key), Member(value, key), &child);
    return out;
  }
  // Lists: the applied order leads; items that only the server has keep their place beside their neighbours.
  struct Side {
    std::vector<std::string> elements;
    std::map<std::string, const json*> items;
  };
  const auto index = [&](const json* side) {
    Side out;
    if (side == nullptr || !side->is_array()) return out;
    for (const json& item : *side) {
      const StatusOr<std::string> element = schema.ElementOf(item);
      if (!element.ok() || out.items.contains(*element)) continue;
      out.elements.push_back(*element);
      out.items[*element] = &item;
    }
    return out;
  };
  const Side left = index(value), right = index(over);
  std::vector<std::string> shared;
  for (const std::string& element : right.elements)
    if (left.items.contains(element)) shared.push_back(element);
  size_t next = 0;
  std::set<std::string> done;
  const FieldSchema item_schema = schema.Item();
  json out = json::array();
  const auto merged = [&](const std::string& element) {
    const auto l = left.items.find(element);
    out.push_back(Merge(item_schema, l == left.items.end() ? nullptr : l->second, right.items.at(element)));
    done.insert(element);
  };
  size_t l = 0, r = 0;
  while (l < left.elements.size() || r < right.elements.size()) {
    if (l < left.elements.size() && r < right.elements.size()) {
      const std::string& element = left.elements[l];
      if (element == right.elements[r]) {
        merged(element);
        ++l, ++r, ++next;
        continue;
      }
      if (right.items.contains(element) && next < shared.size() && shared[next] != element) {
        ++l;  // a shared item, but not the one whose turn it is
        continue;
      }
    }
    if (l < left.elements.size()) {
      const std::string& element = left.elements[l];
      if (!right.items.contains(element)) {
        out.push_back(*left.items.at(element));
        ++l;
        continue;
      }
      if (done.contains(element)) ++l;
    }
    if (r < right.elements.size()) {
      const std::string& element = right.elements[r];
      if (next < shared.size() && shared[next] == element) ++next;
      merged(element);
      ++r;
    }
  }
  return out;
}

void Check(const FieldSchema& unresolved, const json& value, const std::string& where, std::vector<std::string>* out) {
  const FieldSchema schema = unresolved.For(nullptr, &value);
  if (value.is_null()) return;
  if (schema.kind() == Kind::kStruct || schema.kind() == Kind::kMap) {
    if (!value.is_object()) {
      out->push_back(absl::StrCat(where, ": expected map, got ", value.type_name()));
      return;
    }
    for (const auto& [key, child] : value.items()) {
      const std::string at = absl::StrCat(where, ".", key);
      if (schema.kind() == Kind::kStruct && !schema.HasField(key))
        out->push_back(at + ": field not declared in schema");
      else
        Check(schema.Child(key), child, at, out);
    }
  } else if (schema.kind() == Kind::kList) {
    if (!value.is_array()) {
      out->push_back(absl::StrCat(where, ": expected list, got ", value.type_name()));
      return;
    }
    std::set<std::string> seen;
    const FieldSchema item_schema = schema.Item();
    for (size_t i = 0; i < value.size(); ++i) {
      std::string at = absl::StrCat(where, "[", i, "]");
      if (!schema.atomic()) {
        const StatusOr<std::string> element = schema.ElementOf(value[i]);
        if (!element.ok()) {
          out->push_back(absl::StrCat(where, ": element ", i, ": ", element.status().message()));
          continue;
        }
        at = where + Show(*element);
        if (!seen.insert(*element).second)
          out->push_back(absl::StrCat(where, ": duplicate entries for key ", Show(*element)));
      }
      Check(item_schema, value[i], at, out);
    }
  } else if (schema.kind() == Kind::kScalar && value.is_structured()) {
    out->push_back(absl::StrCat(where, ": expected scalar, got ", value.type_name()));
  }
}

}  // namespace

StatusOr<FieldSet> FieldSet::Parse(std::string_view fields_v1) {
  ASSIGN_OR_RETURN(const json value, ParseJson(fields_v1));
  if (!value.is_object()) return InvalidArgument("fieldsV1 is no object");
  FieldSet out;
  FromValue(value, &out);
  return out;
}

std::string FieldSet::ToFieldsV1() const {
  std::string out;
  Write(*this, true, &out);
  return out;
}

void FieldSet::Insert(const FieldPath& path) {
  FieldSet* at = this;
  for (const std::string& element : path) at = &at->children[element];
  at->self = true;
}

void FieldSet::Union(const FieldSet& other) {
  self |= other.self;
  for (const auto& [key, child] : other.children) children[key].Union(child);
}

FieldSet FieldSet::Minus(const FieldSet& other) const {
  FieldSet out;
  out.self = self && !other.self;
  for (const auto& [key, child] : children) {
    const auto it = other.children.find(key);
    FieldSet left = it == other.children.end() ? child : child.Minus(it->second);
    if (!left.empty()) out.children.emplace(key, std::move(left));
  }
  return out;
}

FieldSet FieldSet::And(const FieldSet& other) const {
  FieldSet out;
  out.self = self && other.self;
  for (const auto& [key, child] : children) {
    const auto it = other.children.find(key);
    if (it == other.children.end()) continue;
    FieldSet both = child.And(it->second);
    if (!both.empty()) out.children.emplace(key, std::move(both));
  }
  return out;
}

void FieldSet::Cut(const FieldPath& path) {
  std::vector<FieldSet*> way = {this};
  for (const std::string& element : path) {
    const auto it = way.back()->children.find(element);
    if (it == way.back()->children.end()) return;
    way.push_back(&it->second);
  }
  way.back()->self = false;
  way.back()->children.clear();
  for (size_t i = path.size(); i > 0 && way[i]->empty(); --i) way[i - 1]->children.erase(path[i - 1]);
}

void FieldSet::Drop(const FieldPath& path) {
  std::vector<FieldSet*> way = {this};
  for (const std::string& element : path) {
    const auto it = way.back()->children.find(element);
    if (it == way.back()->children.end()) return;
    way.push_back(&it->second);
  }
  way.back()->self = false;
  for (size_t i = path.size(); i > 0 && way[i]->empty(); --i) way[i - 1]->children.erase(path[i - 1]);
}

FieldSet FieldSet::WithNamedFields(const FieldSchema& schema) const {
  FieldSet out;
  out.self = self;
  for (const auto& [key, child] : children) {
    const bool named = key.starts_with("f:");
    const std::string name = key.substr(2);
    const bool is_object =
        schema.kind() == Kind::kStruct || schema.kind() == Kind::kMap || schema.kind() == Kind::kUntyped;
    FieldSet below = child.WithNamedFields(named && is_object ? schema.Child(name) : schema.Item());
    if (named && !child.children.empty() && schema.kind() == Kind::kStruct && schema.HasField(name)) below.self = true;
    out.children.emplace(key, std::move(below));
  }
  return out;
}

void FieldSet::EachPath(const std::string& prefix, std::vector<std::string>* out) const {
  for (const auto& [key, child] : children)
    if (child.self) out->push_back(prefix + Show(key));
  for (const auto& [key, child] : children) child.EachPath(prefix + Show(key), out);
}

Comparison CompareValues(const FieldSchema& schema, const json& before, const json& after) {
  Comparison out;
  Comparer(&out).Compare(schema, &before, &after);
  return out;
}

StatusOr<FieldSet> SetOf(const FieldSchema& schema, const json& value) {
  FieldSet out;
  FieldPath path;
  RETURN_IF_ERROR(Collect(schema, value, &path, &out));
  return out;
}

json MergeValues(const FieldSchema& schema, const json& value, const json& over) {
  return Merge(schema, &value, &over);
}

json RemoveFields(const FieldSchema& unresolved, const json& value, const FieldSet& fields) {
  const FieldSchema schema = unresolved.For(nullptr, &value);
  if (schema.kind() == Kind::kList) {
    if (!value.is_array() || value.empty() || schema.atomic()) return nullptr;
    json out = json::array();
    const FieldSchema item_schema = schema.Item();
    for (const json& item : value) {
      const StatusOr<std::string> element = schema.ElementOf(item);
      const auto it = element.ok() ? fields.children.find(*element) : fields.children.end();
      if (it == fields.children.end())
        out.push_back(item);
      else if (!it->second.self)
        out.push_back(RemoveFields(item_schema, item, it->second));
    }
    return out.empty() ? json() : out;
  }
  if (schema.kind() == Kind::kStruct || schema.kind() == Kind::kMap) {
    if (!value.is_object() || value.empty() || schema.atomic()) return nullptr;
    json out = json::object();
    for (const auto& [key, child] : value.items()) {
      const auto it = fields.children.find("f:" + key);
      if (it == fields.children.end())
        out[key] = child;
      else if (!it->second.self)
        out[key] = RemoveFields(schema.Child(key), child, it->second);
    }
    return out.empty() ? json() : out;
  }
  return nullptr;
}

std::vector<std::string> SchemaErrors(const FieldSchema& schema, const json& value) {
  std::vector<std::string> out;
  Check(schema, value, "", &out);
  return out;
}

}  // namespace skiff::api::internal
