// Tables: the rows that kubectl get prints. Columns and cells are upstream's; each family of kinds has its file in
// tables/.
#ifndef SKIFF_CONTROLPLANE_APISERVER_TABLE_H_
#define SKIFF_CONTROLPLANE_APISERVER_TABLE_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/object.h"
#include "base/clock.h"
#include "controlplane/apiserver/kinds.h"
#include "controlplane/apiserver/negotiation.h"

namespace skiff::controlplane {

struct Column {
  std::string_view name, type;   // "string", "integer", "number", "boolean"
  int priority = 0;              // 1: only with -o wide
  std::string_view format = "";  // "name" for the object's name
};

// Cells of one row, written as JSON values.
class Cells {
 public:
  explicit Cells(std::string* out) : out_(out) {}
  void Text(std::string_view value);
  void Int(int64_t value);
  void Bool(bool value);
  void Raw(std::string_view json);  // already JSON

 private:
  std::string* out_;
  bool first_ = true;
};

struct TableForm {
  std::span<const Column> columns;
  void (*cells)(const api::Object& object, WallTime now, Cells& cells);
};

// A kind's form; kinds without one of their own have Name and Created At.
const TableForm& TableFormOf(std::string_view group, std::string_view plural);
const TableForm* CoreTable(std::string_view plural);
const TableForm* WorkloadTable(std::string_view group, std::string_view plural);
const TableForm* NetworkTable(std::string_view group, std::string_view plural);
const TableForm* ClusterTable(std::string_view group, std::string_view plural);
const TableForm* PolicyTable(std::string_view group, std::string_view plural);

// Writes a Table object piece by piece.
class TableWriter {
 public:
  // `include_object`: "None", "Metadata" (and ""), "Object".
  TableWriter(const Kind& kind, const Output& output, std::string_view include_object, WallTime now);
  void Begin(std::string_view resource_version, std::string_view continue_token, std::optional<int64_t> remaining,
             std::string* out, bool with_columns = true);
  void Row(const api::Object& object, std::string* out);
  void End(std::string* out);

 private:
  const Output& output_;
  const std::string include_;
  const WallTime now_;
  const TableForm& form_;
  const CustomType* custom_;  // null for built-in kinds
  bool first_ = true;
};

// Age cells: "5m", "<unknown>" for an unset time.
std::string AgeOf(const metav1::Time& time, WallTime now);
// A selector or label set as text, "<none>" when empty.
std::string LabelsText(const google::protobuf::Map<std::string, std::string>& labels);
std::string SelectorText(const metav1::LabelSelector* selector);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_TABLE_H_
