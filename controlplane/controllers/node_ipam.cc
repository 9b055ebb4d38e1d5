// The node IPAM controller: every node gets a block of the cluster CIDR in spec.podCIDR and spec.podCIDRs, once and for
// ever. Blocks of nodes that exist are taken before any is given out.
#include <set>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "client/object.h"
#include "controlplane/controllers/cidr_set.h"
#include "controlplane/controllers/controller.h"

namespace skiff::controlplane {
namespace {

class NodeIpamController final : public Controller {
 public:
  NodeIpamController(const ControllerContext& context, CidrSet blocks)
      : context_(context),
        events_(context.rest, "cidrAllocator", ""),
        blocks_(std::move(blocks)),
        // One worker: a block is taken between reading and writing the node.
        queue_(context.executor(), context.clock(), "node-ipam-controller", 1,
               [this](std::string key) { return Sync(std::move(key)); }) {
    context.informers->nodes->AddHandler({
        .added = [this](const NodePtr& node) { Seen(*node); },
        .updated = [this](const NodePtr&, const NodePtr& node) { Seen(*node); },
        .deleted =
            [this](const NodePtr& node) {
              for (const std::string& cidr : node->spec().podcidrs()) {
                if (const Status status = blocks_.Release(cidr); !status.ok()) {
                  LOG_WARNING("Failed to release CIDR", {"node", node->metadata().name()}, {"err", status});
                }
              }
              if (short_ && !node->spec().podcidrs().empty()) Retry();
            },
    });
  }

  Task<void> Run() override {
    TaskGroup group(context_.executor());
    group.Spawn("node ipam events", events_.Run());
    group.Spawn("node ipam", queue_.Run());
    co_await group.Join();
  }

 private:
  void Seen(const core::Node& node) {
    if (node.spec().podcidrs().empty()) {
      queue_.Add(node.metadata().name());
      return;
    }
    for (const std::string& cidr : node.spec().podcidrs()) {
      if (const Status status = blocks_.Occupy(cidr); !status.ok()) {
        VLOG(2, "Node has a CIDR outside the cluster's", {"node", node.metadata().name()}, {"err", status});
      }
    }
  }

  void Retry() {
    short_ = false;
    context_.informers->nodes->ForEach([this](const NodePtr& node) {
      if (node->spec().podcidrs().empty()) queue_.Add(node->metadata().name());
    });
  }

  Task<Status> Sync(std::string key) {
    const NodePtr node = context_.informers->nodes->Get(key);
    if (node == nullptr || !node->spec().podcidrs().empty()) co_return absl::OkStatus();
    const auto block = blocks_.Allocate();
    if (!block.ok()) {
      short_ = true;
      auto reference = client::ReferenceTo(*node);
      reference.set_uid(key);  // events about nodes are found by name, as upstream writes them
      events_.Record(reference, client::kNormal, "CIDRNotAvailable",
                     absl::StrCat("Node ", key, " status is now: CIDRNotAvailable"));
      LOG_ERROR(block.status(), "Failed to allocate a CIDR for node", {"node", key});
      co_return absl::OkStatus();
    }
    const nlohmann::json patch = {{"spec", {{"podCIDR", *block}, {"podCIDRs", {*block}}}}};
    const auto patched = co_await context_.rest->Patch<core::Node>("", key, patch.dump());
    if (patched.ok()) {
      LOG_INFO("Set node PodCIDR", {"node", key}, {"podCIDR", *block});
      co_return absl::OkStatus();
    }
    // An answer that says no means that the block is free again; without an answer it may have been written.
    if (client::HttpCodeOf(patched.status()) != 0 || absl::IsNotFound(patched.status())) {
      const Status released = blocks_.Release(*block);
      VLOG(2, "Released CIDR", {"podCIDR", *block}, {"status", released});
    }
    co_return absl::IsNotFound(patched.status()) ? absl::OkStatus() : patched.status();
  }

  const ControllerContext context_;
  client::EventRecorder events_;
  CidrSet blocks_;
  bool short_ = false;
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Controller> MakeNodeIpamController(const ControllerContext& context) {
  auto blocks = CidrSet::Make(context.options.cluster_cidr, context.options.node_cidr_mask_size);
  if (!blocks.ok()) return nullptr;  // RunControllers has checked
  return std::make_unique<NodeIpamController>(context, *std::move(blocks));
}

}  // namespace skiff::controlplane
