// Consumers and their deliveries.
#include <atomic>

#include "bindings/python/convert.hpp"
#include "bindings/python/event.hpp"
#include "bindings/python/module.hpp"

namespace penstock::python {
namespace {

using HeldConsumer = Held<Consumer, Delivery>;

// A delivery, which its consumer's turn protects. Dropped unsettled by whatever thread, it is handed back to the
// consumer, who may be waiting just now.
class DeliveryHolder final : public EventHolder {
 public:
  DeliveryHolder(std::shared_ptr<HeldConsumer> consumer, Delivery delivery)
      : consumer_(std::move(consumer)), delivery_(std::move(delivery)) {
    shows(delivery_->event());
  }
  DeliveryHolder(const DeliveryHolder&) = delete;
  DeliveryHolder& operator=(const DeliveryHolder&) = delete;
  ~DeliveryHolder() override {
    if (consumer_->foreign())
      new Delivery(std::move(*delivery_));  // leaked: the lease is the parent's
    else if (!settled_)
      consumer_->drop(std::move(*delivery_));
  }

  const Delivery& delivery() const { return *delivery_; }
  bool settled() const { return settled_; }

  // One settlement: settle(Delivery&) -> Result<void>.
  template <class Settle>
  void settle(Settle&& settle) {
    consumer_->use_briefly([&](Consumer&) -> Result<void> {
      auto done = settle(*delivery_);
      settled_ = delivery_->settled();
      return done;
    });
  }

