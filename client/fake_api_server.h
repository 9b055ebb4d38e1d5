// An API server in small for tests: real HTTP on a loopback port, objects in memory, watches with history, and faults
// on demand. It keeps what it is given: no defaulting, no validation, no admission. Strategic merge patches are applied
// as merge patches. Loop thread only.
#ifndef SKIFF_CLIENT_FAKE_API_SERVER_H_
#define SKIFF_CLIENT_FAKE_API_SERVER_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/http_server.h"
#include "client/kubeconfig.h"
#include "client/rest.h"

namespace skiff::client {

class FakeApiServer {
 public:
  explicit FakeApiServer(asio::any_io_executor executor);
  ~FakeApiServer();

  Config config() const;  // no TLS, no rate limit
  std::shared_ptr<Rest> NewRest(Clock& clock = Clock::Real()) const;

  // State, without HTTP. Put creates or replaces; uid, resourceVersion and creationTimestamp are set when missing.
  void Put(const Message& object);
  template <typename T>
  std::shared_ptr<const T> Get(const std::string& key) const {
    return std::static_pointer_cast<const T>(Find(T::default_instance(), key));
  }
  template <typename T>
  std::vector<std::shared_ptr<const T>> List() const {
    std::vector<std::shared_ptr<const T>> out;
    for (auto& object : All(T::default_instance())) out.push_back(std::static_pointer_cast<const T>(object));
    return out;
  }
  void Remove(const Message& prototype, const std::string& key);

  // Faults.
  void FailNext(int count, int status, std::string retry_after = "");  // the next requests that are no watches
  void FailNextWatches(int count, int status);
  void DropNext(int count);     // closes the connection instead of answering
  void DropWatches();           // breaks every running watch
  void EndWatches();            // ends them in order
  void Compact();               // versions up to now can no longer be watched; watches go on
  void CorruptNextEvent();      // the next watch event is garbage
  void SendBookmarks();         // to every watch
  void MuteWatches(bool mute);  // events are not sent (a slow server)

  // "GET /api/v1/pods?limit=500" in the order of arrival.
  const std::vector<std::string>& requests() const;
  size_t CountRequests(const std::string& prefix) const;
  size_t watches() const;
  // Called before a request is answered; false answers 500. For tests that look at headers.
  std::function<bool(const http::Request&)> inspect;

 private:
  std::shared_ptr<const Message> Find(const Message& prototype, const std::string& key) const;
  std::vector<std::shared_ptr<const Message>> All(const Message& prototype) const;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace skiff::client

#endif  // SKIFF_CLIENT_FAKE_API_SERVER_H_
