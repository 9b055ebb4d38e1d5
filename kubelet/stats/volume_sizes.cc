#include "kubelet/stats/volume_sizes.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "base/foreign_work.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

using Steady = std::chrono::steady_clock::time_point;
using std::chrono::steady_clock;

constexpr std::chrono::nanoseconds kForget = std::chrono::minutes(5);
// Walks that have begun and take turns: each holds descriptors and memory.
constexpr size_t kBegun = 2;
// Pieces after which a walk is a long one. Of those one goes on while others wait.
constexpr int kLong = 20;
// Pieces that hang, each with a thread of the pool, which others need too; with more, nothing is walked until one is
// back.
constexpr int kMostHanging = 16;

// A walk and where it is. One piece at a time, each on whichever thread.
struct Job {
  std::string path;
  int pieces = 0;
  std::optional<Dir> dir;
  cadvisor::DirWalk walk;
};

struct Piece {
  cadvisor::FsStats fs;
  cadvisor::DirUsage usage;
  bool ended = false;
};

StatusOr<Piece> DoPiece(Job& job, const cadvisor::WalkBounds& bounds) {
  if (!job.dir) {
    ASSIGN_OR_RETURN(job.dir, Dir::Open(job.path));
  }
  Piece piece;
  ASSIGN_OR_RETURN(piece.fs, cadvisor::StatFilesystem(job.path));
  ASSIGN_OR_RETURN(piece.ended, job.walk.Go(*job.dir, bounds));
  piece.usage = job.walk.usage();
  return piece;
}

}  // namespace

struct VolumeSizes::Entry {
  Volume volume;
  std::optional<VolumeFigures> latest;
  DiskUse whole;          // of the last walk that saw everything
  bool measured = false;  // to its end, well or not
  bool waited = false;    // somebody did, as long as one does
  bool busy = false, forgotten = false;
  Steady due{}, used{};
  std::shared_ptr<Job> job;  // while it is walked
};

// Who does the pieces, one after the other.
struct VolumeSizes::Walker {
  std::optional<Steady> since;  // when the one under way began
  bool left = false;            // it hangs, and another does the rest
};

struct VolumeSizes::State {
  Options options;
  std::map<std::string, std::shared_ptr<Entry>> entries;
  std::deque<std::shared_ptr<Entry>> walks;  // to be begun
  std::deque<std::shared_ptr<Entry>> begun;  // but those whose piece is under way
  std::set<std::shared_ptr<Wakeup>> waiting;
  std::shared_ptr<Walker> walker;  // null: nobody walks
  int hanging = 0;
  bool closed = false;

  // Whose turn it is; null where nothing is to be walked.
  std::shared_ptr<Entry> Next() {
    for (auto* queue : {&walks, &begun}) std::erase_if(*queue, [](const auto& entry) { return entry->forgotten; });
    // Two that have no end in sight would hold up all others. One begins anew later.
    const bool all_long =
        std::all_of(begun.begin(), begun.end(), [](const auto& entry) { return entry->job->pieces >= kLong; });
    if (!walks.empty() && begun.size() >= kBegun && all_long) {
      const auto least = std::min_element(begun.begin(), begun.end(),
                                          [](const auto& a, const auto& b) { return a->job->pieces < b->job->pieces; });
      (*least)->job = nullptr;
      walks.push_back(std::move(*least));
      begun.erase(least);
    }
    while (begun.size() < kBegun && !walks.empty()) {
      walks.front()->job = std::make_shared<Job>();
      walks.front()->job->path = walks.front()->volume.path;
      begun.push_back(std::move(walks.front()));
      walks.pop_front();
    }
    if (begun.empty()) return nullptr;
    const std::shared_ptr<Entry> next = std::move(begun.front());
    begun.pop_front();
    return next;
  }

  // What a piece found.
  void Take(const std::shared_ptr<Entry>& entry, const StatusOr<Piece>& piece) {
    if (!piece.ok()) {
      VLOG(4, "Failed to calculate volume metrics", {"path", entry->volume.path}, {"err", piece.status()});
      entry->latest.reset();
      entry->whole = {};
      return End(*entry);
    }
    DiskUse used{piece->usage.bytes, piece->usage.inodes};
    if (piece->ended && piece->usage.complete) entry->whole = used;
    // What was not seen may be as much as it was.
    used = {std::max(used.bytes, entry->whole.bytes), std::max(used.inodes, entry->whole.inodes)};
    entry->latest = {.fs = piece->fs, .used = used, .time = std::chrono::system_clock::now()};
    if (piece->ended) return End(*entry);
    ++entry->job->pieces;
    begun.push_back(entry);
  }

