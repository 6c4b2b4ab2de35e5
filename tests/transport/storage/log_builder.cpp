#include "log_builder.hpp"

#include <fcntl.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "io/file.hpp"
#include "log/attributes.hpp"

namespace penstock::storage {

using layout::kLine;
using layout::State;

TempDir::TempDir() {
  std::string pattern = ::testing::TempDir() + "/penstock-storage-XXXXXX";
  path_ = ::mkdtemp(pattern.data());
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::byte> read_all(const std::string& path) {
  const Result<std::vector<std::byte>> bytes = io::read_file(path, 1ull << 30);
  EXPECT_TRUE(bytes.has_value()) << path;
  return bytes.value_or(std::vector<std::byte>{});
}

void write_all(const std::string& path, const std::vector<std::byte>& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good());
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> LogBuilder::attributes(std::uint64_t offset, const std::string* key) const {
  if (key == nullptr) return std::vector<std::byte>(8 * (offset % 2));
  std::vector<std::byte> out(log::padded(log::attribute_bytes(key->size())));
  log::AttributeWriter writer(out.data());
  writer.put(layout::Attribute::key, *key);
  writer.finish();
  return out;
}

void LogBuilder::put(State state, std::uint64_t lines, std::uint64_t link, std::uint64_t offset, std::uint32_t count,
                     const std::string& payload, const std::string* key) {
  Head head;
  const layout::WordFields word{
      .state = state, .lines = static_cast<std::uint32_t>(lines), .slot = 3, .incarnation = 1};
  head.word = layout::pack(word);
  head.link = link;
  head.tag = layout::tag_for(nonce_, offset);
  head.time = time_;
  head.id_low = offset * 7 + 1;
  std::vector<std::byte> body = attributes(offset, key);
  const layout::SizeFields sizes{.payload = static_cast<std::uint32_t>(payload.size()),
                                 .attributes = static_cast<std::uint32_t>(body.size()),
                                 .count = count,
                                 .flags = layout::kFlagChecksum};
  const bool empty = state == State::aborted || state == State::pad;
  const layout::SizeFields none{.count = count, .flags = layout::kFlagChecksum};
  head.sizes = layout::pack(empty ? none : sizes);
  if (empty) body.clear();
  const auto text = std::as_bytes(std::span(payload));
  if (!empty) body.insert(body.end(), text.begin(), text.end());
  head.checksum = checksum_of(head, body);
  std::vector<std::byte> record(layout::lines_for(kLine + body.size()) * kLine);
  std::memcpy(record.data(), &head, sizeof head);
  if (!body.empty()) std::memcpy(record.data() + kLine, body.data(), body.size());
  bytes_.insert(bytes_.end(), record.begin(), record.end());
  for (std::size_t i = 0; i < record.size(); ++i) meaningful_.push_back(i < kLine + body.size());
}

LogBuilder& LogBuilder::event(const std::string& payload, std::uint64_t spare_lines) {
  begin_claim();
  const std::uint64_t own = layout::lines_for(kLine + 8 * (offset_ % 2) + payload.size());
  events_.push_back({offset_, position_, time_, payload});
  latest_ = std::max(latest_, time_);
  put(State::committed, own + spare_lines, 0, offset_, 1, payload);
  bytes_.resize(bytes_.size() + spare_lines * kLine, std::byte{0x5a});  // what an earlier lap left there
  meaningful_.resize(bytes_.size(), false);
  ++offset_, position_ += own + spare_lines, ++time_;
  return *this;
}

// `keys`: one for each payload, or none at all.
LogBuilder& LogBuilder::batch_of(const std::vector<std::string>& payloads, const std::vector<std::string>& keys) {
  begin_claim();
  const auto key_of = [&keys](std::size_t i) { return keys.empty() ? nullptr : &keys[i]; };
  const auto lines_of = [&](std::uint64_t offset, std::size_t i) {
    return layout::lines_for(kLine + attributes(offset, key_of(i)).size() + payloads[i].size());
  };
  std::uint64_t lines = 0;
  for (std::size_t i = 0; i < payloads.size(); ++i) lines += lines_of(offset_ + i, i);
  const std::uint64_t head = position_;
  const std::uint64_t end = position_ + lines;
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    const std::uint64_t own = lines_of(offset_, i);
    events_.push_back({offset_, position_, time_, payloads[i]});
    latest_ = std::max(latest_, time_);
    if (i == 0)
      put(State::committed, lines, 0, offset_, static_cast<std::uint32_t>(payloads.size()), payloads[i], key_of(i));
    else
      put(State::inner, own, position_ - head, offset_, 0, payloads[i], key_of(i));
    ++offset_, position_ += own;
  }
  EXPECT_EQ(position_, end);
  ++time_;
  return *this;
}

LogBuilder& LogBuilder::aborted(std::uint32_t count, std::uint64_t lines) {
  begin_claim();
  put(State::aborted, lines, 0, offset_, count, {});
  bytes_.resize(bytes_.size() + (lines - 1) * kLine);
  meaningful_.resize(bytes_.size(), false);
  offset_ += count, position_ += lines;
  return *this;
}

LogBuilder& LogBuilder::pad(std::uint64_t lines) {
  begin_claim();
  put(State::pad, lines, 0, offset_, 0, {});
  bytes_.resize(bytes_.size() + (lines - 1) * kLine);
  meaningful_.resize(bytes_.size(), false);
  position_ += lines;
  return *this;
}

layout::SegmentHeader LogBuilder::header() const {
  return make_header(9, topic_id_, nonce_, "orders", first_.offset, first_.position, 500);
}

void LogBuilder::write_open(const std::string& directory, const Mark* marked) const {
  const Result<io::Fd> fd = io::create_file(path_in(directory), 0600);
  ASSERT_TRUE(fd.has_value());
  ASSERT_TRUE(write_front(fd->get(), header()));
  const std::uint64_t at = layout::segment_file_offset(first_.position, first_.position);
  ASSERT_TRUE(io::pwrite_exact(fd->get(), bytes_, at));
  ASSERT_TRUE(io::truncate(fd->get(), (at + bytes_.size() + 3 * layout::kPage) / layout::kPage * layout::kPage));
  ProgressWriter progress(nonce_);
  if (marked != nullptr) {
    ASSERT_TRUE(progress.write(fd->get(), *marked, false));
  }
}

void LogBuilder::write_sealed(const std::string& directory) const {
  write_open(directory);
  const Result<io::Fd> fd = io::open_nofollow(path_in(directory), O_RDWR);
  ASSERT_TRUE(fd.has_value());
  ProgressWriter progress(nonce_);
  ASSERT_TRUE(seal(fd->get(), header(), progress, mark()));
}

}  // namespace penstock::storage
