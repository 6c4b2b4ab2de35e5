// [access]: who owns what, who may do what, and what somebody may put in a file's place.
#include <fcntl.h>
#include <penstock/daemon.hpp>

#include <algorithm>
#include <map>
#include <set>

#include "tests/transport/api/people.hpp"

namespace penstock::people {
namespace {

namespace fs = std::filesystem;

TopicOptions small(Durability durability) {
  TopicOptions out;
  out.durability = durability;
  out.ring_bytes = 64 << 10;
  return out;
}

bool consume(const std::string& bus, const std::string& group, std::size_t most) {
  auto opened = Bus::open(bus);
  if (!good(opened, "open")) return false;
  auto consumer = opened->consumer(group, {"orders"});
  if (!good(consumer, "consumer")) return false;
  for (std::size_t i = 0; i < most; ++i) {
    auto delivery = consumer->next(10s);
    if (!good(delivery, "next") || !good(delivery->has_value(), "an event is there")) return false;
    if (!good((*delivery)->ack(), "ack")) return false;
  }
  return true;
}

bool publish(const std::string& bus, const std::string& topic, std::size_t events) {
  auto opened = Bus::open(bus);
  if (!good(opened, "open")) return false;
  auto producer = opened->producer(topic);
  if (!good(producer, "producer")) return false;
  for (std::size_t i = 0; i < events; ++i)
    if (!good(producer->publish(bytes("event " + std::to_string(i))), "publish")) return false;
  return true;
}

// A daemon that lives while `body` does, and writes what there is.
bool with_daemon(const std::string& bus, const std::function<bool()>& body) {
  auto opened = Bus::open(bus);
  if (!good(opened, "open")) return false;
  auto daemon = Daemon::start(*opened);
  if (!good(daemon, "daemon")) return false;
  const bool result = body();
  return good(daemon->stop(), "stop") && result;
}

bool refused(const std::string& bus, Errc code, const char* says) {
  auto opened = Bus::open(bus);
  if (opened) return good(false, "the bus opens");
  return good(opened.error().code() == code, opened.error().message().c_str()) &&
         good(opened.error().message().find(says) != std::string::npos, opened.error().message().c_str());
}

class AccessTest : public SharedBus {
 protected:
  // A bus in use: a topic with events on disk, two groups of two users.
  void fill() {
    ASSERT_TRUE(as(kOwner, [&] {
      auto bus = Bus::open(bus_, {.create = true});
      return good(bus, "open");
    }));
    ASSERT_TRUE(as(kProducer, [&] {
      auto bus = Bus::open(bus_);
      return good(bus, "open") && good(bus->create_topic("orders", small(Durability::disk)), "topic") &&
             publish(bus_, "orders", 10);
    }));
    ASSERT_TRUE(as(kConsumer, [&] { return consume(bus_, "one", 10); }));
    ASSERT_TRUE(as(kOther, [&] { return consume(bus_, "two", 5); }));
    ASSERT_TRUE(as(kOwner, [&] { return with_daemon(bus_, [] { return true; }); }));
  }
  std::vector<std::string> everything() const {
    std::vector<std::string> out{bus_, live()};
    for (const std::string& root : {bus_, live()})
      for (const auto& entry : fs::recursive_directory_iterator(root)) out.push_back(entry.path());
    return out;
  }
};

std::string told(const struct stat& info) {
  char text[64];
  std::snprintf(text, sizeof text, "%o %u:%u", unsigned(info.st_mode & 07777), unsigned(info.st_uid),
                unsigned(info.st_gid));
  return text;
}

// What DESIGN.md ("Access") says of each.
std::map<std::string, std::string> expected(const std::string& bus, const std::string& live) {
  const std::string segment = "/topics/orders/00000000000000000000";
  return {{bus, "750 6001:7002"},
          {bus + "/bus.toml", "644 6001:6001"},
          {bus + "/bus.id", "644 6001:6001"},
          {bus + "/bus.lock", "660 6001:7001"},
          {bus + "/daemon.lock", "660 6001:7001"},
          {bus + "/topics", "2775 6001:7001"},
          {bus + "/topics/orders", "2775 6002:7001"},
          {bus + "/topics/orders/topic.meta.a", "664 6002:7001"},
          {bus + "/topics/orders/topic.meta.b", "664 6002:7001"},
          {bus + segment + ".seg", "664 6001:7001"},
          {bus + segment + ".idx", "664 6001:7001"},
          {bus + "/groups", "3777 6001:6001"},
          {bus + "/groups/one", "775 6003:6001"},
          {bus + "/groups/two", "775 6004:6001"},
          {bus + "/groups/one/group.meta.a", "644 6003:7002"},
          {bus + "/groups/one/group.meta.b", "644 6003:7002"},
          {bus + "/groups/two/group.meta.a", "644 6004:7002"},
          {bus + "/groups/two/group.meta.b", "644 6004:7002"},
          {bus + "/groups/one/orders.state.a", "644 6001:6001"},
          {bus + "/groups/one/orders.state.b", "644 6001:6001"},
          {bus + "/groups/two/orders.state.a", "644 6001:6001"},
          {bus + "/groups/two/orders.state.b", "644 6001:6001"},
          {live, "750 6001:7002"},
          {live + "/bus", "664 6001:7001"},
          {live + "/wake", "666 6001:6001"},
          {live + "/handles", "2775 6001:7001"},
          {live + "/handles/0", "644 6002:7001"},
          {live + "/handles/1", "644 6001:7001"},
          {live + "/guests", "1777 6001:6001"},
          {live + "/guests/2048", "644 6003:7002"},
          {live + "/guests/2049", "644 6004:7002"},
          {live + "/topics", "2775 6001:7001"},
          {live + "/topics/orders", "664 6002:7001"},
          {live + "/groups", "3777 6001:6001"},
          {live + "/groups/one@6003", "775 6003:6001"},
          {live + "/groups/one@6003/@group", "664 6003:6001"},
          {live + "/groups/one@6003/@lock", "600 6003:7002"},
          {live + "/groups/one@6003/orders", "664 6003:6001"},
          {live + "/groups/two@6004", "775 6004:6001"},
          {live + "/groups/two@6004/@group", "664 6004:6001"},
          {live + "/groups/two@6004/@lock", "600 6004:7002"},
          {live + "/groups/two@6004/orders", "664 6004:6001"}};
}

TEST_F(AccessTest, EveryFileHasItsOwnerGroupAndModeWhateverTheUmask) {
  for (const mode_t mask : {0000, 0077}) {
    const mode_t before = ::umask(mask);
    fill();
    ::umask(before);
    if (HasFatalFailure()) return;
    std::map<std::string, std::string> wanted = expected(bus_, live());
    for (const std::string& path : everything()) {
      struct stat info {};
      ASSERT_EQ(::lstat(path.c_str(), &info), 0);
      if (S_ISLNK(info.st_mode)) continue;
      ASSERT_TRUE(wanted.count(path) != 0) << path << " is not told of";
      EXPECT_EQ(told(info), wanted[path]) << path << ", umask " << mask;
      wanted.erase(path);
    }
    // Copies of checkpoints are written in turn: one may do.
    for (const auto& [path, what] : wanted) EXPECT_TRUE(path.ends_with(".state.b")) << path << " is not there";
    fs::remove_all(live());
    fs::remove_all(bus_);
    make(true);
  }
}

TEST_F(AccessTest, WithoutAccessEverythingIsOneUsersWhateverTheUmask) {
  for (const mode_t mask : {0000, 0077}) {
    fs::remove_all(bus_);
    const mode_t before = ::umask(mask);
    ASSERT_TRUE(as(kOwner, [&] { return true; }));
    ::chown(root_.c_str(), kOwner.uid, kOwner.gid);
    const bool filled = as(kOwner, [&] {
      auto bus = Bus::open(bus_, {.create = true});
      return good(bus, "open") && good(bus->create_topic("orders", small(Durability::disk)), "topic") &&
             publish(bus_, "orders", 10) && consume(bus_, "one", 10) && with_daemon(bus_, [] { return true; });
    });
    ::umask(before);
    ASSERT_TRUE(filled);
    std::size_t seen = 0;
    for (const std::string& path : everything()) {
      struct stat info {};
      ASSERT_EQ(::lstat(path.c_str(), &info), 0);
      if (S_ISLNK(info.st_mode)) continue;
      EXPECT_EQ(info.st_mode & 07777, S_ISDIR(info.st_mode) ? 0700u : 0600u) << path;
      EXPECT_EQ(info.st_uid, kOwner.uid) << path;
      ++seen;
    }
    EXPECT_GT(seen, 15u);
    fs::remove_all(live());
  }
}

// Everything that this user can open for writing, and every directory it can make something in.
bool writes_only(const std::vector<std::string>& paths, std::set<std::string> allowed) {
  bool result = true;
  for (const std::string& path : paths) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0 || S_ISLNK(info.st_mode)) continue;
    const bool can = ::access(path.c_str(), W_OK) == 0;
    if (can != (allowed.count(path) != 0))
      result = good(false, (path + (can ? " is" : " isn't") + " writable").c_str());
    allowed.erase(path);
  }
  return good(allowed.empty(), "all that may be written is there") && result;
}

