#include "fleet/blame.h"

#include <gtest/gtest.h>

namespace onnx_split {
namespace {

using namespace std::chrono_literals;

const Error kError{ErrorCode::kUnavailable, "something broke"};
const Failure kNobody{kError, {}, {}, {}};

Failure between(const std::string& reporter, const std::string& suspect) { return {kError, {}, reporter, suspect}; }

TEST(Blame, ADeviceThatIsLostIsLeftOut) {
  Blame blame;
  for (int i = 0; i < 20; ++i) {
    const Blame::Verdict verdict = blame.judge({kError, "pi1", {}, {}}, {1s, false, false});
    EXPECT_TRUE(verdict.goes_on);
    EXPECT_EQ(verdict.without, "pi1");
  }
}

TEST(Blame, OneConnectionMayBreak) {
  Blame blame;
  Blame::Verdict verdict = blame.judge(between("pi1", "pi2"), {1s, true, false});
  EXPECT_TRUE(verdict.goes_on);
  EXPECT_EQ(verdict.without, std::nullopt);
  // Whoever was at an end of both.
  verdict = blame.judge(between("pi3", "pi1"), {1s, true, false});
  EXPECT_EQ(verdict.without, "pi1");
  // That settles what was before.
  verdict = blame.judge(between("pi3", "pi2"), {1s, true, false});
  EXPECT_TRUE(verdict.goes_on);
  EXPECT_EQ(verdict.without, std::nullopt);
}

TEST(Blame, OfTwoThatWereAtBothEndsTheSuspect) {
  Blame blame;
  blame.judge(between("pi1", "pi2"), {1s, true, false});
  EXPECT_EQ(blame.judge(between("pi1", "pi2"), {1s, true, false}).without, "pi2");
}

TEST(Blame, AnAccidentIsForgottenAfterAWhile) {
  Blame blame;
  for (int i = 0; i < 20; ++i) {
    const Blame::Verdict verdict = blame.judge(between("pi1", "pi2"), {11s, true, false});
    EXPECT_TRUE(verdict.goes_on);
    EXPECT_EQ(verdict.without, std::nullopt);
  }
}

TEST(Blame, TheFifthFailureInARowWithoutAResultAndAnybodyToBlameIsTheEnd) {
  Blame blame;
  for (int i = 1; i < 5; ++i) EXPECT_TRUE(blame.judge(kNobody, {20s, false, false}).goes_on) << i;
  EXPECT_FALSE(blame.judge(kNobody, {20s, false, false}).goes_on);
}

TEST(Blame, WhereResultsComeInBetweenItGoesOnHoweverShortEachEpochIs) {
  Blame blame;
  for (int i = 0; i < 50; ++i) {
    const Blame::Verdict verdict = blame.judge(kNobody, {1s, i % 4 == 0, false});
    EXPECT_TRUE(verdict.goes_on) << i;
    EXPECT_EQ(verdict.without, std::nullopt);
  }
}

TEST(Blame, AnEpochThatHadNothingToDoCountsIfItEndedSoon) {
  Blame lasting, short_lived;
  for (int i = 1; i < 5; ++i) {
    EXPECT_TRUE(lasting.judge(kNobody, {11s, false, true}).goes_on);
    EXPECT_TRUE(short_lived.judge(kNobody, {1s, false, true}).goes_on);
  }
  EXPECT_TRUE(lasting.judge(kNobody, {11s, false, true}).goes_on);
  EXPECT_FALSE(short_lived.judge(kNobody, {1s, false, true}).goes_on);
}

TEST(Blame, WhatWasBeforeAnEpochThatLastedIsForgottenThoughItHasNotFailed) {
  for (const auto lasted : {9s, 11s}) {
    Blame blame;
    for (int i = 1; i < 4; ++i) blame.judge(kNobody, {});
    blame.judge(between("pi1", "pi2"), {});
    blame.forget_if_steady(lasted);
    if (lasted < 10s) {
      EXPECT_FALSE(blame.judge(kNobody, {}).goes_on);
    } else {
      EXPECT_TRUE(blame.judge(kNobody, {}).goes_on);
    }
    EXPECT_EQ(blame.judge(between("pi3", "pi2"), {}).without.has_value(), lasted < 10s);
  }
}

TEST(Blame, WhoEndsItIsNotAsked) {
  Blame blame;
  const Blame::Verdict verdict = blame.judge({{ErrorCode::kCancelled, "Ctrl-C"}, "pi1", {}, {}}, {1s, true, false});
  EXPECT_FALSE(verdict.goes_on);
  EXPECT_EQ(verdict.without, std::nullopt);
}

}  // namespace
}  // namespace onnx_split
