#include "controlplane/apiserver/table.h"

#include "api/codec.h"
#include "api/json_number.h"
#include "api/selector.h"
#include "api/text.h"
#include "api/time.h"
#include "controlplane/apiserver/custom/custom_type.h"
#include "controlplane/apiserver/output.h"

namespace skiff::controlplane {
namespace {

constexpr Column kDefaultColumns[] = {{"Name", "string", 0, "name"}, {"Created At", "date"}};
void DefaultCells(const api::Object& object, WallTime, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Text(api::FormatTime(object.meta().creationtimestamp()));
}
constexpr TableForm kDefault{kDefaultColumns, DefaultCells};

// A custom resource's own columns, behind its name; without any, its age.
void CustomCells(const CustomType& type, const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  if (type.columns.empty()) return cells.Text(AgeOf(object.meta().creationtimestamp(), now));
  const api::json document = object.ToJsonValue();
  for (const CustomType::PrinterColumn& column : type.columns) {
    const auto found = column.path.Find(document);
    if (found.empty() || found[0]->is_null()) {
      cells.Raw("null");
      continue;
    }
    std::string all;
    for (const api::json* one : found)
      absl::StrAppend(&all, all.empty() ? "" : " ", one->is_string() ? one->get<std::string>() : api::GoPrint(*one));
    const api::json& value = *found[0];
    if (column.type == "integer")
      value.is_number() ? cells.Int(api::IntegerOf(value)) : cells.Raw("null");
    else if (column.type == "number")
      cells.Raw(value.is_number() ? value.dump() : "null");
    else if (column.type == "boolean")
      value.is_boolean() ? cells.Bool(value.get<bool>()) : cells.Raw("null");
    else if (column.type == "date") {
      auto time = value.is_string() ? api::ParseTime(value.get<std::string>()) : StatusOr<metav1::Time>(metav1::Time());
      cells.Text(time.ok() && value.is_string() ? AgeOf(*time, now) : "<invalid>");
    } else
      cells.Text(all);
  }
}

}  // namespace

void Cells::Text(std::string_view value) {
  if (!first_) out_->push_back(',');
  first_ = false;
  api::AppendJsonString(value, out_);
}
void Cells::Int(int64_t value) {
  absl::StrAppend(out_, first_ ? "" : ",", value);
  first_ = false;
}
void Cells::Raw(std::string_view json) {
  absl::StrAppend(out_, first_ ? "" : ",", std::string(json));
  first_ = false;
}
void Cells::Bool(bool value) {
  absl::StrAppend(out_, first_ ? "" : ",", value ? "true" : "false");
  first_ = false;
}

const TableForm& TableFormOf(std::string_view group, std::string_view plural) {
  const TableForm* form = group.empty() ? CoreTable(plural) : nullptr;
  if (!form) form = WorkloadTable(group, plural);
  if (!form) form = NetworkTable(group, plural);
  if (!form) form = ClusterTable(group, plural);
  if (!form) form = PolicyTable(group, plural);
  return form ? *form : kDefault;
}

TableWriter::TableWriter(const Kind& kind, const Output& output, std::string_view include_object, WallTime now)
    : output_(output),
      include_(include_object),
      now_(now),
      form_(TableFormOf(kind.resource->group, kind.resource->plural)),
      custom_(kind.custom.get()) {}

void TableWriter::Begin(std::string_view resource_version, std::string_view continue_token,
                        std::optional<int64_t> remaining, std::string* out, bool with_columns) {
  absl::StrAppend(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/", output_.meta_version, "\",\"metadata\":");
  metav1::ListMeta meta;
  if (!resource_version.empty()) meta.set_resourceversion(std::string(resource_version));
  if (!continue_token.empty()) meta.set_continue_(std::string(continue_token));
  if (remaining) meta.set_remainingitemcount(*remaining);
  api::AppendJson(meta, nullptr, out);
  if (!with_columns) {
    out->append(",\"columnDefinitions\":null,\"rows\":[");
    return;
  }
  out->append(",\"columnDefinitions\":[");
  bool first = true;
  auto custom_column = [&](std::string_view name, std::string_view type, std::string_view format,
                           std::string_view description, int priority) {
    absl::StrAppend(out, first ? "" : ",", "{\"name\":");
    first = false;
    api::AppendJsonString(name, out);
    out->append(",\"type\":");
    api::AppendJsonString(type, out);
    out->append(",\"format\":");
    api::AppendJsonString(format, out);
    out->append(",\"description\":");
    api::AppendJsonString(description, out);
    absl::StrAppend(out, ",\"priority\":", priority, "}");
  };
  if (custom_) {
    custom_column("Name", "string", "name", "", 0);
    if (custom_->columns.empty())
      custom_column("Age", "date", "",
                    "Custom resource definition column (in JSONPath format): .metadata.creationTimestamp", 0);
    for (const CustomType::PrinterColumn& column : custom_->columns)
      custom_column(column.name, column.type, column.format, column.description, column.priority);
    out->append("],\"rows\":[");
    return;
  }
  for (const Column& column : form_.columns) {
    if (!first) out->push_back(',');
    first = false;
    out->append("{\"name\":");
    api::AppendJsonString(column.name, out);
    out->append(",\"type\":");
    api::AppendJsonString(column.type, out);
    out->append(",\"format\":");
    api::AppendJsonString(column.format, out);
    absl::StrAppend(out, ",\"description\":\"\",\"priority\":", column.priority, "}");
  }
  out->append("],\"rows\":[");
}

void TableWriter::Row(const api::Object& object, std::string* out) {
  if (!first_) out->push_back(',');
  first_ = false;
  out->append("{\"cells\":[");
  Cells cells(out);
  if (custom_)
    CustomCells(*custom_, object, now_, cells);
  else
    form_.cells(object, now_, cells);
  out->append("],\"object\":");
  if (include_ == "None") {
    out->append("null");
  } else if (include_ == "Object") {
    object.AppendJson(out);
  } else {
    AppendPartialJson(object, output_, true, out);
  }
  out->append("}");
}

void TableWriter::End(std::string* out) { out->append("]}"); }

std::string AgeOf(const metav1::Time& time, WallTime now) {
  if (api::IsZero(time)) return "<unknown>";
  return api::HumanDuration(now - api::FromTime(time));
}

std::string LabelsText(const google::protobuf::Map<std::string, std::string>& labels) {
  if (labels.empty()) return "<none>";
  std::vector<std::string> parts;
  for (const auto& [key, value] : labels) parts.push_back(absl::StrCat(key, "=", value));
  std::sort(parts.begin(), parts.end());
  std::string out;
  for (const std::string& part : parts) absl::StrAppend(&out, out.empty() ? "" : ",", part);
  return out;
}

std::string SelectorText(const metav1::LabelSelector* selector) {
  if (!selector) return "<none>";
  auto parsed = api::LabelSelector::From(selector);
  if (!parsed.ok()) return "<error>";
  std::string text = parsed->ToString();
  return text.empty() ? "<none>" : text;
}

}  // namespace skiff::controlplane