 private:
  std::shared_ptr<HeldConsumer> consumer_;
  std::optional<Delivery> delivery_;
  std::atomic<bool> settled_ = false;  // told to threads that do not have the consumer
};

// Why an event failed, as words that outlive the call.
struct Why {
  std::string error_class, reason;
  std::optional<nanoseconds> delay;
  Why(const py::object& given_class, const py::object& given_reason, const py::object& given_delay) {
    from_python(given_class, error_class);
    from_python(given_reason, reason);
    from_python(given_delay, delay);
  }
  NakOptions options() const { return {.error_class = error_class, .reason = reason, .delay = delay}; }
};

void nak(DeliveryHolder& held, const Why& why) {
  held.settle([&](Delivery& delivery) { return delivery.nak(why.options()); });
}

// with delivery: settled at the end, by how the block ended. A lease that ran out in it is told only when nothing worse
// is on its way.
void leave(DeliveryHolder& held, const py::object& type, const py::object& raised, const py::object&) {
  if (held.settled()) return;
  if (type.is_none()) {
    held.settle([](Delivery& delivery) { return delivery.ack(); });
  } else if (PyObject_IsSubclass(type.ptr(), PyExc_Exception) != 1) {
    held.settle([](Delivery& delivery) { return delivery.release(); });  // Ctrl-C, a cancelled task: not its fault
  } else {
    const Why why(type.attr("__name__"), py::str(raised), py::none());
    held.settle([&](Delivery& delivery) -> Result<void> {
      static_cast<void>(delivery.nak(why.options()));
      return {};
    });
  }
}

py::object next(const std::shared_ptr<HeldConsumer>& consumer, const py::object& timeout) {
  auto found = consumer->wait(
      deadline(timeout), [](Consumer& handle, nanoseconds slice) { return handle.next(slice); },
      [](const Result<std::optional<Delivery>>& came) { return came && !*came; });
  if (!found) return py::none();
  return py::cast(std::make_unique<DeliveryHolder>(consumer, std::move(*found)));
}

bool wait(HeldConsumer& consumer, const py::object& timeout) {
  return consumer.wait(
      deadline(timeout), [](Consumer& handle, nanoseconds slice) { return handle.wait(slice); },
      [](const Result<bool>& came) { return came && !*came; });
}

void await_settled(HeldConsumer& consumer, const py::object& timeout) {
  consumer.wait(
      deadline(timeout), [](Consumer& handle, nanoseconds slice) { return handle.await_settled(slice); },
      [](const Result<void>& came) {
        return !came && (came.error().code() == Errc::timed_out || came.error().code() == Errc::no_daemon);
      });
}

std::uint64_t ack_through(HeldConsumer& consumer, const std::string& topic, Offset offset) {
  return consumer.use([&](Consumer& handle) { return handle.ack_through(topic, offset); });
}

bool settled_through(HeldConsumer& consumer, const py::dict& ends) {
  std::vector<std::pair<std::string, Offset>> wanted;
  for (const auto& [topic, end] : ends) wanted.emplace_back(value_of<std::string>(topic), value_of<Offset>(end));
  return consumer.use([&](Consumer& handle) { return handle.settled_through(wanted); });
}

auto seen(std::uint64_t (Consumer::*member)() const) {
  return [member](HeldConsumer& consumer) {
    return consumer.use_briefly([&](Consumer& handle) -> Result<std::uint64_t> { return (handle.*member)(); });
  };
}

py::str group(HeldConsumer& consumer) {
  return to_python(
      consumer.use_briefly([](Consumer& handle) -> Result<std::string> { return std::string(handle.group()); }));
}

}  // namespace

py::object make_consumer(Bus bus, const std::string& group, const std::vector<std::string>& patterns,
                         const py::kwargs& options) {
  ConsumerOptions chosen;
  set_options(chosen, kConsumerOptions, options);
  return py::cast(HeldConsumer::make(unlocked([&] { return bus.consumer(group, patterns, chosen); })));
}

void bind_consumer(py::module_& module) {
  py::class_<DeliveryHolder, EventHolder>(
      module, "Delivery",
      "A lease of one event to one member. Settle it once: ack, nak, reject or release; dropped unsettled it counts as "
      "a "
      "failed attempt. `with delivery:` acks when the block ends, naks when it raises an Exception, and releases at "
      "anything else (KeyboardInterrupt, CancelledError). A view of the payload keeps the delivery from being dropped.")
      .def_property_readonly(
          "attempt", [](const DeliveryHolder& held) { return held.delivery().attempt(); }, "Failed attempts + 1.")
      .def_property_readonly(
          "group", [](const DeliveryHolder& held) { return to_python(held.delivery().group()); }, "The group's name.")
      .def_property_readonly(
          "redriven",
          [](const DeliveryHolder& held) -> py::object {
            if (!held.delivery().redriven()) return py::none();
            return py::cast(*held.delivery().redriven());
          },
          "A redriven event's history, else None.")
      .def_property_readonly("settled", &DeliveryHolder::settled, "True when it was settled.")
      .def(
          "ack", [](DeliveryHolder& held) { held.settle([](Delivery& delivery) { return delivery.ack(); }); }, "Done.")
      .def(
          "nak",
          [](DeliveryHolder& held, const py::object& error_class, const py::object& reason, const py::object& delay) {
            nak(held, Why(error_class, reason, delay));
          },
          py::kw_only(), py::arg("error_class") = "", py::arg("reason") = "", py::arg("delay") = py::none(),
          "Failed: it comes back after the backoff (or this delay), or goes to the dead-letter queue.")
      .def(
          "reject",
          [](DeliveryHolder& held, const py::object& error_class, const py::object& reason) {
            const Why why(error_class, reason, py::none());
            held.settle([&](Delivery& delivery) { return delivery.reject(why.options()); });
          },
          py::kw_only(), py::arg("error_class") = "", py::arg("reason") = "", "To the dead-letter queue now.")
      .def(
          "release", [](DeliveryHolder& held) { held.settle([](Delivery& delivery) { return delivery.release(); }); },
          "Not now: it comes back at once, uncounted.")
      .def(
          "extend",
          [](DeliveryHolder& held, const py::object& duration) {
            const auto longer = value_of<nanoseconds>(duration);
            held.settle([&](Delivery& delivery) { return delivery.extend(longer); });
          },
          py::arg("duration"), "Still working: the lease ends this long from now.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", leave);

  py::class_<HeldConsumer, std::shared_ptr<HeldConsumer>> consumer(
      module, "Consumer",
      "A member of a group; made by Bus.consumer. Threads that share one take turns. Iterating waits for ever for the "
      "next delivery, as does `async for`.");
  consumer
      .def("next", next, py::arg("timeout") = py::none(),
           "The next delivery, waiting up to timeout (None: for ever; 0 only looks); None when it passed.")
      .def("wait", wait, py::arg("timeout") = py::none(),
           "Waits until next may have something. False: the timeout passed.")
      .def(
          "fileno",
          [](HeldConsumer& held) { return held.use_briefly([](Consumer& handle) { return handle.event_fd(); }); },
          "A descriptor for select, selectors and event loops: readable when next may have something. Call next with a "
          "timeout of 0 until it gives None; from then on it is quiet until there is news. It is the consumer's: do "
          "not "
          "read it, do not close it.")
      .def("interrupt", &HeldConsumer::interrupt,
           "Ends a wait in another thread, or the next one, with Interrupted; from any thread or signal handler.")
      .def("settled_through", settled_through, py::arg("ends"),
           "True when every event before these ends ({topic: offset}) is settled.")
      .def("ack_through", ack_through, py::arg("topic"), py::arg("offset"),
           "Acks every delivery of the topic that this member holds, up to and including the offset; returns how many.")
      .def("await_settled", await_settled, py::arg("timeout") = py::none(),
           "Waits until all that this member settled survives a power cut; TimedOut or NoDaemon when the timeout "
           "passes.")
      .def_property_readonly("missed", seen(&Consumer::missed),
                             "Events that were overwritten or removed before the group came to them.")
      .def_property_readonly("damaged", seen(&Consumer::damaged), "Offsets on disk that could not be read.")
      .def_property_readonly("group", group, "The group's name.")
      .def_property_readonly("closed", &HeldConsumer::closed, "True after close().")
      .def("close", &HeldConsumer::close,
           "Leaves the group; unsettled deliveries come back to it as failed attempts. Idempotent.")
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", [](const std::shared_ptr<HeldConsumer>& self) { return next(self, py::none()); });
  bind_context(consumer);
}

}  // namespace penstock::python
