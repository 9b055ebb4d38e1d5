// What every API object has, read and written without knowing its type. Pure; no thread affinity.
#ifndef SKIFF_CLIENT_OBJECT_H_
#define SKIFF_CLIENT_OBJECT_H_

#include <string>

#include <google/protobuf/message.h>

#include "api/group_version.h"
#include "base/status.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::api {
struct Resource;
}

namespace skiff::client {

namespace meta = ::k8s::io::apimachinery::pkg::apis::meta::v1;

// The metadata of an API object; a default instance for messages that have none.
const meta::ObjectMeta& MetadataOf(const google::protobuf::Message& object);
meta::ObjectMeta* MutableMetadataOf(google::protobuf::Message* object);  // null for messages that have none

// A type's place in the API. kInvalidArgument for types that the scheme does not know. The pointer stays valid.
StatusOr<const api::Resource*> ResourceOf(const google::protobuf::Message& prototype);

// An owner reference with controller and blockOwnerDeletion set, as controllers make it.
meta::OwnerReference ControllerReference(const google::protobuf::Message& owner);
// The owner reference marked as controller, or null.
const meta::OwnerReference* ControllerOf(const meta::ObjectMeta& metadata);

// apiVersion and kind of any API message: also bodies that are no resource themselves (Scale, TokenRequest,
// DeleteOptions).
api::GroupVersionKind KindOf(const google::protobuf::Message& object);

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_OBJECT_H_
