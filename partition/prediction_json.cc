#include "partition/prediction_json.h"

#include <cmath>

namespace onnx_split {
namespace {

// A field and its name: one list a type serves writing and reading.
template <class T>
struct Amount {
  std::string_view name;
  double T::*field;
};

constexpr Amount<DeviceRates> kRates[] = {{"send_message_s", &DeviceRates::send_message_s},
                                          {"send_byte_s", &DeviceRates::send_byte_s},
                                          {"receive_message_s", &DeviceRates::receive_message_s},
                                          {"receive_byte_s", &DeviceRates::receive_byte_s},
                                          {"up_bytes_per_s", &DeviceRates::up_bytes_per_s},
                                          {"down_bytes_per_s", &DeviceRates::down_bytes_per_s},
                                          {"latency_s", &DeviceRates::latency_s},
                                          {"quota_s", &DeviceRates::quota_s},
                                          {"period_s", &DeviceRates::period_s}};
constexpr Amount<DeviceLoad> kLoads[] = {{"compute_s", &DeviceLoad::compute_s},
                                         {"receive_s", &DeviceLoad::receive_s},
                                         {"send_s", &DeviceLoad::send_s},
                                         {"up_s", &DeviceLoad::up_s},
                                         {"down_s", &DeviceLoad::down_s}};
constexpr Amount<LinkRates> kLinks[] = {{"bytes_per_s", &LinkRates::bytes_per_s}, {"latency_s", &LinkRates::latency_s}};
constexpr Amount<Prediction> kTotals[] = {{"throughput_per_s", &Prediction::throughput_per_s},
                                          {"latency_s", &Prediction::latency_s},
                                          {"bound_per_s", &Prediction::bound_per_s},
                                          {"bound_latency_s", &Prediction::bound_latency_s},
                                          {"single_per_s", &Prediction::single_per_s},
                                          {"single_latency_s", &Prediction::single_latency_s},
                                          {"medium_bytes_per_s", &Prediction::medium_bytes_per_s},
                                          {"coordinator_bytes_per_s", &Prediction::coordinator_bytes_per_s}};

template <class T, std::size_t N>
Json amounts_to_json(const T& from, const Amount<T> (&amounts)[N]) {
  Json json = Json::object();
  for (const Amount<T>& amount : amounts) json[std::string(amount.name)] = from.*amount.field;
  return json;
}

template <class T, std::size_t N>
Expected<void> read_amounts(const JsonReader& reader, const Amount<T> (&amounts)[N], T& into) {
  for (const Amount<T>& amount : amounts) {
    TRY_ASSIGN(const JsonReader field, reader.at(amount.name));
    TRY_ASSIGN(into.*amount.field, read_amount(field));
  }
  return {};
}

Expected<DeviceLoad> read_load(const JsonReader& reader) {
  DeviceLoad load;
  TRY(read_amounts(reader, kLoads, load));
  TRY_ASSIGN(load.memory_bytes, reader.integer("memory_bytes", 0, INT64_MAX));
  TRY_ASSIGN(load.memory_limit_bytes, reader.integer("memory_limit_bytes", 0, INT64_MAX));
  return load;
}

Expected<LinkRates> read_link_rates(const JsonReader& reader) {
  LinkRates link;
  TRY_ASSIGN(const std::int64_t from, reader.integer("from", 0, INT32_MAX));
  TRY_ASSIGN(const std::int64_t to, reader.integer("to", 0, INT32_MAX));
  link.from = static_cast<std::size_t>(from);
  link.to = static_cast<std::size_t>(to);
  TRY(read_amounts(reader, kLinks, link));
  return link;
}

}  // namespace

Expected<double> read_amount(const JsonReader& reader) {
  TRY_ASSIGN(const double number, reader.number());
  if (!std::isfinite(number) || number < 0.0) return reader.expected("a number that isn't negative");
  return number;
}

Json prediction_to_json(const Prediction& prediction) {
  Json json = amounts_to_json(prediction, kTotals);
  json["bottleneck"] = prediction.bottleneck;
  json["single_device"] = prediction.single_device;
  json["single_fits"] = prediction.single_fits;
  json["optimal"] = prediction.optimal;
  Json rates = Json::array(), loads = Json::array(), links = Json::array();
  for (const DeviceRates& one : prediction.rates) rates.push_back(amounts_to_json(one, kRates));
  for (const DeviceLoad& one : prediction.loads) {
    loads.push_back(amounts_to_json(one, kLoads));
    loads.back()["memory_bytes"] = one.memory_bytes;
    loads.back()["memory_limit_bytes"] = one.memory_limit_bytes;
  }
  for (const LinkRates& one : prediction.links) {
    links.push_back(amounts_to_json(one, kLinks));
    links.back()["from"] = one.from;
    links.back()["to"] = one.to;
  }
  json["rates"] = std::move(rates);
  json["loads"] = std::move(loads);
  json["links"] = std::move(links);
  return json;
}

Expected<Prediction> prediction_from_json(const JsonReader& reader) {
  Prediction prediction;
  TRY(read_amounts(reader, kTotals, prediction));
  TRY_ASSIGN(prediction.bottleneck, reader.string("bottleneck"));
  TRY_ASSIGN(prediction.single_device, reader.string("single_device"));
  TRY_ASSIGN(const JsonReader fits, reader.at("single_fits"));
  TRY_ASSIGN(prediction.single_fits, fits.boolean());
  TRY_ASSIGN(const JsonReader optimal, reader.at("optimal"));
  TRY_ASSIGN(prediction.optimal, optimal.boolean());
  TRY_ASSIGN(const JsonReader rates, reader.at("rates"));
  TRY_ASSIGN(const std::vector<JsonReader> all_rates, rates.elements());
  for (const JsonReader& one : all_rates) TRY(read_amounts(one, kRates, prediction.rates.emplace_back()));
  TRY_ASSIGN(const JsonReader loads, reader.at("loads"));
  TRY_ASSIGN(const std::vector<JsonReader> all_loads, loads.elements());
  for (const JsonReader& one : all_loads) {
    TRY_ASSIGN(DeviceLoad load, read_load(one));
    prediction.loads.push_back(load);
  }
  TRY_ASSIGN(const JsonReader links, reader.at("links"));
  TRY_ASSIGN(const std::vector<JsonReader> all_links, links.elements());
  for (const JsonReader& one : all_links) {
    TRY_ASSIGN(LinkRates link, read_link_rates(one));
    prediction.links.push_back(link);
  }
  return prediction;
}

}  // namespace onnx_split
