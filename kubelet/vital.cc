#include "kubelet/vital.h"

#include <cstdlib>
#include <exception>

#include "base/log.h"

namespace skiff::kubelet {
namespace {

[[noreturn]] void Die(const std::string& name, std::string_view what) {
  LOG_ERROR(Internal(what), "A task that must not end was ended by an exception: the kubelet ends", {"task", name});
  std::_Exit(1);
}

}  // namespace

Task<void> Vital(std::string name, Task<void> task) {
  try {
    co_await std::move(task);
  } catch (const std::exception& e) {
    Die(name, e.what());
  } catch (...) {
    Die(name, "unknown exception");
  }
}

}  // namespace skiff::kubelet
