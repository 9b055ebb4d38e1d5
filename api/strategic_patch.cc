// Strategic merge patch: lists of objects merge by key, and directives in the patch delete, replace, retain and order.
// Follows https://git.k8s.io/community/contributors/devel/sig-api-machinery/strategic-merge-patch.md .
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/errors.h"
#include "api/patch.h"
#include "api/plan.h"
#include "api/text.h"

namespace skiff::api {
namespace {

using internal::FieldPlan;
using internal::Plan;

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFromList = "$deleteFromPrimitiveList/";
constexpr std::string_view kSetOrder = "$setElementOrder/";

Status Unexplained(std::string_view text) {
  StatusMessage out;
  out.set_status("Failure");
  out.set_code(500);
  out.set_message(std::string(text));
  return FromStatusMessage(std::move(out));
}

Status NoMergeKey(const json& item, std::string_view key) {
  return Unexplained(absl::StrCat("map: ", GoPrint(item), " does not contain declared merge key: ", key));
}
Status UnknownPatchType(const json& directive, const json& map) {
  return Unexplained(absl::StrCat("unknown patch type: ", GoPrint(directive), " in map: ", GoPrint(map)));
}

// How a field of a document merges. Without a schema (inside maps and raw values) objects merge and lists are replaced.
struct Meta {
  const Plan* schema = nullptr;  // of the object, or of the list's items
  bool merge = false;            // a list merges
  bool replace = false;          // an object is replaced
  bool retain_keys = false;
  std::string merge_key;
};

Meta Lookup(const Plan* schema, std::string_view key) {
  Meta out;
  if (schema == nullptr) return out;
  const FieldPlan* field = schema->Find(key, nullptr);
  if (field == nullptr) return out;
  const FieldFacts& facts = field->facts();
  for (const std::string_view strategy : absl::StrSplit(facts.patch_strategy(), ',')) {
    if (strategy == "merge") out.merge = true;
    if (strategy == "replace") out.replace = true;
    if (strategy == "retainKeys") out.retain_keys = true;
  }
  out.merge_key = facts.patch_merge_key();
  if (!field->is_map && field->value_type == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE &&
      field->message().form() == OBJECT)
    out.schema = &field->message();
  return out;
}

int FindByKey(const json& list, const std::string& key, const json& value) {
  for (size_t i = 0; i < list.size(); ++i)
    if (list[i].is_object() && list[i].contains(key) && list[i][key] == value) return static_cast<int>(i);
  return -1;
}

int IndexOf(const json& list, const json& item, const std::string& key) {
  if (!key.empty()) {
    if (!item.is_object() || !item.contains(key)) return -1;
    return FindByKey(list, key, item[key]);
  }
  for (size_t i = 0; i < list.size(); ++i)
    if (list[i] == item) return static_cast<int>(i);
  return -1;
}

void SortBy(json* items, const json& order, const std::string& key) {
  std::vector<std::pair<int, json>> sorted;
  for (json& item : *items) sorted.emplace_back(IndexOf(order, item, key), std::move(item));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first >= 0 && b.first >= 0 && a.first < b.first; });
  *items = json::array();
  for (auto& [index, item] : sorted) items->push_back(std::move(item));
}

// The patch's items in the patch's order, the server's in the server's, woven together by where they stood before.
json Weave(const json& merged, const json& patch_order, const json& server_order, const std::string& key) {
  json left = json::array(), right = json::array();
  for (const json& item : merged) (IndexOf(patch_order, item, key) >= 0 ? right : left).push_back(item);
  SortBy(&right, patch_order, key);
  SortBy(&left, server_order, key);
  json out = json::array();
  size_t i = 0, j = 0;
  while (i < left.size() || j < right.size()) {
    if (i >= left.size()) {
      out.push_back(right[j++]);
    } else if (j >= right.size()) {
      out.push_back(left[i++]);
    } else {
      const int li = IndexOf(server_order, left[i], key), ri = IndexOf(server_order, right[j], key);
      if (li >= 0 && ri >= 0 && li < ri)
        out.push_back(left[i++]);
      else
        out.push_back(right[j++]);
    }
  }
  return out;
}