TEST_F(AccessTest, AConsumerWritesTheWakePageItsHandlesAndItsGroupAndNothingElse) {
  fill();
  const auto paths = everything();
  const std::set<std::string> common{bus_ + "/groups", live() + "/wake", live() + "/guests", live() + "/groups"};
  EXPECT_TRUE(as(kHostile, [&] { return writes_only(paths, common); }));
  EXPECT_TRUE(as(kConsumer, [&] {
    std::set<std::string> mine = common;
    mine.insert({bus_ + "/groups/one", bus_ + "/groups/one/group.meta.a", bus_ + "/groups/one/group.meta.b",
                 live() + "/guests/2048", live() + "/groups/one@6003", live() + "/groups/one@6003/@group",
                 live() + "/groups/one@6003/@lock", live() + "/groups/one@6003/orders"});
    return writes_only(paths, mine);
  }));
}

TEST_F(AccessTest, WhoIsInNeitherGroupSeesNothing) {
  fill();
  EXPECT_TRUE(as({6009, 6009, {}}, [&] { return refused(bus_, Errc::permission, "permission denied"); }));
}

TEST_F(AccessTest, AConsumerCannotPublishOrMakeTopicsAndIsToldWhy) {
  fill();
  EXPECT_TRUE(as(kConsumer, [&] {
    auto bus = Bus::open(bus_);
    if (!good(bus, "open")) return false;
    const auto no = [](const auto& result) {
      return !result && result.error().code() == Errc::permission &&
             result.error().message().find("producers") != std::string::npos;
    };
    return good(no(bus->producer("orders")), "no producer") && good(no(bus->create_topic("new")), "no topic") &&
           good(no(bus->delete_topic("orders")), "no deletion") &&
           good(no(bus->set_retention("orders", 1, 1s)), "no retention");
  }));
}

