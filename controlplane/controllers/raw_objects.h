// Requests on objects of any kind, as JSON documents: for the controllers that delete whatever there is.
#ifndef SKIFF_CONTROLPLANE_CONTROLLERS_RAW_OBJECTS_H_
#define SKIFF_CONTROLPLANE_CONTROLLERS_RAW_OBJECTS_H_

#include <string>

#include <nlohmann/json.hpp>

#include "client/rest.h"

namespace skiff::controlplane {

// "/apis/apps/v1/namespaces/ns/replicasets/name"; ns and name may be empty.
std::string ObjectPath(std::string_view group, std::string_view version, std::string_view plural, bool namespaced,
                       std::string_view ns, std::string_view name);

// The answer's document. Errors as Rest's, with the server's reason.
Task<StatusOr<nlohmann::json>> RequestJson(std::shared_ptr<client::Rest> rest, std::string method, std::string target,
                                           std::string content_type = "", std::string body = "");

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_CONTROLLERS_RAW_OBJECTS_H_
