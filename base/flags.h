// Command lines in upstream's spelling (spf13/pflag): --name=value, --name value, --bool, --bool=false, -v 4, lists
// that repeat or hold commas, a=b maps, durations as Go writes them. Loop-free and single-threaded: parsed once at
// start.
//
//   FlagSet flags("kubelet");
//   flags.String("config", &path, "The kubelet configuration file.");
//   auto rest = flags.Parse(argc, argv);          // error: "unknown flag: --x", "invalid argument \"a\" for ..."
#ifndef SKIFF_BASE_FLAGS_H_
#define SKIFF_BASE_FLAGS_H_

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace skiff {

class FlagSet {
 public:
  explicit FlagSet(std::string program, std::string summary = "");

  void String(std::string_view name, std::string* value, std::string_view help, char shorthand = 0);
  void Bool(std::string_view name, bool* value, std::string_view help, char shorthand = 0);
  void Int(std::string_view name, int64_t* value, std::string_view help, char shorthand = 0);
  void Int32(std::string_view name, int32_t* value, std::string_view help, char shorthand = 0);
  void Double(std::string_view name, double* value, std::string_view help);
  void Duration(std::string_view name, std::chrono::nanoseconds* value, std::string_view help);
  void Strings(std::string_view name, std::vector<std::string>* value, std::string_view help);  // replaces defaults
  void Map(std::string_view name, std::map<std::string, std::string>* value, std::string_view help);  // a=b,c=d
  // Any other type: `set` parses and stores; `type` and `default_text` are for --help. Type "bool" may stand without a
  // value ("true"); so may any type with a `bare` value (--version, --version=raw).
  void Custom(std::string_view name, std::string_view type, std::string_view default_text, std::string_view help,
              std::function<Status(std::string_view)> set, std::string_view bare = "");
  // Hidden from --help; using it prints "Flag --x has been deprecated, <why>" on standard error and then works as
  // before. A name that is not a flag yet becomes one that takes a value and ignores it.
  void Deprecate(std::string_view name, std::string_view why);
  void Hide(std::string_view name);
  // Flags after this call stand under "<name> flags:" in --help, as the sections of upstream's programs. Before the
  // first call they stand under "Flags:".
  void Section(std::string_view name);
  // Long names also behind one dash (-port=80), as Go's own flag package has it. Shorthands are then not combined.
  void AllowSingleDash() { single_dash_ = true; }

  // Positional arguments; everything after "--" is one. Names match with '_' for '-'. Errors are kInvalidArgument in
  // pflag's words; kCancelled with the help text as its message for --help, -h.
  StatusOr<std::vector<std::string>> Parse(int argc, const char* const* argv);
  bool Changed(std::string_view name) const;
  // Every flag, hidden ones and "help" too, and its value now, as pflag prints it (/flagz); sorted by name.
  std::vector<std::pair<std::string, std::string>> Values() const;
  // Sorted as pflag prints it; wrapped to `columns` where not 0.
  std::string Help(int columns = 0) const;

 private:
  struct Flag {
    std::string name, type, default_text, help, deprecated, section;
    std::string bare;  // the value of the flag without one; "" if it needs one
    char shorthand = 0;
    bool hidden = false, changed = false;
    std::function<Status(std::string_view)> set;
    std::function<std::string()> show;  // the value now; nothing: `last`
    std::string last;                   // of a Custom flag, as it was given
  };
  Flag& Add(std::string_view name, std::string_view type, std::string default_text, std::string_view help,
            char shorthand, std::function<Status(std::string_view)> set);
  Flag* Find(std::string_view name);
  const Flag* Find(std::string_view name) const { return const_cast<FlagSet*>(this)->Find(name); }
  Status SetFlag(Flag& flag, std::string_view value);
  Status ParseLong(std::string_view arg, int* next, int argc, const char* const* argv);
  Status ParseShort(std::string_view arg, int* next, int argc, const char* const* argv);
  std::string Usages(const std::string& section, int columns) const;
  std::string program_, summary_, section_;
  std::vector<std::string> sections_{""};
  bool single_dash_ = false;
  std::map<std::string, Flag, std::less<>> flags_;
};

// Go's duration syntax both ways: "1h30m", "300ms", "1.5s", "0". Errors: time: invalid duration "x".
StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text);
std::string FormatDuration(std::chrono::nanoseconds duration);

}  // namespace skiff

#endif  // SKIFF_BASE_FLAGS_H_