TEST_F(AccessTest, AGroupIsItsUsersAndOthersMayOnlyLookAtIt) {
  fill();
  EXPECT_TRUE(as(kOther, [&] {
    auto bus = Bus::open(bus_);
    if (!good(bus, "open")) return false;
    auto joined = bus->consumer("one", {"orders"});
    auto info = bus->group_topics("one");
    return good(!joined && joined.error().code() == Errc::permission, "no member") &&
           good(!bus->pause_group("one", true), "no pause") && good(!bus->delete_group("one"), "no deletion") &&
           good(!bus->seek_group("one", StartAt::beginning()), "no seek") && good(info, "describe") &&
           good(info->size() == 1 && info->front().acked == 10, "it acked 10");
  }));
}

TEST_F(AccessTest, AfterARebootTheOwnerOpensFirstAndGroupsGoOnWhereTheyWere) {
  fill();
  // What a reboot leaves: the link, and nothing behind it.
  fs::remove_all(live());
  for (const User& user : {kConsumer, kProducer})
    EXPECT_TRUE(as(user, [&] { return refused(bus_, Errc::permission, "owner (user 6001) must open it first"); }));
  EXPECT_TRUE(as(kOwner, [&] { return good(Bus::open(bus_), "open"); }));
  EXPECT_TRUE(as(kProducer, [&] { return publish(bus_, "orders", 1); }));
  EXPECT_TRUE(as(kConsumer, [&] { return consume(bus_, "one", 1); }));
  EXPECT_TRUE(as(kOther, [&] { return consume(bus_, "two", 6); }));
  EXPECT_TRUE(as(kOther, [&] {
    auto bus = Bus::open(bus_);
    if (!good(bus, "open")) return false;
    auto unloaded = Bus::unload(bus_);
    return good(!unloaded && unloaded.error().code() == Errc::permission, "only the owner unloads");
  }));
  EXPECT_TRUE(as(kOwner, [&] { return with_daemon(bus_, [] { return true; }) && good(Bus::unload(bus_), "unload"); }));
}

