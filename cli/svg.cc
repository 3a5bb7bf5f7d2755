#include "cli/svg.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace onnx_split {

std::string svg_escape(std::string_view text) {
  const bool readable = is_utf8(text);
  std::string escaped;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    // U+FFFE and U+FFFF are UTF-8, but not XML.
    const bool is_noncharacter =
        readable && (text.substr(i, 3) == "\xef\xbf\xbe" || text.substr(i, 3) == "\xef\xbf\xbf");
    if (is_noncharacter) {
      escaped += '?';
      i += 2;
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !readable)) {
      escaped += '?';
    } else if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '"') {
      escaped += "&quot;";
    } else if (c == '\'') {
      escaped += "&#39;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

Svg::Svg(double width, double height)
    : text_(fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
                        "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"system-ui, 'Helvetica Neue', Arial, "
                        "'DejaVu Sans', sans-serif\" font-size=\"12\">\n"
                        "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
                        width, height)) {}

void Svg::rect(double x, double y, double width, double height, std::string_view style, std::string_view title) {
  text_ +=
      fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" {}", x, y, width, height, style);
  text_ += title.empty() ? "/>\n" : fmt::format("><title>{}</title></rect>\n", svg_escape(title));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view style) {
  text_ += fmt::format("<line x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" {}/>\n", x1, y1, x2, y2, style);
}

void Svg::path(std::string_view data, std::string_view style) {
  text_ += fmt::format("<path d=\"{}\" {}/>\n", data, style);
}

void Svg::text(double x, double y, std::string_view text, std::string_view style, std::string_view anchor) {
  text_ += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y, anchor, style,
                       svg_escape(text));
}

std::string Svg::finish() && { return std::move(text_) + "</svg>\n"; }

}  // namespace onnx_split
