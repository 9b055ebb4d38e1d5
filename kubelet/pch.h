// Precompiled for the kubelet and its tests: api's set and the messages of the runtime and of core, which nearly every
// file here includes in the end; reading them again took a third of its time. Only what is generated: a change of a
// header of ours must not compile everything again.
#include "api/pch.h"

#include "runtime/v1/api.pb.h"

#include "k8s/io/api/core/v1/config.pb.h"
#include "k8s/io/api/core/v1/event.pb.h"
#include "k8s/io/api/core/v1/node.pb.h"
#include "k8s/io/api/core/v1/persistent_volume.pb.h"
#include "k8s/io/api/core/v1/service.pb.h"
#include "k8s/io/api/core/v1/volume.pb.h"
