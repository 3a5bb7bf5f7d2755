// JSON from outside: what it says is kept, in its order; what is broken or means harm is refused, in time.

#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace onnx_split {
namespace {

using testing::HasSubstr;

TEST(Json, WhatIsReadIsWrittenTheSame) {
  for (const char* text :
       {"null", "true", "-1", "18446744073709551615", "0.5", "\"a\\n\xc3\xa4\"", "[]", "{}", "[[],{},[1,[2]]]",
        R"({"z":1,"a":{"b":[{"c":null},false],"":0},"m":[1.5,"x",-9223372036854775808]})"}) {
    const Expected<Json> json = parse_json(text);
    ASSERT_TRUE(json.has_value()) << json.error().message;
    EXPECT_EQ(to_text(*json), text);
  }
}

TEST(Json, WhatIsBrokenSaysWhere) {
  EXPECT_THAT(parse_json("").error().message, HasSubstr("parse error at line 1, column 1"));
  EXPECT_THAT(parse_json("[1,\n2").error().message, HasSubstr("parse error at line 2, column 2"));
  EXPECT_THAT(parse_json("{} 1").error().message, HasSubstr("parse error"));
  EXPECT_THAT(parse_json("\"\xff\"").error().message, HasSubstr("UTF-8"));
  EXPECT_THAT(parse_json("1e999").error().message, HasSubstr("number overflow"));
}

TEST(Json, AMemberGivenTwiceIsRefused) {
  EXPECT_EQ(parse_json(R"({"a":{"b":1,"c":2,"b":3}})").error().message, "member \"b\" is given twice");
  EXPECT_TRUE(parse_json(R"({"a":{"b":1},"b":1})").has_value());
}

TEST(Json, DeepNestingIsRefused) {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_TRUE(parse_json(nested(64)).has_value());
  EXPECT_EQ(parse_json(nested(65)).error().message, "JSON nested deeper than 64 levels");
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[')).has_value());
}

// The library's own builder compares each name with all before it.
TEST(Json, TimeGrowsWithTheTextAndNotWithItsSquare) {
  std::string text = "{";
  for (int i = 0; i < 400'000; ++i) text += fmt::format("\"k{}\":0,", i);
  text.back() = '}';
  const Expected<Json> json = parse_json(text);
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ(json->size(), 400'000U);
}

TEST(JsonReader, ANumberOutsideItsRangeSaysWhere) {
  const Json json = *parse_json(R"({"a": {"low": -0.5, "low_end": 0, "high_end": 2.5, "high": 3, "text": "1"}})");
  const JsonReader reader = *JsonReader(json).at("a");
  EXPECT_EQ(reader.number("low_end", 0.0, 2.5).value(), 0.0);
  EXPECT_EQ(reader.number("high_end", 0.0, 2.5).value(), 2.5);
  EXPECT_EQ(reader.number("low", 0.0, 2.5).error().message, "a.low: expected a number from 0 to 2.5, found -0.5");
  EXPECT_EQ(reader.number("high", 0.0, 2.5).error().message, "a.high: expected a number from 0 to 2.5, found 3");
  EXPECT_EQ(reader.number("text", 0.0, 2.5).error().message, "a.text: expected a number from 0 to 2.5, found \"1\"");
  EXPECT_EQ(reader.number("none", 0.0, 2.5).error().message, "a.none: missing");
}

}  // namespace
}  // namespace onnx_split
