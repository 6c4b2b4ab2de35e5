#include "storage/order_check.hpp"

#include <fcntl.h>

#include "io/file.hpp"
#include "storage/index.hpp"

namespace penstock::storage {

OrderCheck::OrderCheck(std::string directory, std::uint64_t topic_id) : set_(std::move(directory), topic_id) {
  (void)set_.refresh();  // a folder that cannot be listed is told by who needs it
}

std::vector<std::string> OrderCheck::step(std::size_t segments) {
  std::vector<std::string> problems;
  for (; segments > 0 && !done(); --segments) look_at(next_++, problems);
  return problems;
}

void OrderCheck::look_at(std::size_t index, std::vector<std::string>& problems) {
  const Result<io::Fd> fd = io::open_nofollow(set_.path(index), O_RDONLY);
  Result<Front> front = fd ? read_front(fd->get()) : tl::unexpected(fd.error());
  if (!front) {
    if (front.error().code() != Errc::not_found) problems.push_back(name(index) + ": its first page can't be read");
    before_.reset();  // removed meanwhile, or not to be read
    return;
  }
  if (front->header && set_.foreign(*front->header)) {
    problems.push_back(name(index) + ": it is another topic's; move it back, or out of this folder");
    return;
  }
  if (!front->header || !set_.holds(index, *front->header)) {
    // Of the last one recovery has told.
    if (index + 1 < set_.size()) problems.push_back(name(index) + ": the header is damaged; its events can't be read");
    before_.reset();
    return;
  }
  if (before_) look_at_joint(*front->header, index, problems);
  before_ = front->progress && front->progress->sealed == 1 ? front->progress : std::nullopt;
  nonce_ = front->header->nonce;
  if (before_ && !read_index(set_.directory(), *front->header)) unindexed_.push_back(front->header->first_offset);
}

void OrderCheck::look_at_joint(const layout::SegmentHeader& header, std::size_t index,
                               std::vector<std::string>& problems) const {
  if (header.first_offset < before_->offset) {
    problems.push_back(name(index) + ": begins before the segment before it ends");
  } else if (header.first_offset > before_->offset &&
             (header.nonce == nonce_ || header.first_position != before_->position)) {
    problems.push_back("offsets " + std::to_string(before_->offset) + " to " + std::to_string(header.first_offset - 1) +
                       " are missing: a segment before " + name(index) + " is gone");
  }
}

}  // namespace penstock::storage
