// iceoryx: untyped publisher and subscriber, polling, lossless (the publisher waits for a full subscriber). Its daemon,
// iox-roudi, must run.
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <stdexcept>

#include "bench/compare/link.hpp"

namespace penstock::compare {
namespace {

iox::capro::ServiceDescription service_of(const std::string& name) {
  const auto text = [](const std::string& from) { return iox::capro::IdString_t(iox::cxx::TruncateToCapacity, from); };
  return {text("compare"), text("link"), text(name)};
}

// Once a process, before anything else of it.
void start_runtime() {
  static const bool started = [] {
    iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kWarn);
    const std::string name = "compare-" + std::to_string(::getpid());
    iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
    return true;
  }();
  static_cast<void>(started);
}

// What it leaves behind when it is killed does not count: somebody must listen on its socket.
bool roudi_runs() {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/tmp/roudi");
  const bool runs = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return runs;
}

class IoxSender : public Sender {
 public:
  explicit IoxSender(const std::string& name) : publisher_((start_runtime(), service_of(name)), options()) {
    while (!publisher_.hasSubscribers()) ::usleep(1'000);
  }
  void send(std::span<const std::byte> event) override {
    bool sent = false;
    publisher_.loan(static_cast<std::uint32_t>(event.size())).and_then([&](void* chunk) {
      std::memcpy(chunk, event.data(), event.size());
      publisher_.publish(chunk);
      sent = true;
    });
    if (!sent) throw std::runtime_error("iceoryx gave no chunk");
  }

 private:
  static iox::popo::PublisherOptions options() {
    iox::popo::PublisherOptions chosen;
    chosen.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    return chosen;
  }
  iox::popo::UntypedPublisher publisher_;
};

class IoxReceiver : public Receiver {
 public:
  IoxReceiver(const std::string& name, std::size_t size)
      : subscriber_((start_runtime(), service_of(name)), options(size)) {}
  ~IoxReceiver() override { release(); }
  std::span<const std::byte> receive() override {
    release();
    for (int looks = 0; looks < 100'000 && chunk_ == nullptr; ++looks)
      subscriber_.take().and_then([this](const void* chunk) { chunk_ = chunk; });
    if (chunk_ == nullptr) {
      ::sched_yield();
      return {};
    }
    const std::size_t size = iox::mepoo::ChunkHeader::fromUserPayload(chunk_)->userPayloadSize();
    return {static_cast<const std::byte*>(chunk_), size};
  }

 private:
  static iox::popo::SubscriberOptions options(std::size_t size) {
    iox::popo::SubscriberOptions chosen;
    chosen.queueCapacity = size <= 16'384 ? 256 : 64;  // of larger chunks RouDi has 200, and fewer, by default
    chosen.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    return chosen;
  }
  void release() {
    if (chunk_ != nullptr) subscriber_.release(chunk_);
    chunk_ = nullptr;
  }
  iox::popo::UntypedSubscriber subscriber_;
  const void* chunk_ = nullptr;
};

}  // namespace

Peer iceoryx() {
  Peer peer{"iceoryx",
            "untyped, polling, lossless",
            [](const std::string& name, std::size_t) { return std::make_unique<IoxSender>(name); },
            [](const std::string& name, std::size_t size) { return std::make_unique<IoxReceiver>(name, size); },
            [](const std::string&) {},
            1 << 20};
  // Without it the runtime waits for a minute and then ends the process.
  if (!roudi_runs()) peer.missing = "iox-roudi does not run";
  return peer;
}

}  // namespace penstock::compare
