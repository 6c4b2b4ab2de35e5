// A bus through libpenstock alone: these tests link nothing of the C++ library.
#pragma once

#include <gtest/gtest.h>
#include <penstock/penstock.h>

#include <cstring>
#include <memory>
#include <string>

#include "support/temporary_bus.hpp"

namespace penstock::test {

template <class T, void (*close)(T*)>
struct Closed {
  void operator()(T* handle) const { close(handle); }
};
template <class T, void (*close)(T*)>
using Handle = std::unique_ptr<T, Closed<T, close>>;
using CProducer = Handle<penstock_producer, penstock_producer_close>;
using CConsumer = Handle<penstock_consumer, penstock_consumer_close>;
using CReader = Handle<penstock_reader, penstock_reader_close>;
using CDelivery = Handle<penstock_delivery, penstock_delivery_free>;
using CEvent = Handle<penstock_event, penstock_event_free>;

constexpr std::int64_t kSoon = 20'000;  // ms: a deadline, not a wait

class CBus : public testing::Test {
 protected:
  CBus() {
    EXPECT_EQ(penstock_bus_open(folder_.path().c_str(), nullptr, &bus_), 0) << penstock_last_error();
    penstock_topic_options memory{};
    memory.struct_size = sizeof memory;
    memory.durability = PENSTOCK_MEMORY;
    memory.ring_bytes = 1 << 20;
    EXPECT_EQ(penstock_topic_create(bus_, "ticks", &memory), 0) << penstock_last_error();
  }
  ~CBus() override { penstock_bus_close(bus_); }

  CProducer producer(const char* topic = "ticks") {
    penstock_producer* made = nullptr;
    EXPECT_EQ(penstock_producer_open(bus_, topic, nullptr, &made), 0) << penstock_last_error();
    return CProducer(made);
  }
  CConsumer consumer(const penstock_consumer_options* options = nullptr, const char* topic = "ticks") {
    penstock_consumer* made = nullptr;
    EXPECT_EQ(penstock_consumer_open(bus_, "desk", &topic, 1, options, &made), 0) << penstock_last_error();
    return CConsumer(made);
  }
  CReader reader(const char* topic = "ticks", int from = PENSTOCK_START_BEGINNING) {
    penstock_reader_options options{};
    options.struct_size = sizeof options;
    options.start.from = from;
    penstock_reader* made = nullptr;
    EXPECT_EQ(penstock_reader_open(bus_, &topic, 1, &options, &made), 0) << penstock_last_error();
    return CReader(made);
  }
  static std::uint64_t publish(penstock_producer* producer, const std::string& payload) {
    std::uint64_t offset = 0;
    EXPECT_EQ(penstock_publish(producer, payload.data(), payload.size(), nullptr, &offset), 0) << penstock_last_error();
    return offset;
  }
  static CDelivery next(penstock_consumer* consumer, std::int64_t timeout = kSoon) {
    penstock_delivery* delivery = nullptr;
    EXPECT_EQ(penstock_consumer_next(consumer, timeout, &delivery), 0) << penstock_last_error();
    return CDelivery(delivery);
  }
  penstock_group_info standing(const char* topic = "ticks") {
    penstock_group_info info{};
    info.struct_size = sizeof info;
    EXPECT_EQ(penstock_group_describe(bus_, "desk", topic, &info), 0) << penstock_last_error();
    return info;
  }

  TemporaryBus folder_;
  penstock_bus* bus_ = nullptr;
};

inline std::string payload(const penstock_event* event) {
  std::size_t size = 0;
  const void* bytes = penstock_event_payload(event, &size);
  return {static_cast<const char*>(bytes), size};
}
inline std::string payload(const CDelivery& delivery) { return payload(penstock_delivery_event(delivery.get())); }

}  // namespace penstock::test
