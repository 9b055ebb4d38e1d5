#include "controlplane/apiserver/event_conversion.h"

#include "k8s/io/api/core/v1/event.pb.h"
#include "k8s/io/api/events/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace events = ::k8s::io::api::events::v1;

events::Event FromCore(const core::Event& in) {
  events::Event out;
  *out.mutable_metadata() = in.metadata();
  if (in.has_eventtime()) *out.mutable_eventtime() = in.eventtime();
  if (in.has_series()) {
    out.mutable_series()->set_count(in.series().count());
    *out.mutable_series()->mutable_lastobservedtime() = in.series().lastobservedtime();
  }
  out.set_reportingcontroller(in.reportingcomponent());
  out.set_reportinginstance(in.reportinginstance());
  out.set_action(in.action());
  out.set_reason(in.reason());
  if (in.has_involvedobject()) *out.mutable_regarding() = in.involvedobject();
  if (in.has_related()) *out.mutable_related() = in.related();
  out.set_note(in.message());
  out.set_type(in.type());
  if (in.has_source()) *out.mutable_deprecatedsource() = in.source();
  if (in.has_firsttimestamp()) *out.mutable_deprecatedfirsttimestamp() = in.firsttimestamp();
  if (in.has_lasttimestamp()) *out.mutable_deprecatedlasttimestamp() = in.lasttimestamp();
  out.set_deprecatedcount(in.count());
  return out;
}

core::Event ToCore(const events::Event& in) {
  core::Event out;
  *out.mutable_metadata() = in.metadata();
  if (in.has_eventtime()) *out.mutable_eventtime() = in.eventtime();
  if (in.has_series()) {
    out.mutable_series()->set_count(in.series().count());
    *out.mutable_series()->mutable_lastobservedtime() = in.series().lastobservedtime();
  }
  out.set_reportingcomponent(in.reportingcontroller());
  out.set_reportinginstance(in.reportinginstance());
  out.set_action(in.action());
  out.set_reason(in.reason());
  if (in.has_regarding()) *out.mutable_involvedobject() = in.regarding();
  if (in.has_related()) *out.mutable_related() = in.related();
  out.set_message(in.note());
  out.set_type(in.type());
  if (in.has_deprecatedsource()) *out.mutable_source() = in.deprecatedsource();
  if (in.has_deprecatedfirsttimestamp()) *out.mutable_firsttimestamp() = in.deprecatedfirsttimestamp();
  if (in.has_deprecatedlasttimestamp()) *out.mutable_lasttimestamp() = in.deprecatedlasttimestamp();
  out.set_count(in.deprecatedcount());
  return out;
}

}  // namespace

api::Object ConvertEvent(api::Object object, const api::TypeOps& to) {
  if (object.type() == &to) return object;
  if (const auto* event = object.As<core::Event>()) return api::Object::Of(FromCore(*event));
  if (const auto* event = object.As<events::Event>()) return api::Object::Of(ToCore(*event));
  return object;
}

}  // namespace skiff::controlplane
