// The two copies of a small stored file, holding anything. What is read was written whole; what cannot be read can be
// written anew.
#include <algorithm>

#include "log/checksum.hpp"
#include "storage/blob.hpp"
#include "tests/support/fuzz.hpp"
#include "tests/support/scratch.hpp"

namespace penstock::fuzz {
namespace {

using storage::Blob;

constexpr std::uint64_t kMagic = layout::magic("PENTEST1");
constexpr std::size_t kHeader = 80;

Bytes read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// An input: which checksums are made to fit, the first copy's size, both copies.
std::vector<Bytes> seeds() {
  const test::Scratch directory;
  Blob blob(directory / "b", {.magic = kMagic, .bus_id = 4});
  std::vector<Bytes> out;
  for (const char* text : {"", "first", "second and longer"}) {
    static_cast<void>(blob.write(std::as_bytes(std::span(std::string_view(text))), false));
    const Bytes a = read_all(directory / "b.a"), b = read_all(directory / "b.b");
    for (const std::uint8_t mend : {0, 3})
      out.push_back(Maker().put(mend).put(std::uint16_t(a.size())).put(a).put(b).done());
  }
  // The last of all sequence numbers.
  Bytes last = read_all(directory / "b.a");
  std::memset(last.data() + sizeof(layout::Preamble), 0xff, 8);
  const Bytes other = read_all(directory / "b.b");
  out.push_back(Maker().put(std::uint8_t{1}).put(std::uint16_t(last.size())).put(last).put(other).done());
  return out;
}

void mend(Bytes& bytes) {
  if (bytes.size() < kHeader) return;
  std::uint64_t body = 0;
  std::memcpy(&body, bytes.data() + 72, sizeof body);
  body = std::min<std::uint64_t>(body, bytes.size() - kHeader);
  constexpr std::size_t kSum = offsetof(layout::Preamble, checksum);
  std::memset(bytes.data() + kSum, 0, 8);
  const std::uint64_t sum = log::hash64(bytes.data() + kHeader, body, log::hash64(bytes.data(), kHeader));
  std::memcpy(bytes.data() + kSum, &sum, sizeof sum);
}

void run(Input input) {
  static const test::Scratch directory;
  Taker taker(input);
  const auto which = taker.take<std::uint8_t>();
  const auto size = taker.take<std::uint16_t>();
  const Input first = taker.take(size), second = taker.rest();
  Bytes a(first.begin(), first.end()), b(second.begin(), second.end());
  if ((which & 1) != 0) mend(a);
  if ((which & 2) != 0) mend(b);
  std::filesystem::remove(directory / "b.a");
  std::filesystem::remove(directory / "b.b");
  if ((which & 4) == 0) test::write_file(directory / "b.a", a);
  if ((which & 8) == 0) test::write_file(directory / "b.b", b);
  Blob blob(directory / "b", {.magic = kMagic, .bus_id = 4, .most = 4096});
  const auto body = blob.read();
  if (body) {
    const auto holds = [&](const Bytes& copy) {
      return copy.size() >= kHeader + body->size() &&
             std::memcmp(copy.data() + kHeader, body->data(), body->size()) == 0;
    };
    must(body->empty() || holds(a) || holds(b), "what is read stands in a copy");
  }
  const Bytes next(5, std::byte{'n'});
  if (const auto written = blob.write(next, false); !written) {
    must(written.error().code() == Errc::incompatible, "only what is another's is not written over");
    // What can be read and not written has features that forbid it to who does not know them.
    constexpr std::size_t kReadOnly = offsetof(layout::Preamble, ro_compat);
    const auto marked = [&](const Bytes& copy) {
      return copy.size() >= kHeader &&
             std::any_of(copy.begin() + kReadOnly, copy.begin() + kReadOnly + sizeof(layout::Preamble::ro_compat),
                         [](std::byte byte) { return byte != std::byte{0}; });
    };
    must(!body || marked(a) || marked(b), "a copy says that it is not to be written");
    return;
  }
  Blob other(directory / "b", {.magic = kMagic, .bus_id = 4, .most = 4096});
  const auto back = other.read();
  must(back && *back == next, "what was written is read");
}

}  // namespace

const Target target{seeds, run, 1'500};

}  // namespace penstock::fuzz