void DropNulls(json* value) {
  if (value->is_object()) {
    for (auto it = value->begin(); it != value->end();) {
      if (it->is_null())
        it = value->erase(it);
      else
        DropNulls(&*it++);
    }
  } else if (value->is_array()) {
    for (json& item : *value) DropNulls(&item);
  }
}

// Takes directives out; false when the value itself is one and goes.
bool DropDirectives(json* value) {
  if (value->is_object()) {
    if (value->contains(kPatch)) return false;
    for (auto it = value->begin(); it != value->end();) {
      if (DropDirectives(&*it))
        ++it;
      else
        it = value->erase(it);
    }
  } else if (value->is_array()) {
    json kept = json::array();
    for (json& item : *value)
      if (DropDirectives(&item)) kept.push_back(std::move(item));
    *value = std::move(kept);
  }
  return true;
}

class Merger {
 public:
  Status Map(json* original, json patch, const Plan* schema) {
    if (const auto directive = patch.find(kPatch); directive != patch.end()) {
      if (*directive == "replace") {
        patch.erase(kPatch);
        *original = std::move(patch);
        return absl::OkStatus();
      }
      if (*directive == "delete") {
        *original = json::object();
        return absl::OkStatus();
      }
      return UnknownPatchType(*directive, patch);
    }
    if (!original->is_object()) *original = json::object();
    RETURN_IF_ERROR(RetainKeys(original, &patch));
    RETURN_IF_ERROR(SetOrders(original, &patch, schema));
    for (auto& [patch_key, value] : patch.items()) {
      std::string key = patch_key;
      const bool deleting = key.starts_with(kDeleteFromList);
      if (deleting) key.erase(0, kDeleteFromList.size());
      if (value.is_null()) {
        original->erase(key);
        continue;
      }
      const auto old = original->find(key);
      const bool same_type = old != original->end() && (old->is_object()  ? value.is_object()
                                                        : old->is_array() ? value.is_array()
                                                                          : false);
      if (!same_type) {
        if (deleting) continue;
        DropNulls(&value);
        if (DropDirectives(&value))
          (*original)[key] = std::move(value);
        else
          original->erase(key);
        continue;
      }
      const Meta meta = Lookup(schema, key);
      if (value.is_object()) {
        if (meta.replace)
          *old = std::move(value);
        else
          RETURN_IF_ERROR(Map(&*old, std::move(value), meta.schema));
      } else if (meta.merge || deleting) {
        RETURN_IF_ERROR(List(&*old, std::move(value), meta, deleting));
      } else {
        *old = std::move(value);
      }
    }
    return absl::OkStatus();
  }

 private:
  static Status RetainKeys(json* original, json* patch) {
    const auto found = patch->find(kRetainKeys);
    if (found == patch->end()) return absl::OkStatus();
    const json keys = *found;
    patch->erase(kRetainKeys);
    const Status bad = BadRequestError("invalid patch format of retainKeys");
    if (!keys.is_array()) return bad;
    const auto retained = [&](const std::string& key) {
      return std::find(keys.begin(), keys.end(), key) != keys.end();
    };
    for (const auto& [key, value] : patch->items()) {
      if (value.is_null() || key.starts_with(kDeleteFromList) || key.starts_with(kSetOrder)) continue;
      if (!retained(key)) return bad;
    }
    for (auto it = original->begin(); it != original->end();) {
      if (retained(it.key()))
        ++it;
      else
        it = original->erase(it);
    }
    return absl::OkStatus();
  }

