// Events about objects (core/v1), as upstream's recorder writes them: equal ones are counted on one Event (patch of
// count, lastTimestamp and message), many similar ones are aggregated under "(combined from similar events): ..", and
// each object has a token bucket (burst 25, one more every 5 minutes). Recording never blocks and never fails: the
// queue is bounded (1,000) and the newest is dropped when it is full. Loop thread only.
#ifndef SKIFF_CLIENT_EVENTS_H_
#define SKIFF_CLIENT_EVENTS_H_

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/rest.h"
#include "k8s/io/api/core/v1/reference.pb.h"

namespace skiff::client {

inline constexpr std::string_view kNormal = "Normal";
inline constexpr std::string_view kWarning = "Warning";

using ObjectReference = ::k8s::io::api::core::v1::ObjectReference;

// kind, apiVersion, namespace, name, uid and resourceVersion of an object. `field_path` names a part of it:
// "spec.containers{web}".
ObjectReference ReferenceTo(const Message& object, std::string_view field_path = "");

using EventAnnotations = std::map<std::string, std::string>;

class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void Record(const ObjectReference& about, std::string_view type, std::string_view reason,
                      std::string message) = 0;

  void Record(const Message& object, std::string_view type, std::string_view reason, std::string message) {
    Record(ReferenceTo(object), type, reason, std::move(message));
  }
  // With annotations on the Event; a sink that keeps none drops them.
  virtual void RecordAnnotated(const ObjectReference& about, std::string_view type, std::string_view reason,
                               std::string message, const EventAnnotations& /*annotations*/) {
    Record(about, type, reason, std::move(message));
  }
};

// When events are sent. They wait a moment for others, so that writing them does not compete with the work that they
// tell of; in the order of their coming, with the times of their coming. A warning is sent at once, with all before it.
struct EventDelay {
  std::chrono::nanoseconds usual = std::chrono::milliseconds(50);
  std::chrono::nanoseconds longest = std::chrono::seconds(2);  // while `busy`
  std::function<bool()> busy;
};

class EventRecorder final : public EventSink {
 public:
  // `component` ("kubelet", "default-scheduler") and `host` (the node's name, or "") are the event's source.
  EventRecorder(std::shared_ptr<Rest> rest, std::string component, std::string host);
  ~EventRecorder() override;

  using EventSink::Record;
  void Record(const ObjectReference& about, std::string_view type, std::string_view reason,
              std::string message) override;
  void RecordAnnotated(const ObjectReference& about, std::string_view type, std::string_view reason,
                       std::string message, const EventAnnotations& annotations) override;
  // Before Run; without it, each event is sent at once. What waits when Run is cancelled is still sent, if the server
  // takes it within a second.
  void SetDelay(EventDelay delay);
  // Sends what was recorded, until cancelled. Events wait in the queue while the server is away (12 tries each).
  Task<void> Run();
  size_t dropped() const;

 private:
  struct State;
  static Task<void> RunState(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// Events in the form of events.k8s.io/v1, as the scheduler writes them: eventTime and action instead of a source and
// counts; one that comes again becomes a series (first repeat at once, later ones every 30 minutes and 6 minutes after
// the last). Same queue and guarantees as EventRecorder.
class SeriesRecorder {
 public:
  // `controller` is "default-scheduler"; the instance is "default-scheduler-HOST".
  SeriesRecorder(std::shared_ptr<Rest> rest, std::string controller, std::string host);
  ~SeriesRecorder();
  void Record(const ObjectReference& regarding, std::string_view type, std::string_view reason, std::string_view action,
              std::string message);
  Task<void> Run();

 private:
  struct State;
  static Task<void> RunState(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// Keeps what was recorded, for tests: "Normal Started Container started".
class FakeEventSink final : public EventSink {
 public:
  using EventSink::Record;
  void Record(const ObjectReference& about, std::string_view type, std::string_view reason,
              std::string message) override;
  struct Entry {
    ObjectReference about;
    std::string type, reason, message;
  };
  std::vector<Entry> events;
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_EVENTS_H_
