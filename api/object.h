// One API object of any kind: a protobuf message with its type for built-in kinds, a JSON document for custom
// resources, under one interface. The metadata of both is the same typed ObjectMeta. Move-only; Clone copies. An empty
// Object (default constructed, moved from) may only be assigned to, destroyed or tested. Not thread-safe, shareable
// when const.
#ifndef SKIFF_API_OBJECT_H_
#define SKIFF_API_OBJECT_H_

#include <memory>
#include <string>
#include <string_view>

#include <google/protobuf/message.h>
#include <nlohmann/json.hpp>

#include "api/codec.h"
#include "api/group_version.h"
#include "api/types.h"
#include "base/status.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api {

using ObjectMeta = k8s::io::apimachinery::pkg::apis::meta::v1::ObjectMeta;
using ListMeta = k8s::io::apimachinery::pkg::apis::meta::v1::ListMeta;

class Object {
 public:
  Object();
  Object(Object&&) noexcept;
  Object& operator=(Object&&) noexcept;
  ~Object();

  // An object of a built-in type; the message is moved in.
  template <typename T>
  static Object Of(T message) {
    return Object(TypeOpsOf<T>(), std::make_unique<T>(std::move(message)));
  }
  template <typename T>
  static Object Of(std::unique_ptr<T> message) {
    return Object(TypeOpsOf<T>(), std::move(message));
  }
  // An empty object of a type found at run time.
  static Object New(const TypeOps& type);
  Object(const TypeOps& type, std::unique_ptr<google::protobuf::Message> message);
  // A custom resource: metadata is parsed out of the document (error as FromJson's), apiVersion and kind are taken off.
  // The document must be an object.
  static StatusOr<Object> OfJson(GroupVersionKind gvk, json document, FieldProblems* problems = nullptr);

  explicit operator bool() const { return type_ != nullptr || custom_ != nullptr; }
  bool is_custom() const { return custom_ != nullptr; }
  GroupVersionKind gvk() const;
  std::string api_version() const { return gvk().group_version().ToString(); }
  std::string_view kind() const;
  const TypeOps* type() const { return type_; }  // nullptr for custom resources

  // Metadata; every kind held in an Object has one (TypeOps::meta is set), else the empty ObjectMeta is returned and
  // mutable_meta is nullptr.
  const ObjectMeta& meta() const;
  ObjectMeta* mutable_meta();

  // The message: nullptr for custom resources.
  const google::protobuf::Message* message() const { return message_.get(); }
  google::protobuf::Message* mutable_message() { return message_.get(); }
  // The message as T, or nullptr when it is of another type.
  template <typename T>
  const T* As() const {
    return type_ == &TypeOpsOf<T>() || (type_ && type_->Is<T>()) ? static_cast<const T*>(message_.get()) : nullptr;
  }
  template <typename T>
  T* As() {
    return const_cast<T*>(static_cast<const Object*>(this)->As<T>());
  }
  // A custom resource's document without apiVersion, kind and metadata.
  const json& content() const;
  json* mutable_content();

  Object Clone() const;

  // JSON text with kind and apiVersion. Custom resources have their keys sorted, as upstream writes them.
  void AppendJson(std::string* out) const;
  std::string ToJson() const;
  // The whole object as a document, with kind, apiVersion and metadata.
  json ToJsonValue() const;
  // Protobuf with envelope. kFailedPrecondition for custom resources (upstream serves them as JSON only).
  StatusOr<std::string> ToProtobuf() const;
  std::string ToYaml() const;

  // Replaces the content from a document of the same kind (after a patch).
  Status AssignJson(const json& document, FieldProblems* problems = nullptr);

 private:
  struct Custom;
  const TypeOps* type_ = nullptr;
  std::unique_ptr<google::protobuf::Message> message_;
  std::unique_ptr<Custom> custom_;
};

// Equal content (metadata included).
bool Equal(const Object& a, const Object& b);

}  // namespace skiff::api

#endif  // SKIFF_API_OBJECT_H_
