#include "tools/penstock/json.hpp"

#include <gtest/gtest.h>

namespace penstock::tool {
namespace {

EventView::Raw event(std::string_view topic, Offset offset, std::string_view payload) {
  EventView::Raw raw;
  raw.topic = topic;
  raw.offset = offset;
  raw.time_ns = 1'795'417'200'000'000'001;  // 2026-11-23T07:00:00.000000001Z
  raw.payload = bytes_of(payload);
  return raw;
}

std::string json_of(const EventView::Raw& raw, const EventExtras& extras = {}) {
  std::string out;
  append_event(out, EventView(raw), extras);
  return out;
}

TEST(JsonTest, TimesHaveNineDigits) {
  EXPECT_EQ(time_text(Timestamp(std::chrono::nanoseconds(0))), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(time_text(Timestamp(std::chrono::nanoseconds(1'795'417'200'000'000'001))),
            "2026-11-23T07:00:00.000000001Z");
  EXPECT_EQ(time_text(Timestamp(std::chrono::nanoseconds(-1))), "1969-12-31T23:59:59.999999999Z");
}

TEST(JsonTest, Utf8IsToldFromOtherBytes) {
  for (const char* text : {"", "plain text that is longer than eight", "ä", "€", "😀", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(valid_utf8(text)) << text;
  }
  for (const char* text : {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                           "\xf5\x80\x80\x80", "\x80", "eight by\xe2\x82", "\xe2\x28\xa1", "\xf0\x80\x80\x80"}) {
    EXPECT_FALSE(valid_utf8(text)) << hex(text);
  }
  EXPECT_TRUE(valid_utf8(std::string_view("a\0b", 3)));
}

TEST(JsonTest, Base64PadsAsItMust) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("\xff\xfe\xfd"), "//79");
}

TEST(JsonTest, EveryByteOfAStringSurvivesAParser) {
  std::string text;
  for (int c = 0; c < 128; ++c) text += static_cast<char>(c);
  text += "ä€😀";
  std::string out;
  append_string(out, text);
  EXPECT_EQ(Json::parse(out).get<std::string>(), text);
}

TEST(JsonTest, AnEventHasTheKeysOfTheContractInTheirOrder) {
  const std::string text = json_of(event("payment.confirmed", 17, "paid"));
  ASSERT_EQ(text.back(), '\n');
  const Json object = Json::parse(text);
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"topic", "offset", "time", "id", "id_text", "key", "headers", "size",
                                            "payload"}));
  EXPECT_EQ(object["topic"], "payment.confirmed");
  EXPECT_EQ(object["offset"], 17);
  EXPECT_EQ(object["time"], "2026-11-23T07:00:00.000000001Z");
  EXPECT_EQ(object["id"].get<std::string>().size(), 32u);
  EXPECT_TRUE(object["id_text"].is_null());
  EXPECT_TRUE(object["key"].is_null());
  EXPECT_TRUE(object["headers"].is_object() && object["headers"].empty());
  EXPECT_EQ(object["size"], 4);
  EXPECT_EQ(object["payload"], "paid");
}

TEST(JsonTest, SixtyFourBitNumbersAreExact) {
  const std::string text = json_of(event("t", 18446744073709551615u, ""));
  EXPECT_NE(text.find("\"offset\":18446744073709551615,"), std::string::npos) << text;
}

TEST(JsonTest, APayloadThatIsNotUtf8IsBase64) {
  const Json object = Json::parse(json_of(event("t", 0, std::string_view("\xff\x00", 2))));
  EXPECT_FALSE(object.contains("payload"));
  EXPECT_EQ(object["payload_base64"], "/wA=");
  EXPECT_EQ(object["size"], 2);
}

TEST(JsonTest, ADeliveryTellsItsGroupAndAttempt) {
  const Json object = Json::parse(json_of(event("t", 0, "x"), {.group = "g", .attempt = 3}));
  EXPECT_EQ(object["group"], "g");
  EXPECT_EQ(object["attempt"], 3);
  EXPECT_FALSE(Json::parse(json_of(event("t", 0, "x"))).contains("attempt"));
}

TEST(JsonTest, ADeadLetterTellsItsHistory) {
  const DeadLetter letter{.topic = "payment.confirmed",
                          .offset = 2,
                          .group = "g",
                          .member = "slot 1, pid 2",
                          .attempts = 5,
                          .disposition = "attempts",
                          .error_class = "exit-1",
                          .reason = "bad \xff byte",
                          .redrives = 1};
  const Json object = Json::parse(json_of(event("g.dlq", 0, "x"), {.letter = &letter}))["dead_letter"];
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"topic", "offset", "group", "member", "attempts", "first_failure",
                                            "last_failure", "disposition", "error_class", "reason", "redrives"}));
  EXPECT_EQ(object["offset"], 2);
  EXPECT_EQ(object["attempts"], 5);
}

TEST(JsonTest, PayloadsCanBeHexOrLeftOut) {
  EXPECT_EQ(Json::parse(json_of(event("t", 0, "AB"), {.payload = PayloadAs::hex}))["payload_hex"], "4142");
  const Json without = Json::parse(json_of(event("t", 0, "AB"), {.payload = PayloadAs::nothing}));
  EXPECT_FALSE(without.contains("payload"));
  EXPECT_EQ(without["size"], 2);
}

TEST(JsonTest, EscapedTextStaysOnItsLine) {
  EXPECT_EQ(escaped("a\nb\t\\\x01"), "a\\nb\\t\\\\\\x01");
  EXPECT_EQ(escaped("\xff"), "\\xff");
  EXPECT_EQ(escaped("ä"), "ä");
}

TEST(JsonTest, DurationsAndSizesAreToldInTheirLargestUnit) {
  using namespace std::chrono_literals;
  EXPECT_EQ(duration_text(30s), "30s");
  EXPECT_EQ(duration_text(1500ms), "1500ms");
  EXPECT_EQ(duration_text(168h), "7d");
  EXPECT_EQ(duration_text(0s), "0s");
  EXPECT_EQ(duration_text(1ns), "1ns");
  EXPECT_EQ(size_text(512), "512B");
  EXPECT_EQ(size_text(16ull << 20), "16MiB");
  EXPECT_EQ(size_text(1536), "1.5KiB");
}

TEST(JsonTest, AFileWithoutEventsHasNoOffsets) {
  const Json object = file_json({.file = "f", .events = 0, .ok = false, .problems = {"short"}});
  EXPECT_TRUE(object["first_offset"].is_null());
  EXPECT_EQ(object["problems"], Json::array({"short"}));
  EXPECT_EQ(object["ok"], false);
}

}  // namespace
}  // namespace penstock::tool
