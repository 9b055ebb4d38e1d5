// Label and field selectors: text and LabelSelector messages to matchers. Errors in upstream's words ("unable to parse
// requirement: found '' expected: '('"). Follows
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors . Plain value types.
#ifndef SKIFF_API_SELECTOR_H_
#define SKIFF_API_SELECTOR_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/map.h>

#include "base/status.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api {

using Labels = google::protobuf::Map<std::string, std::string>;
using LabelSelectorProto = k8s::io::apimachinery::pkg::apis::meta::v1::LabelSelector;

struct Requirement {
  enum class Op : uint8_t {
    kIn,
    kNotIn,
    kEquals,
    kDoubleEquals,
    kNotEquals,
    kExists,
    kDoesNotExist,
    kGreaterThan,
    kLessThan
  };
  std::string key;
  Op op;
  std::vector<std::string> values;  // sorted
  bool Matches(const Labels& labels) const;
  std::string ToString() const;
};

class LabelSelector {
 public:
  LabelSelector() = default;  // matches everything
  static LabelSelector Nothing();
  // "a=b,c!=d,e in (f,g),!h,i>1"
  static StatusOr<LabelSelector> Parse(std::string_view text);
  // Unset (nullptr) matches nothing, an empty message everything. Error: `"x" is not a valid label selector operator`
  // etc.
  static StatusOr<LabelSelector> From(const LabelSelectorProto* proto);
  static LabelSelector FromMap(const Labels& labels);

  bool Matches(const Labels& labels) const;
  bool empty() const { return !nothing_ && requirements_.empty(); }
  const std::vector<Requirement>& requirements() const { return requirements_; }
  std::string ToString() const;

 private:
  bool nothing_ = false;
  std::vector<Requirement> requirements_;  // sorted by key
};

// Label selector of node affinity and the like is in kubelet/scheduler code; In/NotIn/Exists/Gt/Lt share Requirement.

// "metadata.name=x,status.phase!=Running". Which fields a kind supports is for the caller to say.
class FieldSelector {
 public:
  struct Term {
    std::string field;
    bool equal;
    std::string value;
  };
  FieldSelector() = default;
  // Error: invalid selector: 'x'; can't understand 'x'
  static StatusOr<FieldSelector> Parse(std::string_view text);
  // value_of(field) gives the object's value, "" where unset.
  bool Matches(const std::function<std::string(std::string_view field)>& value_of) const;
  bool empty() const { return terms_.empty(); }
  const std::vector<Term>& terms() const { return terms_; }
  // The value that `field` must equal, or nullptr.
  const std::string* RequiresExactMatch(std::string_view field) const;
  std::string ToString() const;

 private:
  std::vector<Term> terms_;
};

}  // namespace skiff::api

#endif  // SKIFF_API_SELECTOR_H_
