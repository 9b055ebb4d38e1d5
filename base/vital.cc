#include "base/vital.h"

#include <cstdlib>
#include <exception>

#include "base/log.h"

namespace skiff {
namespace {

[[noreturn]] void Die(const std::string& name, std::string_view what) {
  LOG_ERROR(Internal(what), "A task that must not end was ended by an exception: the process ends", {"task", name});
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

void SpawnVital(TaskGroup& group, const std::string& name, Task<void> task) {
  group.Spawn(name, Vital(name, std::move(task)));
}

}  // namespace skiff
