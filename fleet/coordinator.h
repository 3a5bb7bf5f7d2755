// Deploys a plan to runners, submits inputs and hands back results, each exactly once and in whatever order they come.
//
// A request is kept until its result is there. When a device is lost, or something on its way, the coordinator ends the
// epoch, plans again for the devices that are left, and sends what is unfinished once more; submit() waits meanwhile.
// Nobody waits where spare parts answer in the lost device's place: the old epoch goes on until the new one runs, then
// new requests go there. So does a device that comes back get its share again. Only where no plan is left, every
// unfinished request gets the error, and so does everything submitted later.
//
// submit() and try_submit() may be called from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "fleet/active_deployment.h"
#include "fleet/blame.h"

namespace onnx_split {

using Result = Expected<std::vector<Tensor>>;  // the network's outputs, in the graph's order

// One that is there already.
std::future<Result> ready(Result result);

struct FleetDevice {
  std::string name;
  std::string url;
};

struct CoordinatorOptions {
  WatchOptions watch;
  // A plan for some of the first plan's devices, named. Without it the loss of a device that the plan needs ends
  // everything. Called on threads of the coordinator's, one call at a time; it gives up when `interrupted` says so.
  std::function<Expected<Plan>(const std::vector<std::string>& devices, const std::function<bool()>& interrupted)>
      replan;
  // All devices that there are now, with their control ports; asked several times in a return_period. One that is new
  // is planned for and taken in. Without it there are those of the first plan.
  std::function<std::vector<FleetDevice>()> devices;
  // How often a lost device is asked whether it is back; twice as long after each further loss of it, 64 times as
  // long at most. Lost devices are asked one after the other.
  std::chrono::milliseconds return_period{1000};
  // How long there may be no result, besides three times what a request took at most, though every device answers: a
  // connection may stand still. Then everything is sent again in a new epoch. (Where spare parts may answer: a second.)
  std::chrono::milliseconds stall_timeout{60000};
};

// What happened so far.
struct CoordinatorCounts {
  std::uint64_t epochs = 0;  // begun
  std::uint64_t losses = 0;  // of devices
  std::uint64_t returns = 0;
  std::uint64_t joined = 0;          // devices that weren't in the first plan
  std::uint64_t resent = 0;          // requests sent again
  std::uint64_t late = 0;            // requests whose deadline has passed
  std::uint64_t inputs_dropped = 0;  // that a late device hadn't room for, and that others answer without
  std::uint64_t part_bytes = 0;      // of part files that were sent, for all epochs that began
};

class Coordinator {
 public:
  // `control_urls`: of each device in the plan. Extracts the parts, sends them, and starts the runners; after an error
  // nothing stays deployed.
  static Expected<std::unique_ptr<Coordinator>> deploy(const Graph& graph, const Plan& plan,
                                                       const std::vector<std::string>& control_urls,
                                                       const CoordinatorOptions& options = {});
  // Ends the deployment; unfinished requests get kCancelled.
  ~Coordinator();

  using Clock = std::chrono::steady_clock;
  static constexpr Clock::time_point kNoDeadline = Clock::time_point::max();

  // Inputs in the graph's order and of its types (checked; the error is in the future). Blocks while the window is
  // full, and while another plan is being deployed. After the deadline the answer is kTimeout, whatever the devices do;
  // once there is room, a deadline that with others in flight even the fastest of this epoch couldn't meet is refused
  // so at once.
  std::future<Result> submit(const std::vector<Tensor>& inputs, Clock::time_point deadline = kNoDeadline);

  // As submit, but kExhausted at once where that would block.
  Expected<std::future<Result>> try_submit(const std::vector<Tensor>& inputs, Clock::time_point deadline = kNoDeadline);

  // Ends everything with this error, from any thread but the transport's: a user's Ctrl-C.
  void cancel(Error error);

  // Of the plan that is deployed.
  std::size_t window() const;
  CoordinatorCounts counts() const;
  // What each runner says of itself (its reply to status), by device of the plan that is deployed; null for devices
  // that it doesn't use, or that don't answer.
  Expected<std::vector<Json>> runner_status();

 private:
  struct Request {
    std::promise<Result> promise;
    std::vector<Tensor> inputs;  // shared with the caller, not copied
    Clock::time_point deadline;
    Clock::time_point sent;  // in this epoch
    bool answered = false;   // perhaps while it still is on its way: its deadline has passed
    bool done = false;       // no device has it any more
  };
  struct Member {
    std::string name;
    std::string url;
    bool is_new = false;  // it came later, and has taken no part yet
    bool lost = false;
    unsigned losses = 0;
    std::vector<std::uint64_t> epochs;  // that it may still be in: those that run, and some whose deployment failed
    Clock::time_point ask_at;
  };

  struct Candidate {  // to be a member again
    std::string name;
    std::string url;
    std::vector<std::uint64_t> to_end;
    bool works = false;  // in an epoch that runs, which it isn't told to end
  };
  struct Loss {
    std::string lost;
    std::vector<std::string> left;
  };