  Status SetOrders(json* original, json* patch, const Plan* schema) {
    std::vector<std::string> directives;
    for (const auto& [key, value] : patch->items())
      if (key.starts_with(kSetOrder)) directives.push_back(key);
    for (const std::string& directive : directives) {
      const json order = (*patch)[directive];
      patch->erase(directive);
      if (!order.is_array()) return BadRequestError("invalid patch format of setElementOrder list");
      const std::string key = directive.substr(kSetOrder.size());
      const Meta meta = Lookup(schema, key);
      const auto old = original->find(key), changed = patch->find(key);
      const bool has_old = old != original->end() && old->is_array();
      const bool has_patch = changed != patch->end() && changed->is_array();
      if (!meta.merge_key.empty())
        for (const json& item : order)
          if (!item.is_object() || !item.contains(meta.merge_key)) return NoMergeKey(item, meta.merge_key);
      if (has_patch) RETURN_IF_ERROR(CheckOrder(*changed, order, meta.merge_key));
      json server_order = has_old ? *old : json::array();
      json merged;
      if (has_old && has_patch) {
        merged = *old;
        if (meta.merge)
          RETURN_IF_ERROR(List(&merged, *changed, meta, false));
        else
          merged = *changed;
      } else if (has_old) {
        merged = *old;
      } else if (has_patch) {
        merged = *changed;
        DropDirectives(&merged);
      } else {
        continue;
      }
      if (!meta.merge_key.empty())
        for (const json& item : merged)
          if (!item.is_object() || !item.contains(meta.merge_key)) return NoMergeKey(item, meta.merge_key);
      (*original)[key] = Weave(merged, order, server_order, meta.merge_key);
      patch->erase(key);
    }
    return absl::OkStatus();
  }

  // The patch's items must stand in the order that the directive gives.
  static Status CheckOrder(const json& patch, const json& order, const std::string& key) {
    size_t at = 0;
    for (const json& item : patch) {
      if (item.is_object() && item.contains(kPatch)) continue;
      while (
          at < order.size() &&
          (key.empty() ? order[at] != item : !item.is_object() || !item.contains(key) || order[at][key] != item[key]))
        ++at;
      if (at == order.size())
        return Unexplained(absl::StrCat("The order in patch list:\n", GoPrint(patch), "\n doesn't match ",
                                        kSetOrder.substr(0, kSetOrder.size() - 1), " list:\n", GoPrint(order), "\n"));
      ++at;
    }
    return absl::OkStatus();
  }

  Status List(json* original, json patch, const Meta& meta, bool deleting) {
    if (original->empty() && patch.empty()) return absl::OkStatus();
    const json& sample = !original->empty() ? (*original)[0] : patch[0];
    if (!sample.is_object()) {
      json merged = json::array();
      if (deleting) {
        for (const json& item : *original)
          if (std::find(patch.begin(), patch.end(), item) == patch.end()) merged.push_back(item);
        *original = std::move(merged);
        return absl::OkStatus();
      }
      for (const json* list : {static_cast<const json*>(original), static_cast<const json*>(&patch)})
        for (const json& item : *list)
          if (std::find(merged.begin(), merged.end(), item) == merged.end()) merged.push_back(item);
      *original = Weave(merged, patch, *original, {});
      return absl::OkStatus();
    }
    if (meta.merge_key.empty())
      return Unexplained(absl::StrCat("cannot merge lists without merge key for ",
                                      meta.schema ? std::string(meta.schema->descriptor()->name()) : std::string()));
    json plain = json::array();
    bool replace = false;
    for (json& item : patch) {
      if (!item.is_object()) return Unexplained("value for key 0 is not a map");
      const auto directive = item.find(kPatch);
      if (directive == item.end()) {
        plain.push_back(std::move(item));
      } else if (*directive == "delete") {
        if (!item.contains(meta.merge_key)) return NoMergeKey(item, meta.merge_key);
        int index;
        while ((index = FindByKey(*original, meta.merge_key, item[meta.merge_key])) >= 0)
          original->erase(static_cast<size_t>(index));
      } else if (*directive == "replace") {
        replace = true;
      } else if (*directive == "merge") {
        return Unexplained("merging lists cannot yet be specified in the patch");
      } else {
        return UnknownPatchType(*directive, item);
      }
    }
    if (replace) {
      *original = std::move(plain);
      return absl::OkStatus();
    }
    const json server_order = *original;
    for (const json& item : plain) {
      if (!item.contains(meta.merge_key)) return NoMergeKey(item, meta.merge_key);
      const int index = FindByKey(*original, meta.merge_key, item[meta.merge_key]);
      if (index >= 0)
        RETURN_IF_ERROR(Map(&(*original)[static_cast<size_t>(index)], item, meta.schema));
      else
        original->push_back(item);
    }
    for (const json& item : *original)
      if (!item.is_object() || !item.contains(meta.merge_key)) return NoMergeKey(item, meta.merge_key);
    *original = Weave(*original, plain, server_order, meta.merge_key);
    return absl::OkStatus();
  }
};

