// Producers and claims.
#include <set>

#include "bindings/python/convert.hpp"
#include "bindings/python/event.hpp"
#include "bindings/python/module.hpp"
#include "bindings/python/publishing.hpp"

namespace penstock::python {
namespace {

using namespace std::chrono_literals;
using OpenClaim = std::optional<Claim>;

// A producer with its open claims, which must not outlive it. Only who has the producer's turn touches them.
struct OpenProducer {
  explicit OpenProducer(Producer opened) : producer(std::move(opened)) {}
  OpenProducer(OpenProducer&&) = default;
  OpenProducer& operator=(OpenProducer&&) = default;
  ~OpenProducer() {
    for (const auto& claim : claims) claim->reset();
  }
  Producer producer;
  std::vector<std::shared_ptr<OpenClaim>> claims;
};

// A claim that nobody has any more: aborted by who has the turn.
struct DroppedClaim {
  explicit DroppedClaim(std::shared_ptr<OpenClaim> left) : claim(std::move(left)) {}
  DroppedClaim(DroppedClaim&&) = default;
  DroppedClaim& operator=(DroppedClaim&&) = default;
  ~DroppedClaim() {
    if (claim) claim->reset();
  }
  std::shared_ptr<OpenClaim> claim;
};

using HeldProducer = Held<OpenProducer, DroppedClaim>;

class ClaimHolder;

// The library's producer waits for a full ring only a slice at a time; the rest of `block` is waited here, so that a
// signal ends it.
struct ProducerHolder {
  std::shared_ptr<HeldProducer> held;
  nanoseconds block;
  bool waits;  // the topic's policy for a full ring is not to fail at once
  bool closing = false;
  std::set<ClaimHolder*> claims{};

  // call(OpenProducer&) -> Result<Offset>, until it is published or `block` has passed.
  template <class Call>
  Offset publish(Call&& call) {
    std::optional<Deadline> daemonless;
    const auto again = [&](const Result<Offset>& came) {
      if (came || !waits) return false;
      switch (came.error().code()) {
        case Errc::full:
        case Errc::disk:
        case Errc::no_space:
          daemonless.reset();
          return true;
        case Errc::no_daemon:  // one that is being restarted is given a moment, as the library does
          if (!daemonless) daemonless.emplace(std::min<nanoseconds>(block, 2s));
          return !daemonless->passed();
        default:
          return false;
      }
    };
    return held->wait(
        Deadline(block), [&](OpenProducer& open, nanoseconds) { return call(open); }, again);
  }
  void close();
};

// An open claim. Its views write to the ring, so it is settled only when none is left: those that payload gave are
// released, and BufferError tells of others made from them. From then on there is no new one, though the turn may be
// waited for still; so what is settled by one thread may be closed with its producer by another.
class ClaimHolder {
 public:
  ClaimHolder(std::shared_ptr<ProducerHolder> producer, std::shared_ptr<OpenClaim> claim, std::span<std::byte> payload,
              Offset offset)
      : producer_(std::move(producer)), claim_(std::move(claim)), payload_(payload), offset_(offset) {
    producer_->claims.insert(this);
  }
  ClaimHolder(const ClaimHolder&) = delete;
  ClaimHolder& operator=(const ClaimHolder&) = delete;
  ~ClaimHolder() {
    producer_->claims.erase(this);
    // A child leaves it alone: it is the parent's.
    if (!settled_ && !producer_->held->foreign()) producer_->held->drop(DroppedClaim(std::move(claim_)));
  }

  Offset offset() const { return offset_; }
  bool settled() const { return settled_; }

  Offset commit() {
    producer_->held->refuse_foreign();
    if (settled_) raise(Errc::closed);
    release_views();
    settled_ = true;
    return producer_->held->use([&](OpenProducer&) -> Result<Offset> {
      if (!*claim_) return tl::unexpected(Error(Errc::closed));  // with the producer
      auto done = (*claim_)->commit();
      claim_->reset();
      return done;
    });
  }
  void abort() {
    producer_->held->refuse_foreign();
    if (settled_) return;
    release_views();
    settled_ = true;
    producer_->held->use([&](OpenProducer&) -> Result<void> {
      claim_->reset();
      return {};
    });
  }

  void release_views() {
    if (py::object view = given(); !view.is_none()) {
      view.attr("release")();
      given_ = py::object();
    }
    if (exports_ == 0) return;
    PyErr_SetString(PyExc_BufferError, "a view of this claim's payload is still in use; release it first");
    throw py::error_already_set();
  }
  void goes_with_its_producer() { settled_ = true; }

