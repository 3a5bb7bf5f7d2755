// The drawing is well-formed whatever a plan holds, and leaves nobody out.
#include "cli/draw_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "cli/plan_words.h"
#include "cli/svg.h"
#include "tests/support/expect.h"
#include "tests/support/hand_plan.h"

namespace onnx_split::testing {
namespace {

using ::testing::HasSubstr;

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == ':' || c == '_'; }

// Text or an attribute's value: every & begins an entity, no < and no control characters.
bool is_clean(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<' || (static_cast<unsigned char>(text[i]) < 0x20 && text[i] != '\n')) return false;
    if (text[i] != '&') continue;
    const std::string_view rest = text.substr(i);
    bool known = false;
    for (const std::string_view entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
      known |= rest.starts_with(entity);
    if (!known) return false;
  }
  return true;
}

// What is wrong with a document of elements, attributes and text; nothing where it is well-formed XML.
std::string xml_error(std::string_view xml) {
  std::vector<std::string> open;
  std::size_t at = 0, elements = 0;
  if (xml.starts_with("<?xml")) at = xml.find("?>") + 2;
  while (at < xml.size()) {
    const std::size_t next = std::min(xml.find('<', at), xml.size());
    if (!is_clean(xml.substr(at, next - at))) return fmt::format("text at {}", at);
    if (open.empty() && xml.substr(at, next - at).find_first_not_of("\n ") != std::string_view::npos)
      return "text outside";
    if ((at = next) == xml.size()) break;
    const bool closes = xml[at + 1] == '/';
    at += closes ? 2 : 1;
    std::string name;
    while (at < xml.size() && is_name(xml[at])) name += xml[at++];
    if (name.empty()) return fmt::format("no name at {}", at);
    std::vector<std::string> attributes;
    while (at < xml.size() && xml[at] == ' ') {
      const std::size_t equals = xml.find("=\"", at);
      if (equals == std::string_view::npos) return "an attribute without a value";
      const std::string attribute(xml.substr(at + 1, equals - at - 1));
      if (attribute.empty() || !std::all_of(attribute.begin(), attribute.end(), is_name))
        return "attribute " + attribute;
      if (std::find(attributes.begin(), attributes.end(), attribute) != attributes.end()) return "twice " + attribute;
      attributes.push_back(attribute);
      const std::size_t end = xml.find('"', equals + 2);
      if (end == std::string_view::npos || !is_clean(xml.substr(equals + 2, end - equals - 2)))
        return "value of " + attribute;
      at = end + 1;
    }
    const bool empty = xml.substr(at).starts_with("/>");
    if (!empty && !xml.substr(at).starts_with(">")) return fmt::format("<{} isn't closed", name);
    at += empty ? 2 : 1;
    if (!closes && open.empty() && ++elements > 1) return "two roots";
    if (closes) {
      if (open.empty() || open.back() != name) return "</" + name + "> closes nothing";
      open.pop_back();
    } else if (!empty) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : open.back() + " isn't closed";
}

HandPlan pipeline(std::size_t devices) {
  HandPlan plan(devices, 2 * devices);
  for (std::size_t d = 0; d < devices; ++d) {
    const std::string from = d == 0 ? "x" : fmt::format("v{}", d - 1);
    const std::string to = d + 1 == devices ? "y" : fmt::format("v{}", d);
    plan.stage(floats_of(from, 100), floats_of(to, 100), {{d, 1e-3 * static_cast<double>(d + 1)}});
    plan->prediction->rates[d] = {1e-4, 0.0, 1e-4, 0.0, 1e6, 1e6, 1e-4};
    plan->prediction->loads[d] = {1e-3 * static_cast<double>(d + 1), 1e-4, 1e-4, 4e-4, 4e-4, 50'000'000, 90'000'000};
  }
  plan->prediction->throughput_per_s = 900.0 / static_cast<double>(devices);
  plan->prediction->latency_s = 0.01;
  plan->prediction->bottleneck = fmt::format("device \"d{}\"'s processor", devices - 1);
  return plan;
}

TEST(XmlCheck, SeesWhatIsWrong) {
  EXPECT_EQ(xml_error("<a b=\"c\"><d/>e &amp; f</a>\n"), "");
  for (const char* wrong : {"<a>", "<a></b>", "<a>&</a>", "<a b=\"<\"/>", "<a/><b/>", "<a b/>", "<a b=\"1\" b=\"2\"/>",
                            "text", "<a>\x01</a>"}) {
    EXPECT_NE(xml_error(wrong), "") << wrong;
  }
}

TEST(Drawing, IsWellFormedAndHasEveryDeviceAndStage) {
  const HandPlan plan = pipeline(5);
  HandPlan copy = plan;
  const std::string svg = must(draw_plan(*copy));
  EXPECT_EQ(xml_error(svg), "");
  for (std::size_t d = 0; d < 5; ++d) {
    EXPECT_THAT(svg, HasSubstr(fmt::format(">d{}</text>", d)));
    EXPECT_THAT(svg, HasSubstr(fmt::format(">stage {}</text>", d)));
    EXPECT_THAT(svg, HasSubstr(fmt::format("d{} computes stage {} part 0: {}.000 ms", d, d, d + 1)));
  }
  EXPECT_THAT(svg, HasSubstr(">by hand</text>"));
  EXPECT_THAT(svg, HasSubstr("180 requests a second"));
  EXPECT_THAT(svg, HasSubstr("10 ms for one alone"));
  EXPECT_THAT(svg, HasSubstr("bottleneck: device &quot;d4&quot;&#39;s processor"));
}

TEST(Drawing, HasReplicasAndDevicesThatAreIdle) {
  HandPlan plan(4, 4);
  plan.stage(floats_of("x", 1), floats_of("y", 1), {{0, 1e-3}, {2, 1e-3}, {3, 2e-3}});
  const std::string svg = must(draw_plan(*plan));
  EXPECT_EQ(xml_error(svg), "");
  for (const char* text : {">d0<", ">d1<", ">d2<", ">d3<", "d2 computes", "d3 computes"})
    EXPECT_THAT(svg, HasSubstr(text));
}

TEST(Drawing, OfManyDevicesGroupsThoseWithTheSameStages) {
  HandPlan plan(2000, 4000);
  std::vector<std::pair<std::size_t, double>> first, second;
  for (std::size_t d = 0; d < 1500; ++d) first.emplace_back(d, 3e-3);
  for (std::size_t d = 1500; d < 1999; ++d) second.emplace_back(d, 1e-3);
  plan.stage(floats_of("x", 1), floats_of("a", 1), first);
  plan.stage(floats_of("a", 1), floats_of("y", 1), second);
  const std::string svg = must(draw_plan(*plan));
  EXPECT_EQ(xml_error(svg), "");
  for (const char* text : {">d0 … d1499 (1500)<", ">d1500 … d1998 (499)<", ">d1999<"})
    EXPECT_THAT(svg, HasSubstr(text));
  EXPECT_LT(svg.size(), 100'000U);
}

TEST(Drawing, EscapesHostileNames) {
  HandPlan plan = pipeline(2);
  plan->model = "</text><script>alert(\"1\")</script>&";
  plan->devices = {"\"><a b='", std::string("\x01\xff\x00]]>", 6)};
  plan->stages[0].nodes = {"<!--", "--> &nbsp; \xef\xbf\xbf"};
  plan->prediction->bottleneck = "device \"" + plan->devices[0] + "\"";
  const std::string svg = must(draw_plan(*plan));
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_EQ(svg.find("<script"), std::string::npos);
}

TEST(Drawing, OfDamagedPlansIsWellFormedOrAnError) {
  HandPlan none(1);
  none.stage(floats_of("x", 1), floats_of("y", 1), {{0, 0.0}});
  EXPECT_EQ(xml_error(must(draw_plan(*none))), "");  // takes no time at all
  HandPlan huge = pipeline(2);
  huge->prediction->throughput_per_s = 1e308;
  huge->prediction->loads[0].compute_s = 1e308;
  huge->prediction->loads[1] = {0.0, 1e308, 1e308, 1e308, 0.0, INT64_MAX, 1};
  EXPECT_EQ(xml_error(must(draw_plan(*huge))), "");
  (*huge).prediction.reset();
  EXPECT_THAT(error_of(draw_plan(*huge)), HasSubstr("no prediction"));
}

TEST(PlanWords, ManyDevicesAreAbbreviated) {
  EXPECT_EQ(short_list({"a"}), "a");
  EXPECT_EQ(short_list({"a", "b", "c", "d"}), "a, b, c, d");
  EXPECT_EQ(short_list({"a", "b", "c", "d", "e"}), "a … e (5)");
  Stage stage;
  stage.split = Split::kSpatial;
  stage.grid = {3, 1};
  stage.weights = {1000, 400, 600};
  stage.parts.resize(3);
  for (Part& part : stage.parts) part.devices = {1, 0};
  EXPECT_EQ(split_text(stage), "spatial 3×1 (5:2:3), 2 replicas");
  EXPECT_EQ(stage_devices(stage), (std::vector<std::size_t>{0, 1}));
  stage.split = Split::kInputChannel;
  stage.weights.clear();
  EXPECT_EQ(split_text(stage), "input_channel ×3, 2 replicas");
}

}  // namespace
}  // namespace onnx_split::testing
