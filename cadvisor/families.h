// The table of container metric families: upstream's names, types and help texts, and which figure each shows. Families
// are in the order of their names, as the text format wants them.
#ifndef SKIFF_CADVISOR_FAMILIES_H_
#define SKIFF_CADVISOR_FAMILIES_H_

#include <initializer_list>
#include <span>
#include <string_view>

#include "cadvisor/exposition.h"

namespace skiff::cadvisor {

struct Label {
  std::string_view name, value;
};

// Takes the samples of one container; `extra` labels are in the order of their names.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void Add(double value, std::initializer_list<Label> extra) = 0;
  void Add(double value) { Add(value, {}); }
};

enum class Timestamp { kReading, kNone, kNow };

struct Family {
  const char* name;
  const char* help;
  const char* type;
  void (*emit)(const ContainerReading& reading, Sink& sink);  // nullptr: container_scrape_error
  Timestamp time = Timestamp::kReading;
  bool pressure = false;
};

std::span<const Family> ContainerFamilies();

}  // namespace skiff::cadvisor

#endif  // SKIFF_CADVISOR_FAMILIES_H_