  static py::object payload(const py::object& self) {
    auto& me = self.cast<ClaimHolder&>();
    me.producer_->held->refuse_foreign();
    if (me.settled_) raise(Errc::closed);
    if (py::object given = me.given(); !given.is_none()) return given;
    py::object view = view_of(self);
    me.given_ = py::weakref(view);
    return view;
  }
  static int export_to(PyObject* self, Py_buffer* view, int flags) {
    auto& me = py::handle(self).cast<ClaimHolder&>();
    if (me.settled_ || me.producer_->held->foreign()) {
      PyErr_SetString(PyExc_BufferError, "the claim was settled");
      return -1;
    }
    const int done = PyBuffer_FillInfo(view, self, me.payload_.data(), Py_ssize_t(me.payload_.size()), 0, flags);
    if (done == 0) ++me.exports_;
    return done;
  }
  static void release(PyObject* self, Py_buffer*) { --py::handle(self).cast<ClaimHolder&>().exports_; }

 private:
  py::object given() const { return given_ ? given_() : py::none(); }

  std::shared_ptr<ProducerHolder> producer_;
  std::shared_ptr<OpenClaim> claim_;
  std::span<std::byte> payload_;
  Offset offset_;
  bool settled_ = false;  // or about to be
  py::object given_;      // a weak reference to the view that payload gave
  int exports_ = 0;
};

void ProducerHolder::close() {
  held->refuse_foreign();
  for (ClaimHolder* claim : claims) claim->release_views();
  for (ClaimHolder* claim : claims) claim->goes_with_its_producer();
  closing = true;
  held->close();
}

Offset publish(ProducerHolder& producer, const py::object& payload, const py::kwargs& options) {
  const Payload bytes(payload);
  const Publishing chosen(options);
  return producer.publish([&](OpenProducer& open) { return open.producer.publish(bytes.bytes(), chosen.options()); });
}

py::object publish_batch(ProducerHolder& producer, const py::iterable& events) {
  std::vector<Payload> payloads;
  std::vector<Publishing> options;
  for (const py::handle event : events) {
    const bool with_options = py::isinstance<py::tuple>(event);
    const auto pair = with_options ? event.cast<py::tuple>() : py::make_tuple(event, py::dict());
    if (pair.size() != 2) throw py::value_error("an event of a batch is a payload, or (payload, options)");
    payloads.emplace_back(pair[0]);
    options.emplace_back(py::kwargs(pair[1]));
  }
  std::vector<Message> messages;
  for (std::size_t i = 0; i < payloads.size(); ++i) messages.push_back({payloads[i].bytes(), options[i].options()});
  const Offset first = producer.publish([&](OpenProducer& open) { return open.producer.publish_batch(messages); });
  return py::module_::import("builtins").attr("range")(first, first + messages.size());
}

std::unique_ptr<ClaimHolder> claim(const std::shared_ptr<ProducerHolder>& producer, std::size_t size,
                                   const py::kwargs& options) {
  const Publishing chosen(options);
  std::shared_ptr<OpenClaim> made;
  std::span<std::byte> payload;
  const Offset offset = producer->publish([&](OpenProducer& open) -> Result<Offset> {
    auto claimed = open.producer.claim(size, chosen.options());
    if (!claimed) return tl::unexpected(claimed.error());
    payload = claimed->payload();
    std::erase_if(open.claims, [](const auto& each) { return !*each; });
    made = open.claims.emplace_back(std::make_shared<OpenClaim>(std::move(*claimed)));
    return (*made)->offset();
  });
  if (producer->closing) raise(Errc::closed);  // by another thread, meanwhile
  return std::make_unique<ClaimHolder>(producer, std::move(made), payload, offset);
}

void await_durable(ProducerHolder& producer, Offset offset, const py::object& timeout) {
  producer.held->wait_beside(
      deadline(timeout),
      [&](OpenProducer& open, nanoseconds slice) { return open.producer.await_durable(offset, slice); },
      [](const Result<void>& came) {
        return !came && (came.error().code() == Errc::timed_out || came.error().code() == Errc::no_daemon);
      });
}

// What the handle says of itself, as a copy.
template <class T, class Look>
T look(ProducerHolder& producer, Look&& look) {
  return producer.held->use_briefly([&](OpenProducer& open) -> Result<T> { return T(look(open.producer)); });
}

}  // namespace

py::object make_producer(Bus bus, const std::string& topic, const py::kwargs& options) {
  ProducerOptions chosen;
  set_options(chosen, kProducerOptions, options);
  const nanoseconds block = chosen.block;
  chosen.block = std::min(block, kSlice);
  bool waits = true;
  auto made = unlocked([&]() -> Result<Producer> {
    auto opened = bus.producer(topic, chosen);
    if (!opened) return opened;
    auto info = bus.describe_topic(topic);
    if (!info) return tl::unexpected(info.error());
    waits = info->options.full != Full::fail;
    return opened;
  });
  return py::cast(std::make_shared<ProducerHolder>(
      ProducerHolder{HeldProducer::make(OpenProducer(std::move(made))), block, waits}));
}

void bind_producer(py::module_& module) {
  py::class_<ClaimHolder> claimed(module, "Claim", py::custom_type_setup([](PyHeapTypeObject* type) {
                                    type->ht_type.tp_as_buffer = &type->as_buffer;
                                    type->as_buffer.bf_getbuffer = ClaimHolder::export_to;
                                    type->as_buffer.bf_releasebuffer = ClaimHolder::release;
                                  }),
                                  "A place in the log, to be filled in and committed; made by Producer.claim. `with "
                                  "claim:` aborts it when the block "
                                  "ends without commit. Readers wait for it, so fill it soon.");
  claimed
      .def_property_readonly("payload", ClaimHolder::payload,
                             "A writable view of the payload in shared memory; commit and abort release it.")
      .def_property_readonly("offset", &ClaimHolder::offset, "The offset the event will have.")
      .def_property_readonly("settled", &ClaimHolder::settled, "True after commit or abort.")
      .def("commit", &ClaimHolder::commit,
           "Makes the event visible; its offset. BufferError when a view made from payload is still in use.")
      .def("abort", &ClaimHolder::abort, "Gives the place up: its offset is used up and nobody sees it. Idempotent.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](ClaimHolder& self, const py::args&) { self.abort(); });

  py::class_<ProducerHolder, std::shared_ptr<ProducerHolder>> producer(
      module, "Producer",
      "Publishes to one topic; made by Bus.producer. Threads that share one take turns; one each is faster.");
  producer
      .def(
          "publish", publish, py::arg("payload"),
          "Copies the event into the log and makes it visible; its offset. Options: key, id (deduplicates), headers (a "
          "mapping), content_type, schema, deliver_at (a datetime), ttl (seconds or a timedelta). Waits for a full "
          "ring "
          "as long as the producer's `block` says.")
      .def("publish_batch", publish_batch, py::arg("events"),
           "All of them or none become visible: payloads, or (payload, options) with options as a dict. Their offsets, "
           "as a range.")
      .def("claim", claim, py::arg("size"),
           "A claim of exactly `size` bytes, to be written in place. Options as publish.")
      .def("await_durable", await_durable, py::arg("offset"), py::arg("timeout") = py::none(),
           "Waits until every offset up to this one is on disk; TimedOut or NoDaemon when the timeout passes.")
      .def(
          "last_id",
          [](ProducerHolder& held, std::size_t back) {
            return look<std::string>(held, [&](Producer& handle) { return handle.last_id(back).hex(); });
          },
          py::arg("back") = 0,
          "The id of the event published last, or of the one `back` before it in its batch, in hex.")
      .def_property_readonly(
          "last_duplicate",
          [](ProducerHolder& held) {
            return look<bool>(held, [](Producer& handle) { return handle.last_duplicate(); });
          },
          "True when the last publish answered with the offset of an earlier event that has its id.")
      .def_property_readonly(
          "topic",
          [](ProducerHolder& held) {
            return to_python(look<std::string>(held, [](Producer& handle) { return handle.topic(); }));
          },
          "The topic's name.")
      .def_property_readonly(
          "max_payload",
          [](ProducerHolder& held) {
            return look<std::uint64_t>(held, [](Producer& handle) { return handle.max_payload(); });
          },
          "The largest payload that the topic takes, in bytes.")
      .def_property_readonly(
          "closed", [](ProducerHolder& held) { return held.held->closed(); }, "True after close().")
      .def("close", &ProducerHolder::close, "Ends it; open claims are aborted. Idempotent.");
  bind_context(producer);
}

}  // namespace penstock::python
