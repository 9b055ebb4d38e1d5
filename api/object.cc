#include "api/object.h"

#include "absl/strings/str_cat.h"

namespace skiff::api {

struct Object::Custom {
  GroupVersionKind gvk;
  ObjectMeta meta;
  json content;
};

Object::Object(Object&& other) noexcept
    : type_(std::exchange(other.type_, nullptr)),
      message_(std::move(other.message_)),
      custom_(std::move(other.custom_)) {}

Object& Object::operator=(Object&& other) noexcept {
  type_ = std::exchange(other.type_, nullptr);
  message_ = std::move(other.message_);
  custom_ = std::move(other.custom_);
  return *this;
}

Object::Object() = default;
Object::~Object() = default;

Object::Object(const TypeOps& type, std::unique_ptr<google::protobuf::Message> message)
    : type_(&type), message_(std::move(message)) {}

Object Object::New(const TypeOps& type) { return Object(type, type.New()); }

StatusOr<Object> Object::OfJson(GroupVersionKind gvk, json document, FieldProblems* problems) {
  Object out;
  out.custom_ = std::make_unique<Custom>();
  out.custom_->gvk = std::move(gvk);
  RETURN_IF_ERROR(out.AssignJson(document, problems));
  return out;
}

Status Object::AssignJson(const json& document, FieldProblems* problems) {
  if (custom_ == nullptr) return FromJsonValue(document, message_.get(), problems);
  if (!document.is_object()) return InvalidArgument("json: the document is no object");
  ObjectMeta meta;
  if (const auto it = document.find("metadata"); it != document.end() && !it->is_null()) {
    // Read as a field of the whole, so that paths and errors begin with "metadata".
    if (!it->is_object()) return InvalidArgument("json: metadata is no object");
    FieldProblems found;
    RETURN_IF_ERROR(FromJsonValue(*it, &meta, problems ? &found : nullptr));
    for (std::string& problem : found) {
      const size_t quote = problem.find('"');
      problems->push_back(problem.insert(quote + 1, "metadata."));
    }
  }
  custom_->meta = std::move(meta);
  custom_->content = document;
  custom_->content.erase("metadata");
  custom_->content.erase("apiVersion");
  custom_->content.erase("kind");
  return absl::OkStatus();
}

GroupVersionKind Object::gvk() const {
  if (type_) return type_->gvk();
  return custom_ ? custom_->gvk : GroupVersionKind{};
}

std::string_view Object::kind() const {
  if (type_) return type_->kind;
  return custom_ ? std::string_view(custom_->gvk.kind) : std::string_view();
}

const ObjectMeta& Object::meta() const {
  if (custom_) return custom_->meta;
  if (type_ && type_->meta) return *type_->meta(*message_);
  return ObjectMeta::default_instance();
}

ObjectMeta* Object::mutable_meta() {
  if (custom_) return &custom_->meta;
  return type_ && type_->mutable_meta ? type_->mutable_meta(message_.get()) : nullptr;
}

const json& Object::content() const {
  static const json* const none = new json;
  return custom_ ? custom_->content : *none;
}

json* Object::mutable_content() { return custom_ ? &custom_->content : nullptr; }

Object Object::Clone() const {
  Object out;
  out.type_ = type_;
  if (message_) {
    out.message_.reset(message_->New());
    out.message_->CheckTypeAndMergeFrom(*message_);
  }
  if (custom_) out.custom_ = std::make_unique<Custom>(*custom_);
  return out;
}

void Object::AppendJson(std::string* out) const {
  if (!custom_) {
    const GroupVersionKind gvk = type_->gvk();
    return api::AppendJson(*message_, &gvk, out);
  }
  // As upstream writes unstructured content: every key in order, apiVersion, kind and metadata among them.
  api::AppendJson(ToJsonValue(), out);
}

std::string Object::ToJson() const {
  std::string out;
  AppendJson(&out);
  return out;
}

json Object::ToJsonValue() const {
  if (!custom_) {
    const GroupVersionKind gvk = type_->gvk();
    return api::ToJsonValue(*message_, &gvk);
  }
  json out = custom_->content;
  if (!out.is_object()) out = json::object();
  out["apiVersion"] = custom_->gvk.group_version().ToString();
  out["kind"] = custom_->gvk.kind;
  out["metadata"] = api::ToJsonValue(custom_->meta);
  return out;
}

StatusOr<std::string> Object::ToProtobuf() const {
  if (custom_) return FailedPrecondition("custom resources have no protobuf form");
  return api::ToProtobuf(*message_, type_->gvk());
}

std::string Object::ToYaml() const { return JsonToYaml(ToJsonValue()); }

bool Equal(const Object& a, const Object& b) {
  if (a.is_custom() != b.is_custom()) return false;
  if (a.is_custom()) return a.gvk() == b.gvk() && Equal(a.meta(), b.meta()) && a.content() == b.content();
  if (a.message() == nullptr || b.message() == nullptr) return a.message() == b.message();
  return Equal(*a.message(), *b.message());
}

}  // namespace skiff::api