  void End(Entry& entry) {
    entry.job = nullptr;
    entry.busy = false;
    entry.measured = true;
    entry.due = steady_clock::now() + options.period;
    for (const auto& waiter : waiting) waiter->Notify();
  }
};

VolumeSizes::VolumeSizes(Options options) : state_(std::make_shared<State>()) { state_->options = options; }

VolumeSizes::~VolumeSizes() { state_->closed = true; }

std::optional<VolumeFigures> VolumeSizes::Latest(const std::string& path) const {
  const auto it = state_->entries.find(path);
  return it == state_->entries.end() ? std::nullopt : it->second->latest;
}

Task<void> VolumeSizes::Refresh(std::vector<Volume> volumes) {
  const auto state = state_;
  if (state->options.period <= std::chrono::nanoseconds(0)) co_return;
  const auto executor = co_await asio::this_coro::executor;
  const Steady now = steady_clock::now();
  std::vector<std::shared_ptr<Entry>> asked;
  for (Volume& volume : volumes) {
    std::shared_ptr<Entry>& entry = state->entries[volume.path];
    if (entry == nullptr) entry = std::make_shared<Entry>();
    entry->volume = std::move(volume);
    entry->used = now;
    asked.push_back(entry);
    if (entry->busy || entry->due > now) continue;
    entry->busy = true;
    if (entry->volume.walked) {
      state->walks.push_back(entry);
    } else {
      Spawn(executor, "volume figures", AskFileSystem(state, entry));
    }
  }
  if (state->walker != nullptr && state->walker->since && now - *state->walker->since > state->options.hang &&
      state->hanging < kMostHanging) {
    state->walker->left = true;
    state->walker = nullptr;
    ++state->hanging;
  }
  if (state->walker == nullptr && (!state->walks.empty() || !state->begun.empty())) {
    state->walker = std::make_shared<Walker>();
    Spawn(executor, "volume sizes", Walk(state, state->walker));
  }
  std::erase_if(state->entries, [&](const auto& entry) {
    entry.second->forgotten = now - entry.second->used > kForget;
    return entry.second->forgotten;
  });
  const auto missing = [&] {
    return std::any_of(asked.begin(), asked.end(),
                       [](const auto& entry) { return !entry->measured && !entry->waited; });
  };
  if (!missing()) co_return;
  const auto wakeup = std::make_shared<Wakeup>(executor);
  state->waiting.insert(wakeup);
  for (const Steady end = now + state->options.patience; missing();) {
    const Steady at = steady_clock::now();
    if (at >= end) {
      for (const auto& entry : asked) entry->waited = true;
      break;
    }
    if (absl::IsCancelled(co_await wakeup->WaitFor(end - at))) break;
  }
  state->waiting.erase(wakeup);
}

Task<void> VolumeSizes::Walk(std::shared_ptr<State> state, std::shared_ptr<Walker> walker) {
  while (!state->closed) {
    const std::shared_ptr<Entry> entry = state->Next();
    if (entry == nullptr) break;
    walker->since = steady_clock::now();
    std::function<StatusOr<Piece>()> work = [job = entry->job, bounds = state->options.piece] {
      return DoPiece(*job, bounds);
    };
    const StatusOr<Piece> piece = co_await RunBlockingFor<Piece>(std::move(work));
    walker->since.reset();
    state->Take(entry, piece);
    if (!walker->left) continue;
    --state->hanging;
    walker->left = false;
    if (state->walker != nullptr) co_return;
    state->walker = walker;
  }
  state->walker = nullptr;
}

Task<void> VolumeSizes::AskFileSystem(std::shared_ptr<State> state, std::shared_ptr<Entry> entry) {
  const auto answer = std::make_shared<StatusOr<cadvisor::FsStats>>(absl::UnknownError("not asked"));
  std::function<Status()> work = [path = entry->volume.path, answer] {
    *answer = cadvisor::StatFilesystem(path);
    return absl::OkStatus();
  };
  ForeignWork& foreign = ForeignWork::Of(co_await asio::this_coro::executor);
  const Status asked = co_await foreign.Run(absl::StrCat("figures of ", entry->volume.path), std::move(work));
  const StatusOr<cadvisor::FsStats>& fs = *answer;
  if (!asked.ok()) VLOG(4, "Failed to calculate volume metrics", {"path", entry->volume.path}, {"err", asked});
  entry->latest.reset();
  if (fs.ok()) {
    const DiskUse used{fs->usage(), fs->inodes - std::min(fs->inodes, fs->inodes_free)};
    entry->latest = {.fs = *fs, .used = used, .time = std::chrono::system_clock::now()};
  }
  state->End(*entry);
}

}  // namespace skiff::kubelet
