"""Learning LeNet, in pycaffe's words: a net written in Python, and a training loop of one's own.

pydl run examples/lenet_from_python/lenet.py [--iterations N]
"""

import argparse

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P


def lenet(source, batch_size):
    """LeNet with its data layer, as a NetParameter."""
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        source=source, batch_size=batch_size, transform_param={"scale": 1 / 256}, ntop=2
    )
    n.conv1 = convolution(n.data, 20)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = convolution(n.pool1, 50)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, weight_filler={"type": "xavier"})
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler={"type": "xavier"})
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


def convolution(bottom, outputs):
    return L.Convolution(
        bottom, kernel_size=5, num_output=outputs, weight_filler={"type": "xavier"}
    )


def write(path, proto):
    with open(path, "w") as file:
        file.write(str(proto))
    return path


def solver_file(iterations):
    s = caffe.proto.caffe_pb2.SolverParameter()
    s.random_seed = 1
    s.train_net = write("lenet_auto_train.prototxt", lenet("mnist_sample/train", 64))
    s.test_net.append(write("lenet_auto_test.prototxt", lenet("mnist_sample/test", 100)))
    s.test_iter.append(10)
    s.test_interval = iterations + 1  # the loop below tests
    s.test_initialization = False
    s.max_iter = iterations
    s.base_lr = 0.01
    s.lr_policy = "inv"
    s.gamma, s.power = 0.0001, 0.75
    s.momentum, s.weight_decay = 0.9, 5e-4
    s.snapshot_prefix = "lenet_auto"
    return write("lenet_auto_solver.prototxt", s)


def accuracy(net, batches=10):
    correct = 0
    for _ in range(batches):
        net.forward()
        correct += sum(net.blobs["score"].data.argmax(axis=1) == net.blobs["label"].data)
    return correct / (batches * len(net.blobs["label"].data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=1000)
    iterations = parser.parse_args().iterations
    solver = caffe.get_solver(solver_file(iterations))
    losses = np.zeros(iterations)
    for i in range(iterations):
        solver.step(1)
        losses[i] = solver.net.blobs["loss"].data
        if (i + 1) % 250 == 0:
            mean, score = losses[max(0, i - 99) : i + 1].mean(), accuracy(solver.test_nets[0])
            print(f"iteration {i + 1}: loss {mean:.4f}, test accuracy {score:.1%}")
    print(f"test accuracy: {accuracy(solver.test_nets[0]):.1%}")


if __name__ == "__main__":
    main()
