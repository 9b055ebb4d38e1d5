// The configuration as a JSON document, before it is read into typed fields: places by dotted path, defaults, files and
// drop-in files. Errors name file and field. Thread-safe.
#ifndef SKIFF_KUBELET_CONFIG_DOCUMENT_H_
#define SKIFF_KUBELET_CONFIG_DOCUMENT_H_

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace skiff::kubelet {

// The value at "a.b.c": made where absent; or null where absent or null.
nlohmann::json* ConfigValueAt(nlohmann::json* document, std::string_view path);
const nlohmann::json* FindConfigValue(const nlohmann::json& document, std::string_view path);

// Merges the files ending in .conf below a directory into `document`, in lexical order, each as an RFC 7396 merge patch
// (--config-dir). Each names its apiVersion and kind.
Status MergeConfigDirectory(const std::string& directory, nlohmann::json* document);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_CONFIG_DOCUMENT_H_
