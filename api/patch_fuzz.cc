// Any JSON as each kind of patch, and as an applied document, on a pod: no crash.
#include <cstdint>
#include <string_view>

#include "api/managed_fields.h"
#include "api/patch.h"
#include "k8s/io/api/core/v1/pod.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skiff::api;  // NOLINT
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  k8s::io::api::core::v1::Pod pod;
  if (!FromJson(
           std::string_view(R"({"metadata":{"name":"p","labels":{"a":"b"},"finalizers":["x/y"]},"spec":{"containers":[
        {"name":"c","image":"i","ports":[{"containerPort":80}]}],"volumes":[{"name":"v","emptyDir":{}}]}})"),
           &pod)
           .ok())
    return 0;
  const Object object = Object::Of(std::move(pod));
  for (const std::string_view type : {kJsonPatchType, kMergePatchType, kStrategicMergePatchType})
    if (auto patched = PatchObject(object, type, text); patched.ok())
      TrackUpdate(&object, &*patched, {.name = "fuzz", .subresource = {}, .now = {}});
  if (const auto document = ParseJson(text); document.ok() && document->is_object())
    (void)ServerSideApply(&object, *document, object.type(), {.name = "fuzz", .subresource = {}, .now = {}}, false);
  return 0;
}
