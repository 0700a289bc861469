// pydl inside a C++ program: builds and trains a net in code, goes on from a snapshot, and runs a
// net that Python exported.
//
//   embed layers                     lists the layer types at hand
//   embed train [SNAPSHOT]           trains a small net on images of stripes
//   embed run BUNDLE INPUT OUTPUT    runs a bundle; files of raw float32

#include <pydl/pydl.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "stripes.h"

namespace {

constexpr int kIterations = 200;
constexpr int kTestBatches = 10;

// Data layers name their source; this program's sources are called "train" and "test".
std::shared_ptr<pydl::DataSource> open_stripes(const pydl::SourceRequest& request) {
  if (request.source == "train") return std::make_shared<Stripes>(2000, 1);
  if (request.source == "test") return std::make_shared<Stripes>(500, 1000000);
  throw pydl::Error("no data set \"" + request.source + "\"; there are \"train\" and \"test\"");
}

pydl::NetSpec stripes_net(pydl::Phase phase) {
  const bool train = phase == pydl::Phase::kTrain;
  pydl::NetSpec spec;
  spec.name = "stripes";
  spec.phase = phase;
  spec.add("data", "Data", {}, {"data", "label"},
           {{"data_param",
             {{"source", train ? "train" : "test"}, {"batch_size", 50}, {"shuffle", train}}}});
  spec.add("conv", "Convolution", {"data"}, {"conv"},
           {{"convolution_param",
             {{"num_output", 8}, {"kernel_size", 5}, {"weight_filler", {{"type", "xavier"}}}}}});
  spec.add("softsign", "Softsign", {"conv"}, {"conv"}, {{"softsign_param", {{"scale", 0.5}}}});
  spec.add("pool", "Pooling", {"conv"}, {"pool"},
           {{"pooling_param", {{"pool", "MAX"}, {"kernel_size", 4}, {"stride", 4}}}});
  spec.add("score", "InnerProduct", {"pool"}, {"score"},
           {{"inner_product_param", {{"num_output", 2}, {"weight_filler", {{"type", "xavier"}}}}}});
  spec.add("loss", "SoftmaxWithLoss", {"score", "label"}, {"loss"});
  if (!train) spec.add("accuracy", "Accuracy", {"score", "label"}, {"accuracy"});
  return spec;
}

std::unique_ptr<pydl::Solver> make_solver() {
  pydl::SolverSpec spec;
  spec.base_lr = 0.05f;
  spec.lr_policy = "step";
  spec.gamma = 0.1f;
  spec.stepsize = kIterations / 2;
  spec.momentum = 0.9f;
  spec.weight_decay = 1e-4f;
  auto net = std::make_shared<pydl::Net>(stripes_net(pydl::Phase::kTrain));
  auto solver = std::make_unique<pydl::Solver>(spec, net);
  solver->stop_on_nan = true;
  return solver;
}

void step_until(pydl::Solver* solver, int iteration) {
  while (solver->iter() < iteration) {
    const double loss = solver->Step();
    if (solver->iter() % 50 == 0) {
      std::cout << "iteration " << solver->iter() << ", loss " << loss << "\n";
    }
  }
}

double test_accuracy(pydl::Solver* solver) {
  pydl::Net net(stripes_net(pydl::Phase::kTest));
  net.ShareParams(&solver->net());
  double sum = 0;
  for (int batch = 0; batch < kTestBatches; ++batch) {
    net.Forward();
    sum += *net.blob("accuracy")->data();
  }
  return sum / kTestBatches;
}

bool same_weights(pydl::Net* a, pydl::Net* b) {
  return a->arena_size() == b->arena_size() &&
         std::memcmp(a->weights(), b->weights(), a->arena_size() * sizeof(float)) == 0;
}

// The library only throws; what happens then is the program's business.
void show_an_error() {
  pydl::NetSpec spec = stripes_net(pydl::Phase::kTest);
  spec.layers[1].params = {{"convolution_param", {{"num_ouput", 8}, {"kernel_size", 5}}}};
  try {
    pydl::Net net(spec);
  } catch (const pydl::Error& error) {
    std::cout << "a typo is reported: " << error.what() << "\n";
  }
}

void train(const std::string& snapshot) {
  auto solver = make_solver();
  step_until(solver.get(), kIterations / 2);
  solver->Snapshot(snapshot);
  step_until(solver.get(), kIterations);

  auto resumed = make_solver();
  resumed->Restore(snapshot);
  step_until(resumed.get(), kIterations);
  if (!same_weights(&solver->net(), &resumed->net())) {
    throw pydl::Error("the run resumed from " + snapshot + " came to other weights");
  }
  std::cout << "resumed run: same weights\n";

  show_an_error();
  const double accuracy = test_accuracy(solver.get());
  std::cout << "test accuracy " << accuracy << "\n";
  if (accuracy < 0.95) throw pydl::Error("the net has not learned its task");
}

std::vector<float> read_floats(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw pydl::Error(path + ": cannot be read");
  std::vector<float> values(static_cast<size_t>(file.tellg()) / sizeof(float));
  file.seekg(0).read(reinterpret_cast<char*>(values.data()),
                     static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) throw pydl::Error(path + ": cannot be read");
  return values;
}

void write_floats(const std::string& path, const float* values, int64_t count) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values),
             static_cast<std::streamsize>(count * sizeof(float)));
  if (!file.flush()) throw pydl::Error(path + ": cannot be written");
}

// The input file holds any number of rows: the net takes the batch size that comes.
void run(const std::string& bundle, const std::string& input, const std::string& output) {
  const auto net = pydl::Net::OpenBundle(bundle, pydl::Phase::kTest, {pydl::Keep::kOutputs});
  if (net->inputs().size() != 1) throw pydl::Error(bundle + ": the net must have one input");
  pydl::Blob* data = net->blob(net->inputs()[0]);
  const std::vector<float> values = read_floats(input);
  const int64_t row = data->count(1), rows = static_cast<int64_t>(values.size()) / row;
  if (rows == 0 || rows * row != static_cast<int64_t>(values.size())) {
    throw pydl::Error(input + ": holds " + std::to_string(values.size()) +
                      " numbers; the net takes rows of " + std::to_string(row));
  }
  pydl::Shape shape = data->shape();
  shape[0] = rows;
  data->Reshape(shape);
  std::copy(values.begin(), values.end(), data->mutable_data());
  net->Forward();
  const pydl::Blob* result = net->blob(net->outputs()[0]);
  write_floats(output, result->data(), result->count());
}

void list_layers() {
  for (const pydl::LayerType& type : pydl::LayerTypes()) std::cout << type.name << "\n";
}

int command(const std::vector<std::string>& args) {
  if (args.size() == 1 && args[0] == "layers") {
    list_layers();
  } else if ((args.size() == 1 || args.size() == 2) && args[0] == "train") {
    train(args.size() == 2 ? args[1] : "stripes.safetensors");
  } else if (args.size() == 4 && args[0] == "run") {
    run(args[1], args[2], args[3]);
  } else {
    std::cerr << "usage: embed layers | train [SNAPSHOT] | run BUNDLE INPUT OUTPUT\n";
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  pydl::DataHooks hooks;
  hooks.open = open_stripes;
  pydl::set_data_hooks(hooks);
  try {
    return command({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "embed: " << error.what() << "\n";
    return 1;
  }
}