  struct Epoch {
    std::shared_ptr<ActiveDeployment> active;
    std::uint64_t generation = 0;  // by which events know whom they are of; 0: none
    std::uint64_t begin = 0;       // the request that is number 0 of it
  };

  Coordinator(const Graph& graph, const Plan& plan, const std::vector<std::string>& control_urls,
              CoordinatorOptions options);
  Expected<std::future<Result>> submit_when(const std::vector<Tensor>& inputs, Clock::time_point deadline,
                                            bool may_wait);
  void wait_for_room(Clock::time_point deadline);
  Expected<void> check_room(Clock::time_point deadline);
  std::future<Result> add_request(const std::vector<Tensor>& inputs, Clock::time_point deadline);
  Clock::duration least_wait() const;
  void watch_deadlines();
  void settle(std::uint64_t number);
  Expected<void> check_inputs(const std::vector<Tensor>& inputs) const;
  tl::expected<Epoch, Failure> make_epoch(const Plan& plan, const WatchOptions& watch, std::uint64_t replaces = 0);
  void install(Epoch epoch, std::uint64_t begin);
  WatchOptions later_watch() const;
  void take_result(std::uint64_t generation, std::uint64_t request, std::vector<Tensor> outputs);
  void take_failure(std::uint64_t generation, const Failure& failure);
  void supervise();
  void drain();
  void retire_former();
  void change_over();
  bool may_be_better() const;
  void check_stall();
  bool gives_up();
  void begin_again(std::optional<Failure> failure, const std::set<std::string>& worked = {});
  std::set<std::string> working() const;
  bool resend();
  Expected<void> blame(const Failure& failure);
  void add_member(FleetDevice device);
  Member* find(const std::optional<std::string>& name);
  void lose(Member& member);
  Clock::duration pause_before_asking(const Member& member) const;
  std::optional<Candidate> next_to_ask();
  Expected<Plan> next_plan(const std::function<bool()>& interrupted);
  Expected<Plan> make_plan(const std::vector<std::string>& left, const std::function<bool()>& interrupted);
  std::optional<Plan> known_plan(const std::vector<std::string>& left) const;
  Expected<Plan> plan_for_rest(const std::function<bool()>& interrupted);
  std::optional<Loss> next_to_prepare();
  bool prepare_next_plan();
  void scout();
  void ask_lost();
  void look_for_new_devices();
  Expected<void> ask(const Candidate& candidate) const;
  bool window_full() const { return next_ - oldest_ >= window_; }
  bool has_room() const { return end_ || (accepting_ && !window_full()); }
  Request& request(std::uint64_t number) { return requests_[number - oldest_]; }

  const Graph graph_;
  const CoordinatorOptions options_;

  std::mutex submit_mutex_;  // requests go out in the order of their numbers
  std::mutex plan_mutex_;    // replan is called
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Member> members_;    // by device of the first plan, then those that came later
  Plan full_plan_;                 // for when nobody is lost
  std::deque<Request> requests_;   // from oldest_ to next_
  std::uint64_t next_ = 0;         // number of the next request
  std::uint64_t oldest_ = 0;       // without a result
  std::uint64_t in_flight_ = 0;    // requests that aren't done
  std::uint64_t generations_ = 0;  // so far
  std::size_t window_ = 1;         // of the deployed plan
  bool accepting_ = false;         // false while another plan is being deployed
  Epoch current_;
  std::optional<Epoch> former_;               // while requests that it was sent are on their way
  std::optional<Failure> broken_;             // of either
  std::vector<Failure> degraded_;             // of the current one: it goes on without a device
  std::uint64_t beginning_ = 0;               // the generation of an epoch on its way to be the current one
  std::vector<Failure> failed_at_beginning_;  // of it
  std::optional<Error> end_;                  // nothing goes on
  std::stop_source stop_;                     // then the scout doesn't wait for its answer either
  bool members_returned_ = false;
  bool plan_is_wanted_ = false;                     // by the supervisor, which waits while others are prepared
  bool members_changed_ = true;                     // so plans for the loss of one may be missing
  std::set<std::vector<std::string>> no_plan_for_;  // those that there was none for
  Blame blame_;
  Clock::time_point epoch_began_;
  // The fastest of this epoch, for deadlines that can't be met: a request's way, and a result after the one before, on
  // average over kFewResults that came while the window was full.
  Clock::duration fastest_way_{};
  Clock::duration fastest_period_{};
  std::deque<Clock::time_point> last_results_;
  bool has_missed_ = false;                            // the current epoch goes on without a device
  Clock::time_point last_progress_;                    // a result, or the first request after none
  Clock::duration slowest_way_{};                      // of all
  Clock::duration waited_in_vain_{};                   // for a result, at last, with none since
  bool has_answered_ = false;                          // anything since the last failure
  std::map<std::vector<std::string>, Plan> prepared_;  // by the devices that are left
  CoordinatorCounts counts_;
  std::thread supervisor_;
  std::thread scout_;
  std::thread timer_;
};

}  // namespace onnx_split
