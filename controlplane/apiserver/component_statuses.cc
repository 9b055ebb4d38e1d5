// componentstatuses: what the server knows of the control plane's parts. Deprecated, and still asked for.
#include "api/codec.h"
#include "api/errors.h"
#include "controlplane/apiserver/output.h"
#include "controlplane/apiserver/server_parts.h"
#include "controlplane/apiserver/table.h"
#include "k8s/io/api/core/v1/options.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;

api::Object StatusOf(const std::string& name, bool known) {
  core::ComponentStatus status;
  status.mutable_metadata()->set_name(name);
  core::ComponentCondition* condition = status.add_conditions();
  condition->set_type("Healthy");
  condition->set_status(known ? "True" : "Unknown");
  if (known)
    condition->set_message("ok");
  else
    condition->set_error("runs outside this process and is not probed");
  return api::Object::Of(std::move(status));
}

}  // namespace

Task<Status> ServeComponentStatuses(ServerParts& parts, Call& call) {
  call.context.warnings.push_back("v1 ComponentStatus is deprecated in v1.19+");
  std::vector<api::Object> all;
  // The store answers, or this server would not.
  all.push_back(StatusOf("etcd-0", true));
  all.push_back(StatusOf("controller-manager", parts.controllers_inside));
  all.push_back(StatusOf("scheduler", parts.controllers_inside));
  if (call.info().verb == "get") {
    for (const api::Object& object : all) {
      if (object.meta().name() != call.info().name) continue;
      auto body = EncodeObject(object, call.kind, call.output, call.context.now);
      if (!body.ok()) co_return body.status();
      co_return co_await Answer(call.exchange, 200, call.output, &call.context, *std::move(body));
    }
    co_return api::NotFoundError(call.kind.About(call.info().name));
  }
  std::string text;
  if (call.output.as == As::kTable) {
    TableWriter table(call.kind, call.output, call.request().query.Get("includeObject"), call.context.now);
    table.Begin("", "", std::nullopt, &text);
    for (const api::Object& object : all) table.Row(object, &text);
    table.End(&text);
    co_return co_await Answer(call.exchange, 200, call.output, &call.context, EncodeJson(std::move(text), call.output));
  }
  core::ComponentStatusList list;
  for (const api::Object& object : all) *list.add_items() = *object.As<core::ComponentStatus>();
  Output output = call.output;
  output.as = As::kObject;
  co_return co_await Answer(call.exchange, 200, output, &call.context,
                            EncodeMessage(list, {"", "v1", "ComponentStatusList"}, output));
}

}  // namespace skiff::controlplane