TEST_F(AccessTest, AnOwnerWhoCannotHaveTheGroupsIsToldSo) {
  const auto says = [&](const User& user, const char* what) {
    return as(user, [&] {
      auto bus = Bus::open(bus_, {.create = true});
      return !bus && good(bus.error().message().find(what) != std::string::npos, bus.error().message().c_str());
    });
  };
  EXPECT_TRUE(says({kOwner.uid, kOwner.gid, {kConsumers}}, "must be in both"));
  EXPECT_TRUE(says({kOwner.uid, kConsumers, {kProducers}}, "primary Unix group"));
  std::ofstream(bus_ + "/bus.toml") << "[access]\nproducers = \"no-such-group\"\nconsumers = \"root\"\n";
  EXPECT_TRUE(says(kOwner, "no-such-group, which does not exist"));
  std::ofstream(bus_ + "/bus.toml") << "[access]\nproducers = \"7001\"\n";
  EXPECT_TRUE(says(kOwner, "names both producers and consumers"));
}

TEST_F(AccessTest, TurningAccessOnChangesWhatIsThereWhenTheLiveSideIsMadeAnew) {
  std::ofstream(bus_ + "/bus.toml") << "";
  ASSERT_TRUE(as(kOwner, [&] {
    auto bus = Bus::open(bus_, {.create = true});
    return good(bus, "open") && good(bus->create_topic("orders", small(Durability::disk)), "topic") &&
           publish(bus_, "orders", 3) && with_daemon(bus_, [] { return true; }) && good(Bus::unload(bus_), "unload");
  }));
  EXPECT_TRUE(as(kConsumer, [&] { return refused(bus_, Errc::permission, "denied"); }));
  make(true);
  ASSERT_TRUE(as(kOwner, [&] { return good(Bus::open(bus_), "open"); }));
  EXPECT_TRUE(as(kConsumer, [&] { return consume(bus_, "one", 3); }));
  EXPECT_TRUE(as(kProducer, [&] { return publish(bus_, "orders", 1); }));
  // And off again: the gate is shut.
  ASSERT_TRUE(as(kOwner, [&] { return with_daemon(bus_, [] { return true; }) && good(Bus::unload(bus_), "unload"); }));
  std::ofstream(bus_ + "/bus.toml") << "";
  ASSERT_TRUE(as(kOwner, [&] { return good(Bus::open(bus_), "open"); }));
  EXPECT_TRUE(as(kConsumer, [&] { return refused(bus_, Errc::permission, "denied"); }));
  EXPECT_TRUE(as(kProducer, [&] { return refused(bus_, Errc::permission, "denied"); }));
}

