#include "api/managed_fields.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/defaults.h"
#include "api/errors.h"
#include "api/field_set.h"
#include "api/scheme.h"
#include "api/text.h"

namespace skiff::api {
namespace {

using internal::Comparison;
using internal::FieldPath;
using internal::FieldSchema;
using internal::FieldSet;
using internal::Plan;

constexpr size_t kMaxUpdateManagers = 10;
constexpr size_t kMaxManagerName = 128;

struct Entry {
  std::string manager, operation, api_version, subresource;
  std::optional<Time> time;
  FieldSet set;

  bool applied() const { return operation == "Apply"; }
  // An applier is one manager whatever version it applies with.
  bool Same(const Entry& o) const {
    return manager == o.manager && operation == o.operation && subresource == o.subresource &&
           (applied() || api_version == o.api_version);
  }
  std::string Print() const {
    std::string out = GoQuote(manager);
    if (!subresource.empty()) absl::StrAppend(&out, " with subresource ", GoQuote(subresource));
    if (!applied()) absl::StrAppend(&out, " using ", api_version);
    return out;
  }
};
using Managed = std::vector<Entry>;

bool Read(const ObjectMeta& meta, Managed* out) {
  for (const auto& field : meta.managedfields()) {
    Entry entry;
    entry.manager = field.manager();
    entry.operation = field.operation();
    entry.api_version = field.apiversion();
    entry.subresource = field.subresource();
    if ((entry.operation != "Apply" && entry.operation != "Update") || entry.api_version.empty()) return false;
    if (field.has_time()) entry.time = field.time();
    if (field.has_fieldsv1()) {
      StatusOr<FieldSet> set = FieldSet::Parse(field.fieldsv1().raw());
      if (!set.ok()) return false;
      entry.set = *std::move(set);
    }
    out->push_back(std::move(entry));
  }
  return true;
}

void Write(Managed managed, ObjectMeta* meta) {
  std::stable_sort(managed.begin(), managed.end(), [](const Entry& a, const Entry& b) {
    if (a.operation != b.operation) return a.operation < b.operation;
    const int64_t at = a.time ? a.time->seconds() : INT64_MIN, bt = b.time ? b.time->seconds() : INT64_MIN;
    if (at != bt) return at < bt;
    if (a.manager != b.manager) return a.manager < b.manager;
    if (a.api_version != b.api_version) return a.api_version < b.api_version;
    return a.subresource < b.subresource;
  });
  meta->clear_managedfields();
  for (const Entry& entry : managed) {
    auto* field = meta->add_managedfields();
    field->set_manager(entry.manager);
    field->set_operation(entry.operation);
    field->set_apiversion(entry.api_version);
    if (entry.time) *field->mutable_time() = *entry.time;
    field->set_fieldstype("FieldsV1");
    field->mutable_fieldsv1()->set_raw(entry.set.ToFieldsV1());
    if (!entry.subresource.empty()) field->set_subresource(entry.subresource);
  }
}

// Identity and bookkeeping belong to nobody.
void StripMeta(FieldSet* set) {
  set->Drop({"f:apiVersion"});
  set->Drop({"f:kind"});
  set->Drop({"f:metadata"});
  for (const char* field : {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName",
                            "f:generation", "f:managedFields", "f:resourceVersion"})
    set->Drop({"f:metadata", field});
}

// What the strategy of a (sub)resource resets is not the request's doing.
std::vector<FieldPath> ResetFields(const GroupVersionKind& gvk, std::string_view subresource) {
  if (subresource == "status") {
    // A deployment's status leaves its labels alone.
    if (gvk.group == "apps" && gvk.kind == "Deployment") return {{"f:spec"}, {"f:metadata", "f:labels"}};
    return {{"f:spec"}};
  }
  if (!subresource.empty()) return {};
  const Resource* resource = FindResourceByKind(gvk.group, gvk.version, gvk.kind);
  if (resource != nullptr && absl::StrContains(resource->subresources, "status:")) return {{"f:status"}};
  return {};
}

// A string member of an object, "" where there is none.
std::string Text(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

json Document(const Object& object) {
  json out = object.ToJsonValue();
  if (const auto it = out.find("metadata"); it != out.end() && it->is_object()) it->erase("managedFields");
  return out;
}

// The same for a write of the status, which owns nothing of the spec, the largest part of most objects.
json DocumentWithoutSpec(const Object& object) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Message* message = object.message();
  if (message == nullptr) return Document(object);
  const auto* reflection = message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields)
    if (field->is_repeated() || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return Document(object);
  const std::unique_ptr<google::protobuf::Message> part(message->New());
  for (const FieldDescriptor* field : fields) {
    if (field->name() == "spec") continue;
    google::protobuf::Message* copy = reflection->MutableMessage(part.get(), field);
    copy->CopyFrom(reflection->GetMessage(*message, field));
    if (field->message_type() == ObjectMeta::descriptor()) static_cast<ObjectMeta*>(copy)->clear_managedfields();
  }
  const GroupVersionKind gvk = object.gvk();
  return ToJsonValue(*part, &gvk);
}

json EmptyDocument(const TypeOps* type, const GroupVersionKind& gvk) {
  if (type != nullptr) return ToJsonValue(type->prototype(), &gvk);
  return {{"apiVersion", gvk.group_version().ToString()}, {"kind", gvk.kind}};
}

FieldSchema SchemaOf(const TypeOps* type, const json* custom_schema) {
  return type != nullptr ? FieldSchema::OfMessage(Plan::Of(type->prototype().GetDescriptor()))
                         : FieldSchema::OfCustom(custom_schema);
}

// Takes what changed from every manager but `self`. Conflicts are what others own of it.
struct Conflict {
  const Entry* entry;
  FieldSet set;
};
std::vector<Conflict> Conflicts(const Managed& managed, const Comparison& comparison, const Entry* self) {
  FieldSet changed = comparison.modified;
  changed.Union(comparison.added);
  std::vector<Conflict> out;
  for (const Entry& entry : managed) {
    if (self != nullptr && entry.Same(*self)) continue;
    FieldSet both = entry.set.And(changed);
    if (!both.empty()) out.push_back({&entry, std::move(both)});
  }
  return out;
}

void TakeFromOthers(Managed* managed, const Comparison& comparison, const Entry* self) {
  FieldSet changed = comparison.modified;
  changed.Union(comparison.added);
  changed.Union(comparison.removed);
  for (Entry& entry : *managed)
    if (self == nullptr || !entry.Same(*self)) entry.set = entry.set.Minus(changed);
  std::erase_if(*managed, [](const Entry& entry) { return entry.set.empty(); });
}

void Cap(Managed* managed) {
  while (true) {
    Entry* oldest = nullptr;
    size_t updates = 0;
    for (Entry& entry : *managed) {
      if (entry.applied()) continue;
      ++updates;
      if (entry.manager == "ancient-changes") continue;
      const auto at = [](const Entry& e) { return e.time ? e.time->seconds() : INT64_MIN; };
      if (oldest == nullptr || at(entry) < at(*oldest)) oldest = &entry;
    }
    if (updates <= kMaxUpdateManagers || oldest == nullptr) return;
    Entry moved = std::move(*oldest);
    managed->erase(managed->begin() + (oldest - managed->data()));
    moved.manager = "ancient-changes";
    moved.subresource.clear();
    bool found = false;
    for (Entry& entry : *managed) {
      if (!entry.Same(moved)) continue;
      entry.set.Union(moved.set);
      if (moved.time) entry.time = moved.time;
      found = true;
    }
    if (!found) managed->push_back(std::move(moved));
  }
}

// One Update operation on the entries.
void Update(const FieldSchema& schema, const json& before, const json& after, const std::vector<FieldPath>& ignored,
            Entry self, Managed* managed) {
  Comparison comparison = CompareValues(schema, before, after);
  for (const FieldPath& path : ignored) {
    comparison.added.Cut(path);
    comparison.modified.Cut(path);
    comparison.removed.Cut(path);
  }
  TakeFromOthers(managed, comparison, nullptr);
  self.set = std::move(comparison.modified);
  self.set.Union(comparison.added);
  StripMeta(&self.set);
  if (self.set.empty()) return;
  for (Entry& entry : *managed) {
    if (!entry.Same(self)) continue;
    entry.set.Union(self.set);
    entry.time = self.time;
    return;
  }
  managed->push_back(std::move(self));
  Cap(managed);
}

Status Unexplained(std::string_view text) {
  StatusMessage out;
  out.set_status("Failure");
  out.set_code(500);
  out.set_message(std::string(text));
  return FromStatusMessage(std::move(out));
}

Status ConflictStatus(std::vector<Conflict> conflicts) {
  std::stable_sort(conflicts.begin(), conflicts.end(),
                   [](const Conflict& a, const Conflict& b) { return a.entry->Print() < b.entry->Print(); });
  std::vector<Cause> causes;
  std::vector<std::string> lines;
  for (const Conflict& conflict : conflicts) {
    std::vector<std::string> paths;
    conflict.set.EachPath("", &paths);
    lines.push_back(absl::StrCat("conflicts with ", conflict.entry->Print(), ":"));
    for (const std::string& path : paths) {
      causes.push_back({"FieldManagerConflict", absl::StrCat("conflict with ", conflict.entry->Print()), path});
      lines.push_back("- " + path);
    }
  }
  const std::string message =
      causes.size() == 1
          ? absl::StrCat("Apply failed with 1 conflict: ", causes[0].message, ": ", causes[0].field)
          : absl::StrCat("Apply failed with ", causes.size(), " conflicts: ", absl::StrJoin(lines, "\n"));
  return ApplyConflictError(causes, message);
}

// What the manager applied before, owns no longer and nobody else owns goes.
json Prune(const FieldSchema& schema, const json& merged, const Managed& managed, const FieldSet& last) {
  if (last.empty()) return merged;
  const FieldSet last_named = last.WithNamedFields(schema);
  json pruned = RemoveFields(schema, merged, last_named);
  const FieldSet merged_set = SetOf(schema, merged).value_or(FieldSet()).WithNamedFields(schema);
  const auto set_of_pruned = [&] { return SetOf(schema, pruned).value_or(FieldSet()).WithNamedFields(schema); };
  FieldSet keep = set_of_pruned();
  FieldSet owned;
  for (const Entry& entry : managed) owned.Union(entry.set);
  keep.Union(owned.WithNamedFields(schema));
  pruned = RemoveFields(schema, merged, merged_set.Minus(keep));
  return RemoveFields(schema, merged, merged_set.Minus(set_of_pruned()).And(last_named));
}

}  // namespace

bool ResetsManagedFields(const json& body) {
  if (!body.is_object()) return false;
  const auto metadata = body.find("metadata");
  if (metadata == body.end() || !metadata->is_object()) return false;
  const auto fields = metadata->find("managedFields");
  if (fields == metadata->end() || !fields->is_array()) return false;
  return fields->empty() || (fields->size() == 1 && (*fields)[0].is_object() && (*fields)[0].empty());
}

std::string ManagerFromUserAgent(std::string_view user_agent) {
  return std::string(user_agent.substr(0, user_agent.find('/')).substr(0, kMaxManagerName));
}

void TrackUpdate(const Object* old, Object* updated, const Manager& manager) {
  ObjectMeta* meta = updated->mutable_meta();
  if (meta == nullptr) return;
  const GroupVersionKind gvk = updated->gvk();
  bool reset = manager.reset;
  if (meta->managedfields_size() == 1) {
    const auto& only = meta->managedfields(0);
    reset |= only.manager().empty() && only.operation().empty() && !only.has_fieldsv1();
  }
  Managed managed;
  if (!reset || !manager.subresource.empty()) {
    // A subresource's request cannot set them.
    const bool own = manager.subresource.empty() && meta->managedfields_size() > 0 && Read(*meta, &managed);
    if (!own) {
      managed.clear();
      if (old != nullptr && !Read(old->meta(), &managed)) managed.clear();
    }
  }
  // An object whose ownership is unknown stays so until somebody applies.
  if (managed.empty() && old != nullptr && !old->meta().uid().empty()) {
    meta->clear_managedfields();
    return;
  }
  Entry self;
  self.manager = std::string(manager.name.substr(0, kMaxManagerName));
  self.operation = "Update";
  self.api_version = gvk.group_version().ToString();
  self.subresource = std::string(manager.subresource);
  self.time = ToTime(manager.now);
  const std::vector<FieldPath> ignored = ResetFields(gvk, manager.subresource);
  const bool no_spec =
      old != nullptr && std::find(ignored.begin(), ignored.end(), FieldPath{"f:spec"}) != ignored.end();
  auto document = [&](const Object& object) { return no_spec ? DocumentWithoutSpec(object) : Document(object); };
  const json before = old != nullptr ? document(*old) : EmptyDocument(updated->type(), gvk);
  Update(SchemaOf(updated->type(), manager.custom_schema), before, document(*updated), ignored, std::move(self),
         &managed);
  Write(std::move(managed), meta);
}

StatusOr<Object> ServerSideApply(const Object* live, const json& applied, const TypeOps* type, const Manager& manager,
                                 bool force) {
  if (!applied.is_object()) return BadRequestError("error decoding YAML: the document is no object");
  ASSIGN_OR_RETURN(const GroupVersion version, GroupVersion::Parse(Text(applied, "apiVersion")));
  const GroupVersionKind gvk{version.group, version.version, Text(applied, "kind")};
  const FieldSchema schema = SchemaOf(type, manager.custom_schema);

  if (const std::vector<std::string> errors = SchemaErrors(schema, applied); !errors.empty()) {
    const auto found = applied.find("metadata");
    const json metadata = found != applied.end() ? *found : json();
    std::string name = live != nullptr ? live->meta().namespace_() : Text(metadata, "namespace");
    if (!name.empty()) name += "/";
    name += Text(metadata, "name");
    return Unexplained(absl::StrCat(
        "failed to create typed patch object (", name, "; ", version.ToString(), ", Kind=", gvk.kind,
        "): ", errors.size() == 1 ? errors[0] : absl::StrCat("errors:\n  ", absl::StrJoin(errors, "\n  "))));
  }

  Managed managed;
  json before;
  if (live != nullptr) {
    before = Document(*live);
    if (!Read(live->meta(), &managed)) managed.clear();
    if (managed.empty()) {
      Entry first;
      first.manager = "before-first-apply";
      first.operation = "Update";
      first.api_version = version.ToString();
      first.time = ToTime(manager.now);
      Update(schema, EmptyDocument(type, gvk), before, ResetFields(gvk, manager.subresource), std::move(first),
             &managed);
    }
  } else {
    before = EmptyDocument(type, gvk);
  }

  Entry self;
  self.manager = std::string(manager.name.substr(0, kMaxManagerName));
  self.operation = "Apply";
  self.api_version = version.ToString();
  self.subresource = std::string(manager.subresource);
  const std::vector<FieldPath> ignored = ResetFields(gvk, manager.subresource);
  ASSIGN_OR_RETURN(self.set, SetOf(schema, applied));
  for (const FieldPath& path : ignored) self.set.Cut(path);
  FieldSet last;
  for (Entry& entry : managed) {
    if (!entry.Same(self)) continue;
    last = entry.set;
    self.time = entry.time;
  }
  std::erase_if(managed, [&](const Entry& entry) { return entry.Same(self); });
  managed.push_back(self);

  json after = MergeValues(schema, before, applied);
  after = Prune(schema, after, managed, last);
  Comparison comparison = CompareValues(schema, before, after);
  for (const FieldPath& path : ignored) {
    comparison.added.Cut(path);
    comparison.modified.Cut(path);
    comparison.removed.Cut(path);
  }
  if (!force)
    if (std::vector<Conflict> conflicts = Conflicts(managed, comparison, &self); !conflicts.empty())
      return ConflictStatus(std::move(conflicts));
  TakeFromOthers(&managed, comparison, &self);
  const bool changed = before != after;
  for (Entry& entry : managed) {
    StripMeta(&entry.set);
    if (changed && entry.Same(self)) entry.time = ToTime(manager.now);
  }
  std::erase_if(managed, [](const Entry& entry) { return entry.set.empty(); });

  Object out;
  if (!changed && live != nullptr) {
    out = live->Clone();
  } else if (type != nullptr) {
    out = Object::New(*type);
    if (Status read = out.AssignJson(after); !read.ok()) return Unexplained(read.message());
    SetDefaults(&out);
  } else {
    ASSIGN_OR_RETURN(out, Object::OfJson(gvk, after));
  }
  Write(std::move(managed), out.mutable_meta());
  return out;
}

}  // namespace skiff::api
