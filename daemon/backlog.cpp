#include "daemon/backlog.hpp"

#include <algorithm>

namespace penstock::daemon {
namespace {

constexpr std::uint64_t kJobLines = (4ull << 20) / layout::kLine;  // gathered at once: 4 MiB
constexpr std::size_t kMadeMost = 16;                              // claims of the dead, whose headers are made here

}  // namespace

void Backlog::begin(const storage::Mark& mark) {
  pieces_.clear();
  claims_.clear();
  made_.clear();
  taken_ = mark.position;
  end_ = mark;
}

void Backlog::add_lines(const std::byte* data, std::uint64_t lines) {
  if (!pieces_.empty()) {
    storage::Piece& last = pieces_.back();
    const bool joined = data == nullptr ? last.data == nullptr : last.data != nullptr && last.data + last.bytes == data;
    if (joined) {
      last.bytes += lines * layout::kLine;
      return;
    }
  }
  pieces_.push_back({data, lines * layout::kLine});
}

// A claim of the dead goes to disk as ABORTED with a zeroed body; a PAD nobody finished, as a PAD.
void Backlog::add_dead(const log::Look& look) {
  storage::Head head;
  if (look.head != nullptr) {
    head = storage::load_head(reinterpret_cast<const std::byte*>(look.head));
  } else {
    head.word = pack(layout::WordFields{layout::State::claimed, look.lines, look.slot, look.incarnation,
                                        topic_->ring().generation(end_.position)});
    head.tag = layout::tag_for(topic_->ring().nonce, end_.offset);
    head.sizes = pack(layout::SizeFields{0, 0, look.count, layout::kFlagChecksum});
  }
  auto made = std::make_unique<storage::Head>(storage::aborted_head(head));
  if (look.count == 0) {
    made->word = layout::with_state(made->word, layout::State::pad);
    made->checksum = storage::checksum_of(*made, {});
  }
  add_lines(reinterpret_cast<const std::byte*>(made.get()), 1);
  if (look.lines > 1) add_lines(nullptr, look.lines - 1);
  made_.push_back({end_.position + look.lines, std::move(made)});
}

void Backlog::gather(const storage::SegmentWriter& segment) {
  const log::Ring& ring = topic_->ring();
  while (end_.position - taken_ < kJobLines && made_.size() < kMadeMost) {
    const log::Look look = log::look(ring, end_.position, end_.offset, *topic_);
    if (look.kind == log::Look::Kind::nothing || look.kind == log::Look::Kind::waiting) return;
    if (!segment.fits(end_.position, look.lines)) return;
    if (look.kind == log::Look::Kind::settled && look.state == layout::State::committed) {
      end_.events += look.count;
      end_.last_time_ns = std::max(end_.last_time_ns, look.head->time.load(std::memory_order_relaxed));
    }
    if (look.kind == log::Look::Kind::dead)
      add_dead(look);
    else
      add_lines(reinterpret_cast<const std::byte*>(look.head), look.lines);
    end_.position += look.lines;
    end_.offset += look.count;
    claims_.push_back(end_);
  }
}

void Backlog::take(std::uint64_t lines) {
  taken_ += lines;
  std::uint64_t left = lines * layout::kLine;
  std::size_t done = 0;
  while (done < pieces_.size() && left >= pieces_[done].bytes) left -= pieces_[done++].bytes;
  pieces_.erase(pieces_.begin(), pieces_.begin() + std::ptrdiff_t(done));
  if (left == 0) return;
  storage::Piece& first = pieces_.front();
  if (first.data != nullptr) first.data += left;
  first.bytes -= left;
}

bool Backlog::pop(std::uint64_t line, storage::Mark& end) {
  if (claims_.empty() || claims_.front().position > line) return false;
  end = claims_.front();
  claims_.pop_front();
  while (!made_.empty() && made_.front().end <= end.position) made_.pop_front();
  return true;
}

}  // namespace penstock::daemon
