// Calls with an end: for what strangers can cause, so that many of them do not stand in the way of everything else that
// the client has to ask. Loop only.
#ifndef SKIFF_CLIENT_LIMITED_CALL_H_
#define SKIFF_CLIENT_LIMITED_CALL_H_

#include <memory>
#include <utility>

#include "client/rest.h"
#include "client/wire.h"

namespace skiff::client {

// As rest->Run, for at most `limit`, waiting and retries included: then kDeadlineExceeded. At once, and without a place
// in the line, when the rate limit alone would take that long.
Task<Status> RunWithin(std::shared_ptr<Rest> rest, std::chrono::nanoseconds limit, Rest::Call call, Message* out);

// Creates what is no lasting object (a review), and returns it as answered.
template <typename T>
Task<StatusOr<T>> CreateWithin(std::shared_ptr<Rest> rest, std::chrono::nanoseconds limit, T object) {
  Rest::Call call{&T::default_instance(), "POST"};
  call.content_type = "application/vnd.kubernetes.protobuf";
  call.body = EncodeObject(object);
  T out;
  Status status = co_await RunWithin(std::move(rest), limit, std::move(call), &out);
  if (!status.ok()) co_return status;
  co_return std::move(out);
}

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_LIMITED_CALL_H_
