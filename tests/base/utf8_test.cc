#include "base/utf8.h"

#include <gtest/gtest.h>

namespace onnx_split {
namespace {

TEST(Utf8, AcceptsEveryLengthOfCode) {
  for (const char* text : {"", "conv1", "Größe", "卷积", "🙂", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(text)) << text;
}

TEST(Utf8, RefusesWhatIsCutOverlongOrNoCharacter) {
  for (const char* text : {"\xff", "a\x80", "\xc3", "\xe5\x8d", "\xf0\x9f\x99", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
                           "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
                           "Gr\xf6\xdf"
                           "e"}) {
    EXPECT_FALSE(is_utf8(text));
  }
}

}  // namespace
}  // namespace onnx_split