TEST_F(AccessTest, MakingTheLiveSideAnewChangesNothingThatALinkLeadsTo) {
  fill();
  const std::string secret = root_ + "/secret";
  ASSERT_TRUE(fs::create_directory(secret));
  std::ofstream(secret + "/orders.state.a") << "secret";
  ASSERT_EQ(::chmod((secret + "/orders.state.a").c_str(), 0600), 0);
  for (const std::string& path : {secret, secret + "/orders.state.a"})
    ASSERT_EQ(::chown(path.c_str(), kOwner.uid, kOwner.gid), 0);
  ASSERT_TRUE(as(kHostile, [&] { return ::symlink(secret.c_str(), (bus_ + "/groups/link").c_str()) == 0; }));
  // A second name, where the system lets a user give one to another's file.
  ASSERT_EQ(::link((secret + "/orders.state.a").c_str(), (bus_ + "/groups/one/hard").c_str()), 0);
  fs::remove_all(live());
  ASSERT_TRUE(as(kOwner, [&] { return good(Bus::open(bus_), "open"); }));
  struct stat info {};
  ASSERT_EQ(::stat((secret + "/orders.state.a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(AccessTest, WhatIsPutInPlaceOfAHandleIsPassedBy) {
  fill();
  const std::string guests = live() + "/guests/";
  ASSERT_TRUE(as(kHostile, [&] {
    const bool planted = ::mkfifo((guests + "2050").c_str(), 0666) == 0 &&
                         ::symlink("/etc/passwd", (guests + "2051").c_str()) == 0 &&
                         ::mkdir((guests + "2052").c_str(), 0777) == 0;
    // One that everybody may write: who used it would be written over.
    const int fd = ::open((guests + "2053").c_str(), O_RDWR | O_CREAT, 0666);
    ::fchmod(fd, 0666);
    return good(planted, "planted") && good(::ftruncate(fd, 4096) == 0, "a page");
  }));
  const User newcomer{6008, kConsumers, {}};
  EXPECT_TRUE(as(newcomer, [&] { return consume(bus_, "three", 10); }));
  struct stat info {};
  ASSERT_EQ(::lstat((guests + "2054").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, newcomer.uid);
  EXPECT_TRUE(as(kOwner, [&] {
    auto bus = Bus::open(bus_);
    return good(bus, "open") && good(bus->describe(), "describe");
  }));
}

TEST_F(AccessTest, WhatIsPutInAGroupsPlaceCostsOnlyThatGroup) {
  fill();
  ASSERT_TRUE(as(kHostile, [&] { return consume(bus_, "bad", 1); }));
  const std::string place = live() + "/groups/bad@6005", books = bus_ + "/groups/bad";
  const auto others_go_on = [&](const char* after) {
    SCOPED_TRACE(after);
    EXPECT_TRUE(as(kOwner, [&] { return with_daemon(bus_, [&] { return publish(bus_, "orders", 2); }); }));
    EXPECT_TRUE(as(kConsumer, [&] { return consume(bus_, "one", 2); }));
  };
  ASSERT_TRUE(as(kHostile, [&] {
    return ::unlink((place + "/@group").c_str()) == 0 && ::mkfifo((place + "/@group").c_str(), 0666) == 0;
  }));
  others_go_on("a FIFO for the options");
  ASSERT_TRUE(as(kHostile, [&] {
    return ::rename(place.c_str(), (live() + "/groups/was").c_str()) == 0 &&
           ::symlink((live() + "/groups/one@6003").c_str(), place.c_str()) == 0;
  }));
  others_go_on("a link to another's live side");
  ASSERT_TRUE(as(kHostile, [&] {
    return ::rename(books.c_str(), (bus_ + "/groups/was").c_str()) == 0 &&
           ::symlink((bus_ + "/groups/one").c_str(), books.c_str()) == 0;
  }));
  others_go_on("a link to another's books");
  EXPECT_TRUE(as(kOwner, [&] {
    auto bus = Bus::open(bus_);
    if (!good(bus, "open")) return false;
    auto one = bus->group_topics("one");
    return good(one, "describe") && good(one->front().acked == 16, "nothing was counted twice") &&
           good(!bus->describe_group("bad"), "a link is no group");
  }));
}

TEST_F(AccessTest, SlotsOnWhichAConsumerHoldsLocksAreUsedAgain) {
  fill();
  int held[2];
  ASSERT_EQ(::pipe(held), 0);
  // A reader's lock is all that can be had of a producer's handle; it is had as soon as the producer is gone.
  const pid_t holder = start(kHostile, [&] {
    const std::string path = live() + "/handles/0";
    const int fd = ::open(path.c_str(), O_RDONLY);
    struct flock lock {};
    lock.l_type = F_RDLCK;
    const bool locked = ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
    if (::write(held[1], locked ? "y" : "n", 1) != 1) return false;
    ::pause();
    return true;
  });
  char locked = 0;
  ASSERT_EQ(::read(held[0], &locked, 1), 1);
  EXPECT_EQ(locked, 'y');
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(as(kProducer, [&] { return publish(bus_, "orders", 1); }));
  EXPECT_EQ(std::distance(fs::directory_iterator(live() + "/handles"), fs::directory_iterator()), 3);  // 0, 1, .lock
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  EXPECT_TRUE(as(kConsumer, [&] { return consume(bus_, "one", 5); }));
}

TEST_F(AccessTest, ALiveSideThatAnotherUserMadeIsNotBelieved) {
  fill();
  const std::string false_live = live();
  for (const auto& entry : fs::recursive_directory_iterator(false_live))
    ASSERT_EQ(::lchown(entry.path().c_str(), kHostile.uid, kConsumers), 0);
  ASSERT_EQ(::chown(false_live.c_str(), kHostile.uid, kConsumers), 0);
  ASSERT_EQ(::chmod(false_live.c_str(), 0777), 0);
  EXPECT_TRUE(as(kConsumer, [&] { return refused(bus_, Errc::permission, "must open it first"); }));
  ASSERT_TRUE(as(kOwner, [&] { return good(Bus::open(bus_), "open"); }));
  EXPECT_NE(live(), false_live);
  EXPECT_TRUE(as(kProducer, [&] { return publish(bus_, "orders", 1); }));
  EXPECT_TRUE(as(kConsumer, [&] { return consume(bus_, "one", 1); }));
  fs::remove_all(false_live);
}

}  // namespace
}  // namespace penstock::people