// The other direction.
json Diff(const json& from, const json& to, const Plan* schema);

json DiffList(const json& from, const json& to, const Meta& meta, json* order, json* deleted) {
  json out = json::array();
  if (meta.merge_key.empty()) {
    for (const json& item : to)
      if (std::find(from.begin(), from.end(), item) == from.end()) out.push_back(item);
    for (const json& item : from)
      if (std::find(to.begin(), to.end(), item) == to.end()) deleted->push_back(item);
    *order = to;
    return out;
  }
  for (const json& item : to) {
    json key;
    key[meta.merge_key] = item[meta.merge_key];
    order->push_back(key);
    const int index = FindByKey(from, meta.merge_key, item[meta.merge_key]);
    if (index < 0) {
      out.push_back(item);
      continue;
    }
    json changed = Diff(from[static_cast<size_t>(index)], item, meta.schema);
    if (changed.empty()) continue;
    changed[meta.merge_key] = item[meta.merge_key];
    out.push_back(std::move(changed));
  }
  for (const json& item : from) {
    if (FindByKey(to, meta.merge_key, item[meta.merge_key]) >= 0) continue;
    json gone;
    gone[std::string(kPatch)] = "delete";
    gone[meta.merge_key] = item[meta.merge_key];
    out.push_back(std::move(gone));
  }
  return out;
}

// Every item can be told by its key.
bool Keyed(const json& list, const Meta& meta) {
  if (meta.merge_key.empty()) return true;
  for (const json& item : list)
    if (!item.is_object() || !item.contains(meta.merge_key)) return false;
  return true;
}

json Diff(const json& from, const json& to, const Plan* schema) {
  json out = json::object();
  for (const auto& [key, value] : from.items())
    if (!to.contains(key)) out[key] = nullptr;
  for (const auto& [key, value] : to.items()) {
    const auto old = from.find(key);
    if (old == from.end()) {
      out[key] = value;
      continue;
    }
    if (*old == value) continue;
    const Meta meta = Lookup(schema, key);
    if (old->is_object() && value.is_object() && !meta.replace) {
      json changed = Diff(*old, value, meta.schema);
      if (meta.retain_keys) {
        json keys = json::array();
        for (const auto& [name, member] : value.items()) keys.push_back(name);
        changed[std::string(kRetainKeys)] = std::move(keys);
      }
      out[key] = std::move(changed);
    } else if (old->is_array() && value.is_array() && meta.merge && Keyed(*old, meta) && Keyed(value, meta)) {
      json order = json::array(), deleted = json::array();
      json changed = DiffList(*old, value, meta, &order, &deleted);
      if (!changed.empty()) out[key] = std::move(changed);
      if (!deleted.empty()) out[absl::StrCat(kDeleteFromList, key)] = std::move(deleted);
      out[absl::StrCat(kSetOrder, key)] = std::move(order);
    } else {
      out[key] = value;
    }
  }
  return out;
}

}  // namespace

StatusOr<json> ApplyStrategicMergePatch(json document, const json& patch, const google::protobuf::Descriptor* schema) {
  if (patch.is_null()) return document;
  if (!patch.is_object())
    return BadRequestError(absl::StrCat("error decoding patch: json: cannot unmarshal ",
                                        patch.is_array()    ? "array"
                                        : patch.is_string() ? "string"
                                        : patch.is_number() ? "number"
                                                            : "bool",
                                        " into Go value of type map[string]interface {}"));
  RETURN_IF_ERROR(Merger().Map(&document, patch, &Plan::Of(schema)));
  return document;
}

StatusOr<json> CreateStrategicMergePatch(const json& from, const json& to, const google::protobuf::Descriptor* schema) {
  if (!from.is_object() || !to.is_object()) return InvalidArgument("invalid JSON document");
  return Diff(from, to, &Plan::Of(schema));
}

}  // namespace skiff::api
