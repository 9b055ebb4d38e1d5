// A kind that a CustomResourceDefinition makes: its names, schema, columns and subresources, and what they mean for its
// objects. Constant after it was made, but for `retired`. Loop thread only.
#ifndef SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CUSTOM_TYPE_H_
#define SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CUSTOM_TYPE_H_

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/object.h"
#include "controlplane/apiserver/custom/json_path.h"
#include "controlplane/apiserver/kinds.h"
#include "k8s/io/apiextensions_apiserver/pkg/apis/apiextensions/v1/generated.pb.h"

namespace skiff::controlplane {

namespace apiextensions = ::k8s::io::apiextensions_apiserver::pkg::apis::apiextensions::v1;

struct CustomType {
  struct PrinterColumn {
    std::string name, type, format, description;
    int priority = 0;
    JsonPath path;
  };
  struct NamedPath {
    std::string name;  // as the definition writes it, with the dot in front
    JsonPath path;
  };

  api::GroupVersionKind gvk;
  std::string storage_version;  // "example.com/v1": what objects are stored as
  std::string list_kind;
  nlohmann::json schema;  // openAPIV3Schema
  std::vector<PrinterColumn> columns;
  std::vector<NamedPath> fields;  // selectable
  bool has_status = false;
  std::optional<NamedPath> spec_replicas, status_replicas, label_selector;  // of the scale subresource
  bool terminating = false;  // the definition is being deleted: nothing new is made
  std::string deprecation;   // a warning for every request; "" where the version is not deprecated
  // Another definition took this one's place: watches end, so that clients come again.
  mutable bool retired = false;

  api::Resource resource;
  std::deque<std::string> texts;  // what the resource's views point at

  // A document to an object of this kind: pruned and with defaults. What was taken out goes to `problems`.
  StatusOr<api::Object> FromDocument(nlohmann::json document, api::FieldProblems* problems) const;
  // The same for an object that a patch made.
  void Normalize(api::Object* object, api::FieldProblems* problems) const;

  Status ValidateCreate(const api::Object& object) const;
  Status ValidateUpdate(const api::Object& updated, const api::Object& old, std::string_view subresource) const;

  // The kinds of a definition, one for each served version. Empty while its names are not accepted.
  static std::vector<std::shared_ptr<const Kind>> KindsOf(const apiextensions::CustomResourceDefinition& definition);
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_CUSTOM_CUSTOM_TYPE_H_
