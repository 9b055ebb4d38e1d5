#ifndef SKIFF_PROXY_CAPTURE_TESTING_H_
#define SKIFF_PROXY_CAPTURE_TESTING_H_

#include <set>
#include <string>

#include "base/files.h"

namespace skiff::proxy {

// Every TCP packet that a device carries, as "source > destination".
class Capture {
 public:
  explicit Capture(const std::string& device);
  std::set<std::string> Seen();

 private:
  Fd fd_;
};

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_CAPTURE_TESTING_H_
