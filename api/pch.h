// Precompiled for every target above api: base's set, the protobuf runtime and the messages that most files use.
#include "base/pch.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <nlohmann/json.hpp>

#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"
