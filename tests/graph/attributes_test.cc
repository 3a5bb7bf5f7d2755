#include "graph/attributes.h"

#include <gtest/gtest.h>

namespace onnx_split {
namespace {

const Attributes kAll{
    {"i", std::int64_t{3}}, {"f", 0.5F}, {"s", std::string("same")}, {"is", Ints{1, -2}}, {"fs", Floats{1.5F, 2}}};

TEST(Attributes, ReadBackByKindAndFallBackWhereMissing) {
  EXPECT_EQ(*kAll.get_int("i", 0), 3);
  EXPECT_EQ(*kAll.get_float("f", 0), 0.5F);
  EXPECT_EQ(*kAll.get_string("s", ""), "same");
  EXPECT_EQ(*kAll.get_ints("is", {}), (Ints{1, -2}));
  EXPECT_EQ(*kAll.get_floats("fs", {}), (Floats{1.5F, 2}));
  EXPECT_EQ(*kAll.get_int("missing", 7), 7);
  EXPECT_EQ(kAll.ints_or("missing", {4}), Ints{4});
  EXPECT_EQ(kAll.string_or("s", ""), "same");
}

TEST(Attributes, AnotherKindIsAnErrorThatNamesBoth) {
  EXPECT_EQ(kAll.get_int("f", 0).error().message, "attribute \"f\": expected an integer, found a float");
  EXPECT_EQ(kAll.get_float("is", 0).error().message, "attribute \"is\": expected a float, found a list of integers");
  EXPECT_EQ(kAll.get_ints("s", {}).error().message, "attribute \"s\": expected a list of integers, found a string");
  EXPECT_EQ(kAll.get_floats("i", {}).error().message, "attribute \"i\": expected a list of floats, found an integer");
  EXPECT_EQ(kAll.get_string("fs", "").error().message, "attribute \"fs\": expected a string, found a list of floats");
}

TEST(Attributes, SetReplacesAndEraseForgets) {
  Attributes attributes = kAll;
  attributes.set("i", 2.0F);
  EXPECT_EQ(attributes.float_or("i", 0), 2.0F);
  EXPECT_NE(attributes, kAll);
  attributes.erase("i");
  attributes.erase("missing");
  EXPECT_FALSE(attributes.has("i"));
}

TEST(Attributes, PrintInOrderOfName) {
  EXPECT_EQ(kAll.to_string(), "{f=0.5, fs=[1.5,2], i=3, is=[1,-2], s=same}");
  EXPECT_EQ(Attributes{}.to_string(), "{}");
}

}  // namespace
}  // namespace onnx_split
